"""Packed files: a zip archive is checked before it is read, gzip and xz are unpacked as a stream.

What the unpacked bytes have to be is the caller's; members of a zip are read by the readers.
"""

from __future__ import annotations

import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from isal import isal_zlib

from etl_assets.model.errors import ContentError
from etl_assets.storage.sniff import sniff

CHECKED_BLOCK_BYTES = 1 << 20
MAX_RATIO = 250  # feeds of JSON and CSV stay below 100; deflate cannot exceed 1,032
RATIO_COUNTS_FROM_BYTES = 10 << 20
ENCRYPTED_FLAG = 0x1
PACKED_KINDS = frozenset({"zip", "gzip", "xz", "bzip2", "zstd"})
NAMED_OFFENDERS = 10
UNREADABLE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    RuntimeError,  # a password, or a version or compression that zipfile does not support
    ValueError,
    OSError,
)

UNPACKED_BLOCK_BYTES = 1 << 17  # fits a processor's cache; a mebibyte takes twice the time
GZIP_WINDOW = 31
XZ_MAGIC = b"\xfd7zXZ\x00"
MAX_XZ_MEMORY_BYTES = 256 << 20  # of the decoder: `xz -9` needs 65 MiB, a file may ask for 4 GiB
GZIP_MAGIC = b"\x1f\x8b"
# The header of a gzip member (RFC 1952, 2.3): ten bytes, of which the fourth has the flags of the
# fields that follow them.
GZIP_HEADER_BYTES = 10
HEADER_CHECKSUM, EXTRA_FIELD, FILE_NAME, COMMENT = 0x02, 0x04, 0x08, 0x10
RESERVED_FLAGS = 0xE0
# A name and a comment end with a NUL anywhere. gzip writes a header of a few bytes.
MAX_GZIP_HEADER_BYTES = 1 << 18

# Of an entry of the central directory: the lengths of its name, its extra field and its comment. Of
# the records that end the directory: its size.
ENTRY = struct.Struct("<28xHHH12x")
ENTRY_SIGNATURE = b"PK\x01\x02"
END = struct.Struct("<12xI6x")
END_SIGNATURE = b"PK\x05\x06"
END64 = struct.Struct("<40xQ8x")
END64_SIGNATURE = b"PK\x06\x06"
END64_LOCATOR_BYTES = 20
END64_LOCATOR_SIGNATURE = b"PK\x06\x07"
LOCAL_HEADER = struct.Struct("<26xHH")  # the lengths of the name and the extra field after it
MAX_COMMENT_BYTES = 0xFFFF

Member = zipfile.ZipInfo


def check_zip(path: Path, *, max_unpacked_bytes: int, max_members: int) -> int:
    """Returns the unpacked size of all members in bytes.

    Every member is unpacked once, in blocks, to compare its checksum. Raises ContentError for an
    archive that is damaged or unsafe to unpack, and for one with more than `max_members`, which are
    counted before anything else is read.
    """
    try:
        _check_count(path, max_members)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_directory(members, path.stat().st_size, max_unpacked_bytes)
            for member in members:
                _check_member(archive, member)
    except UNREADABLE as error:
        raise ContentError.of(
            "", "a whole zip archive", str(error) or type(error).__name__
        ) from error
    return sum(member.file_size for member in members)


def _check_count(path: Path, max_members: int) -> None:
    """Raise ContentError if the central directory has more than `max_members` entries.

    zipfile reads the whole directory at once and makes an object of each entry, before a caller can
    count them. The count that the archive states is not trusted: zipfile does not use it either.
    """
    with path.open("rb") as file:
        end, size = _find_directory(file)
        file.seek(max(0, end - size))
        count = 0
        while count <= max_members and file.tell() < end:
            header = file.read(ENTRY.size)
            if len(header) < ENTRY.size or not header.startswith(ENTRY_SIGNATURE):
                return  # damaged, as zipfile finds too
            lengths = ENTRY.unpack(header)
            file.seek(sum(lengths), os.SEEK_CUR)
            count += 1
    if count > max_members:
        raise ContentError.of(
            "", f"at most {max_members:,} members", "more; see limits.max_members"
        )


def _find_directory(file: BinaryIO) -> tuple[int, int]:
    """Returns where the central directory ends, and its size; (0, 0) if there is none.

    The records are looked for where zipfile looks for them, so that both read the same directory.
    https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.14 to 4.3.16
    """
    file_bytes = file.seek(0, os.SEEK_END)
    tail_start = max(0, file_bytes - END.size - MAX_COMMENT_BYTES)
    file.seek(tail_start)
    tail = file.read()
    position = len(tail) - END.size
    if not (tail[position:].startswith(END_SIGNATURE) and tail.endswith(b"\0\0")):
        position = tail.rfind(END_SIGNATURE)  # a comment follows
    if position < 0 or len(tail) - position < END.size:
        return 0, 0
    end = tail_start + position
    (size,) = END.unpack_from(tail, position)
    # With a ZIP64 record, before this one and its locator, that record has the size.
    start = end - END64_LOCATOR_BYTES - END64.size
    if start >= 0:
        file.seek(start)
        record = file.read(END64.size)
        locator = file.read(END64_LOCATOR_BYTES)
        is_zip64 = locator.startswith(END64_LOCATOR_SIGNATURE)
        if is_zip64 and record.startswith(END64_SIGNATURE):
            return start, END64.unpack(record)[0]
    return end, size


def _check_directory(members: Sequence[Member], file_bytes: int, max_unpacked_bytes: int) -> None:
    _refuse_all(members, _is_outside, "relative names that stay inside the archive", "names")
    _refuse_all(members, _is_link, "plain files only", "symbolic links")
    _refuse_all(members, _is_encrypted, "plain files only", "encrypted ones")
    names = Counter(member.filename for member in members)
    _refuse_all(members, lambda m: names[m.filename] > 1, "each name once", "duplicates")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max_unpacked_bytes:
        raise ContentError.of("", f"at most {max_unpacked_bytes:,} unpacked bytes", f"{unpacked:,}")
    _refuse_all(members, _is_bomb, f"a ratio of at most {MAX_RATIO}", "bombs")
    # Entries that share one member's bytes multiply its size without any single high ratio.
    if sum(member.compress_size for member in members) > file_bytes:
        raise ContentError.of("", "members that do not overlap", "members that overlap")


def _check_member(archive: zipfile.ZipFile, member: Member) -> None:
    try:
        with archive.open(member) as file:
            block = file.read(CHECKED_BLOCK_BYTES)
            kind = sniff(block[:8])
            if kind in PACKED_KINDS:
                raise ContentError.of(member.filename, "no archive inside the archive", kind)
            while block:  # zipfile compares the checksum when it reaches the end
                block = file.read(CHECKED_BLOCK_BYTES)
    except UNREADABLE as error:
        reason = str(error) or type(error).__name__
        raise ContentError.of(
            member.filename, "a whole member with its checksum", reason
        ) from error


def _refuse_all(
    members: Sequence[Member], is_offender: Callable[[Member], bool], expected: str, kind: str
) -> None:
    """Raise ContentError with the names of up to ten offenders, if there are any."""
    names = sorted({member.orig_filename for member in members if is_offender(member)})
    if not names:
        return
    shown = [repr(name[:200]) for name in names[:NAMED_OFFENDERS]]
    if len(names) > NAMED_OFFENDERS:
        shown.append(f"and {len(names) - NAMED_OFFENDERS:,} more")
    raise ContentError.of("", expected, f"{kind}: {', '.join(shown)}")


def _is_outside(member: Member) -> bool:
    # zipfile cuts `filename` at a NUL, which hides the rest of the name from a check.
    name = member.orig_filename
    windows = PureWindowsPath(name)
    is_anchored = PurePosixPath(name).is_absolute() or bool(windows.anchor)
    return is_anchored or ".." in windows.parts or "\0" in name


def _is_link(member: Member) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _is_encrypted(member: Member) -> bool:
    return bool(member.flag_bits & ENCRYPTED_FLAG)


def _is_bomb(member: Member) -> bool:
    return (
        member.file_size > RATIO_COUNTS_FROM_BYTES
        and member.file_size > MAX_RATIO * member.compress_size
    )


def copy_member(source: zipfile.ZipFile, name: str, target: zipfile.ZipFile) -> None:
    """Append a member of one open archive to another as it is packed, without unpacking it.

    Both archives must be on disk, and the member written without a data descriptor, as `zipfile`
    writes to files. The source cannot read the member afterwards, as the two archives share its
    entry. Raises KeyError if there is no such member.
    """
    member = source.getinfo(name)
    if source.fp is None or target.fp is None:
        raise ValueError(f"{name}: expected two open archives, found a closed one")
    source.fp.seek(member.header_offset)
    header = source.fp.read(LOCAL_HEADER.size)
    name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
    content = source.fp.read(name_bytes + extra_bytes + member.compress_size)
    # `zipfile` offers no way to add packed bytes; what follows is what its `writestr` does.
    target.fp.seek(target.start_dir)
    member.header_offset = target.start_dir
    target.fp.write(header + content)
    target.filelist.append(member)
    target.NameToInfo[name] = member
    target.start_dir = target.fp.tell()


class Gunzip:
    """Unpacks a gzip file that arrives in pieces of any size, within a limit.

    A gzip file may have several members, with zeros between and after them (RFC 1952, 2.2; gzip
    itself ignores such zeros).
    """

    def __init__(self, max_bytes: int) -> None:
        self.unpacked_bytes = 0
        self._max_bytes = max_bytes
        self._member = isal_zlib.decompressobj(GZIP_WINDOW)
        self._header: bytes = b""  # of the member that begins, as far as it is known
        self._is_between_members = True
        self._finished_members = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yields the unpacked bytes in blocks of at most 128 KiB.

        Raises ContentError for broken data, and when the limit is exceeded.
        """
        while data:
            if self._is_after_a_member and not self._header:
                data = data.lstrip(b"\0")
                if not data:
                    return
                if not GZIP_MAGIC.startswith(data[: len(GZIP_MAGIC)]):
                    raise self._broken("not gzip again")
            if self._is_between_members:
                data = self._complete_header(data)
                if not data:
                    return
            yield self._unpack_block(data)
            data = self._member.unconsumed_tail or self._start_next_member()

    def finish(self) -> None:
        """Raises ContentError if the last member is incomplete."""
        if self._header or not self._is_after_a_member:
            reason = f"it cut off after {self.unpacked_bytes:,} unpacked bytes"
            raise ContentError.of("", "a whole gzip file", reason)

    @property
    def _is_after_a_member(self) -> bool:
        return self._is_between_members and self._finished_members > 0

    def _complete_header(self, data: bytes) -> bytes:
        """The member so far if its header is complete, else nothing, and the header goes on.

        The decompressor finds a header wrong that has a checksum and arrives in two pieces.
        """
        self._header += data
        is_complete = _is_gzip_header_complete(self._header)
        if not is_complete and len(self._header) <= MAX_GZIP_HEADER_BYTES:
            return b""
        if not is_complete:
            actual = f"more than {MAX_GZIP_HEADER_BYTES:,} bytes"
            raise ContentError.of("", "a gzip file with a short header", actual)
        # A decompressor must refuse them, as unknown fields may follow (RFC 1952, 2.3.1.2).
        is_gzip = self._header.startswith(GZIP_MAGIC)
        if is_gzip and (reserved := self._header[3] & RESERVED_FLAGS):
            actual = f"reserved flags set in its header ({reserved:#04x})"
            raise ContentError.of("", "a whole gzip file", actual)
        member, self._header = self._header, b""
        return member

    def _unpack_block(self, data: bytes) -> bytes:
        try:
            block = self._member.decompress(data, UNPACKED_BLOCK_BYTES)
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub has no class for it
            raise self._broken(str(error)) from error
        self._is_between_members = False
        self.unpacked_bytes += len(block)
        if self.unpacked_bytes > self._max_bytes:
            raise ContentError.of("", f"at most {self._max_bytes:,} unpacked bytes", "more")
        return block

    def _start_next_member(self) -> bytes:
        """Returns the bytes that follow a finished member; none while it is unfinished."""
        if not self._member.eof:
            return b""
        rest = self._member.unused_data
        self._member = isal_zlib.decompressobj(GZIP_WINDOW)
        self._is_between_members = True
        self._finished_members += 1
        return rest

    def _broken(self, reason: str) -> ContentError:
        position = "after its end" if self._is_after_a_member else "inside"
        return ContentError.of("", "a whole gzip file", f"broken data {position} ({reason})")


def _is_gzip_header_complete(data: bytes) -> bool:
    """True if data that begins with the header of a member has all fields of the header.

    True also for data of another kind, which the decompressor refuses.
    """
    if not GZIP_MAGIC.startswith(data[: len(GZIP_MAGIC)]):
        return True
    if len(data) < GZIP_HEADER_BYTES:
        return False
    flags, end = data[3], GZIP_HEADER_BYTES
    if flags & EXTRA_FIELD:
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for flag in (FILE_NAME, COMMENT):
        if flags & flag:
            end = data.find(b"\0", end) + 1
            if not end:
                return False
    if flags & HEADER_CHECKSUM:
        end += 2
    return len(data) >= end


class Unxz:
    """Unpacks an xz file that arrives in pieces of any size, within a limit.

    An xz file may have several streams, with zeros between and after them
    (https://tukaani.org/xz/xz-file-format.txt, 2).
    """

    def __init__(self, max_bytes: int) -> None:
        self.unpacked_bytes = 0
        self._max_bytes = max_bytes
        self._stream = _xz_stream()
        self._finished_streams = 0
        self._is_between_streams = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yields the unpacked bytes in blocks of at most 128 KiB.

        Raises ContentError for broken data, and when a limit is exceeded.
        """
        while data or not self._stream.needs_input:
            if self._is_between_streams and self._finished_streams:
                data = data.lstrip(b"\0")
                if not data:
                    return
            try:
                block = self._stream.decompress(data, UNPACKED_BLOCK_BYTES)
            except lzma.LZMAError as error:
                raise ContentError.of("", "a whole xz file", f"broken data ({error})") from error
            self._is_between_streams = False
            data = b""
            self.unpacked_bytes += len(block)
            if self.unpacked_bytes > self._max_bytes:
                raise ContentError.of("", f"at most {self._max_bytes:,} unpacked bytes", "more")
            yield block
            if self._stream.eof:
                data = self._stream.unused_data
                self._stream = _xz_stream()
                self._is_between_streams = True
                self._finished_streams += 1

    def finish(self) -> None:
        """Raises ContentError if the last stream is incomplete."""
        if not (self._is_between_streams and self._finished_streams):
            reason = f"it cut off after {self.unpacked_bytes:,} unpacked bytes"
            raise ContentError.of("", "a whole xz file", reason)


def _xz_stream() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_XZ_MEMORY_BYTES)


Unpacker = Gunzip | Unxz


def unpacker_of(head: bytes, max_bytes: int) -> Unpacker | None:
    """Returns what unpacks a file that begins with these bytes; None if it is not packed so."""
    if head.startswith(GZIP_MAGIC):
        return Gunzip(max_bytes)
    return Unxz(max_bytes) if head.startswith(XZ_MAGIC) else None

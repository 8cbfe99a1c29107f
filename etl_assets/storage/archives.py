"""Whether a zip archive is safe and whole, before anything is taken out of it.

The rules on names, sizes and checksums belong here; reading the members is the readers'.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from isal import isal_zlib

from etl_assets.model.errors import ContentError
from etl_assets.storage.sniff import sniff

BLOCK_BYTES = 1 << 20
MAX_RATIO = 250  # feeds of JSON and CSV stay below 100; deflate ends at 1,032
RATIO_COUNTS_FROM_BYTES = 10 << 20
ENCRYPTED = 0x1
PACKED = frozenset({"zip", "gzip", "xz", "bzip2", "zstd"})
NAMED_OFFENDERS = 10
UNREADABLE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    RuntimeError,  # a password, or a version or packing that zipfile does not know
    ValueError,
    OSError,
)

Member = zipfile.ZipInfo


def check_zip(path: Path, *, max_unpacked_bytes: int) -> int:
    """Unpacked bytes of all members; raises ContentError for an archive that must not be read.

    Every member is unpacked once, in pieces, to compare its checksum.
    """
    try:
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


def _check_directory(members: Sequence[Member], file_bytes: int, max_unpacked_bytes: int) -> None:
    _refuse_all(members, _is_outside, "relative names that stay inside the archive")
    _refuse_all(members, _is_link, "plain files only", "symbolic links")
    _refuse_all(
        members, lambda m: bool(m.flag_bits & ENCRYPTED), "plain files only", "encrypted ones"
    )
    names = Counter(member.filename for member in members)
    _refuse_all(members, lambda m: names[m.filename] > 1, "each name once", "duplicates")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max_unpacked_bytes:
        raise ContentError.of("", f"at most {max_unpacked_bytes:,} unpacked bytes", f"{unpacked:,}")
    _refuse_all(members, _is_bomb, f"a ratio of at most {MAX_RATIO}", "bombs")
    if sum(member.compress_size for member in members) > file_bytes:
        raise ContentError.of("", "members that lie beside each other", "members that overlap")


def _check_member(archive: zipfile.ZipFile, member: Member) -> None:
    try:
        with archive.open(member) as file:
            block = file.read(BLOCK_BYTES)
            if sniff(block[:8]) in PACKED:
                raise ContentError.of(
                    member.filename, "no archive inside the archive", sniff(block[:8])
                )
            while block:
                block = file.read(BLOCK_BYTES)
    except UNREADABLE as error:
        found = str(error) or type(error).__name__
        raise ContentError.of(member.filename, "a whole member with its checksum", found) from error


def _refuse_all(
    members: Sequence[Member], offends: Callable[[Member], bool], expected: str, kind: str = "names"
) -> None:
    offenders = sorted({member.orig_filename for member in members if offends(member)})
    if offenders:
        raise ContentError.of("", expected, f"{kind}: {', '.join(_named(offenders))}")


def _named(offenders: Sequence[str]) -> Iterator[str]:
    yield from (repr(name[:200]) for name in offenders[:NAMED_OFFENDERS])
    if len(offenders) > NAMED_OFFENDERS:
        yield f"and {len(offenders) - NAMED_OFFENDERS:,} more"


def _is_outside(member: Member) -> bool:
    """Judged as both kinds of system would read the name, and as it stands in the file."""
    name = member.orig_filename
    windows = PureWindowsPath(name)
    is_anchored = PurePosixPath(name).is_absolute() or bool(windows.anchor)
    return is_anchored or ".." in windows.parts or "\0" in name


def _is_link(member: Member) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _is_bomb(member: Member) -> bool:
    return (
        member.file_size > RATIO_COUNTS_FROM_BYTES
        and member.file_size > MAX_RATIO * member.compress_size
    )


UNPACKED_BLOCK_BYTES = 1 << 17  # what a processor's cache takes; a mebibyte costs twice the time
GZIP_WINDOW = 31
GZIP_MAGIC = b"\x1f\x8b"


class Gunzip:
    """Takes a gzip file in pieces, gives its bytes in pieces of 128 KiB at most."""

    def __init__(self, max_bytes: int) -> None:
        self.unpacked_bytes = 0
        self._max_bytes = max_bytes
        self._member = isal_zlib.decompressobj(GZIP_WINDOW)
        self._is_fresh = True
        self._members = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpacked pieces; raises ContentError for broken data and beyond the bound."""
        while data:
            if self._is_fresh and self._members:
                data = data.lstrip(b"\0")  # padding between and after members is allowed
                if not data:
                    return
                if not GZIP_MAGIC.startswith(data[: len(GZIP_MAGIC)]):
                    raise self._broken("not gzip again")
            yield self._piece(data)
            data = self._member.unconsumed_tail or self._next_member()

    def finish(self) -> None:
        """Raises ContentError where the file ends before gzip's own end."""
        if not self._is_fresh or not self._members:
            found = f"it cut off after {self.unpacked_bytes:,} unpacked bytes"
            raise ContentError.of("", "a whole gzip file", found)

    def _piece(self, data: bytes) -> bytes:
        try:
            piece = self._member.decompress(data, UNPACKED_BLOCK_BYTES)
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub names no class
            raise self._broken(str(error)) from error
        self._is_fresh = False
        self.unpacked_bytes += len(piece)
        if self.unpacked_bytes > self._max_bytes:
            raise ContentError.of("", f"at most {self._max_bytes:,} unpacked bytes", "more")
        return piece

    def _broken(self, why: str) -> ContentError:
        place = "after its end" if self._is_fresh and self._members else "inside"
        return ContentError.of("", "a whole gzip file", f"broken data {place} ({why})")

    def _next_member(self) -> bytes:
        if not self._member.eof:
            return b""
        rest = self._member.unused_data
        self._member = isal_zlib.decompressobj(GZIP_WINDOW)
        self._is_fresh = True
        self._members += 1
        return rest

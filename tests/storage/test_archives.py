"""Each kind of zip archive that is refused, and one that is accepted."""

from __future__ import annotations

import io
import stat
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from etl_assets.model.errors import ContentError
from etl_assets.storage.archives import check_zip

LIMIT = 100 << 20
Writer = Callable[[zipfile.ZipFile], None]


def zipped(write: Writer, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        write(archive)
    return buffer.getvalue()


def check(tmp_path: Path, content: bytes, limit: int = LIMIT, max_members: int = 1_000) -> int:
    path = tmp_path / "all.zip"
    path.write_bytes(content)
    return check_zip(path, max_unpacked_bytes=limit, max_members=max_members)


def member(name: str, content: bytes = b"{}") -> Writer:
    return lambda archive: archive.writestr(name, content)


def link(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("link.json")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(info, "/etc/passwd")


def encrypted(content: bytes) -> bytes:
    """Set the flag of encryption in the local header and in the directory."""
    flagged = bytearray(content)
    flagged[6] |= 1
    flagged[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(flagged)


def test_the_unpacked_size_of_a_good_archive_is_returned(tmp_path: Path) -> None:
    def write(archive: zipfile.ZipFile) -> None:
        archive.mkdir("records")
        archive.writestr("records/a.json", b'{"id": "A-1"}')
        archive.writestr("b.json", b'{"id": "A-2"}')

    assert check(tmp_path, zipped(write)) == 26


@pytest.mark.fault("zip-outside")
@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../a.json",
        "a/../../b.json",
        "..\\a.json",
        "C:\\a.json",
        "C:a.json",
        "\\a.json",
    ],
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ContentError, match="names that stay inside the archive, found names:"):
        check(tmp_path, zipped(member(name)))


@pytest.mark.fault("zip-outside")
def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    content = zipped(member("a.jsonX.exe")).replace(b"a.jsonX", b"a.json\0")

    with pytest.raises(ContentError, match="stay inside"):
        check(tmp_path, content)


def test_up_to_ten_offending_names_are_listed(tmp_path: Path) -> None:
    def write(archive: zipfile.ZipFile) -> None:
        for number in range(12):
            archive.writestr(f"../{number:02}.json", "{}")

    with pytest.raises(ContentError, match=r"'\.\./00\.json'.*'\.\./09\.json', and 2 more$"):
        check(tmp_path, zipped(write))


@pytest.mark.fault("zip-link")
def test_a_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ContentError, match="expected plain files only, found symbolic links: 'link"
    ):
        check(tmp_path, zipped(link))


@pytest.mark.fault("zip-encrypted")
def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match=r"found encrypted ones: 'a\.json'"):
        check(tmp_path, encrypted(zipped(member("a.json"))))


@pytest.mark.fault("zip-twice")
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_duplicate_name_is_refused(tmp_path: Path) -> None:
    def write(archive: zipfile.ZipFile) -> None:
        archive.writestr("a.json", "{}")
        archive.writestr("a.json", "[]")

    with pytest.raises(ContentError, match=r"expected each name once, found duplicates: 'a\.json'"):
        check(tmp_path, zipped(write))


@pytest.mark.fault("zip-nested")
@pytest.mark.parametrize(
    ("inner", "kind"),
    [(zipped(member("b.json")), "zip"), (b"\x1f\x8b\x08 and so on", "gzip")],
    ids=["zip", "gzip"],
)
def test_an_archive_in_the_archive_is_refused(tmp_path: Path, inner: bytes, kind: str) -> None:
    with pytest.raises(ContentError, match=f"a.json: expected no archive .*, found {kind}"):
        check(tmp_path, zipped(member("a.json", inner)))


@pytest.mark.fault("zip-bomb")
def test_a_bomb_by_size_is_refused_without_unpacking(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="expected at most 1,000 unpacked bytes, found 1,001"):
        check(tmp_path, zipped(member("a.json", b" " * 1001)), limit=1000)


@pytest.mark.fault("zip-bomb")
def test_a_bomb_by_ratio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ContentError, match=r"expected a ratio of at most 250, found bombs: 'a\.json'"
    ):
        check(tmp_path, zipped(member("a.json", b" " * (16 << 20))))


@pytest.mark.fault("zip-bomb")
def test_a_member_longer_than_its_stated_size_is_refused(tmp_path: Path) -> None:
    content = zipped(member("a.json", b" " * 5000))
    changed = content.replace(struct.pack("<L", 5000), struct.pack("<L", 10))

    with pytest.raises(ContentError, match=r"a\.json: expected a whole member with its checksum"):
        check(tmp_path, changed)


@pytest.mark.fault("zip-bomb")
def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    """Several entries of the directory point at one member's bytes."""

    def write(archive: zipfile.ZipFile) -> None:
        archive.writestr("a.json", bytes(range(256)) * 40)
        shared = archive.infolist()[0]
        for number in range(3):
            other = zipfile.ZipInfo(f"{number}.json")
            for field in ("header_offset", "compress_size", "file_size", "CRC", "compress_type"):
                setattr(other, field, getattr(shared, field))
            archive.filelist.append(other)

    with pytest.raises(ContentError, match="found members that overlap"):
        check(tmp_path, zipped(write, zipfile.ZIP_STORED))


@pytest.mark.fault("zip-crc")
def test_a_wrong_checksum_is_named(tmp_path: Path) -> None:
    content = zipped(member("a.json", b'{"id": "A-1"}'), zipfile.ZIP_STORED)

    with pytest.raises(ContentError, match=r"a\.json: .*Bad CRC-32"):
        check(tmp_path, content.replace(b'"A-1"', b'"B-2"'))


@pytest.mark.fault("truncated-zip")
@pytest.mark.parametrize("length", [0, 3, 30, 60, -1], ids=lambda length: f"{length} bytes")
def test_a_cut_archive_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(ContentError, match="expected a whole zip archive"):
        check(tmp_path, zipped(member("a.json"))[:length])


def test_a_real_archive_of_many_members_is_checked_in_seconds(mirror: Path) -> None:
    path = mirror / "osv-vulnerabilities.storage.googleapis.com" / "Debian" / "all.zip"
    before = time.process_time()

    unpacked = check_zip(path, max_unpacked_bytes=LIMIT, max_members=1_000_000)

    assert unpacked > path.stat().st_size
    assert time.process_time() - before < 10


def many_members(count: int, *, comment: bytes = b"", is_large: bool = False) -> bytes:
    """An archive of empty members; a large one ends with ZIP64 records."""
    buffer = io.BytesIO()
    limit, zipfile.ZIP_FILECOUNT_LIMIT = zipfile.ZIP_FILECOUNT_LIMIT, 0 if is_large else 0xFFFF
    try:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.comment = comment
            for number in range(count):
                archive.writestr(f"{number:0100}.json", b"")
    finally:
        zipfile.ZIP_FILECOUNT_LIMIT = limit
    return buffer.getvalue()


@pytest.mark.fault("zip-members")
@pytest.mark.parametrize("prefix", [b"", b"#!/bin/sh\n" * 50], ids=["plain", "after other bytes"])
@pytest.mark.parametrize("comment", [b"", b"a comment", b"x" * 0xFFFF])
@pytest.mark.parametrize("is_large", [False, True], ids=["zip", "zip64"])
def test_an_archive_of_too_many_members_is_refused_before_it_is_read(
    tmp_path: Path, prefix: bytes, comment: bytes, is_large: bool
) -> None:
    """The last entry of the directory is damaged: reading all entries would raise another error."""
    content = bytearray(prefix + many_members(60, comment=comment, is_large=is_large))
    last_entry = content.rindex(b"PK\x01\x02")
    content[last_entry : last_entry + 4] = b"ruin"

    with pytest.raises(ContentError, match="at most 50 members, found more"):
        check(tmp_path, bytes(content), max_members=50)
    with pytest.raises(ContentError, match="a whole zip archive, found Bad magic number"):
        check(tmp_path, bytes(content), max_members=60)


@pytest.mark.fault("zip-members")
def test_the_stated_number_of_members_is_not_trusted(tmp_path: Path) -> None:
    content = bytearray(many_members(51))
    content[-14:-10] = b"\x01\x00\x01\x00"

    with pytest.raises(ContentError, match="at most 50 members"):
        check(tmp_path, bytes(content), max_members=50)


@pytest.mark.parametrize("is_large", [False, True], ids=["zip", "zip64"])
def test_an_archive_of_as_many_members_as_declared_is_good(tmp_path: Path, is_large: bool) -> None:
    assert check(tmp_path, many_members(50, is_large=is_large), max_members=50) == 0

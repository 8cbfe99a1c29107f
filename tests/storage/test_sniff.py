"""The kind of a file from its first bytes, and unpacking gzip in pieces of any size."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_assets.model.errors import ContentError
from etl_assets.storage.archives import Gunzip
from etl_assets.storage.sniff import describe, sniff


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty"), (b" \n", "blank"), (b'{"a"', "json"), (b"\xef\xbb\xbf[1", "json"),
        (b"\x1f\x8b\x08", "gzip"), (b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"),
        (b"PAR1", "parquet"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\x00", "xz"),
        (b"BZh9", "bzip2"), (b"%PDF-1.7", "PDF"), (b"<?xml version='1.0'?>", "xml"),
        (b"<!-- x -->\n<HTML>", "html"),
        (b"\n<!doctype html>", "html"), (b"<rss><headline>", "xml"), (b"a,b\n1,2\n", "text"),
        ("M\u00fcller".encode(), "text"), ("M\u00fcller".encode("latin-1"), "text"),
        (b"a\x00b", "binary"), (b"\xff\xfea\x00", "UTF-16 text"),
        (b"SQLite format 3\x00", "SQLite"),
    ],
)  # fmt: skip
def test_the_first_bytes_give_the_kind_of_a_file(head: bytes, kind: str) -> None:
    assert sniff(head) == kind


@given(st.binary(max_size=200))
def test_any_bytes_have_a_description(head: bytes) -> None:
    assert describe(head)


@pytest.mark.parametrize(
    ("page", "description"),
    [
        (b"<html><title>\n Sign \xff in </title>", "an HTML page titled 'Sign \ufffd in'"),
        (b"<html>busy", "an HTML page"),
    ],
    ids=["titled", "untitled"],
)
def test_a_page_is_described_by_its_title(page: bytes, description: str) -> None:
    assert describe(page) == description


def unpacked(packed: bytes, size: int, limit: int = 1 << 30) -> bytes:
    gunzip = Gunzip(limit)
    pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
    blocks = [block for data in pieces for block in gunzip.feed(data)]
    gunzip.finish()
    return b"".join(blocks)


@given(
    contents=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    padding=st.sampled_from([b"", b"\0", b"\0" * 9]),
    size=st.integers(1, 400),
)
def test_gzip_is_unpacked_from_pieces_of_any_size(
    contents: list[bytes], padding: bytes, size: int
) -> None:
    packed = padding.join(gzip.compress(content) for content in contents) + padding

    assert unpacked(packed, size) == b"".join(contents)


@given(cut=st.integers(1, 50), size=st.integers(1, 60))
def test_a_cut_gzip_is_never_taken_for_a_whole_one(cut: int, size: int) -> None:
    packed = gzip.compress(b"some text that is packed, and some more")

    with pytest.raises(ContentError, match="cut off"):
        unpacked(packed[:-cut], size)


def test_an_empty_file_is_not_a_gzip_file() -> None:
    with pytest.raises(ContentError, match="cut off after 0 unpacked bytes"):
        unpacked(b"", 1)


def gzip_member(
    content: bytes, flags: int = 0, fields: bytes = b"", checksum: int | None = None
) -> bytes:
    """A member with these flags and fields in its header (RFC 1952, 2.3)."""
    header = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6) + fields
    if flags & 0x02:
        value = zlib.crc32(header) & 0xFFFF if checksum is None else checksum
        header += value.to_bytes(2, "little")
    return header + gzip.compress(content, mtime=0)[10:]


EXTRA = b"\x06\x00ab\x02\x00xy"
HEADERS = [
    pytest.param(0x01, b"", id="FTEXT"),
    pytest.param(0x02, b"", id="FHCRC"),
    pytest.param(0x04, EXTRA, id="FEXTRA"),
    pytest.param(0x04, b"\xff\xff" + b"x" * 0xFFFF, id="the longest FEXTRA"),
    pytest.param(0x08, b"pears.json\0", id="FNAME"),
    pytest.param(0x10, b"\0", id="FCOMMENT, empty"),
    pytest.param(0x1F, EXTRA + b"pears.json\0a comment\0", id="all"),
]


@pytest.mark.fault("gzip-header")
@pytest.mark.parametrize(("flags", "fields"), HEADERS)
@pytest.mark.parametrize("size", [1 << 20, 7, 1])
def test_every_field_of_a_header_is_passed_over(flags: int, fields: bytes, size: int) -> None:
    packed = gzip.compress(b"first ") + gzip_member(b"second", flags, fields) + b"\0\0"

    assert unpacked(packed, size if len(packed) < 1_000 else max(size, 5_000)) == b"first second"


@pytest.mark.fault("gzip-header")
@pytest.mark.parametrize("flag", [0x20, 0x40, 0x80, 0xE8])
@pytest.mark.parametrize("before", [b"", gzip.compress(b"first")], ids=["first", "second"])
@pytest.mark.parametrize("size", [1 << 20, 1])
def test_a_reserved_flag_is_refused(flag: int, before: bytes, size: int) -> None:
    """RFC 1952, 2.3.1.2: it could mean a field that would be read as content."""
    with pytest.raises(ContentError, match=f"reserved flags .*{flag & 0xE0:#04x}"):
        unpacked(before + gzip_member(b"text", flag, b"name\0"), size)


@pytest.mark.fault("gzip-header")
@pytest.mark.parametrize(
    ("packed", "message"),
    [
        pytest.param(gzip_member(b"a", 0x02, checksum=1), "Incorrect checksum", id="FHCRC"),
        pytest.param(gzip_member(b"a", 0x08, b"n" * (1 << 19)), "short header", id="endless name"),
        pytest.param(gzip_member(b"a", 0x08, b"name")[:14], "cut off", id="cut name"),
        pytest.param(gzip_member(b"a", 0x04, EXTRA)[:13], "cut off", id="cut FEXTRA"),
        pytest.param(b"\x1f\x8b\x07" + gzip.compress(b"a")[3:], "compress method", id="method 7"),
        pytest.param(gzip.compress(b"a") + b"more", "after its end", id="bytes after the end"),
        pytest.param(gzip.compress(b"a") + b"\0\x1f", "cut off", id="half a magic number"),
        pytest.param(b'{"a": 1, "b": 2}', "broken data", id="JSON"),
    ],
)
@pytest.mark.parametrize("size", [1 << 20, 5])
def test_a_broken_header_is_refused(packed: bytes, message: str, size: int) -> None:
    with pytest.raises(ContentError, match=message):
        unpacked(packed, size if len(packed) < 1_000 else 1 << 16)

"""The kind of a file from its first bytes, and unpacking gzip in pieces of any size."""

from __future__ import annotations

import gzip

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

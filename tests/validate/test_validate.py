"""Each fault of a file as a whole."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path
from typing import Any

import pytest
from support.misbehaving_server import LOGIN_PAGE
from support.transfers import GOOD, make_source

from etl_assets.model.records import Part, Verdict
from etl_assets.validate.validate import validate

PART = Part(source="advisories.feed")
PACKED = gzip.compress(GOOD)
GZIP = {"expect": {"compression": "gzip"}}
CSV = {"format": {"name": "csv"}}
SMALL = {"limits": {"max_unpacked_bytes": 99}}
ARRAY = {"format": {"name": "json", "rows": ""}}


def judge(tmp_path: Path, content: bytes, **fields: Any) -> Verdict:
    path = tmp_path / "file"
    path.write_bytes(content)
    return validate(make_source("https://feeds.example/a", **fields), PART, path, sha256="ab" * 32)


@pytest.mark.parametrize(
    ("content", "fields", "kind"),
    [
        (GOOD, {}, "json"),
        (b"\xef\xbb\xbf " + GOOD + b"\n", {}, "json"),
        (b"[1]", ARRAY, "json"),
        (PACKED, GZIP, "json"),
        (PACKED + gzip.compress(b" ") + b"\0\0", GZIP, "json"),
        (b"cve_id\nCVE-2026-1\n", CSV, "text"),
        (b"#made today\ncve_id\n", CSV, "text"),
        ("cve_id\nM\u00fcller\n".encode("latin-1"), CSV, "text"),
        (b"\n", {**CSV, "expect": {"min_rows": 0}}, "text"),
        (b"{}", {"expect": {"min_rows": 0}}, "json"),
    ],
    ids=[
        "json", "bom and space", "array", "gzip", "two members and padding", "csv",
        "csv with comment", "csv in Latin-1", "no line where none is needed",
        "no record where none is needed",
    ],
)  # fmt: skip
def test_a_file_as_declared_is_good(
    tmp_path: Path, content: bytes, fields: dict[str, Any], kind: str
) -> None:
    verdict = judge(tmp_path, content, **fields)

    assert (verdict.ok, verdict.actual) == (True, kind)


def test_a_good_verdict_has_the_unpacked_size(tmp_path: Path) -> None:
    assert judge(tmp_path, PACKED, **GZIP).unpacked_bytes == len(GOOD)


@pytest.mark.fault("magic", "error-page", "empty-answer", "truncated-gzip", "json-trailing")
@pytest.mark.parametrize(
    ("content", "fields", "expected", "actual"),
    [
        (b"", {}, "at least 1 bytes", "an empty file"),
        (GOOD, {"expect": {"min_bytes": 9999}}, "at least 9,999 bytes", "4,069 bytes, json"),
        (LOGIN_PAGE, {}, "json", "an HTML page titled 'Sign in'"),
        (b"  <html><p>busy", {}, "json", "an HTML page"),
        (LOGIN_PAGE, CSV, "text", "an HTML page titled 'Sign in'"),
        (LOGIN_PAGE, GZIP, "gzip", "an HTML page titled 'Sign in'"),
        (gzip.compress(LOGIN_PAGE), GZIP, "json", "an HTML page titled 'Sign in'"),
        (PACKED, {}, "json", "gzip"),
        (GOOD, GZIP, "gzip", "json"),
        (b"PK\x03\x04", GZIP, "gzip", "zip"),
        (b"<?xml version='1.0'?><error/>", {}, "json", "xml"),
        (b"too many requests", {}, "json", "text"),
        (b'{"error": "too many requests"}', CSV, "text", "json"),
        (b"\x00\x01\x02", CSV, "text", "binary"),
        (GOOD.decode().encode("utf-16"), {}, "json", "UTF-16 text"),
        (b"   ", {}, "json", "blank"),
        (b"[1]", {}, "JSON that starts with {", "["),
        (b'{"a": 1}', ARRAY, "JSON that starts with [", "{"),
        (b"{ }\n", {}, "at least 1 records", "{ }"),
        (b"[]", ARRAY, "at least 1 records", "[]"),
        (GOOD[:-1], {}, "'}'", "'\"': the file is cut off"),
        (GOOD + b"\nServed in 3 ms", {}, "'}'", "'s': the file is cut off"),
        (PACKED[:-9], GZIP, "a whole gzip file", "cut off"),
        (PACKED[:30] + b"!" + PACKED[31:], GZIP, "a whole gzip file", "broken data"),
        (PACKED + b"more", GZIP, "a whole gzip file", "broken data after its end"),
        (PACKED, {**GZIP, **SMALL}, "at most 99 unpacked bytes", "more"),
    ],
    ids=[
        "empty", "too short", "login page", "page without title", "page for csv", "page for gzip",
        "page in gzip", "packed", "not packed", "zip for gzip", "xml", "text for json",
        "json for csv", "binary", "utf-16", "blank", "array for object", "object for array",
        "no records in object", "no records in array", "json cut off", "json goes on",
        "gzip cut off", "gzip broken",
        "gzip goes on", "gzip bomb",
    ],
)  # fmt: skip
def test_another_file_is_refused_with_what_was_expected_and_found(
    tmp_path: Path, content: bytes, fields: dict[str, Any], expected: str, actual: str
) -> None:
    verdict = judge(tmp_path, content, **fields)

    assert not verdict.ok
    assert verdict.expected == expected
    assert actual in verdict.actual


@pytest.mark.fault("zip-bomb")
def test_a_gzip_bomb_is_stopped_in_flat_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * (64 << 20))

    verdict = judge(tmp_path, bomb, **GZIP, limits={"max_unpacked_bytes": 1 << 20})

    assert (verdict.expected, verdict.actual) == ("at most 1,048,576 unpacked bytes", "more")


def test_real_feeds_are_as_declared(mirror: Path) -> None:
    zipped = make_source(
        "x",
        format={"name": "osv"},
        expect={"compression": "zip"},
        limits={"max_members": 1_000_000},
    )
    path = mirror / "osv-vulnerabilities.storage.googleapis.com" / "Debian" / "all.zip"

    verdict = validate(zipped, PART, path, sha256="ab" * 32)

    assert verdict.ok, str(verdict)


XZ = {"expect": {"compression": "xz"}, "format": {"name": "deb822"}}
PACKED_INDEX = lzma.compress(b"Package: oak\nVersion: 1\n" * 200)


def test_an_index_in_xz_is_good(tmp_path: Path) -> None:
    verdict = judge(tmp_path, PACKED_INDEX, **XZ)

    assert (verdict.ok, verdict.actual, verdict.unpacked_bytes) == (True, "text", 4_800)
    assert verdict.expected == "deb822 in xz"


@pytest.mark.fault("magic", "error-page", "truncated-gzip", "zip-bomb")
@pytest.mark.parametrize(
    ("content", "limits", "expected", "actual"),
    [
        pytest.param(b"Package: oak\n", {}, "xz", "text", id="not packed"),
        pytest.param(gzip.compress(b"Package: oak\n"), {}, "xz", "gzip", id="gzip"),
        pytest.param(LOGIN_PAGE, {}, "xz", "an HTML page titled 'Sign in'", id="page"),
        pytest.param(PACKED_INDEX[:-9], {}, "a whole xz file", "it cut off after", id="cut off"),
        pytest.param(PACKED_INDEX + b"x" * 50, {}, "a whole xz file", "broken data", id="trailing"),
        pytest.param(PACKED_INDEX, SMALL, "at most 99 unpacked bytes", "more", id="bomb"),
        pytest.param(lzma.compress(LOGIN_PAGE), {}, "text", "an HTML page", id="packed page"),
    ],
)
def test_another_file_than_an_index_in_xz_is_refused(
    tmp_path: Path, content: bytes, limits: dict[str, Any], expected: str, actual: str
) -> None:
    verdict = judge(tmp_path, content, **XZ, **limits)

    assert not verdict.ok
    assert verdict.expected == expected
    assert verdict.actual.startswith(actual)

"""Each fault of a file as a whole, and where the file goes."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from support.misbehaving_server import LOGIN_PAGE
from support.transfers import GOOD, NOW, declared

from etl_assets.declarations.source import Source
from etl_assets.model.home import Home
from etl_assets.model.records import Part, Verdict
from etl_assets.validate.validate import quarantine, validate

PART = Part(source="advisories.feed")
PACKED = gzip.compress(GOOD)
GZIP = {"expect": {"compression": "gzip"}}
CSV = {"format": {"name": "csv"}}
SMALL = {"limits": {"max_unpacked_bytes": 99}}
ARRAY = {"format": {"name": "json", "rows": ""}}


def judge(tmp_path: Path, content: bytes, **fields: Any) -> Verdict:
    path = tmp_path / "file"
    path.write_bytes(content)
    return validate(declared("https://feeds.example/a", **fields), PART, path, sha256="ab" * 32)


@pytest.mark.parametrize(
    ("content", "fields", "found"),
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
def test_what_is_as_declared_is_good(
    tmp_path: Path, content: bytes, fields: dict[str, Any], found: str
) -> None:
    verdict = judge(tmp_path, content, **fields)

    assert (verdict.ok, verdict.found) == (True, found)


def test_a_good_verdict_says_how_large_the_content_is(tmp_path: Path) -> None:
    assert judge(tmp_path, PACKED, **GZIP).unpacked_bytes == len(GOOD)


@pytest.mark.fault("magic", "error-page", "empty-answer", "truncated-gzip", "json-trailing")
@pytest.mark.parametrize(
    ("content", "fields", "expected", "found"),
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
def test_what_is_not_as_declared_is_refused_with_both_names(
    tmp_path: Path, content: bytes, fields: dict[str, Any], expected: str, found: str
) -> None:
    verdict = judge(tmp_path, content, **fields)

    assert not verdict.ok
    assert verdict.expected == expected
    assert found in verdict.found


@pytest.mark.fault("zip-bomb")
def test_a_gzip_bomb_is_stopped_in_flat_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * (64 << 20))

    verdict = judge(tmp_path, bomb, **GZIP, limits={"max_unpacked_bytes": 1 << 20})

    assert (verdict.expected, verdict.found) == ("at most 1,048,576 unpacked bytes", "more")


@pytest.fixture
def bad(home: Home) -> tuple[Source, Path, Verdict]:
    sha256 = hashlib.sha256(LOGIN_PAGE).hexdigest()
    path = home.raw_file(sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes(LOGIN_PAGE)
    source = declared("https://feeds.example/a")
    return source, path, validate(source, PART, path, sha256=sha256)


def test_a_refused_file_leaves_the_store_and_its_reason_lies_beside_it(
    home: Home, bad: tuple[Source, Path, Verdict]
) -> None:
    source, path, verdict = bad

    record = quarantine(home, source, PART, path, verdict, NOW, url="https://feeds.example/a")

    aside = home.root / record.path
    assert not path.exists()
    assert aside.read_bytes() == LOGIN_PAGE
    assert json.loads(Path(f"{aside}.json").read_text(encoding="utf-8")) == {
        "part": {"source": "advisories.feed", "partition": None},
        "sha256": verdict.sha256,
        "size_bytes": len(LOGIN_PAGE),
        "path": f"data/quarantine/advisories/feed/{verdict.sha256}",
        "url": "https://feeds.example/a",
        "where": "first bytes",
        "expected": "json",
        "found": "an HTML page titled 'Sign in'",
        "quarantined_at": "2026-11-21T05:00:00Z",
    }


def test_a_file_that_another_record_names_stays_in_the_store_too(
    home: Home, bad: tuple[Source, Path, Verdict]
) -> None:
    source, path, verdict = bad

    record = quarantine(home, source, PART, path, verdict, NOW, url="", keep_original=True)

    assert path.read_bytes() == (home.root / record.path).read_bytes()


def test_real_feeds_are_as_declared(mirror: Path) -> None:
    zipped = declared("x", format={"name": "osv"}, expect={"compression": "zip"})
    path = mirror / "osv-vulnerabilities.storage.googleapis.com" / "Debian" / "all.zip"

    verdict = validate(zipped, PART, path, sha256="ab" * 32)

    assert verdict.ok, str(verdict)

"""Quarantined files: written, listed and deleted with their reasons."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
from support.misbehaving_server import LOGIN_PAGE
from support.transfers import NOW, PART, make_source

from etl_assets.model.errors import HomeError, Problem
from etl_assets.model.home import Home
from etl_assets.model.records import QuarantinedFile
from etl_assets.validate import quarantine

SOURCE = make_source("https://feeds.example/feed.json")


def refuse(home: Home, content: bytes, hours: int = 0) -> QuarantinedFile:
    home.root.mkdir(exist_ok=True)
    path = home.root / "refused"
    path.write_bytes(content)
    problem = Problem("first bytes", "json", "an HTML page")
    at = NOW + timedelta(hours=hours)
    return quarantine.quarantine_file(
        home, SOURCE, PART, path, problem, url="https://a.example", at=at
    )


def test_files_are_listed_with_their_reasons_newest_first(home: Home) -> None:
    old, new = refuse(home, b"old"), refuse(home, b"new", hours=1)

    assert quarantine.list_quarantined(home, SOURCE) == [new, old]
    assert str(old) == (
        f"advisories.feed {old.sha256[:12]} 2026-11-21 05:00 UTC: "
        "first bytes: expected json, found an HTML page"
    )


def test_the_list_is_empty_before_any_file_is_refused(home: Home) -> None:
    assert quarantine.list_quarantined(home, SOURCE) == []


def test_a_file_is_deleted_with_its_reason_and_its_bytes_are_counted(home: Home) -> None:
    record = refuse(home, b"old")

    freed = [quarantine.delete_quarantined(home, record) for _ in range(2)]

    assert freed == [3, 0]
    assert list(home.quarantine("advisories", "feed").iterdir()) == []


@pytest.mark.parametrize(("text", "field"), [("{", "the whole file"), ("{}", "part")])
def test_a_damaged_reason_is_named(home: Home, text: str, field: str) -> None:
    record = refuse(home, b"old")
    reason = home.root / f"{record.path}.json"
    reason.write_text(text, encoding="utf-8")

    with pytest.raises(HomeError, match=f"{reason}: {field}: "):
        quarantine.list_quarantined(home, SOURCE)


def test_a_refused_file_moves_from_the_store_to_quarantine_with_its_reason(home: Home) -> None:
    sha256 = hashlib.sha256(LOGIN_PAGE).hexdigest()
    path = home.raw_file(sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes(LOGIN_PAGE)
    problem = Problem("first bytes", "json", "an HTML page titled 'Sign in'")

    record = quarantine.quarantine_file(
        home, SOURCE, PART, path, problem, url="https://feeds.example/a", at=NOW
    )

    quarantined = home.root / record.path
    assert not path.exists()
    assert quarantined.read_bytes() == LOGIN_PAGE
    assert json.loads(Path(f"{quarantined}.json").read_text(encoding="utf-8")) == {
        "part": {"source": "advisories.feed", "partition": None},
        "sha256": sha256,
        "size_bytes": len(LOGIN_PAGE),
        "path": f"data/quarantine/advisories/feed/{sha256}",
        "url": "https://feeds.example/a",
        "where": "first bytes",
        "expected": "json",
        "found": "an HTML page titled 'Sign in'",
        "quarantined_at": "2026-11-21T05:00:00Z",
    }


def test_a_file_of_another_record_too_is_copied(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "shared"
    path.write_bytes(b"shared")

    record = quarantine.quarantine_file(
        home, SOURCE, PART, path, Problem("", "a", "b"), url="x", at=NOW, keep_original=True
    )

    assert path.read_bytes() == (home.root / record.path).read_bytes()

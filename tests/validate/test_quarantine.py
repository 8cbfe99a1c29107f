"""What lies in quarantine: listed with its reason, and removed with it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.transfers import NOW, PART, declared

from etl_assets.model.errors import HomeError, Problem
from etl_assets.model.home import Home
from etl_assets.model.records import QuarantinedFile
from etl_assets.validate import quarantine

SOURCE = declared("https://feeds.example/feed.json")


def set_aside(home: Home, content: bytes, hours: int = 0) -> QuarantinedFile:
    home.root.mkdir(exist_ok=True)
    path = home.root / "refused"
    path.write_bytes(content)
    problem = Problem("first bytes", "json", "an HTML page")
    at = NOW + timedelta(hours=hours)
    return quarantine.quarantine_file(
        home, SOURCE, PART, path, problem, url="https://a.example", at=at
    )


def test_files_are_listed_with_their_reasons_the_newest_first(home: Home) -> None:
    old, new = set_aside(home, b"old"), set_aside(home, b"new", hours=1)

    assert quarantine.list_quarantined(home, SOURCE) == [new, old]
    assert str(old) == (
        f"advisories.feed {old.sha256[:12]} 2026-11-21 05:00 UTC: "
        "first bytes: expected json, found an HTML page"
    )


def test_nothing_is_listed_where_nothing_was_refused(home: Home) -> None:
    assert quarantine.list_quarantined(home, SOURCE) == []


def test_a_discarded_file_goes_with_its_reason_and_frees_its_bytes(home: Home) -> None:
    record = set_aside(home, b"old")

    freed = [quarantine.delete_quarantined(home, record) for _ in range(2)]

    assert freed == [3, 0]
    assert list(home.quarantine("advisories", "feed").iterdir()) == []


@pytest.mark.parametrize(("text", "told"), [("{", "the whole file"), ("{}", "part")])
def test_a_damaged_reason_is_named(home: Home, text: str, told: str) -> None:
    record = set_aside(home, b"old")
    reason = home.root / f"{record.path}.json"
    reason.write_text(text, encoding="utf-8")

    with pytest.raises(HomeError, match=f"{reason}: {told}: "):
        quarantine.list_quarantined(home, SOURCE)


def test_a_file_that_another_record_names_stays_where_it_is(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "shared"
    path.write_bytes(b"shared")

    record = quarantine.quarantine_file(
        home, SOURCE, PART, path, Problem("", "a", "b"), url="x", at=NOW, keep_original=True
    )

    assert path.read_bytes() == (home.root / record.path).read_bytes()

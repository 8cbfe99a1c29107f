"""What retention lets go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from etl_assets.declarations.domain import Retention
from etl_assets.model.records import Part, RawFile
from etl_assets.operations.retention_rules import runs_to_remove, versions_to_remove

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def version(days_old: int) -> RawFile:
    return RawFile(
        part=Part(source="orchard.fruits"), sha256=f"{days_old:064x}", size_bytes=1,
        path=f"data/raw/00/{days_old:064x}", url="https://orchard.example/fruits",
        fetched_at=NOW - timedelta(days=days_old), code_version="1",
    )  # fmt: skip


def going(*ages: int, versions: int = 10, days: int = 90) -> list[int]:
    held = [version(age) for age in ages]
    chosen = versions_to_remove(held, Retention(versions=versions, days=days), NOW)
    return [int(file.sha256, 16) for file, _ in chosen]


@pytest.mark.parametrize(
    ("ages", "bounds", "gone"),
    [
        pytest.param((1, 2, 3), {"versions": 2}, [3], id="beyond the count"),
        pytest.param((1, 100, 200), {"days": 90}, [200], id="replaced long ago"),
        pytest.param((1, 400), {"days": 90}, [], id="old, yet replaced lately"),
        pytest.param((400,), {"versions": 1, "days": 1}, [], id="the newest whatever its age"),
        pytest.param((), {}, [], id="none"),
    ],
)
def test_versions_beyond_the_count_or_the_age_go(
    ages: tuple[int, ...], bounds: dict[str, int], gone: list[int]
) -> None:
    assert going(*ages, **bounds) == gone


def test_the_reason_says_which_bound_it_was() -> None:
    held = [version(1), version(2), version(3), version(4)]
    chosen = versions_to_remove(held, Retention(versions=3, days=2), NOW)

    assert [why for _, why in chosen] == ["replaced 2 days ago", "beyond 3 versions"]


def test_old_runs_go_and_needed_ones_stay() -> None:
    runs = [Path("d"), Path("c"), Path("b"), Path("a")]

    assert runs_to_remove(runs, Retention(keep_runs=1), {Path("b")}) == [Path("c"), Path("a")]

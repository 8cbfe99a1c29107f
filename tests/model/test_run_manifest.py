"""A run's record answers what went wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import RunCheck, RunManifest, RunSource, age_hours

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_manifest(**changes: object) -> RunManifest:
    values: dict[str, object] = {
        "run_id": "r", "domain": "plants", "status": RunStatus.SUCCESS, "published": True,
        "as_of": NOON, "started_at": NOON, "finished_at": NOON + timedelta(seconds=3),
        "code_version": "1",
    }  # fmt: skip
    return RunManifest.model_validate(values | changes)


def test_a_run_knows_how_long_it_took() -> None:
    assert a_manifest().seconds == 3


def test_outages_are_what_was_not_fresh() -> None:
    sources = [RunSource(source=f"plants.{status}", status=status) for status in FetchStatus]

    found = a_manifest(sources=sources).outages

    assert [source.name for source in found] == ["plants.outage", "plants.missing", "plants.pinned"]


def test_failed_checks_are_told_apart() -> None:
    checks = [RunCheck(asset="a", name=n, passed=n == "x", severity="warn") for n in ("x", "y")]

    assert [check.name for check in a_manifest(checks=checks).failed_checks] == ["y"]


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        a_manifest(as_of=NOON.replace(tzinfo=None))


def test_an_unknown_moment_has_no_age() -> None:
    assert age_hours(None, NOON) is None
    assert age_hours(NOON - timedelta(minutes=90), NOON) == 1.5

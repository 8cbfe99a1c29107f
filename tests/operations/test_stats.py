"""How runs went over time, counted from manifests that lie in a home."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl_assets.model.home import Home
from etl_assets.model.phases import result_of
from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import RunCheck, RunManifest, RunPhase, RunSource
from etl_assets.operations.stats import count
from etl_assets.operations.stats_result import DomainStats
from etl_assets.publish import run_directory

DOMAIN = "orchard"
FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEPS = ("raw", "validated", "tables", "marts", "publish")
FETCHED, OUTAGE, MISSING = FetchStatus.FETCHED, FetchStatus.OUTAGE, FetchStatus.MISSING
LATE = RunCheck(asset="orchard/trees_raw", name="fetched", passed=False, severity="warn")
GATE = RunCheck(asset="orchard/published", name="gate", passed=False, severity="error")


def trees(status: FetchStatus = FETCHED, *, rows: int = 10, rejected: int = 0) -> RunSource:
    return RunSource(
        source="orchard.trees",
        status=status,
        sha256=None if status is MISSING else "a" * 64,
        rows=rows,
        rejected=rejected,
        fault=None if status is FETCHED else "no answer",
    )


def ran(
    home: Home,
    status: RunStatus,
    source: RunSource | None = None,
    *,
    seconds: int = 1,
    steps: Sequence[str] = STEPS,
    checks: Sequence[RunCheck] = (),
    **more: Any,
) -> None:
    """Leave the manifest of a run, a day after the one before."""
    day = FIRST + timedelta(days=len(run_directory.list_directories(home, DOMAIN)))
    directory = run_directory.create(home, DOMAIN, day)
    more = {"published": status is not RunStatus.FAILED} | more
    told = RunManifest(
        run_id=directory.name,
        domain=DOMAIN,
        status=status,
        as_of=day,
        started_at=day,
        finished_at=day + timedelta(seconds=seconds * len(steps)),
        code_version="1",
        sources=[source or trees()],
        phases=[RunPhase(name=f"{DOMAIN}_{step}", seconds=seconds) for step in steps],
        checks=list(checks),
        **more,
    )
    told = told.model_copy(update={"result": result_of(told)})
    run_directory.write_manifest(directory, told)


@pytest.fixture
def week(home: Home) -> Home:
    """Six runs: two good ones, a healed one, two that failed, one in which nothing moved."""
    ran(home, RunStatus.SUCCESS, trees(rows=10, rejected=1), seconds=1)
    ran(home, RunStatus.SUCCESS, trees(rows=12), seconds=4)
    ran(home, RunStatus.PARTIAL_SUCCESS, trees(OUTAGE, rows=12), checks=[LATE], answers=["look"])
    ran(home, RunStatus.FAILED, trees(rows=12), checks=[GATE, LATE], answers=["look"])
    ran(home, RunStatus.FAILED, trees(MISSING, rows=12), steps=STEPS[:2])
    ran(home, RunStatus.SUCCESS, trees(rows=14, rejected=2), steps=())
    return home


def test_outcomes_and_their_rates_are_counted(week: Home) -> None:
    found = count(week, DOMAIN)

    assert (found.runs, found.since) == (6, FIRST)
    assert found.by_status == {"success": 3, "failed": 2, "partial_success": 1}
    assert (found.success_pct, found.published_pct) == (50.0, 66.7)
    assert (found.unmoved, found.healed, found.asked) == (1, 1, 2)


def test_each_phase_has_a_rate_over_the_runs_that_began_it(week: Home) -> None:
    collect, load = count(week, DOMAIN).phases

    assert (collect.runs, collect.succeeded, collect.success_pct) == (6, 4, 66.7)
    assert (load.runs, load.succeeded, load.success_pct) == (4, 3, 75.0)


def test_times_are_those_of_runs_in_which_work_was_done(week: Home) -> None:
    found = count(week, DOMAIN)

    assert found.seconds
    assert (found.seconds.runs, found.seconds.median, found.seconds.slowest) == (5, 5.0, 20.0)
    assert found.seconds.slowest_run == "20260302_120000"
    assert [phase.seconds.median for phase in found.phases if phase.seconds] == [3.0, 2.0]
    assert list(found.steps) == list(STEPS)
    assert found.steps["marts"].runs == 4
    assert found.seconds_unmoved


def test_a_source_is_told_from_the_first_run_to_the_last(week: Home) -> None:
    [found] = count(week, DOMAIN).sources

    assert (found.first_rows, found.last_rows) == (10, 14)
    assert (found.first_rejected, found.last_rejected) == (1, 2)
    assert (found.runs, found.stood_in, found.missing) == (6, 1, 1)
    assert found.last_fault == "no answer"


def test_the_check_that_failed_most_comes_first(week: Home) -> None:
    found = [(check.name, check.failed, check.severity) for check in count(week, DOMAIN).checks]

    assert found == [("fetched", 2, "warn"), ("gate", 1, "error")]


def test_only_the_last_runs_are_counted_where_a_person_says_so(week: Home) -> None:
    found = count(week, DOMAIN, last=2)

    assert found.by_status == {"failed": 1, "success": 1}
    assert found.sources[0].first_rows == 12


def test_a_run_that_was_to_end_before_publishing_is_told_apart(week: Home) -> None:
    ran(week, RunStatus.SUCCESS, steps=STEPS[:3], published=False)

    found = count(week, DOMAIN)

    assert (found.halfway, found.published_pct) == (1, 66.7)
    assert [phase.runs for phase in found.phases] == [7, 4]
    assert found.lines()[2].endswith(", ended before publishing, as asked: 1")


def test_a_run_of_two_waves_counts_both_as_one_step(home: Home) -> None:
    ran(home, RunStatus.SUCCESS, steps=(*STEPS, "raw_2", "tables_2"), seconds=2)

    found = count(home, DOMAIN)

    assert found.steps["raw"].median == 4
    assert list(found.steps) == list(STEPS)


def test_a_damaged_manifest_is_told_and_counts_for_nothing(week: Home) -> None:
    path = week.outputs(DOMAIN) / "20260302_120000" / "manifest.json"
    path.write_text("{", encoding="utf-8")

    found = count(week, DOMAIN)

    assert found.runs == 5
    assert [str(path) in told for told in found.unread] == [True]
    assert any("cannot be read: " in line for line in found.lines())


def test_the_text_fits_a_terminal(week: Home) -> None:
    lines = count(week, DOMAIN).lines()

    assert max(map(len, lines)) <= 100
    assert lines[0] == "orchard: runs kept: 6, 2026-03-01 12:00 to 2026-03-06 12:00 UTC"
    [source] = [line.split() for line in lines if line.startswith("  trees ")]
    assert " ".join(source) == "trees 10 -> 14 1 -> 2 1 of 6, missing in 1"


def test_without_a_run_there_is_nothing_to_count(home: Home) -> None:
    found = count(home, DOMAIN)

    assert found == DomainStats(domain=DOMAIN, runs=0)
    assert found.lines() == ["orchard: no run is kept"]

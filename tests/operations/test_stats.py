"""Statistics over kept runs, read from the manifests in a home."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl_assets.model.home import Home
from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_log import LOG_FILE
from etl_assets.model.run_manifest import RunCheck, RunManifest, RunPhase, RunSource
from etl_assets.notify.notification import SentNotifications
from etl_assets.operations.stats import DomainStats, count
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


def write_run(
    home: Home,
    status: RunStatus,
    source: RunSource | None = None,
    *,
    seconds: int = 1,
    steps: Sequence[str] = STEPS,
    checks: Sequence[RunCheck] = (),
    **fields: Any,
) -> None:
    """Write the manifest of a run that started one day after the run before."""
    day = FIRST + timedelta(days=len(run_directory.list_directories(home, DOMAIN)))
    directory = run_directory.create(home, DOMAIN, day)
    fields = {"published": status is not RunStatus.FAILED} | fields
    manifest = RunManifest(
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
        **fields,
    )
    manifest = manifest.with_result()
    run_directory.write_manifest(directory, manifest)


@pytest.fixture
def week(home: Home) -> Home:
    """Six runs: two successes, one with a fallback, two failures, one without any change."""
    write_run(home, RunStatus.SUCCESS, trees(rows=10, rejected=1), seconds=1)
    write_run(home, RunStatus.SUCCESS, trees(rows=12), seconds=4)
    write_run(
        home,
        RunStatus.PARTIAL_SUCCESS,
        trees(OUTAGE, rows=12),
        checks=[LATE],
        next_actions=["look"],
    )
    write_run(home, RunStatus.FAILED, trees(rows=12), checks=[GATE, LATE], next_actions=["look"])
    write_run(home, RunStatus.FAILED, trees(MISSING, rows=12), steps=STEPS[:2])
    write_run(home, RunStatus.SUCCESS, trees(rows=14, rejected=2), steps=())
    return home


def test_outcomes_and_their_rates_are_counted(week: Home) -> None:
    stats = count(week, DOMAIN)

    assert (stats.runs, stats.since) == (6, FIRST)
    assert stats.by_status == {"success": 3, "failed": 2, "partial_success": 1}
    assert (stats.success_pct, stats.published_pct) == (50.0, 66.7)
    assert (stats.unchanged_runs, stats.fallback_runs, stats.attention_runs) == (1, 1, 2)


def test_each_phase_has_a_rate_over_the_runs_that_started_it(week: Home) -> None:
    collect, load = count(week, DOMAIN).phases

    assert (collect.runs, collect.succeeded, collect.success_pct) == (6, 4, 66.7)
    assert (load.runs, load.succeeded, load.success_pct) == (4, 3, 75.0)


def test_times_are_those_of_runs_in_which_work_was_done(week: Home) -> None:
    stats = count(week, DOMAIN)

    assert stats.seconds
    assert (stats.seconds.runs, stats.seconds.median, stats.seconds.slowest) == (5, 5.0, 20.0)
    assert stats.seconds.slowest_run == "20260302_120000"
    assert [phase.seconds.median for phase in stats.phases if phase.seconds] == [3.0, 2.0]
    assert list(stats.steps) == list(STEPS)
    assert stats.steps["marts"].runs == 4
    assert stats.seconds_unchanged


def test_a_source_has_its_row_counts_of_the_first_and_the_last_run(week: Home) -> None:
    [source] = count(week, DOMAIN).sources

    assert (source.first_rows, source.last_rows) == (10, 14)
    assert (source.first_rejected, source.last_rejected) == (1, 2)
    assert (source.runs, source.fallback_runs, source.missing) == (6, 1, 1)
    assert source.last_fault == "no answer"


def test_the_check_that_failed_most_comes_first(week: Home) -> None:
    failures = [(check.name, check.failed, check.severity) for check in count(week, DOMAIN).checks]

    assert failures == [("fetched", 2, "warn"), ("gate", 1, "error")]


@pytest.mark.parametrize(
    ("asset", "name", "asset_now", "name_now"),
    [
        ("mart_trees", "gate_orchard__are_tall", "mart_trees", "are_tall"),
        ("stg_orchard__trees", "not_null_stg_orchard__trees_id", "stg_trees", "not_null_id"),
        ("stg_trees", "unique_stg_orchard__trees_id", "stg_trees", "unique_id"),
    ],
)
def test_a_check_is_counted_under_its_present_name(
    home: Home, asset: str, name: str, asset_now: str, name_now: str
) -> None:
    for key in ((asset, name), (asset, name), (asset_now, name_now)):
        check = RunCheck(asset=f"{DOMAIN}/{key[0]}", name=key[1], passed=False, severity="warn")
        write_run(home, RunStatus.SUCCESS, checks=[check])
    write_run(home, RunStatus.FAILED, steps=STEPS[:1])

    [check] = count(home, DOMAIN).checks

    assert (check.asset, check.name) == (f"{DOMAIN}/{asset_now}", name_now)
    assert (check.failed, check.runs) == (3, 3)


@pytest.mark.parametrize(
    ("logs", "messages", "text"),
    [
        ([["info", "info"], ["error"]], {"info": 2, "error": 1}, "1 errors, 2 other lines"),
        ([["warning"], ["warning"], ["warning"]], {"warning": 3}, "3 warnings"),
        ([["info"], None], {"info": 1}, "1 other lines"),
        ([[]], {}, "nothing"),
    ],
    ids=["two runs", "three runs", "a run without a log", "no line"],
)
def test_the_lines_of_the_logs_are_counted_by_level(
    home: Home, logs: list[list[str] | None], messages: dict[str, int], text: str
) -> None:
    for levels in logs:
        write_run(home, RunStatus.SUCCESS)
        if levels is not None:
            newest = run_directory.list_directories(home, DOMAIN)[0]
            lines = [json.dumps({"level": level, "message": "x"}) for level in levels]
            (newest / LOG_FILE).write_text("\n".join([*lines, "{", ""]), encoding="utf-8")

    stats = count(home, DOMAIN)

    assert stats.messages == messages
    assert f"  logged: {text}; notifications: 0 sent, 0 failed" in stats.lines()


@pytest.mark.parametrize(("sent", "failed"), [(0, 0), (3, 1), (1234, 5)])
def test_notifications_are_those_of_all_runs(home: Home, sent: int, failed: int) -> None:
    write_run(home, RunStatus.SUCCESS)
    record = SentNotifications(at=FIRST, sent_count=sent, failed_count=failed)
    home.manifests.mkdir(parents=True, exist_ok=True)
    home.notifications(DOMAIN).write_text(record.model_dump_json(), encoding="utf-8")

    stats = count(home, DOMAIN)

    assert (stats.notifications_sent, stats.notifications_failed) == (sent, failed)
    assert stats.lines()[3].endswith(f"notifications: {sent:,} sent, {failed:,} failed")


def test_last_limits_the_statistics_to_the_newest_runs(week: Home) -> None:
    stats = count(week, DOMAIN, last=2)

    assert stats.by_status == {"failed": 1, "success": 1}
    assert stats.sources[0].first_rows == 12


def test_a_run_limited_to_earlier_stages_is_counted_apart(week: Home) -> None:
    write_run(week, RunStatus.SUCCESS, steps=STEPS[:3], published=False)

    stats = count(week, DOMAIN)

    assert (stats.partial_runs, stats.published_pct) == (1, 66.7)
    assert [phase.runs for phase in stats.phases] == [7, 4]
    assert stats.lines()[2].endswith(", limited to earlier stages: 1")


def test_a_run_of_two_waves_counts_both_as_one_step(home: Home) -> None:
    write_run(home, RunStatus.SUCCESS, steps=(*STEPS, "raw_2", "tables_2"), seconds=2)

    stats = count(home, DOMAIN)

    assert stats.steps["raw"].median == 4
    assert list(stats.steps) == list(STEPS)


def test_a_damaged_manifest_is_reported_and_not_counted(week: Home) -> None:
    path = week.outputs(DOMAIN) / "20260302_120000" / "manifest.json"
    path.write_text("{", encoding="utf-8")

    stats = count(week, DOMAIN)

    assert stats.runs == 5
    assert [str(path) in fault for fault in stats.unreadable] == [True]
    assert any("cannot be read: " in line for line in stats.lines())


def test_the_text_fits_a_terminal(week: Home) -> None:
    lines = count(week, DOMAIN).lines()

    assert max(map(len, lines)) <= 100
    assert lines[0] == "orchard: runs kept: 6, 2026-03-01 12:00 to 2026-03-06 12:00 UTC"
    [columns] = [line.split() for line in lines if line.startswith("  trees ")]
    assert " ".join(columns) == "trees 10 -> 14 1 -> 2 1 of 6 missing in 1"


def test_without_a_run_there_is_nothing_to_count(home: Home) -> None:
    stats = count(home, DOMAIN)

    assert stats == DomainStats(domain=DOMAIN, runs=0)
    assert stats.lines() == ["orchard: no run is kept"]


def test_the_json_keeps_the_published_names_of_the_fields(week: Home) -> None:
    document = count(week, DOMAIN).model_dump(mode="json")

    renamed = {"unread", "halfway", "unmoved", "healed", "asked", "seconds_unmoved"}
    assert renamed <= set(document)
    assert "stood_in" in document["sources"][0]

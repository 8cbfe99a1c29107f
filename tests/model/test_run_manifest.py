"""Queries on a run's manifest, and the results of its two phases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import (
    FailingRows,
    PublishedFile,
    RunAsset,
    RunCheck,
    RunManifest,
    RunPhase,
    RunSource,
    age_hours,
    summarize_files,
    summarize_run,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLLECTED = ["plants_raw", "plants_validated", "plants_tables"]
LOADED = ["plants_marts", "plants_publish"]


def run(status: FetchStatus, phases: list[str], *, published: bool, **more: Any) -> RunManifest:
    source = RunSource(
        source="plants.trees",
        status=status,
        sha256="a" * 64,
        rows=7,
        rejected=1,
        fetched_at=NOON,
        fault="no such file" if status is FetchStatus.OUTAGE else None,
    )
    values = {
        "run_id": "1",
        "domain": "plants",
        "status": RunStatus.SUCCESS if published else RunStatus.FAILED,
        "published": published,
        "as_of": NOON,
        "started_at": NOON,
        "finished_at": NOON,
        "code_version": "1",
        "sources": [source],
        "assets": [RunAsset(key="plants/trees_raw", outcome="made", data_version="1")],
        "phases": [RunPhase(name=name, seconds=45) for name in phases],
    }
    return RunManifest.model_validate(values | more)


@pytest.mark.parametrize(
    ("status", "phases", "published", "collected", "loaded"),
    [
        (FetchStatus.FETCHED, [*COLLECTED, *LOADED], True, "success", "success"),
        (FetchStatus.UNCHANGED, [], True, "success", "success"),
        (FetchStatus.OUTAGE, [*COLLECTED, *LOADED], True, "error", "success"),
        (FetchStatus.MISSING, COLLECTED[:2], False, "error", "skipped"),
        (FetchStatus.FETCHED, [*COLLECTED, *LOADED], False, "success", "error"),
        (FetchStatus.OUTAGE, [*COLLECTED, *LOADED], False, "error", "error"),
    ],
    ids=["all well", "nothing changed", "healed", "nothing stored", "not loaded", "neither"],
)
def test_each_phase_has_a_status_of_its_own(
    status: FetchStatus, phases: list[str], *, published: bool, collected: str, loaded: str
) -> None:
    result = summarize_run(run(status, phases, published=published))

    assert (result.collector_result.status, result.loader_result.status) == (collected, loaded)


@pytest.mark.parametrize("phases", [COLLECTED[:1], [*COLLECTED, *LOADED[:1]]], ids=["raw", "marts"])
def test_a_run_limited_to_earlier_stages_did_not_fail_to_load(phases: list[str]) -> None:
    ended = run(FetchStatus.FETCHED, phases, published=False)
    manifest = ended.model_copy(update={"status": RunStatus.SUCCESS})

    result = summarize_run(manifest)

    assert result.collector_result.status == "success"
    assert result.loader_result.status == "skipped"
    assert result.loader_result.data_validation == "not_run"


def test_the_result_has_record_counts_durations_and_healing_actions() -> None:
    result = summarize_run(run(FetchStatus.OUTAGE, [*COLLECTED, *LOADED], published=True))

    assert result.collector_result.records_count == 8
    assert result.collector_result.execution_time == "00:02:15"
    assert result.loader_result.execution_time == "00:01:30"
    assert result.collector_result.healing_actions == [
        "plants.trees: used the last good file of 2026-03-01 12:00 UTC: no such file"
    ]


def test_a_healing_action_does_not_name_the_time_of_the_refused_file() -> None:
    manifest = run(FetchStatus.OUTAGE, [*COLLECTED, *LOADED], published=True)
    refused = [s.model_copy(update={"refused_sha256": "b" * 64}) for s in manifest.sources]

    (action, *_) = summarize_run(
        manifest.model_copy(update={"sources": refused})
    ).collector_result.healing_actions

    assert "2026-03-01" not in action
    assert action.startswith("plants.trees: used the rows of the last good file, ")


def test_only_files_that_this_run_downloaded_count_as_fetched() -> None:
    fetched = run(FetchStatus.FETCHED, COLLECTED, published=True)
    repeated = run(FetchStatus.FETCHED, [], published=True, assets=[])

    assert summarize_run(fetched).collector_result.files_fetched == 1
    assert summarize_run(repeated).collector_result.files_fetched == 0


def test_the_steps_of_a_second_wave_count_too() -> None:
    again = [f"{name}_2" for name in COLLECTED]

    result = summarize_run(run(FetchStatus.FETCHED, [*COLLECTED, *again, *LOADED], published=True))

    assert result.collector_result.execution_time == "00:04:30"


def a_manifest(**changes: object) -> RunManifest:
    values: dict[str, object] = {
        "run_id": "r", "domain": "plants", "status": RunStatus.SUCCESS, "published": True,
        "as_of": NOON, "started_at": NOON, "finished_at": NOON + timedelta(seconds=3),
        "code_version": "1",
    }  # fmt: skip
    return RunManifest.model_validate(values | changes)


def test_a_run_has_a_duration() -> None:
    assert a_manifest().seconds == 3


def test_outages_are_sources_that_were_not_served() -> None:
    sources = [RunSource(source=f"plants.{status}", status=status) for status in FetchStatus]

    outages = a_manifest(sources=sources).outages

    assert [source.name for source in outages] == [
        "plants.outage",
        "plants.missing",
        "plants.pinned",
    ]


def test_failed_checks_are_listed() -> None:
    checks = [RunCheck(asset="a", name=n, passed=n == "x", severity="warn") for n in ("x", "y")]

    assert [check.name for check in a_manifest(checks=checks).failed_checks] == ["y"]


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        a_manifest(as_of=NOON.replace(tzinfo=None))


def test_an_unknown_moment_has_no_age() -> None:
    assert age_hours(None, NOON) is None
    assert age_hours(NOON - timedelta(minutes=90), NOON) == 1.5


def test_next_actions_are_stored_as_answers() -> None:
    manifest = run(FetchStatus.FETCHED, [], published=True, next_actions=["look at the report"])

    stored = manifest.model_dump(mode="json")

    assert stored["answers"] == ["look at the report"]
    assert "next_actions" not in stored
    assert RunManifest.model_validate(stored) == manifest
    assert RunManifest.model_validate_json(manifest.model_dump_json()) == manifest


@pytest.mark.parametrize(
    "names", [["all", "all.csv"], ["b/1", "b/2", "a"], ["c/2024/x", "c/index", "c/2024/a"]]
)
def test_the_summary_of_a_document_does_not_depend_on_the_order_of_its_files(
    names: list[str],
) -> None:
    files = [
        PublishedFile(document="all", file=name, sha256="a" * 64, size_bytes=1, rows=1)
        for name in names
    ]

    assert summarize_files(files) == summarize_files(files[::-1])


def failed_test(number: int, listed: int) -> RunCheck:
    """The check of a test that `number` rows fail, of which `listed` are known."""
    rows = FailingRows(columns=["tree_id"], rows=[[f"T-{n}"] for n in range(listed)])
    lines = [f"{number} found: Trees without a kind.", *rows.lines()]
    lines += [f"and {number - listed} more"] if number > listed else []
    return RunCheck(
        asset="plants/trees", name="has_kind", passed=False, severity="warn",
        description="\n".join(lines), rows=rows, failures=number,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "listed", "is_whole", "shown", "last"),
    [
        (15, 5, False, 5, "and 10 more"),
        (15, 15, False, 5, "and 10 more"),
        (15, 15, True, 15, "T-14"),
        (2000, 1000, True, 1000, "and 1,000 more"),
        (5, 5, False, 5, "T-4"),
        (6, 5, False, 5, "and 1 more"),
    ],
)
def test_the_rows_of_a_check_that_are_shown_and_counted_are_all(
    number: int, listed: int, is_whole: bool, shown: int, last: str
) -> None:
    first, *lines = failed_test(number, listed).lines(is_whole=is_whole)

    assert first == f"WARN  plants/trees: has_kind: {number} found: Trees without a kind."
    assert lines[0].strip() == "tree_id"
    assert len([line for line in lines if line.startswith("T-")]) == shown
    assert lines[-1].strip() == last


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_check_that_passes_has_one_line(is_whole: bool) -> None:
    check = failed_test(1, 1).model_copy(update={"passed": True, "description": "", "rows": None})

    assert check.lines(is_whole=is_whole) == ["ok    plants/trees: has_kind"]

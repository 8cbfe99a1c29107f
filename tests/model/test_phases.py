"""What the two phases of a run came to, from its manifest alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from etl_assets.model.phases import result_of
from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import RunAsset, RunManifest, RunPhase, RunSource

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLLECTED = ["plants_raw", "plants_validated", "plants_tables"]
LOADED = ["plants_marts", "plants_publish"]


def run(status: FetchStatus, phases: list[str], *, published: bool, **more: Any) -> RunManifest:
    source = RunSource(
        source="plants.trees",
        status=status,
        sha256="a" * 64,
        rows=7,
        rejected=1,
        fetched_at=AT,
        fault="no such file" if status is FetchStatus.OUTAGE else None,
    )
    told = {
        "run_id": "1",
        "domain": "plants",
        "status": RunStatus.SUCCESS if published else RunStatus.FAILED,
        "published": published,
        "as_of": AT,
        "started_at": AT,
        "finished_at": AT,
        "code_version": "1",
        "sources": [source],
        "assets": [RunAsset(key="plants/trees_raw", outcome="made", data_version="1")],
        "phases": [RunPhase(name=name, seconds=45) for name in phases],
    }
    return RunManifest.model_validate(told | more)


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
    ids=["all well", "nothing moved", "healed", "nothing held", "not loaded", "neither"],
)
def test_each_phase_has_a_status_of_its_own(
    status: FetchStatus, phases: list[str], *, published: bool, collected: str, loaded: str
) -> None:
    result = result_of(run(status, phases, published=published))

    assert (result.collector_result.status, result.loader_result.status) == (collected, loaded)


@pytest.mark.parametrize("phases", [COLLECTED[:1], [*COLLECTED, *LOADED[:1]]], ids=["raw", "marts"])
def test_a_run_that_was_asked_to_end_early_has_not_failed_to_load(phases: list[str]) -> None:
    ended = run(FetchStatus.FETCHED, phases, published=False)
    manifest = ended.model_copy(update={"status": RunStatus.SUCCESS})

    result = result_of(manifest)

    assert result.collector_result.status == "success"
    assert result.loader_result.status == "skipped"
    assert result.loader_result.data_validation == "not_run"


def test_records_times_and_what_was_healed_are_told() -> None:
    result = result_of(run(FetchStatus.OUTAGE, [*COLLECTED, *LOADED], published=True))

    assert result.collector_result.records_count == 8
    assert result.collector_result.execution_time == "00:02:15"
    assert result.loader_result.execution_time == "00:01:30"
    assert result.collector_result.healing_actions == [
        "plants.trees: the last good file of 2026-03-01 12:00 UTC stands in: no such file"
    ]


def test_a_table_that_stands_in_is_not_given_the_time_of_the_refused_file() -> None:
    told = run(FetchStatus.OUTAGE, [*COLLECTED, *LOADED], published=True)
    refused = [s.model_copy(update={"refused_sha256": "b" * 64}) for s in told.sources]

    (healed, *_) = result_of(
        told.model_copy(update={"sources": refused})
    ).collector_result.healing_actions

    assert "2026-03-01" not in healed
    assert healed.startswith("plants.trees: the rows of its last good file, ")


def test_only_files_that_this_run_brought_are_fetched_ones() -> None:
    fetched = run(FetchStatus.FETCHED, COLLECTED, published=True)
    repeated = run(FetchStatus.FETCHED, [], published=True, assets=[])

    assert result_of(fetched).collector_result.files_fetched == 1
    assert result_of(repeated).collector_result.files_fetched == 0


def test_the_steps_of_a_second_wave_count_too() -> None:
    again = [f"{name}_2" for name in COLLECTED]

    found = result_of(run(FetchStatus.FETCHED, [*COLLECTED, *again, *LOADED], published=True))

    assert found.collector_result.execution_time == "00:04:30"

"""An earlier file in the place of what the remote serves, for as long as a person says so."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from support.sample_home import DOMAIN, Sampled

from etl_assets.defs import asset_keys
from etl_assets.defs.event_log import read_sources
from etl_assets.ledger.manifest import DownloadRecord, Process, load_manifest
from etl_assets.model.errors import UsageError
from etl_assets.model.records import FetchResult, Part, Reason, RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.operations import rollback as operations_rollback

RULINGS = "analyst/advisory-not-applicable.csv"
ANOTHER = "CVE-2026-900042,pebble,not_applicable,,code_not_in_use\n"
SOURCE = "overrides"
PART = Part(source=f"{DOMAIN}.{SOURCE}")


def rollback(sampled: Sampled, to: str | None = None, why: str = "a wrong ruling") -> FetchResult:
    return _decide(sampled, operations_rollback.rollback, why, to=to)


def unpin(sampled: Sampled, why: str = "it was corrected") -> FetchResult:
    return _decide(sampled, operations_rollback.unpin, why)


def _decide(sampled: Sampled, verb: Any, why: str, **more: Any) -> FetchResult:
    source = sampled.domain.sources[SOURCE]
    told = {"by": "robin", "why": why, "at": datetime.now(UTC)}
    with sampled.launcher() as launcher:
        fetch: FetchResult = verb(launcher.instance, launcher.place, source, PART, **told, **more)
    return fetch


def fetched(sampled: Sampled) -> FetchResult:
    with sampled.instance() as instance:
        return read_sources(instance, sampled.domain.sources.values())[SOURCE].fetches[None]


@pytest.mark.long
def test_a_pinned_source_is_served_from_its_earlier_file_and_the_run_says_so(
    ruled: Sampled, first_run: Sampled
) -> None:
    rollback(ruled)
    ruled.change(RULINGS, lambda text: text + ANOTHER)

    manifest = ruled.run()

    assert ruled.states() == first_run.states()
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert f"{PART}: pinned" in manifest.note
    assert "robin" in manifest.note
    assert "a wrong ruling" in manifest.note


@pytest.mark.long
def test_without_the_pin_what_stood_before_stands_again(ruled: Sampled) -> None:
    before, states = fetched(ruled).file, ruled.states()
    rollback(ruled)
    ruled.run()
    unpin(ruled)

    manifest = ruled.run()

    assert (fetched(ruled).file, ruled.states()) == (before, states)
    assert manifest.status is RunStatus.SUCCESS
    assert "overrides_raw" not in ruled.made(manifest)


@pytest.mark.long
def test_without_the_pin_what_came_meanwhile_is_fetched(ruled: Sampled) -> None:
    rollback(ruled)
    ruled.change(RULINGS, lambda text: text + ANOTHER)
    unpin(ruled)

    ruled.run()

    assert ruled.states()["pebble:CVE-2026-900042"] == "not_applicable"


def test_a_pin_and_its_end_are_events_of_the_raw_asset(ruled: Sampled) -> None:
    rollback(ruled)
    unpin(ruled)

    with ruled.instance() as instance:
        key = asset_keys.raw_key(ruled.domain.sources[SOURCE])
        found = instance.fetch_materializations(key, limit=2).records
    events = [entry.asset_materialization for entry in found]
    told = [(e.metadata["by"].value, e.metadata["why"].value) for e in events if e]
    assert told == [("robin", "it was corrected"), ("robin", "a wrong ruling")]


def test_a_pin_turns_the_sources_check_red_until_it_is_taken_away(ruled: Sampled) -> None:
    key = dg.AssetCheckKey(asset_keys.raw_key(ruled.domain.sources[SOURCE]), "fetched")
    verdicts = []

    for decide in (rollback, unpin):
        decide(ruled)
        with ruled.instance() as instance:
            storage = instance.event_log_storage
            row = storage.get_latest_asset_check_execution_by_key([key])[key]
        verdicts.append(row.status.value)

    assert verdicts == ["FAILED", "SUCCEEDED"]


def test_the_exported_ledger_knows_the_pin(ruled: Sampled) -> None:
    pinned = rollback(ruled)

    exported = load_manifest(ruled.home, DOMAIN, Process.DOWNLOAD)
    assert exported
    record = exported.records[str(PART)]
    assert isinstance(record, DownloadRecord)
    assert record.pin == pinned.pin


def test_a_forced_refresh_leaves_a_pin_alone(ruled: Sampled) -> None:
    rollback(ruled)

    with ruled.launcher() as launcher:
        plan = launcher.plan(DOMAIN, RunOptions(sources=(SOURCE,), force_refresh=True))

    assert [(d.fetch, d.reason) for d in plan.decisions] == [(False, Reason.PINNED)]
    assert any("a wrong ruling" in line for line in plan.news())


@pytest.mark.long
def test_a_second_rollback_goes_further_back_and_keeps_what_stood_first(ruled: Sampled) -> None:
    before = fetched(ruled).file
    ruled.change(RULINGS, lambda text: text + ANOTHER)
    ruled.run()
    newest = fetched(ruled).file

    first, second = rollback(ruled), rollback(ruled)

    assert first.file == before
    assert second.file not in {before, newest}
    assert second.pin
    assert second.pin.held == newest


def test_a_version_is_named_by_the_beginning_of_its_digest(ruled: Sampled) -> None:
    first = rollback(ruled).file
    assert first

    pinned = rollback(ruled, to=first.sha256[:10])

    assert pinned.file == first


@pytest.mark.parametrize(
    ("to", "told"),
    [("zz", "expected one stored version zz, found none"), ("", "found 2 known ones")],
    ids=["unknown", "several"],
)
def test_an_unclear_version_is_told_with_those_that_are_known(
    ruled: Sampled, to: str, told: str
) -> None:
    current = fetched(ruled).file
    assert current

    with pytest.raises(UsageError, match=told) as raised:
        rollback(ruled, to=to)

    assert f"{current.sha256} of " in str(raised.value)


def test_a_version_whose_file_is_gone_cannot_be_pinned(ruled: Sampled, first_run: Sampled) -> None:
    earlier = fetched(first_run).file
    assert earlier
    ruled.home.raw_file(earlier.sha256).unlink()

    with pytest.raises(UsageError, match="expected a stored version before"):
        rollback(ruled)


def test_only_a_pinned_source_can_be_unpinned(ruled: Sampled) -> None:
    with pytest.raises(UsageError, match="is not pinned"):
        unpin(ruled)


def test_a_pin_needs_a_reason(ruled: Sampled) -> None:
    with pytest.raises(UsageError, match="expected a reason"):
        rollback(ruled, why=" ")

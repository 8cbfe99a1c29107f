"""A source is pinned to an earlier file until the operator unpins it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from support.sample_home import DOMAIN, SampleHome

from etl_assets.defs import asset_keys
from etl_assets.ledger.manifest import DownloadRecord, Process, load_manifest
from etl_assets.model.errors import UsageError
from etl_assets.model.records import FetchResult, Part, Reason, RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.operations import rollback as operations_rollback
from etl_assets.operations.run import plan_run

RULINGS = "analyst/advisory-not-applicable.csv"
ANOTHER = "CVE-2026-900042,pebble,not_applicable,,code_not_in_use\n"
SOURCE = "overrides"
PART = Part(source=f"{DOMAIN}.{SOURCE}")


def rollback(sample: SampleHome, to: str | None = None, why: str = "a wrong ruling") -> FetchResult:
    return _decide(sample, operations_rollback.rollback, why, to=to)


def unpin(sample: SampleHome, why: str = "it was corrected") -> FetchResult:
    return _decide(sample, operations_rollback.unpin, why)


def _decide(sample: SampleHome, verb: Any, why: str, **options: Any) -> FetchResult:
    source = sample.domain.sources[SOURCE]
    decision = {"by": "robin", "why": why, "at": datetime.now(UTC)}
    with sample.session() as session:
        fetch: FetchResult = verb(session, source, PART, **decision, **options)
    return fetch


def last_fetch(sample: SampleHome) -> FetchResult:
    with sample.session() as session:
        return session.read_sources()[SOURCE].fetches[None]


@pytest.mark.long
def test_a_pinned_source_uses_its_earlier_file_and_the_run_reports_it(
    second_sample: SampleHome, first_run: SampleHome
) -> None:
    rollback(second_sample)
    second_sample.change(RULINGS, lambda text: text + ANOTHER)

    manifest = second_sample.run()

    assert second_sample.states() == first_run.states()
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert f"{PART}: pinned" in manifest.note
    assert "robin" in manifest.note
    assert "a wrong ruling" in manifest.note


@pytest.mark.long
def test_after_unpin_the_previous_file_is_current_again(second_sample: SampleHome) -> None:
    before, states = last_fetch(second_sample).file, second_sample.states()
    rollback(second_sample)
    second_sample.run()
    unpin(second_sample)

    manifest = second_sample.run()

    assert (last_fetch(second_sample).file, second_sample.states()) == (before, states)
    assert manifest.status is RunStatus.SUCCESS
    assert "overrides_raw" not in second_sample.made_assets(manifest)


@pytest.mark.long
def test_after_unpin_later_changes_are_fetched(second_sample: SampleHome) -> None:
    rollback(second_sample)
    second_sample.change(RULINGS, lambda text: text + ANOTHER)
    unpin(second_sample)

    second_sample.run()

    assert second_sample.states()["pebble:CVE-2026-900042"] == "not_applicable"


def test_a_pin_and_its_end_are_events_of_the_raw_asset(second_sample: SampleHome) -> None:
    rollback(second_sample)
    unpin(second_sample)

    with second_sample.instance() as instance:
        key = asset_keys.raw_key(second_sample.domain.sources[SOURCE])
        records = instance.fetch_materializations(key, limit=2).records
    events = [record.asset_materialization for record in records]
    decisions = [(e.metadata["by"].value, e.metadata["why"].value) for e in events if e]
    assert decisions == [("robin", "it was corrected"), ("robin", "a wrong ruling")]


def test_a_pin_fails_the_check_of_the_source_until_it_is_removed(
    second_sample: SampleHome,
) -> None:
    key = dg.AssetCheckKey(asset_keys.raw_key(second_sample.domain.sources[SOURCE]), "fetched")
    verdicts = []

    for decide in (rollback, unpin):
        decide(second_sample)
        with second_sample.instance() as instance:
            storage = instance.event_log_storage
            row = storage.get_latest_asset_check_execution_by_key([key])[key]
        verdicts.append(row.status.value)

    assert verdicts == ["FAILED", "SUCCEEDED"]


def test_the_exported_ledger_has_the_pin(second_sample: SampleHome) -> None:
    pinned = rollback(second_sample)

    exported = load_manifest(second_sample.home, DOMAIN, Process.DOWNLOAD)
    assert exported
    record = exported.records[str(PART)]
    assert isinstance(record, DownloadRecord)
    assert record.pin == pinned.pin


def test_a_forced_refresh_keeps_a_pin(second_sample: SampleHome) -> None:
    rollback(second_sample)

    with second_sample.session() as session:
        plan = plan_run(session, RunOptions(sources=(SOURCE,), force_refresh=True))

    assert [(d.fetch, d.reason) for d in plan.decisions] == [(False, Reason.PINNED)]
    assert any("a wrong ruling" in line for line in plan.news())


@pytest.mark.long
def test_a_second_rollback_goes_further_back_and_keeps_the_unpinned_file(
    second_sample: SampleHome,
) -> None:
    before = last_fetch(second_sample).file
    second_sample.change(RULINGS, lambda text: text + ANOTHER)
    second_sample.run()
    newest = last_fetch(second_sample).file

    first, second = rollback(second_sample), rollback(second_sample)

    assert first.file == before
    assert second.file not in {before, newest}
    assert second.pin
    assert second.pin.replaced_file == newest


def test_a_version_is_selected_by_the_start_of_its_digest(second_sample: SampleHome) -> None:
    first = rollback(second_sample).file
    assert first

    pinned = rollback(second_sample, to=first.sha256[:10])

    assert pinned.file == first


@pytest.mark.parametrize(
    ("to", "message"),
    [("zz", "expected one stored version zz, found none"), ("", "found 2 versions")],
    ids=["unknown", "several"],
)
def test_an_ambiguous_version_is_reported_with_all_versions(
    second_sample: SampleHome, to: str, message: str
) -> None:
    current = last_fetch(second_sample).file
    assert current

    with pytest.raises(UsageError, match=message) as raised:
        rollback(second_sample, to=to)

    assert f"{current.sha256} of " in str(raised.value)


def test_a_version_whose_file_is_missing_cannot_be_pinned(
    second_sample: SampleHome, first_run: SampleHome
) -> None:
    earlier = last_fetch(first_run).file
    assert earlier
    second_sample.home.raw_file(earlier.sha256).unlink()

    with pytest.raises(UsageError, match="expected a stored version before"):
        rollback(second_sample)


def test_only_a_pinned_source_can_be_unpinned(second_sample: SampleHome) -> None:
    with pytest.raises(UsageError, match="is not pinned"):
        unpin(second_sample)


def test_a_pin_needs_a_reason(second_sample: SampleHome) -> None:
    with pytest.raises(UsageError, match="expected a reason"):
        rollback(second_sample, why=" ")

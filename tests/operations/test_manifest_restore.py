"""An event log that was lost, and what the exported ledger gives back of it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest
from support.sample_home import DOMAIN, SampleHome, fingerprint

from etl_assets.defs.event_log import SourceState
from etl_assets.defs.export_manifest import export_on_request
from etl_assets.ledger.manifest import Process, load_manifest, manifest_file
from etl_assets.model.errors import HomeError, UsageError
from etl_assets.model.records import Reason, RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.manifest_restore import restore
from etl_assets.operations.run import plan_run
from etl_assets.operations.store_results import Restored


@pytest.fixture
def lost(second_sample: SampleHome) -> SampleHome:
    """A home whose event log is gone."""
    shutil.rmtree(second_sample.home.dagster)
    return second_sample


def restored(sample: SampleHome) -> Restored:
    with sample.session() as session:
        return restore(session)


def states(sample: SampleHome) -> dict[str, SourceState]:
    with sample.session() as session:
        return session.read_sources()


def test_files_verdicts_and_tables_are_known_again(
    lost: SampleHome, second_run: SampleHome
) -> None:
    restored(lost)

    before, after = states(second_run), states(lost)
    for name, state in before.items():
        held = {part: fetch.file for part, fetch in state.fetches.items() if fetch.file}
        judged = {part: found for part, found in state.validated.items() if found.file}
        made = {part: state.tables[part] for part in judged}
        assert {part: fetch.file for part, fetch in after[name].fetches.items()} == held
        assert (after[name].validated, after[name].tables) == (judged, made)


@pytest.mark.fault("event-log-lost")
def test_the_next_run_has_nothing_to_fetch_and_no_table_to_make(lost: SampleHome) -> None:
    restored(lost)

    with lost.session() as session:
        plan = plan_run(session, RunOptions())

    assert (plan.moved, plan.stale) == ([], {})


@pytest.mark.long
def test_the_next_run_publishes_the_same_and_leaves_the_tables_alone(lost: SampleHome) -> None:
    tables, rows = fingerprint(lost.home.tables(DOMAIN)), lost.states()
    restored(lost)

    manifest = lost.run()

    made = lost.made_assets(manifest)
    assert manifest.status is RunStatus.SUCCESS
    assert not {name for name in made if name.endswith("_raw")} | made & set(lost.domain.sources)
    assert (fingerprint(lost.home.tables(DOMAIN)), lost.states()) == (tables, rows)


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"x")])
def test_a_table_that_is_not_what_was_recorded_is_made_again(lost: SampleHome, damage) -> None:
    path = lost.home.table_file(DOMAIN, "kev", None)
    good = path.read_bytes()
    damage(path)

    found = restored(lost)

    assert found.made == [f"{DOMAIN}.kev"]
    assert path.read_bytes() == good


def test_a_raw_file_that_is_gone_is_told_and_fetched_by_the_next_run(lost: SampleHome) -> None:
    known = load_manifest(lost.home, DOMAIN, Process.DOWNLOAD)
    assert known
    path = lost.home.root / known.records[f"{DOMAIN}.kev"].file.path
    path.unlink()

    found = restored(lost)

    with lost.session() as session:
        plan = plan_run(session, RunOptions())
    told = f"{DOMAIN}.kev: {lost.home.relative(path)} is missing: the next run fetches it"
    assert found.unheard == [told]
    assert [d.reason for d in plan.decisions if d.fetch] == [Reason.FILE_MISSING]


def test_a_source_that_is_not_declared_any_more_is_told(lost: SampleHome) -> None:
    sources = {name: s for name, s in lost.domain.sources.items() if name != "kev"}
    fewer = lost.domain.model_copy(update={"sources": sources})

    with lost.session(fewer) as session:
        found = restore(session)

    assert found.unheard == [f"{DOMAIN}.kev: is not declared any more"]


def test_an_event_log_that_knows_the_domain_is_left_as_it_is(second_sample: SampleHome) -> None:
    with pytest.raises(UsageError, match="restore is for an empty DAGSTER_HOME"):
        restored(second_sample)


def test_without_a_ledger_nothing_is_restored(lost: SampleHome) -> None:
    shutil.rmtree(lost.home.manifests)

    with pytest.raises(HomeError, match="expected the exported ledger, found none"):
        restored(lost)


@pytest.mark.fault("corrupt-manifest")
def test_a_damaged_ledger_restores_nothing(lost: SampleHome) -> None:
    path = manifest_file(lost.home, DOMAIN, Process.INGESTION)
    path.write_text(path.read_text("utf-8")[:-10], encoding="utf-8")

    with pytest.raises(HomeError, match=rf"{path}:\d+: expected JSON"):
        restored(lost)

    assert not any(state.fetches for state in states(lost).values())


def test_an_empty_event_log_is_not_exported_over_a_ledger_that_knows_more(lost: SampleHome) -> None:
    before = fingerprint(lost.home.manifests)

    with lost.session() as session, pytest.raises(HomeError, match="etl manifest restore"):
        export_on_request(session, datetime.now(UTC))

    assert fingerprint(lost.home.manifests) == before


def test_what_was_restored_is_exported_as_it_was(lost: SampleHome) -> None:
    restored(lost)

    with lost.session() as session:
        written = export_on_request(session, datetime.now(UTC))

    assert written == []

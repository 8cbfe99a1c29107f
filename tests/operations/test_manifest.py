"""A lost event log is restored from the exported manifests."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest
from support.sample_home import DOMAIN, SampleHome, fingerprint

from etl_assets.defs.event_log import SourceState
from etl_assets.defs.export_manifest import export_on_request
from etl_assets.ledger.manifest import Process, load_manifest, manifest_file
from etl_assets.model.errors import HomeError
from etl_assets.model.records import Reason, RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.manifest import RestoreResult, restore
from etl_assets.operations.run import plan_run


@pytest.fixture
def lost(second_sample: SampleHome) -> SampleHome:
    """Return a home whose event log was deleted."""
    shutil.rmtree(second_sample.home.dagster)
    return second_sample


def restore_all(sample: SampleHome) -> RestoreResult:
    with sample.session() as session:
        return restore(session)


def states(sample: SampleHome) -> dict[str, SourceState]:
    with sample.session() as session:
        return session.read_sources()


def test_files_verdicts_and_tables_are_restored(lost: SampleHome, second_run: SampleHome) -> None:
    restore_all(lost)

    before, after = states(second_run), states(lost)
    for name, state in before.items():
        files = {part: fetch.file for part, fetch in state.fetches.items() if fetch.file}
        validated = {part: record for part, record in state.validated.items() if record.file}
        tables = {part: state.tables[part] for part in validated}
        assert {part: fetch.file for part, fetch in after[name].fetches.items()} == files
        assert (after[name].validated, after[name].tables) == (validated, tables)


@pytest.mark.fault("event-log-lost")
def test_the_next_run_has_nothing_to_fetch_and_no_table_to_build(lost: SampleHome) -> None:
    restore_all(lost)

    with lost.session() as session:
        plan = plan_run(session, RunOptions())

    assert (plan.moved, plan.stale) == ([], {})


@pytest.mark.long
def test_the_next_run_publishes_the_same_and_keeps_the_tables(lost: SampleHome) -> None:
    tables, rows = fingerprint(lost.home.tables(DOMAIN)), lost.states()
    restore_all(lost)

    manifest = lost.run()

    made = lost.made_assets(manifest)
    assert manifest.status is RunStatus.SUCCESS
    assert not {name for name in made if name.endswith("_raw")} | made & set(lost.domain.sources)
    assert (fingerprint(lost.home.tables(DOMAIN)), lost.states()) == (tables, rows)


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"x")])
def test_a_table_that_differs_from_its_record_is_rebuilt(lost: SampleHome, damage) -> None:
    path = lost.home.table_file(DOMAIN, "kev", None)
    good = path.read_bytes()
    damage(path)

    result = restore_all(lost)

    assert result.rebuilt_tables == [f"{DOMAIN}.kev"]
    assert path.read_bytes() == good


def test_a_missing_raw_file_is_reported_and_fetched_by_the_next_run(lost: SampleHome) -> None:
    manifest = load_manifest(lost.home, DOMAIN, Process.DOWNLOAD)
    assert manifest
    path = lost.home.root / manifest.records[f"{DOMAIN}.kev"].file.path
    path.unlink()

    result = restore_all(lost)

    with lost.session() as session:
        plan = plan_run(session, RunOptions())
    problem = f"{DOMAIN}.kev: {lost.home.relative(path)} is missing: the next run fetches it"
    assert result.problems == [problem]
    assert [d.reason for d in plan.decisions if d.fetch] == [Reason.FILE_MISSING]


def test_a_source_that_is_no_longer_declared_is_reported(lost: SampleHome) -> None:
    sources = {name: s for name, s in lost.domain.sources.items() if name != "kev"}
    fewer = lost.domain.model_copy(update={"sources": sources})

    with lost.session(fewer) as session:
        result = restore(session)

    assert result.problems == [f"{DOMAIN}.kev: is no longer declared"]


def test_an_event_log_with_all_records_is_not_changed(second_sample: SampleHome) -> None:
    result = restore_all(second_sample)

    assert (result.files, result.tables, result.problems) == ([], [], [])


def test_without_manifests_nothing_is_restored(lost: SampleHome) -> None:
    shutil.rmtree(lost.home.manifests)

    with pytest.raises(HomeError, match="expected the exported manifest, found none"):
        restore_all(lost)


@pytest.mark.fault("corrupt-manifest")
def test_a_damaged_manifest_restores_nothing(lost: SampleHome) -> None:
    path = manifest_file(lost.home, DOMAIN, Process.INGESTION)
    path.write_text(path.read_text("utf-8")[:-10], encoding="utf-8")

    with pytest.raises(HomeError, match=rf"{path}:\d+: expected JSON"):
        restore_all(lost)

    assert not any(state.fetches for state in states(lost).values())


def test_an_empty_event_log_is_not_exported_over_manifests_with_records(lost: SampleHome) -> None:
    before = fingerprint(lost.home.manifests)

    with lost.session() as session, pytest.raises(HomeError, match="etl manifest restore"):
        export_on_request(session, datetime.now(UTC))

    assert fingerprint(lost.home.manifests) == before


def test_restored_records_are_exported_unchanged(lost: SampleHome) -> None:
    restore_all(lost)

    with lost.session() as session:
        written = export_on_request(session, datetime.now(UTC))

    assert written == []


def test_a_restored_domain_is_summarized_with_its_problems() -> None:
    result = RestoreResult(
        domain="plants",
        files=["plants.trees"],
        tables=[],
        rebuilt_tables=["plants.trees"],
        problems=["x"],
    )

    assert result.lines() == [
        "plants: 1 raw files and 0 tables restored, 1 tables rebuilt",
        "  x",
    ]


def test_the_json_keeps_the_published_names_of_the_fields() -> None:
    result = RestoreResult(domain="plants", files=[], tables=[], rebuilt_tables=[], problems=["x"])

    assert result.model_dump(mode="json") == {
        "domain": "plants",
        "files": [],
        "tables": [],
        "made": [],
        "unheard": ["x"],
    }

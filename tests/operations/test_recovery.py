"""What killed runs leave: slots of the warehouse's pool, runs without end, half-written files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from support.orchard import (
    DOMAIN,
    FIRST,
    Files,
    Orchard,
    create_project,
    list_temporary_files,
)

from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.event_log import COMMAND_TAG, EventLog
from etl_assets.defs.launch import open_instance
from etl_assets.model.home import Home
from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.operations import recovery
from etl_assets.publish import run_directory
from etl_assets.storage.lock import lock

POOL = "duckdb"


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    return Orchard(tmp_path / "live", project=create_project(tmp_path / "project"))


@pytest.fixture
def instance(orchard: Orchard) -> Iterator[dg.DagsterInstance]:
    with open_instance(orchard.settings) as opened:
        yield opened


def killed(instance: dg.DagsterInstance, domain: str) -> dg.DagsterRun:
    """A run that holds the pool's one slot and will never end by itself."""
    run = dg.DagsterRun(
        job_name="refresh",
        status=dg.DagsterRunStatus.STARTED,
        tags={COMMAND_TAG: domain},
    )
    instance.event_log_storage.set_concurrency_slots(POOL, 1)
    instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "marts")
    return instance.add_run(run)


def clear(instance: dg.DagsterInstance, orchard: Orchard) -> None:
    project = ProjectContext(orchard.settings, {DOMAIN: orchard.domain})
    recovery.recover(DomainSession(EventLog(instance), project, orchard.domain))


def slot_is_free(instance: dg.DagsterInstance) -> bool:
    claim = instance.event_log_storage.claim_concurrency_slot(POOL, "another", "marts")
    return claim.is_claimed


def test_a_dead_run_of_the_domain_is_ended_and_gives_back_its_slot(
    instance: dg.DagsterInstance, orchard: Orchard
) -> None:
    run = killed(instance, DOMAIN)

    clear(instance, orchard)

    ended = instance.get_run_by_id(run.run_id)
    assert ended
    assert ended.status is dg.DagsterRunStatus.FAILURE
    assert slot_is_free(instance)


def test_a_dead_run_of_another_domain_gives_back_its_slot(
    instance: dg.DagsterInstance, orchard: Orchard
) -> None:
    killed(instance, "vineyard")

    clear(instance, orchard)

    assert slot_is_free(instance)


def test_a_run_that_is_alive_keeps_its_slot(instance: dg.DagsterInstance, orchard: Orchard) -> None:
    killed(instance, "vineyard")

    with lock(orchard.home.lock("vineyard"), on_wait=lambda _: None):
        clear(instance, orchard)

    assert not slot_is_free(instance)


def test_what_is_half_written_is_removed_where_the_domain_writes(
    instance: dg.DagsterInstance, orchard: Orchard
) -> None:
    for place in half_written(orchard.home):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"half")

    clear(instance, orchard)

    assert not list_temporary_files(orchard.home)


def half_written(home: Home) -> list[Path]:
    return [
        home.partial / f"{DOMAIN}.trees.0123abcd.part",
        home.tables(DOMAIN) / "trees" / ".trees.parquet.x1.tmp",
        home.quarantine(DOMAIN, "trees") / ".abc.json.x1.tmp",
        home.outputs(DOMAIN) / "20260301_120000" / "marts" / ".mart_trees.parquet.x1.tmp",
        home.outputs(DOMAIN) / ".latest.0123",
        home.build_inputs(DOMAIN) / ".run.parquet.x1.tmp",
        home.warehouse(DOMAIN).with_name(f".{DOMAIN}.whole.x1.tmp"),
        home.manifests / f".{DOMAIN}_download.manifest.json.x1.tmp",
    ]


@pytest.mark.long
@pytest.mark.ci
def test_a_run_whose_build_fails_keeps_the_log_of_dbt(orchard: Orchard) -> None:
    orchard.serve(Files.create())
    [model] = orchard.settings.dbt_dir.glob("models/**/mart_trees.sql")
    sql = model.read_text(encoding="utf-8")
    model.write_text(f"{sql}\nwhere no_such_column", encoding="utf-8")

    manifest = orchard.run(RunOptions(as_of=FIRST))

    assert manifest.status is RunStatus.FAILED
    [directory] = run_directory.list_runs(orchard.home, DOMAIN)
    assert "no_such_column" in (directory / "dbt.log").read_text(encoding="utf-8")
    assert "dbt.log" in (directory / "SHA256SUMS").read_text(encoding="utf-8")

    model.write_text(sql, encoding="utf-8")
    assert orchard.run(RunOptions(as_of=FIRST)).status is RunStatus.SUCCESS
    (newest, _) = run_directory.list_runs(orchard.home, DOMAIN)
    assert not (newest / "dbt.log").exists()


@pytest.mark.long
@pytest.mark.ci
def test_a_history_that_is_no_longer_declared_ends_by_a_decision_alone(orchard: Orchard) -> None:
    orchard.serve(Files.create())
    orchard.run(RunOptions(as_of=FIRST))
    before, declared = orchard.latest, orchard.domain
    orchard.domain = declared.model_copy(update={"history": None})

    refused = orchard.run(RunOptions(as_of=FIRST + timedelta(hours=1), full=True))

    assert (refused.status, refused.published) == (RunStatus.FAILED, False)
    assert "expected `history` in the declarations of orchard" in refused.note
    assert orchard.latest == before
    decided = RunOptions(as_of=FIRST + timedelta(hours=2), new_history=True, why="not needed")
    assert orchard.run(decided).published
    assert orchard.run(RunOptions(as_of=FIRST + timedelta(hours=3), full=True)).published

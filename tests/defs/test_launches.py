"""Runs that are launched from the pages and from Dagster's command, without `etl run`."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
)
from support.living import YEARLY, add_yearly_source
from support.orchard import DOMAIN, HOST
from support.pages import ROOT, serve_pages
from support.partitioned_orchard import DAYS, YEARS, PartitionedOrchard, add_file_set

from etl_assets.declarations.load import load_each
from etl_assets.defs import asset_keys
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_defs
from etl_assets.defs.launch import job_origin, open_project
from etl_assets.defs.plan import RANGE_END, RANGE_START
from etl_assets.model.errors import DeclarationError, UsageError
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.operations import stats
from etl_assets.operations.health import examine
from etl_assets.operations.run import backfill
from etl_assets.publish import run_directory
from etl_assets.storage.lock import lock

JOB = f"refresh_{DOMAIN}"


def manifests(orchard: PartitionedOrchard) -> list[RunManifest]:
    """Return the manifests of all runs, the oldest first."""
    directories = list(run_directory.list_runs(orchard.home, DOMAIN))
    return [run_directory.read_manifest(directory) for directory in reversed(directories)]


def launch(
    orchard: PartitionedOrchard, *arguments: str, without: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `dg launch` in the checkout, for the home of the orchard, without one variable."""
    environment = orchard.settings.child_environment()
    environment.pop(without, None)
    return subprocess.run(
        [str(Path(sys.executable).parent / "dg"), "launch", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("with_files", "partitions"),
    [
        pytest.param(False, {str(year) for year in YEARS}, id="years"),
        pytest.param(True, set(DAYS), id="files"),
    ],
)
def test_a_launch_of_the_job_without_partitions_publishes_one_set_of_all_of_them(
    tmp_path: Path, with_files: bool, partitions: set[str]
) -> None:
    orchard = PartitionedOrchard.create(tmp_path, with_files=with_files)
    with orchard.session():
        pass  # creates the event log

    first = launch(orchard, "--job", JOB)
    second = launch(orchard, "--job", JOB)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    [one, two] = manifests(orchard)
    assert one.published
    assert two.published
    assert {s.partition for s in one.sources if s.partition} == partitions
    assert {asset.outcome for asset in two.assets if asset.partition} == {"reused"}
    assert orchard.run().is_unchanged


@pytest.mark.long
@pytest.mark.ci
def test_a_launch_into_another_event_log_is_refused(tmp_path: Path) -> None:
    orchard = PartitionedOrchard.create(tmp_path)
    with orchard.session():
        pass  # creates the event log

    refused = launch(orchard, "--job", JOB, without="DAGSTER_HOME")

    assert refused.returncode != 0
    expected = f"DAGSTER_HOME: expected {orchard.settings.dagster_home}, the event log of"
    assert expected in refused.stdout + refused.stderr
    assert manifests(orchard) == []
    assert not any(orchard.home.raw.rglob("*"))


@pytest.mark.long
def test_the_pages_launch_the_job_and_all_assets_and_list_every_run(tmp_path: Path) -> None:
    orchard = PartitionedOrchard.create(tmp_path)
    by_command = orchard.run()

    with serve_pages(orchard.settings) as pages:
        by_job = pages.wait_for_run(pages.launch_job(JOB))
        assert len(orchard.sets()) == 2
        status = pages.wait_for_backfill(pages.materialize_all())
        runs, listed = pages.runs(), pages.runs_of_job(JOB)

    assert by_job["status"] == "SUCCESS"
    assert status == "COMPLETED_SUCCESS"
    assert len(orchard.sets()) == 3
    assert {run["status"] for run in runs} == {"SUCCESS"}
    assert set(listed) == {by_command.run_id, by_job["runId"]}
    counted = stats.count(orchard.home, DOMAIN)
    assert counted.runs - counted.partial_runs == 3  # the published ones
    assert counted.partial_runs == len(runs) - 3
    assert counted.published_pct == 100
    assert orchard.run().is_unchanged


@pytest.mark.long
def test_the_failed_year_of_a_backfill_is_retried_alone(tmp_path: Path) -> None:
    orchard = PartitionedOrchard.create(tmp_path, required_years=True)
    bad = orchard.mirror / HOST / f"{YEARLY}_2025.csv"
    good = bad.read_bytes()
    bad.write_bytes(b"<html>Sign in</html>")
    keys = [
        {"path": list(key.path)}
        for make in (asset_keys.raw_key, asset_keys.validated_key, asset_keys.table_key)
        for key in [make(orchard.domain.sources[YEARLY])]
    ]

    with orchard.session() as session, serve_pages(orchard.settings) as pages:
        failed = pages.wait_for_backfill(
            pages.launch_backfill(assetSelection=keys, partitionNames=[str(y) for y in YEARS])
        )
        states = session.read_sources()[YEARLY]
        bad.write_bytes(good)
        retried = pages.wait_for_backfill(
            pages.launch_backfill(assetSelection=keys, partitionNames=["2025"])
        )

    assert failed == "COMPLETED_FAILED"
    assert sorted(states.validated) == ["2024", "2026"]
    assert retried == "COMPLETED_SUCCESS"
    made = [asset for asset in manifests(orchard)[-1].assets if asset.outcome == "made"]
    assert {asset.partition for asset in made} == {"2025"}


@pytest.mark.long
@pytest.mark.ci
def test_a_partial_success_is_a_tag_of_the_run_and_a_failed_check(tmp_path: Path) -> None:
    orchard = PartitionedOrchard.create(tmp_path)
    first = orchard.run()
    (orchard.mirror / HOST / "trees.json.gz").unlink()
    (orchard.mirror / HOST / "trees.meta").unlink()
    orchard.publish_year(2025, 7)
    served = asset_keys.served_key(orchard.domain)

    with orchard.session() as session:
        before = session.event_log.latest_checks([served])[served]
    second = orchard.run()
    with orchard.session() as session:
        after = session.event_log.latest_checks([served])[served]
        tags = [session.event_log.run_tags(run.run_id)["etl/status"] for run in (first, second)]

    assert before.passed
    assert tags == ["success", "partial_success"]
    assert not after.passed
    assert "trees" in (after.description or "")


@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param("1999", "2001", id="too early"),
        pytest.param("2031", "2031", id="too late"),
        pytest.param("2026", "2024", id="end before start"),
        pytest.param("twenty", "thirty", id="no years"),
    ],
)
def test_a_backfill_refuses_wrong_partitions_before_it_waits_for_another_run(
    tmp_path: Path, start: str, end: str
) -> None:
    orchard = PartitionedOrchard.create(tmp_path)
    messages: list[str] = []

    with (
        open_project(orchard.settings, {DOMAIN: orchard.domain}, echo=messages.append) as session,
        lock(orchard.home.lock(DOMAIN), on_wait=messages.append),
        pytest.raises(UsageError, match=f"no partition from {start} to {end}; there are 2024"),
    ):
        backfill(session, f"{DOMAIN}.{YEARLY}", start, end, RunOptions())

    assert messages == []


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    ("with_files", "tags"),
    [
        pytest.param(False, ("2024", str(datetime.now(UTC).year)), id="years"),
        pytest.param(True, (DAYS[0], DAYS[-1]), id="files"),
    ],
)
def test_the_range_of_a_run_has_one_kind_of_partitions(
    tmp_path: Path, with_files: bool, tags: tuple[str, str]
) -> None:
    orchard = PartitionedOrchard.create(tmp_path, with_files=with_files)

    manifest = orchard.run()

    with orchard.session() as session:
        run_tags = session.event_log.run_tags(manifest.run_id)
    assert (run_tags[RANGE_START], run_tags[RANGE_END]) == tags


@pytest.mark.parametrize("with_files", [False, True], ids=["years first", "files first"])
def test_a_domain_with_both_kinds_of_partitions_is_refused(
    tmp_path: Path, with_files: bool
) -> None:
    orchard = PartitionedOrchard.create(tmp_path, with_files=with_files)

    with pytest.raises(DeclarationError, match="a run carries one kind only"):
        add_yearly_source(orchard.project, 2024) if with_files else add_file_set(orchard.project)


@pytest.mark.long
@pytest.mark.ci
def test_the_checks_that_refuse_a_set_are_blocking(tmp_path: Path) -> None:
    orchard = PartitionedOrchard.create(tmp_path)
    graph = build_defs(
        ProjectContext(orchard.settings, {DOMAIN: orchard.domain})
    ).resolve_asset_graph()
    published = asset_keys.published_key(orchard.domain)

    blocking = {
        key.name: graph.get(key).blocking
        for key in graph.asset_check_keys
        if key.asset_key == published
    }

    assert blocking == {"gate": True, "mart_trees_vanished": True, "served": False}


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    ("automation", "switches", "line"),
    [
        pytest.param(False, {}, "nothing runs by itself; ETL_AUTOMATION=on", id="off"),
        pytest.param(
            True, {}, f"`etl ui` runs: {DOMAIN}_probe, {DOMAIN}_daily, {DOMAIN}_verify", id="on"
        ),
        pytest.param(False, {"daily": True}, f"`etl ui` runs: {DOMAIN}_daily", id="switched on"),
        pytest.param(
            True,
            {"daily": False},
            f"`etl ui` runs: {DOMAIN}_probe, {DOMAIN}_verify",
            id="switched off",
        ),
    ],
)
def test_health_names_what_runs_by_itself(
    tmp_path: Path, automation: bool, switches: dict[str, bool], line: str
) -> None:
    orchard = PartitionedOrchard.create(tmp_path, automation=automation)
    declarations = load_each(orchard.settings.domains_dir)
    repository = build_defs(
        ProjectContext(orchard.settings, {DOMAIN: orchard.domain})
    ).get_repository_def()
    with orchard.session() as session:
        for name, is_on in switches.items():
            schedule = repository.get_schedule_def(f"{DOMAIN}_{name}")
            switch(session.event_log.instance, schedule, is_on=is_on)

    report = examine(orchard.settings, declarations, datetime.now(UTC))

    [found] = [str(finding) for finding in report.findings if finding.what == "automation"]
    assert line in found


def switch(instance: dg.DagsterInstance, schedule: dg.ScheduleDefinition, *, is_on: bool) -> None:
    """Switch a schedule on or off, as the pages do."""
    origin = job_origin(JOB).repository_origin.get_instigator_origin(schedule.name)
    data = ScheduleInstigatorData(schedule.cron_schedule, start_timestamp=0.0)
    status = InstigatorStatus.RUNNING if is_on else InstigatorStatus.STOPPED
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SCHEDULE, status, data))

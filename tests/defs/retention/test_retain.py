"""After many runs a home keeps what is needed of them, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.crashes import CrashPoint, start_warm_process
from support.living import YEARLY, LivingOrchard
from support.misbehaving_server import MisbehavingServer, run_misbehaving_server
from support.orchard import DOMAIN, add_domain

from etl_assets.declarations.load import load
from etl_assets.defs import asset_keys
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_defs
from etl_assets.defs.launch import open_event_log, open_instance, open_project
from etl_assets.model.run_options import RunOptions
from etl_assets.operations import replay, rollback
from etl_assets.operations.run import plan_run, run_domain
from etl_assets.publish import run_directory
from etl_assets.storage.lock import lock

pytestmark = [pytest.mark.long, pytest.mark.ci]

FIRST_YEAR = datetime.now(UTC).year - 2
RUNS = 6
KEPT = 2


@pytest.fixture(scope="module")
def server() -> Iterator[MisbehavingServer]:
    with run_misbehaving_server() as started:
        yield started


@pytest.fixture(scope="module")
def after_runs(
    tmp_path_factory: pytest.TempPathFactory, server: MisbehavingServer
) -> LivingOrchard:
    """Return a home that keeps two runs, after six."""
    folder = tmp_path_factory.mktemp("living")
    orchard = LivingOrchard(folder, server, first_year=FIRST_YEAR)
    orchard.declare_retention(keep_runs=KEPT, versions=2)
    for _ in range(RUNS):
        orchard.run_changed()
    return orchard


@pytest.fixture
def orchard(after_runs: LivingOrchard, server: MisbehavingServer, tmp_path: Path) -> LivingOrchard:
    """Return a copy of that home, whose remotes serve what they served first."""
    folder = tmp_path / "copy"
    shutil.copytree(after_runs.folder, folder, symlinks=True)
    return LivingOrchard(folder, server, first_year=FIRST_YEAR)


def run_ids(orchard: LivingOrchard) -> list[str]:
    """Return the ids of the runs in Dagster, the newest first."""
    with open_instance(orchard.settings) as instance:
        return [run.run_id for run in instance.get_runs()]


def event_files(orchard: LivingOrchard) -> set[str]:
    """Return the runs that have a file of events."""
    folder = orchard.home.dagster / "history" / "runs"
    return {path.stem for path in folder.glob("[0-9a-f]*.db")} - {"index"}


def directories(orchard: LivingOrchard) -> list[Path]:
    return run_directory.list_directories(orchard.home, DOMAIN)


@pytest.mark.fault("many-runs")
def test_only_the_declared_runs_and_what_they_need_are_left(after_runs: LivingOrchard) -> None:
    # One more directory has the history that the older kept run began with. Two more run records
    # hold the last events of the other sources, and the fetch of that directory's raw file.
    assert len(directories(after_runs)) == KEPT + 1
    assert len(run_ids(after_runs)) == KEPT + 2
    assert event_files(after_runs) == set(run_ids(after_runs))


@pytest.mark.fault("many-runs")
def test_what_has_not_moved_since_the_first_run_is_up_to_date(after_runs: LivingOrchard) -> None:
    after_runs.serve_again()

    with after_runs.session() as session:
        decisions = plan_run(session, RunOptions()).decisions
        fetches = session.read_sources()[YEARLY].fetches

    assert len([d for d in decisions if d.part.source.name == YEARLY]) == 3
    assert [str(d) for d in decisions if d.fetch] == []
    first_run = min(fetch.file.fetched_at for fetch in fetches.values() if fetch.file)
    assert first_run < run_directory.read_manifest(directories(after_runs)[-1]).started_at


def test_the_raw_files_of_every_kept_run_are_stored(after_runs: LivingOrchard) -> None:
    for directory in directories(after_runs):
        for source in run_directory.read_manifest(directory).sources:
            assert source.sha256 is not None
            assert after_runs.home.raw_file(source.sha256).exists(), (directory.name, source.name)


def test_the_oldest_run_within_the_number_can_be_replayed(
    orchard: LivingOrchard, tmp_path: Path
) -> None:
    oldest = directories(orchard)[KEPT - 1]

    with orchard.session() as session:
        result = replay.replay(session.project, oldest.name, into=tmp_path / "replayed")

    assert result.is_equal, result.lines()


def test_a_run_without_changes_follows(orchard: LivingOrchard, after_runs: LivingOrchard) -> None:
    after_runs.serve_again()

    manifest = orchard.run()

    assert manifest.note == "nothing moved"
    assert set(run_ids(orchard)) <= set(run_ids(after_runs))  # its directory displaces another


@pytest.mark.fault("many-runs")
def test_a_pin_outlives_many_runs(orchard: LivingOrchard) -> None:
    trees = orchard.domain.sources["trees"]
    with orchard.session() as session:
        pinned = rollback.rollback(
            session, trees, trees.part(), to=None, by="robin", why="it was right",
            at=datetime.now(UTC),
        )  # fmt: skip

    for number in range(KEPT + 2):
        orchard.publish_year(FIRST_YEAR, 100 + number)
        orchard.run()

    with orchard.session() as session:
        fetch = session.read_sources()["trees"].fetches[None]
        assert fetch.pin == pinned.pin
        assert fetch.pin is not None
        assert fetch.pin.replaced_file is not None
        assert orchard.home.raw_file(fetch.pin.replaced_file.sha256).exists()
        rollback.unpin(
            session, trees, trees.part(), by="robin", why="it is corrected", at=datetime.now(UTC)
        )


def test_a_run_from_the_pages_ends_with_retention(orchard: LivingOrchard) -> None:
    before = run_ids(orchard)
    orchard.edit()
    years = {
        "dagster/asset_partition_range_start": str(FIRST_YEAR),
        "dagster/asset_partition_range_end": str(FIRST_YEAR + 2),
    }

    for _ in range(KEPT + 1):
        defs = build_defs(ProjectContext(orchard.settings, {DOMAIN: orchard.domain}))
        job = defs.resolve_job_def(asset_keys.job_name(orchard.domain))
        with open_instance(orchard.settings) as instance:
            assert job.execute_in_process(instance=instance, tags=years).success

    # Those runs materialized every partition again, so that no old one holds a last event of them.
    assert not set(before[KEPT:]) & set(run_ids(orchard))
    assert event_files(orchard) == set(run_ids(orchard))
    assert len(directories(orchard)) <= KEPT + 1


def test_a_fault_in_retention_is_a_line_and_no_failure(orchard: LivingOrchard) -> None:
    orchard.edit()
    in_the_way = orchard.home.outputs(DOMAIN) / f"{run_directory.REMOVAL_PREFIX}file"
    in_the_way.write_text("not a directory", encoding="utf-8")
    lines: list[str] = []

    manifest = orchard.run(echo=lines.append)

    assert manifest.published
    assert [line for line in lines if line.startswith("retention: NotADirectoryError")]


def test_no_raw_file_is_removed_while_another_domain_runs(orchard: LivingOrchard) -> None:
    add_domain(orchard.project, "vineyard")
    domains = load(orchard.settings.domains_dir)

    def run_beside_vineyard() -> set[str]:
        orchard.edit()
        with open_project(orchard.settings, domains, echo=lambda _: None) as project:
            assert run_domain(project.for_domain(DOMAIN), RunOptions()).published
        return {path.name for path in orchard.home.raw.glob("*/*")}

    before = run_beside_vineyard()
    with lock(orchard.home.lock("vineyard"), on_wait=lambda _: None):
        run_beside_vineyard()
        meanwhile = run_beside_vineyard()
    after = run_beside_vineyard()

    assert before < meanwhile
    assert not before <= after
    assert len(after) <= len(before)


def test_a_scratch_folder_that_a_killed_command_left_is_removed_after_a_day(
    orchard: LivingOrchard,
) -> None:
    old, new = (orchard.home.scratch / f"{DOMAIN}.{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    yesterday = (datetime.now(UTC) - timedelta(days=1, hours=1)).timestamp()
    os.utime(old, (yesterday, yesterday))

    orchard.run()

    assert [path.exists() for path in (old, new)] == [False, True]


@pytest.mark.fault("many-runs", "killed")
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_retention_that_is_killed_is_completed_by_the_next_run(
    where: str, orchard: LivingOrchard
) -> None:
    orchard.declare_retention(keep_runs=1, versions=1)
    orchard.write_env_file()
    undisturbed = orchard.folder.with_name("undisturbed")
    shutil.copytree(orchard.folder, undisturbed, symlinks=True)
    with start_warm_process(orchard.folder) as process:
        points = process.run(undisturbed / "home", ["prune", DOMAIN]).points
        removals = [
            number
            for number, (_, event, _) in enumerate((p for p in points if p[0] == "event log"), 1)
            if event == "os.remove"
        ]
        index = {"first": 0, "middle": len(removals) // 2, "last": -1}[where]
        killed = process.run(
            orchard.home.root, ["prune", DOMAIN],
            CrashPoint("kill", "event log", removals[index]),
        )  # fmt: skip

        assert killed.code == -signal.SIGKILL, killed.output
        assert process.run(orchard.home.root, ["run", DOMAIN]).code == 0

    assert event_files(orchard) == set(run_ids(orchard))
    with open_event_log(orchard.settings) as event_log:
        state = event_log.read_sources(orchard.domain.sources.values())
    assert all(fetch.file for source in state.values() for fetch in source.fetches.values())

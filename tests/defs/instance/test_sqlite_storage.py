"""Dagster's storage in SQLite: what is stored is seen by all, and no file stays open for long."""

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy.exc import DatabaseError

from etl_assets.defs.instance.dagster_yaml import DAGSTER_YAML
from etl_assets.defs.instance.sqlite_storage import EventLogStorage, RunStorage, SqliteStorage
from etl_assets.defs.launch import open_instance
from etl_assets.model.errors import HomeError
from etl_assets.settings import Settings

FRUIT = dg.AssetKey("fruit")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dg.op
def pick(context: dg.OpExecutionContext) -> None:
    context.log_event(dg.AssetMaterialization(FRUIT))


@dg.job
def harvest() -> None:
    pick()


def run(instance: dg.DagsterInstance) -> str:
    return harvest.execute_in_process(instance=instance, run_config=QUIET).run_id


def settings_of(home: Path) -> Settings:
    return Settings.load(home=home, dagster_home=home)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings_of(tmp_path)) as instance:
        yield instance


def open_databases() -> list[str]:
    """The files of databases that this process has open, those of removed files too."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sorted(link.readlink().name for link in links if ".db" in link.readlink().name)


def count_events(instance: dg.DagsterInstance) -> int:
    return len(instance.fetch_materializations(FRUIT, limit=1_000).records)


def test_a_home_has_the_storage_in_its_dagster_yaml(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(instance.event_log_storage, EventLogStorage)
    assert isinstance(instance.run_storage, RunStorage)
    run_id = run(instance)

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as page:
        assert isinstance(page.event_log_storage, EventLogStorage)
        assert page.get_run_by_id(run_id).is_success
        assert len(page.all_logs(run_id)) == len(instance.all_logs(run_id)) > 5


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("text", ["", "telemetry: {enabled: false}", DAGSTER_YAML])
def test_an_older_home_is_read_and_written_by_both_storages(tmp_path: Path, text: str) -> None:
    (tmp_path / "dagster.yaml").write_text(text, encoding="utf-8")
    storage = DagsterSqliteStorage.from_local(str(tmp_path))
    with open_instance(settings_of(tmp_path)) as instance:
        run_id = run(instance)

        events = storage.event_log_storage.get_logs_for_run(run_id)

        assert isinstance(instance.event_log_storage, EventLogStorage)
        assert events == instance.all_logs(run_id)
        assert [run.status for run in storage.run_storage.get_runs()] == [
            dg.DagsterRunStatus.SUCCESS
        ]


CLASSES = {
    "event_log_storage": ("dagster._core.storage.event_log", "SqliteEventLogStorage"),
    "run_storage": ("dagster._core.storage.runs", "SqliteRunStorage"),
}


@pytest.mark.parametrize("key", ["storage", *CLASSES])
def test_a_storage_that_the_operator_declares_is_used(tmp_path: Path, key: str) -> None:
    config = {"base_dir": str(tmp_path / "elsewhere")}
    declared: object = {"sqlite": config}
    if key in CLASSES:
        module, name = CLASSES[key]
        declared = {"module": module, "class": name, "config": config}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({key: declared}), encoding="utf-8")

    with open_instance(settings_of(tmp_path)) as instance:
        assert not isinstance(instance.event_log_storage, EventLogStorage)
        assert list((tmp_path / "elsewhere").rglob("*.db"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: 1\n", id="unknown section"),
        pytest.param(DAGSTER_YAML.replace("concurrency", "concurrdncy"), id="flipped section"),
        pytest.param(DAGSTER_YAML.replace("sqlite_storage", "sqlite_storagd"), id="module"),
        pytest.param(DAGSTER_YAML.replace("SqliteStorage", "SqliteStoragd"), id="class"),
        pytest.param(DAGSTER_YAML.replace("base_dir", "base_dis"), id="option"),
        pytest.param(DAGSTER_YAML.replace("default_limit: 1", "default_limit: -1"), id="limit"),
        pytest.param("- a\n", id="list"),
        pytest.param("text", id="text"),
        pytest.param("storage:\n", id="no storage"),
        pytest.param("storage: {custom: 7}\n", id="number as storage"),
    ],
)
def test_settings_that_dagster_refuses_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "dagster.yaml").write_text(text, encoding="utf-8")

    with (
        pytest.raises(
            HomeError, match=r"dagster\.yaml: expected settings of Dagster, found: \S"
        ) as e,
        open_instance(settings_of(tmp_path)),
    ):
        pass
    assert "move it away" in str(e.value)


READ_EVENTS = """
import sys, dagster as dg
with dg.DagsterInstance.get() as instance:
    print(len(instance.all_logs(sys.argv[1])), instance.get_run_by_id(sys.argv[1]).status.value)
"""


@pytest.mark.long
@pytest.mark.ci
def test_another_process_sees_the_events_of_a_run_while_it_goes_on(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    seen = []

    @dg.op
    def look(context: dg.OpExecutionContext) -> None:
        command = [sys.executable, "-c", READ_EVENTS, context.run_id]
        for _ in range(2):
            context.log_event(dg.AssetMaterialization(FRUIT))
            output = subprocess.check_output(command, text=True)
            seen.append((output.split(), len(instance.all_logs(context.run_id))))

    @dg.job
    def harvest_and_look() -> None:
        look()

    harvest_and_look.execute_in_process(instance=instance, run_config=QUIET)

    for (count, status), own_count in seen:
        assert (int(count), status) == (own_count, "STARTED")
    assert int(seen[1][0][0]) == int(seen[0][0][0]) + 1


def test_the_file_of_a_run_is_closed_when_the_run_ends(instance: dg.DagsterInstance) -> None:
    run_ids = [run(instance) for _ in range(3)]

    assert not [name for name in open_databases() if name.split(".")[0] in run_ids]


@pytest.mark.long
@pytest.mark.ci
def test_fifty_runs_and_their_pages_leave_no_growing_number_of_open_files(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    numbers = []
    with open_instance(settings_of(tmp_path)) as page:
        for _ in range(50):
            started = instance.create_run_for_job(harvest)
            instance.report_engine_event("started", started)
            instance.report_run_canceled(started)
            assert len(page.all_logs(started.run_id)) == 2
            numbers.append(len(open_databases()))

    assert max(numbers[2:]) <= numbers[1]
    assert numbers[-1] <= 5 * 3  # five databases, each with its log and its shared memory


def test_an_ended_instance_has_no_open_database(tmp_path: Path) -> None:
    before = open_databases()
    with open_instance(settings_of(tmp_path)) as instance:
        run(instance)
        assert open_databases() != before

    assert open_databases() == before


def test_a_deleted_run_leaves_no_open_file(instance: dg.DagsterInstance) -> None:
    run_ids = [run(instance) for _ in range(3)]

    for run_id in run_ids:
        instance.delete_run(run_id)
        Path(instance.event_log_storage.path_for_shard(run_id)).unlink()

    assert not [name for name in open_databases() if "deleted" in name]
    assert instance.get_runs() == []


def rename_and_restore(history: Path) -> None:
    history.rename(history.with_name("damaged_1"))
    shutil.copytree(history.with_name("damaged_1"), history)


def replace_each_file(history: Path) -> None:
    for file in history.rglob("*.db"):
        shutil.copy(file, file.with_suffix(".copy"))
        file.with_suffix(".copy").replace(file)


def remove_and_copy_back(history: Path) -> None:
    for file in history.rglob("*.db"):
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("replace", [rename_and_restore, replace_each_file, remove_and_copy_back])
def test_no_connection_survives_the_replacement_of_its_file(
    tmp_path: Path, instance: dg.DagsterInstance, replace: Callable[[Path], None]
) -> None:
    with open_instance(settings_of(tmp_path)) as page:
        run(instance)
        run(instance)
        assert (count_events(page), len(page.get_runs())) == (2, 2)
        history = tmp_path / "history"
        for file in history.rglob("*.db"):  # all that is in a log goes to its database
            with sqlite3.connect(file) as connection:
                connection.execute("pragma wal_checkpoint(truncate)")
            connection.close()

        replace(history)
        run(instance)

        assert (count_events(page), len(page.get_runs())) == (3, 3)
    with open_instance(settings_of(tmp_path)) as later:
        assert (count_events(later), len(later.get_runs())) == (3, 3)


def test_a_database_that_is_repaired_is_read_without_a_new_instance(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    run(instance)
    file = tmp_path / "history" / "runs" / "index.db"
    instance.event_log_storage.dispose()
    content = file.read_bytes()

    file.write_bytes(b"no database" * 1_000)
    with pytest.raises(DatabaseError, match="not a database"):
        count_events(instance)
    file.write_bytes(content)

    assert count_events(instance) == 1


def test_threads_store_all_their_events(instance: dg.DagsterInstance) -> None:
    run_id = run(instance)

    def store_and_read(_: int) -> int:
        instance.report_runless_asset_event(dg.AssetMaterialization(FRUIT))
        assert instance.get_run_by_id(run_id).is_success
        return len(instance.all_logs(run_id))

    with ThreadPoolExecutor(8) as threads:
        counts = set(threads.map(store_and_read, range(40)))

    assert count_events(instance) == 41
    assert counts == {len(instance.all_logs(run_id))}
    assert len(open_databases()) <= 5 * 3


def run_twice(instance: dg.DagsterInstance) -> None:
    run(instance)
    run(instance)


def test_a_forked_process_opens_the_files_anew(instance: dg.DagsterInstance) -> None:
    run(instance)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=run_twice, args=(instance,)) for _ in range(3)]

    for child in children:
        child.start()
    run(instance)
    for child in children:
        child.join()

    assert [child.exitcode for child in children] == [0, 0, 0]
    assert count_events(instance) == len(instance.get_runs()) == 8


def test_the_class_can_be_made_from_its_settings(tmp_path: Path) -> None:
    storage = SqliteStorage.from_config_value(None, {"base_dir": str(tmp_path)})

    assert set(SqliteStorage.config_type()) == {"base_dir"}
    assert storage.schedule_storage.all_instigator_state() == []
    storage.run_storage.dispose()
    storage.event_log_storage.dispose()

"""Runs of a home whose event log is in PostgreSQL, and what becomes of them if it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import pytest
import yaml
from support.cluster import wait_until
from support.command_homes import call
from support.costs import least_cpu_seconds
from support.crashes import CrashPoint, start_warm_process
from support.orchard import DOMAIN, FIRST, Files, Orchard, create_project
from support.postgres import FAST, IMMEDIATE, PASSWORD, PostgresServer, database, postgres_server
from support.sample_home import AS_OF, SampleHome

from etl_assets.defs import asset_keys, raw
from etl_assets.defs.context import DomainSession
from etl_assets.defs.event_log import COMMAND_TAG
from etl_assets.defs.instance.dagster_yaml import DAGSTER_YAML
from etl_assets.defs.launch import open_instance
from etl_assets.model.errors import HomeError, LockLostError, SettingsError
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunMart
from etl_assets.model.run_options import RunOptions
from etl_assets.operations import recovery
from etl_assets.operations.manifest import restore
from etl_assets.publish import chain, run_directory
from etl_assets.storage.atomic_write import atomic_file
from etl_assets.storage.postgres import Database
from etl_assets.storage.postgres_lock import PostgresLocks

__all__ = ["database", "postgres_server"]

Capture = pytest.CaptureFixture[str]

VARIABLE = "ORCHARD_EVENTS_PASSWORD"
POOL = "vineyard_duckdb"
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def use_database(orchard: Orchard, database: Database) -> None:
    update = {"event_log": database.url, "event_log_password_env": VARIABLE}
    orchard.settings = orchard.settings.model_copy(update=update)


def plant(orchard: Orchard, count: int) -> None:
    orchard.serve(Files.create(count))


def at_line(text: str, action: Callable[[], object]) -> Callable[[str], None]:
    """Return an echo that does something once, before the line with the text is printed."""
    done: list[str] = []

    def echo(line: str) -> None:
        if text in line and not done:
            done.append(line)
            action()

    return echo


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    return create_project(tmp_path / "project")


@pytest.fixture
def orchard(tmp_path: Path, project: Path, database: Database) -> Orchard:
    orchard = Orchard(tmp_path / "live", project=project)
    use_database(orchard, database)
    plant(orchard, 30)
    return orchard


@pytest.fixture
def command(orchard: Orchard, database: Database, monkeypatch: pytest.MonkeyPatch) -> Orchard:
    """The home, with its settings in its `.env`, the password too."""
    secret = {VARIABLE: PASSWORD}
    monkeypatch.delenv(VARIABLE)
    orchard.write_env_file(
        ETL_EVENT_LOG=database.url, ETL_EVENT_LOG_PASSWORD_ENV=VARIABLE, **secret
    )
    monkeypatch.setenv("ETL_HOME", str(orchard.home.root))
    monkeypatch.delenv("ETL_MIRROR", raising=False)
    return orchard


def test_a_run_publishes_the_same_bytes_as_with_sqlite(
    orchard: Orchard, tmp_path: Path, project: Path
) -> None:
    plain = Orchard(tmp_path / "plain", project=project)
    plant(plain, 30)

    manifests = [each.run(RunOptions(as_of=FIRST)) for each in (orchard, plain)]

    assert [manifest.status for manifest in manifests] == [RunStatus.SUCCESS] * 2
    assert [mart.sha256 for mart in manifests[0].marts] == [m.sha256 for m in manifests[1].marts]
    assert orchard.run().is_unchanged
    assert not (orchard.settings.dagster_home / "history").exists()


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("second-home")
def test_a_second_home_is_refused_by_name(
    orchard: Orchard, tmp_path: Path, project: Path, database: Database
) -> None:
    orchard.run(RunOptions(as_of=FIRST))
    second = Orchard(tmp_path / "second", project=project)
    use_database(second, database)
    plant(second, 3)

    with pytest.raises(HomeError, match=f"that of the home {orchard.home.root} on"):
        second.run(RunOptions(as_of=FIRST))

    assert not second.home.outputs(DOMAIN).exists()
    assert orchard.run().is_unchanged


@pytest.mark.long
@pytest.mark.ci
def test_a_home_moves_from_sqlite_by_one_command(
    tmp_path: Path, project: Path, database: Database
) -> None:
    orchard = Orchard(tmp_path / "live", project=project)
    plant(orchard, 30)
    first = orchard.run(RunOptions(as_of=FIRST))
    use_database(orchard, database)

    with orchard.session() as session:
        restored = restore(session)

    assert restored.lines()
    unchanged = orchard.run()
    assert not [source for source in unchanged.sources if source.status.value == "fetched"]
    assert [mart.sha256 for mart in chain_marts(orchard)] == [mart.sha256 for mart in first.marts]
    plant(orchard, 31)
    assert orchard.run().published


def chain_marts(orchard: Orchard) -> list[RunMart]:
    published = run_directory.published_directory(orchard.home, DOMAIN)
    assert published
    return list(run_directory.read_manifest(published).marts)


def test_dagster_yaml_names_the_database_without_its_password(
    orchard: Orchard, database: Database
) -> None:
    path = orchard.settings.dagster_home / "dagster.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(DAGSTER_YAML.replace("purge_after_days: 90", "purge_after_days: 7"), "utf-8")

    with open_instance(orchard.settings) as instance:
        reference = str(instance.get_ref())

    text = path.read_text(encoding="utf-8")
    declared = yaml.safe_load(text)
    assert declared["storage"]["custom"]["config"] == {
        "url": database.url,
        "password_env": VARIABLE,
    }
    assert declared["retention"]["schedule"] == {"purge_after_days": 7}
    assert PASSWORD not in text + reference


@pytest.mark.long
@pytest.mark.ci
def test_a_program_of_dagster_reads_the_same_event_log(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchard.run(RunOptions(as_of=FIRST))
    monkeypatch.setenv("DAGSTER_HOME", str(orchard.settings.dagster_home))

    with dg.DagsterInstance.get() as instance:
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS]


@pytest.mark.parametrize("key", ["storage", "run_storage", "event_log_storage"])
def test_a_storage_that_the_operator_declares_is_refused(orchard: Orchard, key: str) -> None:
    path = orchard.settings.dagster_home / "dagster.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"{key}: {{sqlite: {{base_dir: elsewhere}}}}\n", encoding="utf-8")

    with (
        pytest.raises(SettingsError, match="expected no storage of its own"),
        open_instance(orchard.settings),
    ):
        pass


@pytest.mark.long
@pytest.mark.ci
def test_a_home_that_used_a_database_begins_no_other_event_log(orchard: Orchard) -> None:
    orchard.run(RunOptions(as_of=FIRST))
    orchard.settings = orchard.settings.model_copy(update={"event_log": None})

    with pytest.raises(SettingsError, match=r"which .*dagster\.yaml names, found no such variable"):
        orchard.run()

    assert not (orchard.settings.dagster_home / "history").exists()


def occupy(instance: dg.DagsterInstance, domain: str) -> dg.DagsterRun:
    """Add a run that has the one slot of the domain's pool, and will never end by itself."""
    run = dg.DagsterRun(
        job_name="refresh", status=dg.DagsterRunStatus.STARTED, tags={COMMAND_TAG: domain}
    )
    instance.event_log_storage.set_concurrency_slots(POOL, 1)
    instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "marts")
    return instance.add_run(run)


@pytest.mark.fault("two-hosts")
@pytest.mark.parametrize("is_alive", [True, False])
def test_the_lock_alone_says_if_a_run_of_another_process_is_alive(
    orchard: Orchard, database: Database, is_alive: bool
) -> None:
    other = PostgresLocks(database)
    with orchard.session() as session, other.take("vineyard", on_wait=lambda _: None):
        run = occupy(session.event_log.instance, "vineyard" if is_alive else "olives")

        recover(session)

        storage = session.event_log.instance.event_log_storage
        is_free = storage.claim_concurrency_slot(POOL, "another", "marts").is_claimed
        status = session.event_log.instance.get_run_by_id(run.run_id).status
    assert is_free is not is_alive
    assert status is dg.DagsterRunStatus.STARTED


def recover(session: DomainSession) -> None:
    locks = session.project.locks
    with locks.take(DOMAIN, on_wait=lambda _: None):
        recovery.recover(session)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("killed-elsewhere")
def test_a_run_whose_process_is_gone_is_ended_by_the_next_one(orchard: Orchard) -> None:
    with open_instance(orchard.settings) as instance:
        run = occupy(instance, DOMAIN)

    assert orchard.run(RunOptions(as_of=FIRST)).published

    with open_instance(orchard.settings) as instance:
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE


@contextmanager
def command_at(orchard: Orchard, line: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command in another process until it prints a line."""
    with subprocess.Popen(
        [sys.executable, "-m", "etl_assets.cli.main", "run", DOMAIN, "-v"],
        cwd=orchard.home.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout
            printed = []
            while not printed or line not in printed[-1]:
                printed.append(process.stdout.readline())
                assert printed[-1], printed
            yield process
        finally:
            process.kill()


@pytest.mark.long
@pytest.mark.fault("overtaken", "killed-elsewhere")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("step", ["raw starts", "marts starts", "publish starts"])
def test_a_run_of_another_process_is_overtaken_and_publishes_nothing_after_that(
    command: Orchard, number: signal.Signals, step: str
) -> None:
    command.run(RunOptions(as_of=FIRST))
    plant(command, 31)
    messages: list[str] = []

    with command_at(command, step) as other:
        other.send_signal(number)
        manifest = command.run(echo=messages.append)
        other.send_signal(signal.SIGCONT)
        output, _ = other.communicate(timeout=120)

    assert any(f"held by process {other.pid} on " in message for message in messages)
    assert manifest.published
    assert command.latest.name == manifest.directory
    assert number == signal.SIGKILL or "another process has taken it" in output
    assert other.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 1)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.skipif(not FAKETIME.exists(), reason="needs libfaketime, found none")
@pytest.mark.fault("clock-of-worker")
@pytest.mark.parametrize(("offset", "found"), [("+1d", "s ahead"), ("-1d", "s behind")])
def test_a_host_whose_clock_is_set_in_mid_run_publishes_nothing(
    command: Orchard, tmp_path: Path, offset: str, found: str
) -> None:
    command.run(RunOptions(as_of=FIRST))
    before = command.latest
    plant(command, 31)
    clock, log = tmp_path / "clock", tmp_path / "log"
    clock.write_text("+0", encoding="utf-8")
    environment = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }

    # To a file: programs of Dagster that follow its logs outlive the command, and keep a pipe open.
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "etl_assets.cli.main", "run", DOMAIN, "-v"],
            cwd=command.home.root,
            env={**os.environ, **environment},  # noqa: TID251 - of a child
            stdout=file,
            stderr=file,
            start_new_session=True,
        ) as other,
    ):
        wait_until(lambda: b"raw starts" in log.read_bytes())
        clock.write_text(offset, encoding="utf-8")
        code = other.wait(120)
        with suppress(ProcessLookupError):
            os.killpg(other.pid, signal.SIGKILL)

    output = log.read_text(encoding="utf-8")
    assert code == 1, output
    assert "expected a clock within 300 s" in output
    assert found in output
    assert command.latest == before
    new = command.run()
    assert new.previous
    assert new.previous.directory == before.name
    assert new.as_of > run_directory.read_manifest(before).as_of
    assert len(command.rows("mart_trees")) == 31
    assert command.run().is_unchanged


@pytest.mark.long
@pytest.mark.fault("database-restarted")
@pytest.mark.parametrize("mode", [FAST, IMMEDIATE])
@pytest.mark.parametrize("step", ["table starts", "publish starts"])
def test_a_run_goes_on_after_its_database_was_restarted(
    orchard: Orchard, postgres_server: PostgresServer, step: str, mode: int
) -> None:
    manifest = orchard.run(
        RunOptions(as_of=FIRST), echo=at_line(step, lambda: postgres_server.restart(mode))
    )

    assert manifest.published
    assert orchard.run().is_unchanged


@pytest.mark.long
@pytest.mark.fault("database-stopped")
@pytest.mark.parametrize(
    "step",
    [
        pytest.param("raw starts", marks=pytest.mark.long),
        "marts starts",
        pytest.param("publish starts", marks=pytest.mark.long),
    ],
)
def test_a_run_whose_database_stops_fails_by_name_and_the_next_one_completes(
    orchard: Orchard, postgres_server: PostgresServer, database: Database, step: str
) -> None:
    orchard.run(RunOptions(as_of=FIRST))
    before = orchard.latest
    plant(orchard, 31)
    try:
        with pytest.raises(HomeError, match="expected a database that can be used"):
            orchard.run(echo=at_line(step, postgres_server.stop))
    finally:
        postgres_server.start()

    assert orchard.latest == before
    expire_holder(database)
    assert orchard.run().published


@pytest.mark.long
def test_a_plan_costs_the_same_after_3000_moves_of_one_year(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    sample = SampleHome.create(tmp_path)
    update = {"event_log": database.url, "event_log_password_env": VARIABLE}
    sample.settings = sample.settings.model_copy(update=update)
    assert sample.run(RunOptions(as_of=AS_OF)).published
    source = sample.domain.sources["nvd"]
    sample.plan()
    before = least_cpu_seconds(sample.plan)
    with sample.session() as session:
        fetch = session.read_sources()[source.name].fetches["2024"]
        for _ in range(3_000):
            outcome = raw.raw_outcome(fetch)
            session.event_log.report_outcome(asset_keys.raw_key(source), "2024", outcome)

    after = least_cpu_seconds(sample.plan)

    assert after <= 1.2 * before


FILLER = """\
insert into event_logs (run_id, event, timestamp)
select 'filler', repeat(md5(i::text), 60), now() from generate_series(1, 20000) i
"""


@pytest.mark.long
@pytest.mark.fault("database-full")
def test_a_run_whose_database_is_full_fails_by_name_and_the_next_one_completes(
    orchard: Orchard, postgres_server: PostgresServer, database: Database
) -> None:
    orchard.run(RunOptions(as_of=FIRST))
    before = orchard.latest
    plant(orchard, 31)
    postgres_server.stop()
    postgres_server.start(max_file_bytes=(20 << 20) + 4096)
    try:
        with pytest.raises(HomeError, match="its disk is full"), database.cursor() as cursor:
            cursor.execute(FILLER)
        with pytest.raises(HomeError, match="its disk is full"):
            orchard.run()
    finally:
        postgres_server.restart()

    assert orchard.latest == before
    expire_holder(database)
    assert orchard.run().published


def expire_holder(database: Database) -> None:
    """Let a holder that could not release its lock count as dead, as it would after a minute."""
    with database.cursor() as cursor:
        cursor.execute("update etl_lock set pid = null")


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("overtaken")
@pytest.mark.parametrize("step", ["raw starts", "publish starts"])
def test_a_run_whose_lock_was_taken_publishes_nothing(
    orchard: Orchard, database: Database, step: str
) -> None:
    orchard.run(RunOptions(as_of=FIRST))
    before = orchard.latest
    plant(orchard, 31)

    def take_over() -> None:
        with database.cursor() as cursor:
            cursor.execute("update etl_lock set number = number + 1")

    with pytest.raises(LockLostError, match="another process has taken it"):
        orchard.run(echo=at_line(step, take_over))

    assert orchard.latest == before
    assert not list(orchard.home.outputs(DOMAIN).glob(".latest.*"))


def replace_trees(orchard: Orchard, old: bytes) -> None:
    """Write an older table in the place of the current one, as a process that was stopped does."""
    file = orchard.home.table_file(DOMAIN, "trees", None)
    with atomic_file(file) as temporary:
        temporary.write_bytes(old)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("overtaken")
@pytest.mark.parametrize("line", ["marts starts", "building", "publish starts"])
def test_a_table_that_an_overtaken_process_replaces_is_never_published(
    orchard: Orchard, line: str
) -> None:
    orchard.run(RunOptions(as_of=FIRST))
    before, table = orchard.latest, orchard.home.table_file(DOMAIN, "trees", None)
    old = table.read_bytes()
    plant(orchard, 31)

    manifest = orchard.run(echo=at_line(line, lambda: replace_trees(orchard, old)))

    if line == "publish starts":  # the marts have been made
        assert manifest.published
    else:
        assert manifest.status is RunStatus.FAILED
        assert "trees" in manifest.note
        assert orchard.latest == before
    orchard.run()
    assert len(orchard.rows("mart_trees")) == 31
    assert table.read_bytes() != old
    assert orchard.run().is_unchanged


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("killed-elsewhere")
def test_a_set_that_was_recorded_and_not_yet_visible_is_completed(
    orchard: Orchard, tmp_path: Path
) -> None:
    orchard.run(RunOptions(as_of=FIRST))
    first = orchard.latest
    head = chain.read_head(orchard.home, DOMAIN)
    plant(orchard, 31)
    orchard.run()
    second = orchard.latest
    # As if the process had been killed after it recorded the second set.
    run_directory.announce_publication(orchard.home, DOMAIN, second)
    run_directory.link_again(orchard.home, DOMAIN, first)
    chain.write_head(orchard.home, DOMAIN, head)

    with orchard.session() as session:
        recover(session)

    assert orchard.latest == second
    assert run_directory.read_manifest(second).published
    assert not run_directory.is_publication_pending(second)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("killed-elsewhere")
def test_a_process_that_is_killed_before_readers_see_its_recorded_set_loses_nothing(
    command: Orchard, tmp_path: Path, database: Database, capsys: Capture
) -> None:
    command.run(RunOptions(as_of=FIRST))
    before = command.latest
    plant(command, 31)
    # Of the links: the pending one is created, and renamed once the set is recorded.
    crash_point = CrashPoint("kill", "latest", 2)
    with start_warm_process(tmp_path) as process:
        killed = process.run(command.home.root, ["run", DOMAIN], crash_point)
    with command.session() as session:
        head = session.project.locks.read_head(DOMAIN)

    assert killed.code == -signal.SIGKILL
    assert killed.points[-1][1] == "os.rename"
    assert head
    assert command.latest == before != command.home.outputs(DOMAIN) / head.directory
    expire_holder(database)
    call("health")
    assert f"{head.directory} is recorded as published" in capsys.readouterr().out
    call("run", DOMAIN)
    assert f"repaired: {head.directory} was recorded as published" in capsys.readouterr().err
    # The event log has no end of the killed run, so the same set was published once more, after it.
    assert run_directory.read_manifest(command.latest).previous == head
    assert len(command.rows("mart_trees")) == 31
    assert command.run().is_unchanged


@pytest.mark.long
@pytest.mark.ci
def test_health_is_good(command: Orchard, capsys: Capture) -> None:
    command.run(RunOptions(as_of=FIRST))

    assert call("health", "--json") == 0

    report = json.loads(capsys.readouterr().out)
    assert report["status"] == "healthy", report


def test_health_of_an_empty_home_creates_nothing(command: Orchard, database: Database) -> None:
    call("health")

    with database.cursor() as cursor:
        cursor.execute("select count(*) from pg_tables where schemaname = 'public'")
        assert cursor.fetchone() == (0,)


@pytest.mark.fault("database-stopped")
def test_health_names_a_database_that_is_stopped(
    command: Orchard, postgres_server: PostgresServer, capsys: Capture
) -> None:
    command.run(RunOptions(as_of=FIRST))
    postgres_server.stop()
    try:
        code = call("health")
    finally:
        postgres_server.start()

    output = capsys.readouterr().out
    assert code == 1
    assert "ERROR event log: postgresql://" in output
    assert PASSWORD not in output


@pytest.mark.long
@pytest.mark.ci
def test_status_reads_the_database_and_not_what_sqlite_had(
    command: Orchard, capsys: Capture
) -> None:
    command.run(RunOptions(as_of=FIRST))

    assert call("status") == 0

    assert f"{DOMAIN}: success" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.ci
def test_old_runs_are_removed_from_the_database(orchard: Orchard) -> None:
    domain = orchard.domain
    retention = domain.retention.model_copy(update={"keep_runs": 2, "versions": 2})
    orchard.domain = domain.model_copy(update={"retention": retention})
    for count in range(30, 36):
        plant(orchard, count)
        orchard.run(RunOptions() if count > 30 else RunOptions(as_of=FIRST))

    with open_instance(orchard.settings) as instance:
        assert len(instance.get_runs()) <= 5

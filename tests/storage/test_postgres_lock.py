"""The lock of a domain in PostgreSQL: holders that wait, die, stop, and lose their connection.

Times are short, so that a test can wait until a lock is taken from its holder.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.postgres import FAST, IMMEDIATE, PASSWORD, PostgresServer, database, postgres_server

from etl_assets.model.errors import HomeError, LockLostError
from etl_assets.model.records import PublishedLink
from etl_assets.storage.postgres import Database
from etl_assets.storage.postgres_lock import PostgresLocks, Timing
from etl_assets.storage.user import current_user

__all__ = ["database", "postgres_server"]

DOMAIN = "plants"
SHORT = Timing(
    heartbeat_seconds=0.2,
    takeover_seconds=2,
    certain_seconds=1,
    retake_seconds=5,
    retry_seconds=0.1,
    poll_seconds=0.1,
)
PATIENT = Timing(heartbeat_seconds=0.2, certain_seconds=1, retry_seconds=0.1, poll_seconds=0.1)
DEADLINE_SECONDS = 30
HOLDER = """\
import json, sys
from pydantic import SecretStr
from etl_assets.model.errors import HomeError
from etl_assets.model.records import PublishedLink
from etl_assets.storage.postgres import Database
from etl_assets.storage.postgres_lock import PostgresLocks, Timing
url, password, domain, timing = sys.argv[1:]
locks = PostgresLocks(Database(url, SecretStr(password)), Timing(**json.loads(timing)))
with locks.take(domain, on_wait=lambda text: print(text, flush=True)):
    print("held", flush=True)
    for line in sys.stdin:
        try:
            if line.strip() == "require":
                locks.require(domain)
            else:
                locks.move_head(domain, PublishedLink.model_validate_json(line))
            print("done", flush=True)
        except HomeError as error:
            print(f"{type(error).__name__}: {error}", flush=True)
"""


def ignore(_: str) -> None:
    pass


def link(sequence: int) -> PublishedLink:
    return PublishedLink(
        directory=f"20260301_12000{sequence}",
        sequence=sequence,
        manifest_sha256=str(sequence) * 64,
        history_sha256=None,
        as_of=datetime(2026, 3, 1, 12, sequence, tzinfo=UTC),
    )


@dataclass
class Holder:
    """Another process that has the lock until its input ends."""

    process: subprocess.Popen[str]

    def ask(self, line: str) -> str:
        """Send a line, and return the answer."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()


@contextmanager
def holder(database: Database, root: Path, timing: Timing = SHORT) -> Iterator[Holder]:
    arguments = [database.url, PASSWORD, DOMAIN, json.dumps(asdict(timing))]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield Holder(process)
        finally:
            process.kill()


def refusal(locks: PostgresLocks) -> str:
    """The message for a writer that does not get the lock and does not wait."""
    with pytest.raises(HomeError) as raised, locks.take(DOMAIN, on_wait=ignore, wait=False):
        pass
    return str(raised.value)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def locks(database: Database) -> PostgresLocks:
    return PostgresLocks(database, SHORT)


@pytest.mark.fault("two-hosts")
def test_a_second_writer_that_does_not_wait_gets_the_holder_in_its_error(
    locks: PostgresLocks, database: Database, repo_root: Path
) -> None:
    with holder(database, repo_root) as other:
        message = refusal(locks)

    name = f"process {other.process.pid} on {socket.gethostname()} by {current_user()} since 2"
    assert f"plants is held by {name}" in message


@pytest.mark.fault("two-hosts")
def test_a_second_writer_waits_and_reports_the_holder(
    locks: PostgresLocks, database: Database, repo_root: Path
) -> None:
    messages: list[str] = []
    with holder(database, repo_root) as other:

        def report(text: str) -> None:
            messages.append(text)
            assert other.process.stdin
            other.process.stdin.close()  # lets the holder end

        with locks.take(DOMAIN, on_wait=report):
            pass

    assert messages[0].startswith(f"plants is held by process {other.process.pid}")
    assert messages[0].endswith("waiting for it to end")


def test_domains_do_not_wait_for_each_other(locks: PostgresLocks) -> None:
    with (
        locks.take(DOMAIN, on_wait=ignore, wait=False),
        locks.take("trees", on_wait=ignore, wait=False),
    ):
        found = [locks.find_holder(name) is not None for name in (DOMAIN, "trees", "shrubs")]

    assert found == [True, True, False]


def test_a_released_lock_is_free_at_once(database: Database) -> None:
    locks = PostgresLocks(database)

    for _ in range(3):
        with locks.take(DOMAIN, on_wait=ignore, wait=False):
            pass

    assert locks.find_holder(DOMAIN) is None


@pytest.mark.fault("killed-elsewhere")
def test_a_killed_holder_keeps_the_lock_for_a_while(database: Database, repo_root: Path) -> None:
    with holder(database, repo_root, PATIENT) as other:
        other.signal(signal.SIGKILL)

        assert f"process {other.process.pid} " in refusal(PostgresLocks(database, PATIENT))


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("killed-elsewhere")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_the_lock_is_taken_from_a_holder_that_gives_no_sign(
    locks: PostgresLocks, database: Database, repo_root: Path, number: signal.Signals
) -> None:
    with holder(database, repo_root) as other:
        other.signal(number)

        with locks.take(DOMAIN, on_wait=ignore):
            assert f"process {os.getpid()} " in str(locks.find_holder(DOMAIN))


@pytest.mark.fault("killed-elsewhere")
@pytest.mark.parametrize("mode", [FAST, IMMEDIATE])
def test_a_server_that_starts_gives_its_holders_time(
    database: Database, repo_root: Path, postgres_server: PostgresServer, mode: signal.Signals
) -> None:
    with holder(database, repo_root, PATIENT) as other:
        other.signal(signal.SIGSTOP)
        with database.cursor() as cursor:
            cursor.execute("update etl_lock set heartbeat_at = now() - interval '1 day'")
        postgres_server.restart(mode)

        assert f"process {other.process.pid} " in refusal(PostgresLocks(database, PATIENT))


@pytest.mark.fault("database-restarted")
@pytest.mark.parametrize("mode", [FAST, IMMEDIATE])
def test_a_holder_takes_its_lock_again_after_the_server_was_restarted(
    locks: PostgresLocks,
    database: Database,
    repo_root: Path,
    postgres_server: PostgresServer,
    mode: signal.Signals,
) -> None:
    with holder(database, repo_root) as other:
        postgres_server.restart(mode)

        assert other.ask(link(1).model_dump_json()) == "done\n"
        assert f"process {other.process.pid} " in refusal(locks)
    assert locks.read_head(DOMAIN) == link(1)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("database-restarted")
@pytest.mark.parametrize("mode", [FAST, IMMEDIATE])
def test_a_process_that_waits_goes_on_after_the_server_was_restarted(
    locks: PostgresLocks,
    database: Database,
    repo_root: Path,
    postgres_server: PostgresServer,
    mode: signal.Signals,
) -> None:
    with holder(database, repo_root) as other:

        def restart(_: str) -> None:
            postgres_server.restart(mode)
            other.signal(signal.SIGKILL)

        with locks.take(DOMAIN, on_wait=restart):
            assert f"process {os.getpid()} " in str(locks.find_holder(DOMAIN))


@pytest.mark.fault("database-restarted")
def test_a_holder_whose_session_was_ended_takes_its_lock_again(
    locks: PostgresLocks, database: Database
) -> None:
    with locks.take(DOMAIN, on_wait=ignore):
        for sequence in range(1, 4):
            end_sessions(database)
            locks.move_head(DOMAIN, link(sequence))

    assert locks.read_head(DOMAIN) == link(3)


def end_sessions(database: Database) -> None:
    with database.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("database-stopped")
def test_a_holder_without_its_database_may_not_write(
    database: Database, repo_root: Path, postgres_server: PostgresServer
) -> None:
    with holder(database, repo_root) as other:
        postgres_server.stop()
        try:
            time.sleep(SHORT.certain_seconds)
            answers = [other.ask("require"), other.ask(link(1).model_dump_json())]
        finally:
            postgres_server.start()

    assert "LockLostError: plants: expected its lock, found it lost: its database" in answers[0]
    assert answers[1] != "done\n"


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("overtaken")
@pytest.mark.parametrize("publishes", [True, False])
def test_a_holder_that_was_stopped_and_overtaken_cannot_publish(
    locks: PostgresLocks, database: Database, repo_root: Path, publishes: bool
) -> None:
    with holder(database, repo_root) as other:
        other.signal(signal.SIGSTOP)
        with locks.take(DOMAIN, on_wait=ignore):
            if publishes:
                locks.move_head(DOMAIN, link(2))
        other.signal(signal.SIGCONT)

        answers = [other.ask(link(1).model_dump_json()), other.ask("require")]

    assert all("another process has taken it" in answer for answer in answers)
    assert locks.read_head(DOMAIN) == (link(2) if publishes else None)


@pytest.mark.fault("overtaken")
def test_a_number_that_is_no_longer_the_newest_moves_no_head(
    locks: PostgresLocks, database: Database
) -> None:
    with locks.take(DOMAIN, on_wait=ignore):
        with database.cursor() as cursor:
            cursor.execute("update etl_lock set number = number + 1")

        with pytest.raises(LockLostError, match="another process has taken it"):
            locks.move_head(DOMAIN, link(1))

    assert locks.read_head(DOMAIN) is None


def test_a_holder_asks_for_the_head_once_unless_it_wants_it_fresh(
    locks: PostgresLocks, database: Database
) -> None:
    with locks.take(DOMAIN, on_wait=ignore):
        locks.move_head(DOMAIN, link(1))
        change_head(database, link(2))

        assert locks.read_head(DOMAIN) == link(1)
        assert locks.read_head(DOMAIN, fresh=True) == link(2)

    assert locks.read_head(DOMAIN) == link(2)
    with locks.take(DOMAIN, on_wait=ignore):
        assert locks.read_head(DOMAIN) == link(2)


@pytest.mark.fault("overtaken")
def test_a_holder_that_was_overtaken_asks_for_the_head(
    locks: PostgresLocks, database: Database
) -> None:
    with locks.take(DOMAIN, on_wait=ignore):
        locks.move_head(DOMAIN, link(1))
        change_head(database, link(2))
        with database.cursor() as cursor:
            cursor.execute("update etl_lock set number = number + 1")
        with pytest.raises(LockLostError):
            locks.move_head(DOMAIN, link(3))

        assert locks.read_head(DOMAIN) == link(2)


def change_head(database: Database, head: PublishedLink) -> None:
    """Record a head as another process would that has the lock now."""
    with database.cursor() as cursor:
        cursor.execute("update etl_head set link = %s::jsonb", (head.model_dump_json(),))


def test_each_lock_gets_a_higher_number(locks: PostgresLocks, database: Database) -> None:
    numbers = []
    for sequence in range(1, 4):
        with locks.take(DOMAIN, on_wait=ignore):
            locks.move_head(DOMAIN, link(sequence))
        with database.cursor() as cursor:
            cursor.execute("select number from etl_head")
            numbers += cursor.fetchall()

    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("count", [2, 8])
def test_of_processes_that_ask_at_once_one_gets_the_lock(
    database: Database, repo_root: Path, count: int
) -> None:
    arguments = [database.url, PASSWORD, DOMAIN, json.dumps(asdict(PATIENT))]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, *arguments],
            cwd=repo_root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        lines = []
        for process in processes:
            assert process.stdout
            lines.append(process.stdout.readline())
    finally:
        for process in processes:
            process.kill()
            process.communicate()

    assert lines.count("held\n") == 1
    assert all("is held by" in line for line in lines if line != "held\n")


FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
TAKE_LOCK = """
import sys
from pydantic import SecretStr
from etl_assets.storage.postgres import Database
from etl_assets.storage.postgres_lock import PostgresLocks
with PostgresLocks(Database(sys.argv[1], SecretStr(sys.argv[2]))).take("plums", on_wait=print):
    print("taken")
"""


@pytest.mark.skipif(not FAKETIME.exists(), reason="needs libfaketime, found none")
@pytest.mark.fault("clock-of-worker")
@pytest.mark.parametrize(
    ("offset", "found"),
    [("+1d", "86,400 s ahead"), ("-1h", "3,600 s behind"), ("-10m", "600 s behind"), ("+60", None)],
)
def test_a_machine_with_another_time_takes_no_lock(
    database: Database, offset: str, found: str | None
) -> None:
    environment = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    result = subprocess.run(
        [sys.executable, "-c", TAKE_LOCK, database.url, PASSWORD],
        env={**os.environ, **environment},  # noqa: TID251 - of a child
        capture_output=True,
        text=True,
        check=False,
    )

    if found is None:
        assert result.stdout == "taken\n", result.stderr
    else:
        assert "expected a clock within 300 s" in result.stderr
        assert found.split(" ")[-1] in result.stderr

"""The lock of a domain in PostgreSQL: holders that wait, die, stop, and lose their connection."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.postgres import PostgresServer, database, postgres_server

from etl_assets.model.errors import HomeError
from etl_assets.model.records import PublishedLink
from etl_assets.storage.postgres import Database
from etl_assets.storage.postgres_lock import PostgresLocks

__all__ = ["database", "postgres_server"]

DOMAIN = "plants"
HOLDER = """\
import sys
from pydantic import SecretStr
from etl_assets.storage.postgres import Database
from etl_assets.storage.postgres_lock import PostgresLocks
from etl_assets.model.errors import LockLostError
locks = PostgresLocks(Database(sys.argv[1], SecretStr(sys.argv[2])))
with locks.take(sys.argv[3], on_wait=print):
    print("held", flush=True)
    for line in sys.stdin:
        try:
            locks.require(sys.argv[3])
            print("certain", flush=True)
        except LockLostError as error:
            print(error, flush=True)
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


def refusal(database: Database) -> str:
    """The message for a writer that does not get the lock and does not wait."""
    locks = PostgresLocks(database)
    with pytest.raises(HomeError) as raised, locks.take(DOMAIN, on_wait=ignore, wait=False):
        pass
    return str(raised.value)


def let_heartbeat_age(database: Database, seconds: int) -> None:
    """Set the last heartbeat back by the server's clock, as if the time had passed."""
    with database.cursor() as cursor:
        cursor.execute(
            "update etl_lock set heartbeat_at = heartbeat_at - make_interval(secs => %s)",
            (seconds,),
        )


@contextmanager
def holder(database: Database, root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock until its input ends."""
    assert database.password
    arguments = [database.url, database.password.get_secret_value(), DOMAIN]
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
            yield process
        finally:
            process.kill()


def test_a_second_writer_that_does_not_wait_gets_the_holder_in_its_error(
    database: Database, repo_root: Path
) -> None:
    with holder(database, repo_root) as other:
        message = refusal(database)

    assert f"plants is held by process {other.pid} on " in message


def test_a_second_writer_waits_and_reports_the_holder(database: Database, repo_root: Path) -> None:
    messages: list[str] = []
    with holder(database, repo_root) as other:

        def report(text: str) -> None:
            messages.append(text)
            assert other.stdin
            other.stdin.close()  # lets the holder end

        with PostgresLocks(database).take(DOMAIN, on_wait=report):
            pass

    assert messages[0].startswith(f"plants is held by process {other.pid}")


def test_domains_do_not_wait_for_each_other(database: Database) -> None:
    locks = PostgresLocks(database)

    with (
        locks.take(DOMAIN, on_wait=ignore, wait=False),
        locks.take("trees", on_wait=ignore, wait=False),
    ):
        assert locks.find_holder(DOMAIN)
        assert locks.find_holder("trees")
        assert locks.find_holder("shrubs") is None


def test_a_released_lock_is_free_at_once(database: Database) -> None:
    locks = PostgresLocks(database)

    for _ in range(3):
        with locks.take(DOMAIN, on_wait=ignore, wait=False):
            pass

    assert locks.find_holder(DOMAIN) is None


@pytest.mark.parametrize("age", [0, 30, 55])
def test_a_killed_holder_keeps_the_lock_until_its_heartbeat_is_old(
    database: Database, repo_root: Path, age: int
) -> None:
    with holder(database, repo_root) as other:
        other.kill()
        other.wait()
        let_heartbeat_age(database, age)

        assert f"process {other.pid}" in refusal(database)


@pytest.mark.parametrize("age", [61, 600, 86_400])
def test_a_killed_holder_is_overtaken_once_its_heartbeat_is_old(
    database: Database, repo_root: Path, postgres_server: PostgresServer, age: int
) -> None:
    with holder(database, repo_root) as other:
        other.kill()
        other.wait()
        let_heartbeat_age(database, age)
        pretend_server_is_old(database)

        with PostgresLocks(database).take(DOMAIN, on_wait=ignore, wait=False):
            pass


def pretend_server_is_old(database: Database) -> None:
    """Replace the start of the server in this database, which began a moment ago."""
    with database.cursor() as cursor:
        cursor.execute(
            "create function public.pg_postmaster_start_time() returns timestamptz"
            " language sql as $$ select 'epoch'::timestamptz $$"
        )
        cursor.execute(
            f"alter database {database.parameters['dbname']} set search_path = public, pg_catalog"
        )

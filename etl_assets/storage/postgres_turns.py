"""Turns of requests to a host, for runs of several processes that ask the same host.

Each request has a time to start, by the clock of the database. The connections that are open at a
time are limited in each process.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from etl_assets.model.errors import HomeError
from etl_assets.storage.postgres import Database, describe_fault, import_driver

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

APPLICATION = "etl turns"
CREATE = """\
create table if not exists etl_turn (
    host text primary key,
    next_at timestamptz not null
)"""
# A turn begins where the last one ends, or now. The second value is how long it takes.
RESERVE = """\
insert into etl_turn (host, next_at)
values (%(host)s, clock_timestamp() + %(seconds)s * interval '1 second')
on conflict (host) do update
set next_at = greatest(etl_turn.next_at, clock_timestamp()) + %(seconds)s * interval '1 second'
returning extract(epoch from next_at - clock_timestamp())::float8"""
POSTPONE = """\
insert into etl_turn (host, next_at)
values (%(host)s, clock_timestamp() + %(seconds)s * interval '1 second')
on conflict (host) do update set next_at = greatest(etl_turn.next_at, excluded.next_at)"""


class PostgresTurns:
    """The turns of all hosts, in the database of the event log; used by the threads of a run."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = Lock()
        self._connection: Connection | None = None

    def reserve(self, host: str, seconds: float) -> float:
        """Return in how many seconds the next request may start; the one after it waits longer."""
        value = self._execute(RESERVE, host, seconds)
        return max(0.0, float(str(value)) - seconds)

    def postpone(self, host: str, seconds: float) -> None:
        """Start no request for a time."""
        self._execute(POSTPONE, host, seconds)

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _execute(self, statement: str, host: str, seconds: float) -> object:
        with self._lock:
            for is_last in (False, True):
                try:
                    return self._try(statement, {"host": host, "seconds": seconds})
                except import_driver().Error as error:
                    # The server may have been restarted. A turn that is reserved twice costs time.
                    self._disconnect()
                    if is_last:
                        message = describe_fault(self._database.url, error)
                        raise HomeError(message) from error
        raise AssertionError

    def _try(self, statement: str, values: dict[str, object]) -> object:
        if self._connection is None:
            self._connection = self._database.connect(APPLICATION)
            with self._connection.cursor() as cursor:
                cursor.execute("select pg_advisory_lock(hashtext('etl_turn'))")
                try:
                    cursor.execute(CREATE)
                finally:
                    cursor.execute("select pg_advisory_unlock(hashtext('etl_turn'))")
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone()[0] if statement is RESERVE else None

    def _disconnect(self) -> None:
        if self._connection:
            with suppress(import_driver().Error):
                self._connection.close()
        self._connection = None

"""Locks of domains in the database of the event log, for a home that several hosts share.

A lock is an advisory lock on a connection of its own, and a row that names the holder. Each time
it is taken, the row gets a higher number; what publishes compares the number, so a holder that was
overtaken cannot publish. All times are of the server: clocks and process ids of other hosts mean
nothing here.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

from etl_assets.model.errors import HomeError, LockLostError
from etl_assets.model.records import PublishedLink
from etl_assets.storage.lock import Holder
from etl_assets.storage.postgres import (
    MIN_VERSION,
    Database,
    describe_fault,
    import_driver,
    postgres_errors,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812 - they are classes
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

APPLICATION = "etl lock"
LOCK_CLASS = 0x65746C  # "etl": the first of the two numbers of our advisory locks
ROW_LOCK_MILLISECONDS = 5000  # for the row of a lock that is being taken or published under
MAX_CLOCK_SECONDS = 300  # between this machine and the server
PROBES = 3  # connections that a pooler would serve by the session of another one

CREATE = """\
create table if not exists etl_lock (
    id serial primary key,
    domain text not null unique,
    number bigint not null default 0,
    pid integer,
    host text,
    operator text,
    since timestamptz,
    heartbeat_at timestamptz
);
create table if not exists etl_head (
    domain text primary key,
    number bigint not null,
    link jsonb not null,
    moved_at timestamptz not null
)"""
READ = """\
select id, pid, host, operator, since,
    ceil(%s - extract(epoch from
        clock_timestamp() - greatest(heartbeat_at, pg_postmaster_start_time())))::integer
from etl_lock where domain = %s"""
TAKE = """\
update etl_lock
set number = number + 1, pid = %s, host = %s, operator = %s,
    since = clock_timestamp(), heartbeat_at = clock_timestamp()
where domain = %s
returning number"""
BEAT = """\
update etl_lock set heartbeat_at = clock_timestamp()
where domain = %s and number = %s
returning pg_backend_pid()"""
RELEASE = """\
update etl_lock set pid = null, host = null, operator = null, since = null, heartbeat_at = null
where domain = %s and number = %s"""
# The lock of a run is never taken again.
FORGET = "delete from etl_lock where domain = %s and number = %s and domain like 'run/%%'"
MOVE_HEAD = """\
insert into etl_head (domain, number, link, moved_at)
select domain, number, %s::jsonb, clock_timestamp() from etl_lock
where domain = %s and number = %s
for update
on conflict (domain) do update
set number = excluded.number, link = excluded.link, moved_at = excluded.moved_at
returning number"""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a lock holds without a sign of its holder."""

    heartbeat_seconds: float = 10
    takeover_seconds: float = 60
    """After the last heartbeat and the start of the server, until another process takes it."""
    certain_seconds: float = 45
    """After the last heartbeat, until which the holder works without asking: shorter by more than
    two clocks differ in that time."""
    retake_seconds: float = 60
    """For a database that restarts."""
    retry_seconds: float = 1
    poll_seconds: float = 2

    @property
    def session(self) -> dict[str, int]:
        """Parameters of a session that has a lock."""
        # The kernel of a process that is stopped answers keepalives; its session ends all the same.
        timeout = int(self.takeover_seconds * 1000)
        return {
            "idle_session_timeout": timeout,
            "idle_in_transaction_session_timeout": timeout,
            "lock_timeout": ROW_LOCK_MILLISECONDS,
        }


@dataclass(frozen=True, slots=True)
class _Row:
    """The row of a lock: who has it, and when another process may take it."""

    id: int
    holder: Holder | None
    wait_seconds: int
    """Until the holder counts as dead, unless a heartbeat comes."""

    @property
    def is_taken(self) -> bool:
        return self.holder is not None and self.wait_seconds > 0


class PostgresLocks:
    """The locks of the domains whose event log is in a database."""

    def __init__(self, database: Database, timing: Timing = Timing()) -> None:
        self._database, self._timing = database, timing
        self._held: dict[str, _HeldLock] = {}
        self._has_tables = False

    @contextmanager
    def take(
        self, domain: str, *, on_wait: Callable[[str], None], wait: bool = True
    ) -> Iterator[None]:
        self._create_tables()
        with ExitStack() as stack:
            held_lock = self._wait_for(domain, on_wait, wait=wait)
            stack.callback(held_lock.release)
            self._held[domain] = held_lock
            stack.callback(self._held.pop, domain)
            held_lock.start_heartbeat()
            yield

    def find_holder(self, domain: str) -> str | None:
        with self._database.cursor(APPLICATION) as cursor:
            cursor.execute("select to_regclass('etl_lock') is not null")
            if not cursor.fetchone()[0]:
                return None
            row = _read(cursor, domain, self._timing)
        return str(row.holder) if row.is_taken else None

    def require(self, domain: str) -> None:
        if held_lock := self._held.get(domain):
            held_lock.require()

    def move_head(self, domain: str, link: PublishedLink) -> bool:
        held_lock = self._held.get(domain)
        if held_lock is None:
            raise LockLostError(f"{domain}: expected its lock, found that it was not taken")
        held_lock.move_head(link)
        return True

    def read_head(self, domain: str, *, fresh: bool = False) -> PublishedLink | None:
        held_lock = self._held.get(domain)
        if held_lock and held_lock.knows_head and not fresh:
            return held_lock.head
        with self._database.cursor(APPLICATION) as cursor:
            cursor.execute("select to_regclass('etl_head') is not null")
            if not cursor.fetchone()[0]:
                return None
            return _read_head(cursor, domain)

    def _create_tables(self) -> None:
        if self._has_tables:
            return
        with (
            closing(connect(self._database, self._timing)) as connection,
            postgres_errors(self._database.url),
            connection.cursor() as cursor,
        ):
            cursor.execute("select to_regclass('etl_head') is not null")
            if not cursor.fetchone()[0]:
                # One transaction. Of two processes that create a table at once, one gets an error.
                cursor.execute(f"select pg_advisory_xact_lock(%s, 0); {CREATE}", (LOCK_CLASS,))
        self._has_tables = True

    def _wait_for(self, domain: str, on_wait: Callable[[str], None], *, wait: bool) -> _HeldLock:
        is_reported, deadline = False, 0.0
        while True:
            lock = _HeldLock(self._database, domain, self._timing)
            try:
                row = lock.try_take()
            except HomeError:
                if _seconds() > deadline:
                    raise
            else:
                if row is None:
                    return lock
                text = f"{domain} is held by {row.holder or 'another process'}"
                if not wait:
                    raise HomeError(f"{text}; wait for it to end, or stop it")
                if not is_reported:
                    on_wait(f"{text}; waiting for it to end")
                    is_reported = True
                # From now on, a server that restarts ends no wait.
                deadline = _seconds() + self._timing.retake_seconds
            time.sleep(self._timing.poll_seconds)


@dataclass
class _HeldLock:
    """A lock that this process has, with its connection and its heartbeat."""

    database: Database
    domain: str
    timing: Timing
    number: int = 0
    row_id: int = 0
    head: PublishedLink | None = None
    """What was recorded when the lock was taken, or under it."""
    _is_head_open: bool = False  # while it is unknown if a head was recorded
    _connection: Connection | None = None
    _backend: int = 0
    _certain_until: float = 0.0
    _lost: str = ""
    _mutex: threading.RLock = field(default_factory=threading.RLock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def try_take(self) -> _Row | None:
        """Take the lock, and return None; or return the row with its holder."""
        holder, now = Holder.current(), _seconds()
        self._connection = connect(self.database, self.timing)
        with ExitStack() as on_failure:
            on_failure.callback(self._disconnect)
            with postgres_errors(self.database.url), self._connection.cursor() as cursor:
                cursor.execute(
                    "insert into etl_lock (domain) values (%s) on conflict do nothing",
                    (self.domain,),
                )
                row = _read(cursor, self.domain, self.timing)
                # The row may change until the advisory lock is taken, so it is read again.
                if not _try_advisory_lock(cursor, row.id):
                    return row
                row = _read(cursor, self.domain, self.timing)
                if row.is_taken:
                    return row  # it lost its connection, and may take its lock again
                _require_clock(cursor, self.database.url)
                values = (holder.pid, holder.host, holder.operator, self.domain)
                cursor.execute(TAKE, values)
                self.row_id, self.number = row.id, cursor.fetchone()[0]
                # After the number: what an overtaken holder still records, it compares with that.
                self.head = _read_head(cursor, self.domain)
                self._backend = _backend_pid(cursor)
            on_failure.pop_all()
        self._certain_until = now + self.timing.certain_seconds
        return None

    @property
    def knows_head(self) -> bool:
        """True if no other process can have recorded another head than `head`."""
        return self._is_certain and not self._is_head_open

    @property
    def _is_certain(self) -> bool:
        return not self._lost and _seconds() < self._certain_until

    def start_heartbeat(self) -> None:
        name = f"lock of {self.domain}"
        self._thread = threading.Thread(target=self._beat_until_end, name=name, daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join()
        with self._mutex:
            # Without the release, others wait until the heartbeat is old enough.
            if self._connection and not self._lost:
                with suppress(import_driver().Error), self._connection.cursor() as cursor:
                    cursor.execute(RELEASE, (self.domain, self.number))
                    cursor.execute(FORGET, (self.domain, self.number))
            self._disconnect()

    def require(self) -> None:
        """Raise LockLostError unless nobody else can have the lock now."""
        if self._is_certain:
            return
        with self._mutex:
            self._confirm(_seconds() + self.timing.retake_seconds)
            if self._lost:
                raise LockLostError(self._lost)

    def move_head(self, link: PublishedLink) -> None:
        deadline = _seconds() + self.timing.retake_seconds
        with self._mutex:
            self._is_head_open = True
            while True:
                self._confirm(deadline)
                if self._lost:
                    self._refuse_head(link)
                    return
                try:
                    self._move_head(link)
                except import_driver().Error as error:
                    # Whether it was recorded is unknown; recording it twice does no harm.
                    self._disconnect()
                    if _seconds() > deadline:
                        raise HomeError(describe_fault(self.database.url, error)) from error
                    time.sleep(self.timing.retry_seconds)
                else:
                    self.head, self._is_head_open = link, False
                    return

    def _move_head(self, link: PublishedLink) -> None:
        assert self._connection  # noqa: S101 - `_confirm` has it
        with self._connection.cursor() as cursor:
            # It may have been set since the lock was taken.
            _require_clock(cursor, self.database.url)
            # One statement, so one transaction: it compares the number and moves the head.
            cursor.execute(MOVE_HEAD, (link.model_dump_json(), self.domain, self.number))
            if cursor.fetchone() is None:
                self._lose("another process has taken it")
                raise LockLostError(self._lost)

    def _refuse_head(self, link: PublishedLink) -> None:
        """Raise LockLostError, unless the head was recorded before the lock was lost."""
        with self.database.cursor(APPLICATION) as cursor:
            if _read_head(cursor, self.domain) != link:
                raise LockLostError(self._lost)

    def _beat_until_end(self) -> None:
        pause = self.timing.heartbeat_seconds
        while not self._ended.wait(pause):
            with self._mutex:
                if self._lost:
                    return
                is_confirmed = self._beat()
            timing = self.timing
            pause = timing.heartbeat_seconds if is_confirmed else timing.retry_seconds

    def _confirm(self, deadline: float) -> None:
        """Beat until the database has confirmed the lock, or it is lost, or the time is over."""
        while not self._lost and not self._beat():
            if _seconds() > deadline:
                self._lose(f"its database did not answer for {self.timing.retake_seconds:.0f} s")
                return
            time.sleep(self.timing.retry_seconds)

    def _beat(self) -> bool:
        """Return True if the database confirms that the lock is this one's, under its number."""
        sent_at = _seconds()
        try:
            if self._connection is None:
                self._reconnect()
            if self._connection is None:
                return False
            with self._connection.cursor() as cursor:
                cursor.execute(BEAT, (self.domain, self.number))
                row = cursor.fetchone()
        except (import_driver().Error, HomeError):
            self._disconnect()
            return False
        if row is None:
            self._lose("another process has taken it")
            return False
        if row[0] != self._backend:
            self._lose("a pooler gave its session to others; connect to the server itself")
            return False
        self._certain_until = sent_at + self.timing.certain_seconds
        return True

    def _reconnect(self) -> None:
        """Take the advisory lock again; the number is compared by the next heartbeat."""
        connection = connect(self.database, self.timing)
        with connection.cursor() as cursor:
            if _try_advisory_lock(cursor, self.row_id):
                self._connection, self._backend = connection, _backend_pid(cursor)
                return
            # Another process, or our old session, which the server has not given up yet.
            cursor.execute("select number from etl_lock where domain = %s", (self.domain,))
            row = cursor.fetchone()
        connection.close()
        if row is None or row[0] != self.number:
            self._lose("another process has taken it")

    def _lose(self, reason: str) -> None:
        self._lost = (
            f"{self.domain}: expected its lock, found it lost: {reason}; this run ends without "
            "publishing; run again"
        )
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection:
            with suppress(import_driver().Error):
                self._connection.close()
        self._connection = None


def connect(database: Database, timing: Timing = Timing()) -> Connection:
    """Return a connection whose session is its own.

    Raises HomeError if the server is too old, or a pooler gives the session to others.
    """
    connection = database.connect(APPLICATION)
    with ExitStack() as on_failure, postgres_errors(database.url):
        on_failure.callback(connection.close)
        if connection.server_version < MIN_VERSION:
            raise HomeError(
                f"{database.url}: expected PostgreSQL {MIN_VERSION // 10000} or newer, found "
                f"{connection.server_version // 10000}; upgrade it"
            )
        with connection.cursor() as cursor:
            backend = _backend_pid(cursor)
            # A pooler answers with a process id of its own making.
            if backend != connection.get_backend_pid() and _shares_sessions(database, connection):
                raise HomeError(
                    f"{database.url}: expected a session for each connection, found a pooler that "
                    "shares them, which breaks locks; name the server itself, or set pool_mode to "
                    "session"
                )
            for name, value in timing.session.items():
                cursor.execute(f"set {name} = {value}")
        on_failure.pop_all()
    return connection


def _shares_sessions(database: Database, connection: Connection) -> bool:
    """Return True if a pooler serves other connections by the session of this one."""
    with ExitStack() as stack:
        own = stack.enter_context(connection.cursor())
        before, others = _backend_pid(own), set()
        for _ in range(PROBES):
            other = database.connect(APPLICATION)
            stack.callback(other.close)
            cursor = stack.enter_context(other.cursor())
            try:
                cursor.execute("begin")  # it keeps its session until the end of the block
            except import_driver().Error:
                return True  # it gives each statement another session, and allows no transaction
            others.add(_backend_pid(cursor))
        return before in others or _backend_pid(own) != before


def _seconds() -> float:
    """Return the time of a clock that goes on while the machine is suspended."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # of Linux
    return time.clock_gettime(clock)


def _read(cursor: Cursor, domain: str, timing: Timing) -> _Row:
    """Return the row of a lock; one without a holder if it was never taken."""
    cursor.execute(READ, (timing.takeover_seconds, domain))
    row = cursor.fetchone()
    if row is None:
        return _Row(0, None, 0)
    row_id, pid, host, operator, since, wait_seconds = row
    if pid is None:
        return _Row(row_id, None, 0)
    since = since.astimezone(UTC).isoformat(timespec="seconds")
    return _Row(row_id, Holder(pid, host, operator, since), wait_seconds)


def _read_head(cursor: Cursor, domain: str) -> PublishedLink | None:
    cursor.execute("select link from etl_head where domain = %s", (domain,))
    row = cursor.fetchone()
    return PublishedLink.model_validate(row[0], strict=False) if row else None


def _require_clock(cursor: Cursor, url: str) -> None:
    """Raise HomeError if this machine has another time: it would be in history and documents."""
    cursor.execute("select extract(epoch from clock_timestamp())::float8")
    ahead = time.time() - float(cursor.fetchone()[0])
    if abs(ahead) > MAX_CLOCK_SECONDS:
        raise HomeError(
            f"{socket.gethostname()}: expected a clock within {MAX_CLOCK_SECONDS} s of that of "
            f"{url}, found one that is {abs(ahead):,.0f} s {'ahead' if ahead > 0 else 'behind'}; "
            "set it, then run again"
        )


def _try_advisory_lock(cursor: Cursor, row_id: int) -> bool:
    cursor.execute("select pg_try_advisory_lock(%s, %s)", (LOCK_CLASS, row_id))
    return bool(cursor.fetchone()[0])


def _backend_pid(cursor: Cursor) -> int:
    cursor.execute("select pg_backend_pid()")
    return int(cursor.fetchone()[0])

"""Dagster's SQLite storage with one database engine per file, which keeps its connection open.

Dagster makes an engine for each event: it opens the file and compiles every statement again. The
tables, files and all queries are Dagster's own, so its classes can read and write the same home.
`dagster.yaml` of every home names this module and its class: neither may be renamed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, QueuePool, create_engine, make_url

from etl_assets.defs.instance.home_storage import HomeStorage

S = TypeVar("S", SqliteRunStorage, SqliteScheduleStorage)

MAX_OPEN_EVENT_FILES = 2  # the index, and the file of the run that was used last
END_OF_RUN = {
    dg.DagsterEventType.RUN_SUCCESS,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_CANCELED,
}


class SqliteStorage(HomeStorage):
    """The storage of a Dagster home, in the files in which `DagsterSqliteStorage` has it."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        home = Path(base_dir)
        super().__init__(
            _open_storage(RunStorage, home / "history", "runs"),
            EventLogStorage(str(home / "history" / "runs")),
            # Dagster's own: a run does not use it, and an instance does not close it.
            _open_storage(SqliteScheduleStorage, home / "schedules", "schedules"),
            inst_data,
        )

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"base_dir": dg.StringSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, str]
    ) -> SqliteStorage:
        return cls(config_value["base_dir"], inst_data)


def _open_storage(storage: type[S], folder: Path, name: str) -> S:
    """Return the storage in a database file, with its tables."""
    url = create_db_conn_string(str(folder), name)
    return storage(url) if has_revision(url) else storage.from_local(str(folder))


class RunStorage(SqliteRunStorage):
    """Dagster's records of runs, in one file."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._url = conn_string
        self._engines = EngineCache(max_engines=1)
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._engines.connect(self._url) as connection:
            yield connection

    def dispose(self) -> None:
        super().dispose()
        self._engines.close_all()


class EventLogStorage(SqliteEventLogStorage):
    """Dagster's events: a file for each run, and one file that indexes them."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = EngineCache(MAX_OPEN_EVENT_FILES)
        self._has_tables: set[str] = set()
        # One thread at a time, as in Dagster's class.
        self._thread_lock = threading.RLock()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def run_connection(self, run_id: str | None = None) -> Iterator[Connection]:
        shard = str(run_id)
        url = self.conn_string_for_shard(shard)
        with self._thread_lock:
            if shard not in self._has_tables and not has_revision(url):
                with super().run_connection(shard):
                    pass
            self._has_tables.add(shard)
            with self._engines.connect(url) as connection:
                yield connection

    @contextmanager
    def index_connection(self) -> Iterator[Connection]:
        with self.run_connection(INDEX_SHARD_NAME) as connection:
            yield connection

    def store_event(self, event: EventLogEntry) -> None:
        super().store_event(event)
        if event.is_dagster_event and event.dagster_event_type in END_OF_RUN:
            self._close(event.run_id)

    def delete_events(self, run_id: str) -> None:
        super().delete_events(run_id)
        self._close(run_id)
        self._has_tables.discard(run_id)

    def wipe(self) -> None:
        self._engines.close_all()
        self._has_tables.clear()
        super().wipe()

    def dispose(self) -> None:
        super().dispose()
        self._engines.close_all()

    def _close(self, run_id: str) -> None:
        with self._thread_lock:
            self._engines.close(self.conn_string_for_shard(run_id))


def has_revision(url: str) -> bool:
    """Return True if Dagster has made its tables in a database file.

    To find that out, Dagster's classes let Alembic load all of its migrations, for each file.
    """
    file = _database_file(url)
    if not file.is_file():
        return False
    try:
        with closing(sqlite3.connect(file, timeout=SQLITE_BUSY_TIMEOUT_SECONDS)) as connection:
            return bool(connection.execute("select version_num from alembic_version").fetchall())
    except sqlite3.DatabaseError:  # without this table, or unreadable: Dagster finds out which
        return False


class _OpenFile(NamedTuple):
    """An engine, and the file that was at its path when it was made."""

    engine: Engine
    device: int
    inode: int


class EngineCache:
    """The engines of the files that were used last, each with at most one idle connection."""

    def __init__(self, max_engines: int) -> None:
        self._max_engines = max_engines
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()
        self._process = os.getpid()

    @contextmanager
    def connect(self, url: str) -> Iterator[Connection]:
        """Yield a connection within a transaction, which ends with the block."""
        engine = self._engine(url)
        with ExitStack() as on_error:
            # What was wrong with the file may last as long as the connection.
            on_error.callback(self.close, url)
            with engine.begin() as connection:
                yield connection
            on_error.pop_all()

    def close(self, url: str) -> None:
        with self._lock:
            file = self._files.pop(url, None)
        if file:
            file.engine.dispose()

    def close_all(self) -> None:
        for url in list(self._files):
            self.close(url)

    def _engine(self, url: str) -> Engine:
        with self._lock:
            self._forget_files_of_parent()
            file = self._files.get(url)
            device, inode = _identify(url)
            if file is None or (file.device, file.inode) != (device, inode):
                # A file that was moved aside or restored has another one in its place.
                if file is not None:
                    file.engine.dispose()
                file = _OpenFile(_create_engine(url), device, inode)
            self._files[url] = file
            self._files.move_to_end(url)
            while len(self._files) > self._max_engines:
                _, oldest = self._files.popitem(last=False)
                oldest.engine.dispose()
            return file.engine

    def _forget_files_of_parent(self) -> None:
        """Leave the connections of the process that forked this one to it, as SQLite demands."""
        if self._process != os.getpid():
            for file in self._files.values():
                file.engine.dispose(close=False)
            self._files.clear()
            self._process = os.getpid()


def _create_engine(url: str) -> Engine:
    # A second thread gets a second connection, which is closed when it is given back.
    return create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=-1,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
    )


def _identify(url: str) -> tuple[int, int]:
    """Return device and inode of a database file; zeros if there is none."""
    try:
        status = _database_file(url).stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_dev, status.st_ino


@cache
def _database_file(url: str) -> Path:
    return Path(make_url(url).database or "")

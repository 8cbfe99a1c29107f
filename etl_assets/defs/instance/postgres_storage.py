"""Dagster's PostgreSQL storage, with one pool of connections and this project's settings.

Dagster makes a connection for each statement. The tables and all queries are Dagster's own.
`dagster.yaml` of a home names this module and its class: neither may be renamed.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from sqlalchemy import Connection, Engine, QueuePool, create_engine, inspect
from sqlalchemy.exc import OperationalError

from etl_assets.defs.instance.home_storage import HomeStorage
from etl_assets.settings import Settings
from etl_assets.storage.postgres import Database, sqlalchemy_url

POOL_SIZE = 2  # idle connections of a process; a step writes events one after the other
MAX_CONNECTIONS = 10  # of a process at once: the pages read in many threads
WAIT_SECONDS = 30  # for one of them
RESTART_SECONDS = 20  # of a server
RETRY_SECONDS = 0.5
TABLES = {"runs", "instance_info", "event_logs", "jobs"}  # for which the classes look


class PostgresStorage(HomeStorage):
    """The storage of a Dagster home whose event log several hosts share."""

    def __init__(self, database: Database, inst_data: ConfigurableClassData | None = None) -> None:
        url = sqlalchemy_url(database)
        connections = Connections(_create_engine(url))
        # Each class of Dagster would open two connections to look for its tables.
        create = not _has_tables(connections)
        super().__init__(
            RunStorage(url, connections, create=create),
            EventLogStorage(url, connections, create=create),
            ScheduleStorage(url, connections, create=create),
            inst_data,
        )

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {
            "url": str,
            "password_env": dg.Noneable(str),
            "home": dg.Field(dg.Noneable(str), default_value=None, is_required=False),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PostgresStorage:
        variable, home = config_value["password_env"], config_value.get("home")
        # Not in the configuration, which a process passes on as an argument of its children.
        password = Settings.load(home=home).secret(variable) if variable else None
        return cls(Database(config_value["url"], password), inst_data)


class Connections:
    """The connections of a process, for a server that may be restarted while it works."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._is_given_up = False

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._wait_for_server() as connection:
            yield connection

    def _wait_for_server(self) -> Connection:
        """Return a connection; waits for the server once, and not for each of many statements."""
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                connection = self.engine.connect()
            except OperationalError:
                if self._is_given_up or time.monotonic() > deadline:
                    self._is_given_up = True
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                self._is_given_up = False
                return connection


# Each class of Dagster makes an engine of its own, and has no option for another.


class RunStorage(PostgresRunStorage):
    """Dagster's records of runs."""

    def __init__(self, postgres_url: str, connections: Connections, *, create: bool) -> None:
        self._connections = connections
        super().__init__(postgres_url, should_autocreate_tables=create)
        self._engine = connections.engine

    def connect(self) -> AbstractContextManager[Connection]:
        return self._connections.connect()


class EventLogStorage(PostgresEventLogStorage):
    """Dagster's events."""

    def __init__(self, postgres_url: str, connections: Connections, *, create: bool) -> None:
        self._connections = connections
        super().__init__(postgres_url, should_autocreate_tables=create)
        self._engine = connections.engine

    def _connect(self) -> AbstractContextManager[Connection]:
        return self._connections.connect()

    def dispose(self) -> None:
        super().dispose()
        self._connections.engine.dispose()  # for all three: an instance closes this one last


class ScheduleStorage(PostgresScheduleStorage):
    """Dagster's schedules, sensors and their ticks."""

    def __init__(self, postgres_url: str, connections: Connections, *, create: bool) -> None:
        self._connections = connections
        super().__init__(postgres_url, should_autocreate_tables=create)
        self._engine = connections.engine

    def connect(self, run_id: str | None = None) -> AbstractContextManager[Connection]:  # noqa: ARG002
        return self._connections.connect()


def _has_tables(connections: Connections) -> bool:
    with connections.connect() as connection:
        return set(inspect(connection).get_table_names()) >= TABLES


def _create_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=QueuePool,
        pool_size=POOL_SIZE,
        max_overflow=MAX_CONNECTIONS - POOL_SIZE,
        pool_timeout=WAIT_SECONDS,
        pool_pre_ping=True,  # the server may have been restarted
    )
    reference = weakref.ref(engine)

    def forget_connections() -> None:
        if engine := reference():
            engine.dispose(close=False)

    # A forked child must neither use nor close the connections of its parent.
    os.register_at_fork(after_in_child=forget_connections)
    return engine

"""Dagster's PostgreSQL storage, with one pool of connections and this project's settings.

Dagster makes a connection for each statement. The tables and all queries are Dagster's own.
`dagster.yaml` of a home names this module and its class: neither may be renamed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres.storage import DagsterPostgresStorage
from sqlalchemy import Engine, QueuePool, create_engine

from etl_assets.settings import Settings
from etl_assets.storage.postgres import Database, sqlalchemy_url

POOL_SIZE = 2  # idle connections of a process; a step writes events one after the other
MAX_CONNECTIONS = 10  # of a process at once: the pages read in many threads
WAIT_SECONDS = 30  # for one of them


class PostgresStorage(DagsterPostgresStorage):
    """The storage of a Dagster home whose event log several hosts share."""

    def __init__(self, database: Database, inst_data: ConfigurableClassData | None = None) -> None:
        url = sqlalchemy_url(database)
        super().__init__(url, inst_data=inst_data)
        engine = _create_engine(url)
        # A forked child must not use, nor close, the connections of its parent.
        os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
        # Each class makes its own engine, without a pool and with no option for another.
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine  # noqa: SLF001

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"url": str, "password_env": dg.Noneable(str)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PostgresStorage:
        variable = config_value["password_env"]
        # Not in the configuration, which a process passes on as an argument of its children.
        password = Settings.load().secret(variable) if variable else None
        return cls(Database(config_value["url"], password), inst_data)

    @property
    def event_storage_data(self) -> None:
        """None: Dagster asks for a class for each storage, and this is one for all of them."""

    @property
    def run_storage_data(self) -> None:
        """None, as above."""

    @property
    def schedule_storage_data(self) -> None:
        """None, as above."""


def _create_engine(url: str) -> Engine:
    return create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=QueuePool,
        pool_size=POOL_SIZE,
        max_overflow=MAX_CONNECTIONS - POOL_SIZE,
        pool_timeout=WAIT_SECONDS,
        pool_pre_ping=True,  # the server may have been restarted
    )

"""Locks through a pooler, which may give the session of a lock to other connections."""

from __future__ import annotations

import pytest
from support.postgres import PostgresServer, database, pooler, postgres_server

from etl_assets.model.errors import HomeError
from etl_assets.storage.postgres import Database
from etl_assets.storage.postgres_lock import PostgresLocks

__all__ = ["database", "postgres_server"]

DOMAIN = "plants"


def ignore(_: str) -> None:
    pass


@pytest.mark.fault("pooler")
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_shares_sessions_is_refused(
    postgres_server: PostgresServer, database: Database, mode: str
) -> None:
    with (
        pooler(postgres_server, database, mode) as pooled,
        pytest.raises(HomeError) as raised,
        PostgresLocks(pooled).take(DOMAIN, on_wait=ignore),
    ):
        pass

    assert "pool_mode" in str(raised.value)


def test_a_pooler_that_keeps_sessions_is_used(
    postgres_server: PostgresServer, database: Database
) -> None:
    with (
        pooler(postgres_server, database, "session") as pooled,
        PostgresLocks(pooled).take(DOMAIN, on_wait=ignore),
    ):
        assert PostgresLocks(database).find_holder(DOMAIN)

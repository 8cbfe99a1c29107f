"""Turns of requests that several processes take at the same host."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from support.postgres import PostgresServer, database, postgres_server

from etl_assets.declarations.source import Limits
from etl_assets.fetch.rate_limiter import Clock, HostRateLimiter, TransferStats
from etl_assets.storage.postgres import Database
from etl_assets.storage.postgres_turns import PostgresTurns

__all__ = ["database", "postgres_server"]

HOST = "orchard.example"


@pytest.mark.parametrize("seconds", [0.5, 5, 60])
def test_processes_that_ask_at_once_get_one_turn_after_the_other(
    database: Database, seconds: float
) -> None:
    processes = [PostgresTurns(database) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        pauses = sorted(pool.map(lambda turns: turns.reserve(HOST, seconds), processes))

    steps = [later - earlier for earlier, later in itertools.pairwise(pauses)]
    assert pauses[0] == pytest.approx(0, abs=0.3)
    assert steps == pytest.approx([seconds] * 3, abs=0.3)
    for turns in processes:
        turns.close()


def test_hosts_have_turns_of_their_own(database: Database) -> None:
    turns = PostgresTurns(database)
    turns.reserve(HOST, 60)

    assert turns.reserve("quinces.example", 60) == pytest.approx(0, abs=0.3)
    turns.close()


def test_a_pause_that_a_host_asks_for_holds_for_all(database: Database) -> None:
    asked, other = PostgresTurns(database), PostgresTurns(database)
    asked.postpone(HOST, 30)

    assert other.reserve(HOST, 1) == pytest.approx(30, abs=0.5)
    asked.close()
    other.close()


def test_a_server_that_was_restarted_is_asked_again(
    postgres_server: PostgresServer, database: Database
) -> None:
    turns = PostgresTurns(database)
    turns.reserve(HOST, 600)
    postgres_server.restart()

    assert turns.reserve(HOST, 1) > 500
    turns.close()


def test_a_rate_limiter_waits_for_the_turns_of_other_processes(database: Database) -> None:
    waits: list[float] = []
    clock = Clock(wait=lambda _, seconds: waits.append(seconds))
    turns, stats = PostgresTurns(database), TransferStats()
    PostgresTurns(database).reserve(HOST, 40)

    with HostRateLimiter(HOST, clock, Event(), turns).acquire(Limits(), stats):
        pass

    assert waits == pytest.approx([40], abs=1)
    turns.close()

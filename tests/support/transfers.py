"""Fixtures for tests of transfers: a manual clock, a client, a declared source, a fake network."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpcore
import pytest
from support.misbehaving_server import MisbehavingServer, run_misbehaving_server

from etl_assets.declarations.source import Source
from etl_assets.fetch.download import FetchContext, FetchJob, fetch
from etl_assets.fetch.http import Client
from etl_assets.fetch.locations import LocationResolver
from etl_assets.fetch.network_guard import Network
from etl_assets.fetch.rate_limiter import Clock
from etl_assets.model.home import Home
from etl_assets.model.records import Decision, FetchResult, Part, Probe, QuarantinedFile, Reason

NOW = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)
PART = Part(source="advisories.feed")
PATH = "/feed.json"
GOOD = b'{"abacus": {"CVE-2026-0001": {"fixed_version": "1.2"}}, "filler": "%s"}' % (b"x" * 4000)
Fetcher = Callable[..., FetchResult]


@dataclass
class ManualClock:
    """A clock that waiting advances, and reading too, by `tick` seconds."""

    seconds: float = 1000.0
    tick: float = 0.0
    chance: float = 1.0
    waits: list[float] = field(default_factory=list)

    def read(self) -> float:
        self.seconds += self.tick
        return self.seconds

    def wait(self, _stop: object, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds

    def clock(self) -> Clock:
        return Clock(
            monotonic=self.read, wait=self.wait, random=lambda: self.chance, now=lambda: NOW
        )


@dataclass(frozen=True)
class FakeNetwork(Network):
    """A network with given addresses of host names, whose connections all go to the loopback."""

    names: dict[str, list[str]] = field(default_factory=dict)

    def addresses(self, host: str, port: int) -> list[str]:
        return self.names.get(host) or super().addresses(host, port)


class LoopbackBackend(httpcore.SyncBackend):
    """Connects every request to the loopback address."""

    def connect_tcp(self, host: str, port: int, *args: Any) -> httpcore.NetworkStream:
        return super().connect_tcp("127.0.0.1", port, *args)


def make_network(**names: list[str]) -> Network:
    """Return a network; `feeds_example=["93.184.215.14"]` sets the addresses of feeds.example."""
    return FakeNetwork(
        LoopbackBackend(), {name.replace("_", "."): addresses for name, addresses in names.items()}
    )


def make_source(url: str | None = None, **fields: Any) -> Source:
    """Return a JSON source with this location and other fields."""
    source = Source.model_validate(
        {
            "title": "Feed",
            "description": "A feed.",
            "producer": "Somebody",
            "licence": {"name": "none stated", "attribution": "Somebody"},
            "location": {"url": url},
            "required": True,
            "freshness": {"warn_after_hours": 24, "fail_after_hours": 48},
            "format": {"name": "json", "rows": "{package_name}.{cve_id}"},
            "contract": {
                "columns": [{"name": "cve_id", "type": "string", "description": "id"}],
                "key": ["cve_id"],
            },
            **fields,
        }
    )
    return source.model_copy(update={"domain": "advisories", "name": "feed"})


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with run_misbehaving_server() as running:
        yield running


@pytest.fixture
def manual_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def client(manual_clock: ManualClock) -> Iterator[Client]:
    with Client(clock=manual_clock.clock()) as opened:
        yield opened


@pytest.fixture
def fetch_feed(server: MisbehavingServer, client: Client, home: Home) -> Fetcher:
    """Return a function that fetches /feed.json, or another location, once, with given limits."""
    server.publish(PATH, GOOD)

    def run(
        *,
        url: str = server.url + PATH,
        last: FetchResult | None = None,
        reason: Reason = Reason.NO_RECORD,
        probe: Probe | None = None,
        mirror: str | None = None,
        with_client: Client = client,
        **limits: Any,
    ) -> FetchResult:
        source = make_source(url, limits={"requests_per_second": 1e6, **limits})
        job = FetchJob(source, PART, make_decision(reason), probe, last)
        return fetch(job, make_fetch_context(with_client, home, mirror))

    return run


def make_decision(reason: Reason = Reason.NO_RECORD, part: Part = PART) -> Decision:
    return Decision(part=part, fetch=reason is not Reason.UP_TO_DATE, reason=reason)


def make_fetch_context(
    client: Client, home: Home, mirror: str | None = None, **fields: Any
) -> FetchContext:
    return FetchContext(
        client=client, resolver=LocationResolver(home.root, mirror), home=home, now=NOW, **fields
    )


def read_stored(fetched: FetchResult, home: Home) -> bytes:
    assert fetched.file is not None
    return (home.root / fetched.file.path).read_bytes()


def list_quarantined(home: Home) -> list[QuarantinedFile]:
    paths = home.quarantine("advisories", "feed").glob("*.json")
    return [QuarantinedFile.model_validate_json(path.read_text(encoding="utf-8")) for path in paths]


def list_partial_files(home: Home) -> list[Path]:
    return list(home.partial.iterdir())


@pytest.fixture
def full_port() -> Iterator[int]:
    """Return a port whose connection queue is full, so that one more connection gets no answer."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for client_socket in (first, second):
            client_socket.setblocking(False)
            client_socket.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]

"""Files whose address is looked up at another endpoint before each request."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from support import misbehaving_server as faults
from support.misbehaving_server import LOGIN_PAGE, MisbehavingServer
from support.transfers import (
    GOOD,
    NOW,
    PART,
    PATH,
    ManualClock,
    make_decision,
    make_fetch_context,
    make_network,
    make_source,
    read_stored,
)

from etl_assets.declarations.source import Source
from etl_assets.fetch.download import FetchJob, fetch
from etl_assets.fetch.http import Client
from etl_assets.fetch.locations import LocationResolver
from etl_assets.fetch.probe import probe
from etl_assets.model.home import Home
from etl_assets.model.records import FetchResult, FetchStatus

LOOKUP = "/where"
SIGNED = f"{PATH}?Signature=planted-signature"


def publish_address(server: MisbehavingServer, address: object) -> None:
    answer = {"code": 0, "data": {"status": "ready", "url": address}}
    server.publish(LOOKUP, json.dumps(answer).encode())


def source_with_lookup(server: MisbehavingServer, **fields: Any) -> Source:
    location = {
        "url": "http://127.0.0.1:9/the_file.json",
        "address_from": {"url": server.url + LOOKUP, "member": "data.url"},
        **fields,
    }
    return make_source(limits={"requests_per_second": 1e6, "attempts": 2}, location=location)


def run(source: Source, client: Client, home: Home, **fields: Any) -> FetchResult:
    return fetch(
        FetchJob(source, PART, make_decision(), None, None),
        make_fetch_context(client, home, **fields),
    )


@pytest.fixture
def signed(server: MisbehavingServer) -> MisbehavingServer:
    server.publish(SIGNED, GOOD)
    publish_address(server, server.url + SIGNED)
    return server


def test_the_file_is_fetched_from_the_looked_up_address(
    signed: MisbehavingServer, client: Client, home: Home
) -> None:
    result = run(source_with_lookup(signed), client, home)

    assert [seen.path for seen in signed.requests] == [LOOKUP, SIGNED]
    assert (read_stored(result, home), result.attempts) == (GOOD, 1)
    assert result.file is not None
    assert result.file.url == "http://127.0.0.1:9/the_file.json"
    assert "planted" not in result.model_dump_json()


def test_a_probe_looks_up_the_address_too(
    signed: MisbehavingServer, client: Client, home: Home
) -> None:
    result = probe(
        source_with_lookup(signed),
        PART,
        client=client,
        resolver=LocationResolver(home.root),
        now=NOW,
    )

    assert result.validators is not None
    assert (result.fault, result.validators.size_bytes) == (None, len(GOOD))
    assert [seen.method for seen in signed.requests] == ["GET", "HEAD"]


def test_a_broken_transfer_resumes_at_the_next_address(
    signed: MisbehavingServer, client: Client, home: Home
) -> None:
    signed.misbehave(SIGNED, faults.closes_early)

    result = run(source_with_lookup(signed), client, home)

    assert [seen.path for seen in signed.requests] == [LOOKUP, SIGNED] * 2
    assert "Range" in signed.requests_for(SIGNED)[1].headers
    assert (read_stored(result, home), result.attempts) == (GOOD, 2)


def test_a_lookup_without_an_address_is_retried(
    signed: MisbehavingServer, client: Client, home: Home
) -> None:
    signed.misbehave(LOOKUP, lambda handler, _: handler.answer(200, b'{"data": {}}'))

    result = run(source_with_lookup(signed), client, home)

    assert result.status is FetchStatus.FETCHED
    assert len(signed.requests_for(LOOKUP)) == 2


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        pytest.param(b'{"code": 4, "errMsg": "planted"}', "data.url, found none", id="no address"),
        pytest.param(b'{"data": {"url": ["planted"]}}', "data.url, found none", id="a list"),
        pytest.param(b'{"data": "planted"}', "data.url, found none", id="text for an object"),
        pytest.param(LOGIN_PAGE, "data.url, found no JSON", id="login page"),
        pytest.param(b" " * 70_000, "found more than 65,536 bytes", id="endless"),
        pytest.param(
            b'{"data": {"url": "file:///etc/planted"}}', "expected an http or https", id="a path"
        ),
        pytest.param(b'{"data": {"url": "http://[planted"}}', "expected a valid", id="no address"),
    ],
)
def test_a_lookup_without_a_usable_address_is_an_outage(
    server: MisbehavingServer, client: Client, home: Home, answer: bytes, fault: str
) -> None:
    server.publish(LOOKUP, answer)

    result = run(source_with_lookup(server), client, home)

    assert result.status is FetchStatus.MISSING
    assert fault in (result.fault or "")
    assert {seen.path for seen in server.requests} == {LOOKUP}


def test_a_public_lookup_may_not_lead_to_a_private_address(
    server: MisbehavingServer, manual_clock: ManualClock, home: Home
) -> None:
    publish_address(server, f"http://127.0.0.1:{server.server_address[1]}{PATH}")
    port = server.server_address[1]
    source = source_with_lookup(
        server,
        url="http://feeds.example/a.json",
        address_from={"url": f"http://feeds.example:{port}{LOOKUP}", "member": "data.url"},
    )

    with Client(
        clock=manual_clock.clock(), network=make_network(feeds_example=["93.184.215.14"])
    ) as client:
        result = run(source, client, home)

    assert "expected a public address" in (result.fault or "")
    assert [seen.path for seen in server.requests] == [LOOKUP]


def test_a_secret_is_sent_to_the_lookup_and_not_to_its_address(
    signed: MisbehavingServer, client: Client, home: Home
) -> None:
    source = source_with_lookup(signed, private=True, credentials={"x-api-key": {"env": "KEY"}})
    resolver = LocationResolver(home.root, secret=lambda _: SecretStr("planted-key"))
    job = FetchJob(source, PART, make_decision(), None, None)

    fetch(job, replace(make_fetch_context(client, home), resolver=resolver))

    assert signed.requests_for(LOOKUP)[0].headers["x-api-key"] == "planted-key"
    assert "x-api-key" not in signed.requests_for(SIGNED)[0].headers


def test_with_a_mirror_no_address_is_looked_up(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    server.publish("/127.0.0.1:9/the_file.json", GOOD)

    result = run(source_with_lookup(server), client, home, mirror=server.url)

    assert (read_stored(result, home), server.requests_for(LOOKUP)) == (GOOD, [])

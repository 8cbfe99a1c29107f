"""A file whose address another answer tells: asked anew each time, believed within limits."""

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

TELLER = "/where"
SIGNED = f"{PATH}?Signature=planted-signature"


def tell(server: MisbehavingServer, address: object) -> None:
    answer = {"code": 0, "data": {"status": "ready", "url": address}}
    server.publish(TELLER, json.dumps(answer).encode())


def told(server: MisbehavingServer, **fields: Any) -> Source:
    location = {
        "url": "http://127.0.0.1:9/the_file.json",
        "address_from": {"url": server.url + TELLER, "member": "data.url"},
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
    tell(server, server.url + SIGNED)
    return server


def test_the_file_is_fetched_from_where_it_is_told_to_be(
    signed: MisbehavingServer, client: Client, home: Home
) -> None:
    found = run(told(signed), client, home)

    assert [seen.path for seen in signed.requests] == [TELLER, SIGNED]
    assert (read_stored(found, home), found.attempts) == (GOOD, 1)
    assert found.file is not None
    assert found.file.url == "http://127.0.0.1:9/the_file.json"
    assert "planted" not in found.model_dump_json()


def test_a_probe_asks_for_the_address_too(
    signed: MisbehavingServer, client: Client, home: Home
) -> None:
    found = probe(told(signed), PART, client=client, resolver=LocationResolver(home.root), now=NOW)

    assert found.validators is not None
    assert (found.fault, found.validators.size_bytes) == (None, len(GOOD))
    assert [seen.method for seen in signed.requests] == ["GET", "HEAD"]


def test_a_broken_transfer_goes_on_at_the_next_address_told(
    signed: MisbehavingServer, client: Client, home: Home
) -> None:
    signed.misbehave(SIGNED, faults.closes_early)

    found = run(told(signed), client, home)

    assert [seen.path for seen in signed.requests] == [TELLER, SIGNED] * 2
    assert "Range" in signed.requests_for(SIGNED)[1].headers
    assert (read_stored(found, home), found.attempts) == (GOOD, 2)


def test_an_address_that_is_not_told_yet_is_asked_for_again(
    signed: MisbehavingServer, client: Client, home: Home
) -> None:
    signed.misbehave(TELLER, lambda handler, _: handler.answer(200, b'{"data": {}}'))

    found = run(told(signed), client, home)

    assert found.status is FetchStatus.FETCHED
    assert len(signed.requests_for(TELLER)) == 2


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
def test_what_tells_no_address_is_an_outage(
    server: MisbehavingServer, client: Client, home: Home, answer: bytes, fault: str
) -> None:
    server.publish(TELLER, answer)

    found = run(told(server), client, home)

    assert found.status is FetchStatus.MISSING
    assert fault in (found.fault or "")
    assert {seen.path for seen in server.requests} == {TELLER}


def test_a_public_answer_leads_to_no_private_address(
    server: MisbehavingServer, manual_clock: ManualClock, home: Home
) -> None:
    tell(server, f"http://127.0.0.1:{server.server_address[1]}{PATH}")
    port = server.server_address[1]
    source = told(
        server,
        url="http://feeds.example/a.json",
        address_from={"url": f"http://feeds.example:{port}{TELLER}", "member": "data.url"},
    )

    with Client(
        clock=manual_clock.clock(), network=make_network(feeds_example=["93.184.215.14"])
    ) as client:
        found = run(source, client, home)

    assert "expected a public address" in (found.fault or "")
    assert [seen.path for seen in server.requests] == [TELLER]


def test_a_secret_goes_to_the_teller_and_not_where_it_points(
    signed: MisbehavingServer, client: Client, home: Home
) -> None:
    source = told(signed, private=True, credentials={"x-api-key": {"env": "KEY"}})
    resolver = LocationResolver(home.root, secret=lambda _: SecretStr("planted-key"))
    job = FetchJob(source, PART, make_decision(), None, None)

    fetch(job, replace(make_fetch_context(client, home), resolver=resolver))

    assert signed.requests_for(TELLER)[0].headers["x-api-key"] == "planted-key"
    assert "x-api-key" not in signed.requests_for(SIGNED)[0].headers


def test_a_mirror_has_the_file_itself(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    server.publish("/127.0.0.1:9/the_file.json", GOOD)

    found = run(told(server), client, home, mirror=server.url)

    assert (read_stored(found, home), server.requests_for(TELLER)) == (GOOD, [])

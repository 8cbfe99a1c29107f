"""What a probe says of a remote, and what it costs."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support import misbehaving_server as faults
from support.misbehaving_server import MisbehavingServer
from support.transfers import GOOD, NOW, make_source

from etl_assets.declarations.source import Source
from etl_assets.fetch.http import Client
from etl_assets.fetch.locations import LocationResolver
from etl_assets.fetch.probe import probe, probe_all
from etl_assets.model.home import Home
from etl_assets.model.records import Part, Probe, Validators

PART = Part(source="advisories.feed")
DIGEST = "ab" * 32


@pytest.fixture
def resolver(home: Home) -> LocationResolver:
    return LocationResolver(home.root)


def ask(source: Source, client: Client, resolver: LocationResolver) -> Probe:
    return probe(source, PART, client=client, resolver=resolver, now=NOW)


def test_a_head_request_brings_the_validators(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    server.publish("/a.json", GOOD, etag='"1"')

    found = ask(make_source(server.url + "/a.json"), client, resolver)

    assert found == Probe(
        part=PART,
        url=server.url + "/a.json",
        probed_at=NOW,
        validators=Validators(etag='"1"', last_modified=faults.LONG_AGO, size_bytes=len(GOOD)),
    )
    assert [seen.method for seen in server.requests] == ["HEAD"]


def test_where_head_is_not_served_one_byte_is_asked_for(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    server.publish("/a.json", GOOD, etag='"1"')
    server.always["/a.json"] = faults.refuses_head

    found = ask(make_source(server.url + "/a.json"), client, resolver)

    assert found.validators is not None
    assert (found.validators.etag, found.validators.size_bytes) == ('"1"', len(GOOD))
    assert server.requests_for("/a.json")[0].headers["Range"] == "bytes=0-0"


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_not_there_is_not_published(
    server: MisbehavingServer, client: Client, resolver: LocationResolver, status: int
) -> None:
    server.always["/a.json"] = faults.answers(status)

    found = ask(make_source(server.url + "/a.json"), client, resolver)

    assert (found.published, found.validators) == (False, None)


def test_an_outage_is_told_and_not_raised(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    server.always["/a.json"] = faults.answers(503)

    found = ask(make_source(server.url + "/a.json"), client, resolver)

    assert (found.published, found.validators) == (True, None)
    assert "503" in (found.fault or "")
    assert len(server.requests) == 2


def test_odd_headers_say_nothing(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    server.always["/a.json"] = faults.answers(200, Last_Modified="yesterday", ETag="")

    found = ask(make_source(server.url + "/a.json"), client, resolver)

    assert found.validators == Validators(etag="")


def with_digest(server: MisbehavingServer) -> Source:
    server.publish("/a.json.gz", GOOD)
    location = {
        "url": f"{server.url}/a.json.gz",
        "digest": {"url": f"{server.url}/a.meta", "of": "unpacked"},
    }
    return make_source(location=location)


def test_a_published_digest_is_all_that_is_asked_for(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    source = with_digest(server)
    server.publish("/a.meta", f"lastModifiedDate:x\r\nsha256:{DIGEST.upper()}\r\n".encode())

    found = ask(source, client, resolver)

    assert found.validators == Validators(published_sha256=DIGEST)
    assert [seen.path for seen in server.requests] == ["/a.meta"]


def test_a_digest_file_that_is_not_there_leaves_the_validators_to_decide(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    source = with_digest(server)

    found = ask(source, client, resolver)

    assert found.fault is None
    assert found.validators is not None
    assert found.validators.size_bytes == len(GOOD)


def test_a_digest_file_that_is_none_is_told_beside_the_validators(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    source = with_digest(server)
    server.always["/a.meta"] = faults.asks_for_login

    found = ask(source, client, resolver)

    assert "expected a line sha256" in (found.fault or "")
    assert found.validators is not None
    assert found.validators.published_sha256 is None


def test_a_local_file_says_its_time_and_size(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(GOOD)
    os.utime(tmp_path / "a.json", ns=(0, 1_700_000_000_123_456_789))

    found = ask(make_source(location={"path": "a.json"}), client, LocationResolver(tmp_path))

    changed = datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert found.validators == Validators(last_modified=changed, size_bytes=len(GOOD))


def test_a_local_file_that_is_missing_is_not_published(
    client: Client, resolver: LocationResolver
) -> None:
    found = ask(make_source(location={"path": "a.json"}), client, resolver)

    assert not found.published


def test_a_directory_where_a_file_is_declared_is_a_fault(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()

    found = ask(make_source(location={"path": "a.json"}), client, LocationResolver(tmp_path))

    assert "expected a file, found a directory" in (found.fault or "")


def test_parts_are_probed_at_once(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    server.publish("/2025.json", GOOD)
    source = make_source(f"{server.url}/{{partition}}.json")
    parts = [Part(source="advisories.feed", partition=year) for year in ("2025", "2026")]

    found = probe_all([(source, part) for part in parts], client=client, resolver=resolver, now=NOW)

    assert [found[part].published for part in parts] == [True, False]

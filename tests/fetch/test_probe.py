"""Probes: the validators that they return and the requests that they make."""

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


def run_probe(source: Source, client: Client, resolver: LocationResolver) -> Probe:
    return probe(source, PART, client=client, resolver=resolver, now=NOW)


def test_a_head_request_returns_the_validators(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    server.publish("/a.json", GOOD, etag='"1"')

    result = run_probe(make_source(server.url + "/a.json"), client, resolver)

    assert result == Probe(
        part=PART,
        url=server.url + "/a.json",
        probed_at=NOW,
        validators=Validators(etag='"1"', last_modified=faults.LONG_AGO, size_bytes=len(GOOD)),
    )
    assert [seen.method for seen in server.requests] == ["HEAD"]


def test_one_byte_is_requested_if_head_is_not_supported(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    server.publish("/a.json", GOOD, etag='"1"')
    server.always["/a.json"] = faults.refuses_head

    result = run_probe(make_source(server.url + "/a.json"), client, resolver)

    assert result.validators is not None
    assert (result.validators.etag, result.validators.size_bytes) == ('"1"', len(GOOD))
    assert server.requests_for("/a.json")[0].headers["Range"] == "bytes=0-0"


@pytest.mark.parametrize("status", [404, 410])
def test_a_missing_file_is_not_published(
    server: MisbehavingServer, client: Client, resolver: LocationResolver, status: int
) -> None:
    server.always["/a.json"] = faults.answers(status)

    result = run_probe(make_source(server.url + "/a.json"), client, resolver)

    assert (result.published, result.validators) == (False, None)


def test_an_outage_is_a_fault_of_the_probe_and_not_raised(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    server.always["/a.json"] = faults.answers(503)

    result = run_probe(make_source(server.url + "/a.json"), client, resolver)

    assert (result.published, result.validators) == (True, None)
    assert "503" in (result.fault or "")
    assert len(server.requests) == 2


def test_malformed_headers_are_ignored(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    server.always["/a.json"] = faults.answers(200, Last_Modified="yesterday", ETag="")

    result = run_probe(make_source(server.url + "/a.json"), client, resolver)

    assert result.validators == Validators(etag="")


def with_digest(server: MisbehavingServer) -> Source:
    server.publish("/a.json.gz", GOOD)
    location = {
        "url": f"{server.url}/a.json.gz",
        "digest": {"url": f"{server.url}/a.meta", "of": "unpacked"},
    }
    return make_source(location=location)


def test_only_the_published_digest_is_requested(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    source = with_digest(server)
    server.publish("/a.meta", f"lastModifiedDate:x\r\nsha256:{DIGEST.upper()}\r\n".encode())

    result = run_probe(source, client, resolver)

    assert result.validators == Validators(published_sha256=DIGEST)
    assert [seen.path for seen in server.requests] == ["/a.meta"]


def test_without_the_digest_file_the_validators_are_read(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    source = with_digest(server)

    result = run_probe(source, client, resolver)

    assert result.fault is None
    assert result.validators is not None
    assert result.validators.size_bytes == len(GOOD)


def test_a_digest_file_without_a_digest_is_a_fault_next_to_the_validators(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    source = with_digest(server)
    server.always["/a.meta"] = faults.asks_for_login

    result = run_probe(source, client, resolver)

    assert "expected a line sha256" in (result.fault or "")
    assert result.validators is not None
    assert result.validators.published_sha256 is None


def test_a_local_file_has_its_time_and_size_as_validators(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(GOOD)
    os.utime(tmp_path / "a.json", ns=(0, 1_700_000_000_123_456_789))

    result = run_probe(make_source(location={"path": "a.json"}), client, LocationResolver(tmp_path))

    changed = datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert result.validators == Validators(last_modified=changed, size_bytes=len(GOOD))


def test_a_local_file_that_is_missing_is_not_published(
    client: Client, resolver: LocationResolver
) -> None:
    result = run_probe(make_source(location={"path": "a.json"}), client, resolver)

    assert not result.published


def test_a_directory_where_a_file_is_declared_is_a_fault(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()

    result = run_probe(make_source(location={"path": "a.json"}), client, LocationResolver(tmp_path))

    assert "expected a file, found a directory" in (result.fault or "")


def test_parts_are_probed_concurrently(
    server: MisbehavingServer, client: Client, resolver: LocationResolver
) -> None:
    server.publish("/2025.json", GOOD)
    source = make_source(f"{server.url}/{{partition}}.json")
    parts = [Part(source="advisories.feed", partition=year) for year in ("2025", "2026")]

    probes = probe_all(
        [(source, part) for part in parts], client=client, resolver=resolver, now=NOW
    )

    assert [probes[part].published for part in parts] == [True, False]

"""A published digest is what a download must agree with."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support import misbehaving_server as faults
from support.misbehaving_server import MisbehavingServer
from support.transfers import (
    GOOD,
    NOW,
    PART,
    list_quarantined,
    make_decision,
    make_fetch_context,
    make_source,
    read_stored,
)

from etl_assets.declarations.source import Source
from etl_assets.fetch.download import FetchJob, fetch
from etl_assets.fetch.http import Client
from etl_assets.model.home import Home
from etl_assets.model.records import (
    FetchStatus,
    Probe,
    Validators,
)

PACKED = gzip.compress(GOOD, mtime=0)
DIGEST = hashlib.sha256(GOOD).hexdigest()


def with_digest(server: MisbehavingServer, digest: str, content: bytes = PACKED) -> Source:
    server.publish("/feed.json.gz", content)
    server.publish("/feed.meta", f"size:1\r\nsha256:{digest.upper()}\r\n".encode())
    return make_source(
        location={
            "url": f"{server.url}/feed.json.gz",
            "digest": {"url": f"{server.url}/feed.meta", "of": "unpacked"},
        },
        expect={"compression": "gzip"},
        limits={"requests_per_second": 1e6},
    )


def probed(digest: str) -> Probe:
    validators = Validators(published_sha256=digest)
    return Probe(part=PART, url="", probed_at=NOW, validators=validators)


def test_a_file_that_agrees_with_its_published_digest_is_stored(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    source = with_digest(server, DIGEST)

    fetched = fetch(FetchJob(source, PART, make_decision()), make_fetch_context(client, home))

    assert fetched.file is not None
    assert fetched.file.published_sha256 == DIGEST


@pytest.mark.fault("digest")
def test_a_file_that_differs_from_its_published_digest_is_quarantined(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    source = with_digest(server, "ab" * 32)

    fetched = fetch(
        FetchJob(source, PART, make_decision(), probed("ab" * 32)), make_fetch_context(client, home)
    )

    assert fetched.status is FetchStatus.MISSING
    assert not home.raw.exists()
    [record] = list_quarantined(home)
    assert (record.expected, record.actual) == (
        f"{'ab' * 32} as the SHA-256 of the unpacked bytes, as published",
        DIGEST,
    )
    assert (home.root / record.path).read_bytes() == PACKED
    assert (record.url, record.quarantined_at) == (f"{server.url}/feed.json.gz", NOW)


@pytest.mark.fault("truncated-gzip", "digest")
def test_a_truncated_gzip_with_a_published_digest_never_becomes_a_raw_file(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    source = with_digest(server, DIGEST, PACKED[:-4])

    fetched = fetch(
        FetchJob(source, PART, make_decision(), probed(DIGEST)), make_fetch_context(client, home)
    )

    assert "cut off" in (fetched.fault or "")
    assert not home.raw.exists()


def test_a_digest_that_changed_since_the_probe_is_read_again(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    source = with_digest(server, DIGEST)

    fetched = fetch(
        FetchJob(source, PART, make_decision(), probed("ab" * 32)), make_fetch_context(client, home)
    )

    assert fetched.status is FetchStatus.FETCHED


def test_a_missing_digest_file_does_not_prevent_the_fetch(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    source = with_digest(server, DIGEST)
    server.always["/feed.meta"] = faults.answers(404)

    fetched = fetch(FetchJob(source, PART, make_decision()), make_fetch_context(client, home))

    assert fetched.file is not None
    assert fetched.file.published_sha256 is None


def test_a_digest_file_that_is_a_login_page_is_an_outage(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    source = with_digest(server, DIGEST)
    server.always["/feed.meta"] = faults.asks_for_login

    fetched = fetch(FetchJob(source, PART, make_decision()), make_fetch_context(client, home))

    assert "expected a line sha256:<64 hexadecimal digits>" in (fetched.fault or "")


def test_pieces_of_two_files_are_detected_by_the_digest_and_fetched_again(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    old = gzip.compress(GOOD.replace(b"1.2", b"9.9"), mtime=0)
    source = with_digest(server, DIGEST, old)
    path = "/feed.json.gz"
    etag = server.files[path].etag

    def keeps_its_etag(handler: faults.Handler, file: faults.File) -> None:
        faults.resets_midway(handler, file)
        handler.server.publish(path, PACKED, etag=etag)

    server.misbehave(path, keeps_its_etag)

    fetched = fetch(
        FetchJob(source, PART, make_decision(), probed(DIGEST)), make_fetch_context(client, home)
    )

    assert read_stored(fetched, home) == PACKED


def test_the_reason_in_quarantine_is_json_with_the_name_of_the_file(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    source = with_digest(server, "ab" * 32)

    fetch(FetchJob(source, PART, make_decision()), make_fetch_context(client, home))

    [file, reason] = sorted(home.quarantine("advisories", "feed").iterdir())
    assert reason.name == f"{file.name}.json"
    assert json.loads(reason.read_text(encoding="utf-8"))["sha256"] == file.name


def test_a_published_digest_is_read_from_a_directory_mirror(
    client: Client, home: Home, tmp_path: Path
) -> None:
    folder = tmp_path / "feeds.example"
    folder.mkdir()
    (folder / "feed.json").write_bytes(GOOD)
    (folder / "feed.meta").write_text(f"sha256:{'ab' * 32}\n", encoding="utf-8")
    digest = {"url": "https://feeds.example/feed.meta", "of": "file"}
    source = make_source(location={"url": "https://feeds.example/feed.json", "digest": digest})

    fetched = fetch(
        FetchJob(source, PART, make_decision()), make_fetch_context(client, home, str(tmp_path))
    )

    assert "as the SHA-256 of the file, as published" in (fetched.fault or "")
    assert [record.sha256 for record in list_quarantined(home)] == [DIGEST]


@pytest.mark.fault("resume", "digest")
def test_pieces_of_two_files_under_one_etag_are_not_joined(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    old, new = GOOD, GOOD.replace(b"1.2", b"1.3")
    digest = hashlib.sha256(new).hexdigest()
    server.publish("/a.json", old, etag='"same"')
    server.publish("/a.meta", f"sha256:{digest}\n".encode())
    server.misbehave("/a.json", replaced_after_a_reset(new))
    source = make_source(
        location={
            "url": f"{server.url}/a.json",
            "digest": {"url": f"{server.url}/a.meta", "of": "file"},
        },
        limits={"requests_per_second": 1e6},
    )

    fetched = fetch(
        FetchJob(source, PART, make_decision(), probed(digest)), make_fetch_context(client, home)
    )

    assert read_stored(fetched, home) == new
    assert len(server.requests_for("/a.json")) == 3


def replaced_after_a_reset(content: bytes) -> faults.Fault:
    def fault(handler: faults.Handler, file: faults.File | None) -> None:
        handler.server.publish("/a.json", content, etag='"same"')
        faults.resets_midway(handler, file or faults.File(b""))

    return fault


@pytest.mark.fault("too-large", "digest")
def test_a_digest_file_that_is_too_large_is_refused(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    source = with_digest(server, DIGEST)
    server.publish("/feed.meta", b"x" * 1_000_000)

    fetched = fetch(FetchJob(source, PART, make_decision()), make_fetch_context(client, home))

    assert fetched.status is FetchStatus.MISSING
    assert re.search(r"feed\.meta: expected at most [\d,]+ bytes, found more", fetched.fault or "")


@pytest.mark.parametrize(
    ("makes", "status"),
    [
        pytest.param(lambda path: None, FetchStatus.FETCHED, id="none"),
        pytest.param(lambda path: path.mkdir(), FetchStatus.MISSING, id="a directory"),
    ],
)
def test_a_mirror_without_the_digest_serves_and_one_that_cannot_be_read_does_not(
    client: Client, home: Home, makes: Callable[[Path], None], status: FetchStatus
) -> None:
    mirror = home.root / "mirror"
    (mirror / "feeds.example").mkdir(parents=True)
    (mirror / "feeds.example" / "a.json").write_bytes(GOOD)
    makes(mirror / "feeds.example" / "a.meta")
    digest = {"url": "https://feeds.example/a.meta", "of": "file"}
    source = make_source(location={"url": "https://feeds.example/a.json", "digest": digest})

    fetched = fetch(
        FetchJob(source, PART, make_decision()), make_fetch_context(client, home, str(mirror))
    )

    assert fetched.status is status

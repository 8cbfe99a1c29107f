"""Each fault of the network, served by a real server, and what comes of the file."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import resource
import signal
import stat
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import misbehaving_server as faults
import pytest
from misbehaving_server import Misbehaving
from transfers import GOOD, NOW, Hands, declared, elsewhere

from etl_assets.io import store
from etl_assets.io.http import Client
from etl_assets.io.locate import Places
from etl_assets.model.declaration import Source
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    Decision,
    Fetch,
    FetchStatus,
    Part,
    Probe,
    Quarantined,
    RawFile,
    Reason,
    Stored,
    Validators,
)
from etl_assets.stages.download import Desk, Job, fetch, fetch_all
from etl_assets.stages.validate import validate

PART = Part(source="advisories.feed")
PATH = "/feed.json"
NEWER = GOOD.replace(b"1.2", b"1.3")
Fetcher = Callable[..., Fetch]


@pytest.fixture
def get(server: Misbehaving, client: Client, home: Home) -> Fetcher:
    """Fetch /feed.json (or another location) once, with limits as given."""
    server.publish(PATH, GOOD)

    def run(
        *,
        url: str = server.url + PATH,
        last: Fetch | None = None,
        reason: Reason = Reason.NO_RECORD,
        probe: Probe | None = None,
        mirror: str | None = None,
        asker: Client = client,
        **limits: Any,
    ) -> Fetch:
        source = declared(url, limits={"requests_per_second": 1e6, **limits})
        job = Job(source, PART, decision(reason), probe, last)
        return fetch(job, desk(asker, home, mirror))

    return run


def decision(reason: Reason = Reason.NO_RECORD, part: Part = PART) -> Decision:
    return Decision(part=part, fetch=reason is not Reason.UP_TO_DATE, reason=reason)


def desk(client: Client, home: Home, mirror: str | None = None, **fields: Any) -> Desk:
    return Desk(client=client, places=Places(home.root, mirror), home=home, now=NOW, **fields)


def stored(fetched: Fetch, home: Home) -> bytes:
    assert fetched.file is not None
    return (home.root / fetched.file.path).read_bytes()


def quarantined(home: Home) -> list[Quarantined]:
    found = home.quarantine("advisories", "feed").glob("*.json")
    return [Quarantined.model_validate_json(path.read_text(encoding="utf-8")) for path in found]


def leftovers(home: Home) -> list[Path]:
    return list(home.partial.iterdir())


def test_a_file_is_stored_under_its_hash_with_what_the_answer_said(
    get: Fetcher, home: Home, server: Misbehaving
) -> None:
    fetched = get()

    assert fetched.status is FetchStatus.FETCHED
    assert fetched.file == RawFile(
        part=PART,
        sha256=hashlib.sha256(GOOD).hexdigest(),
        size_bytes=len(GOOD),
        path=f"data/raw/{hashlib.sha256(GOOD).hexdigest()[:2]}/{hashlib.sha256(GOOD).hexdigest()}",
        url=server.url + PATH,
        etag=server.files[PATH].etag,
        last_modified=faults.LONG_AGO,
        fetched_at=NOW,
        attempts=1,
        last_status=200,
        code_version="1",
    )
    assert stored(fetched, home) == GOOD
    assert stat.S_IMODE((home.root / fetched.file.path).stat().st_mode) == 0o444
    assert leftovers(home) == []


def test_bytes_are_asked_for_as_they_are(get: Fetcher, server: Misbehaving) -> None:
    get()

    assert server.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "fault",
    [faults.resets_midway, faults.closes_early, faults.stalls_midway],
    ids=["reset", "short", "stall"],
)
def test_a_body_that_breaks_off_is_resumed_where_it_ended(
    get: Fetcher, server: Misbehaving, home: Home, fault: faults.Fault
) -> None:
    server.misbehave(PATH, fault, fault)

    fetched = get(read_timeout_seconds=0.2)

    assert stored(fetched, home) == GOOD
    assert (fetched.attempts, fetched.last_status) == (3, 206)
    ranges = [seen.headers.get("Range") for seen in server.requests]
    assert ranges == [None, f"bytes={len(GOOD) // 2}-", f"bytes={len(GOOD) * 3 // 4}-"]
    assert server.requests[1].headers["If-Range"] == server.files[PATH].etag


def test_without_a_strong_validator_a_broken_body_starts_anew(
    get: Fetcher, server: Misbehaving, home: Home
) -> None:
    server.publish(PATH, GOOD, etag='W/"1"')
    server.misbehave(PATH, faults.resets_midway)

    fetched = get()

    assert stored(fetched, home) == GOOD
    assert "Range" not in server.requests[1].headers


def test_an_old_last_modified_is_enough_to_resume(
    get: Fetcher, server: Misbehaving, home: Home
) -> None:
    server.publish(PATH, GOOD, etag=None)
    server.misbehave(PATH, faults.resets_midway)

    fetched = get()

    assert stored(fetched, home) == GOOD
    assert server.requests[1].headers["If-Range"] == format_datetime(faults.LONG_AGO, usegmt=True)


@pytest.mark.parametrize(
    "answer",
    [faults.ignores_range, faults.ignores_if_range, faults.sends_another_range],
    ids=["range ignored", "condition ignored", "another range"],
)
def test_a_resumed_answer_that_does_not_fit_starts_anew(
    get: Fetcher, server: Misbehaving, home: Home, answer: faults.Fault
) -> None:
    server.misbehave(PATH, faults.then_publishes(faults.resets_midway, PATH, NEWER), answer)

    fetched = get()

    assert stored(fetched, home) == NEWER


def test_a_server_that_refuses_ranges_is_asked_for_the_whole(
    get: Fetcher, server: Misbehaving, home: Home
) -> None:
    server.always[PATH] = faults.refuses_ranges
    server.misbehave(PATH, faults.resets_midway)

    fetched = get()

    assert stored(fetched, home) == GOOD


def test_a_body_that_is_always_short_is_quarantined_and_an_outage(
    get: Fetcher, server: Misbehaving, home: Home
) -> None:
    server.publish(PATH, GOOD, etag=None, changed=None)
    server.always[PATH] = faults.closes_early

    fetched = get()

    assert fetched.status is FetchStatus.MISSING
    assert "body broke off" in (fetched.fault or "")
    assert [record.size_bytes for record in quarantined(home)] == [len(GOOD) // 2]
    assert not home.raw.exists()


def test_a_body_that_is_longer_than_promised_is_tried_again(
    get: Fetcher, server: Misbehaving, home: Home
) -> None:
    server.misbehave(PATH, faults.sends_more)

    fetched = get()

    assert stored(fetched, home) == GOOD
    assert fetched.attempts == 2


def test_a_body_that_is_always_longer_is_quarantined_and_an_outage(
    get: Fetcher, server: Misbehaving, home: Home
) -> None:
    server.always[PATH] = faults.sends_more

    fetched = get()

    assert fetched.status is FetchStatus.MISSING
    assert f"expected {len(GOOD):,} bytes as Content-Length says" in (fetched.fault or "")
    assert len(quarantined(home)) == 1


def test_failures_are_tried_again_with_doubling_waits(
    get: Fetcher, server: Misbehaving, hands: Hands
) -> None:
    server.misbehave(PATH, faults.answers(500), faults.answers(502), faults.resets_midway)

    fetched = get(backoff_seconds=2)

    assert fetched.status is FetchStatus.FETCHED
    assert hands.waits == [2, 4, 8]
    assert (fetched.attempts, fetched.waited_seconds) == (4, 14)


def test_a_wait_is_a_random_share_of_its_ceiling(
    get: Fetcher, server: Misbehaving, hands: Hands
) -> None:
    hands.chance = 0.25
    server.misbehave(PATH, faults.answers(500), faults.answers(500), faults.answers(500))

    get(backoff_seconds=8, max_backoff_seconds=12)

    assert hands.waits == [2, 3, 3]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "value",
    ["7", format_datetime(NOW + timedelta(seconds=7), usegmt=True)],
    ids=["seconds", "date"],
)
def test_retry_after_is_waited_for(
    get: Fetcher, server: Misbehaving, hands: Hands, status: int, value: str
) -> None:
    server.misbehave(PATH, faults.answers(status, Retry_After=value))

    fetched = get()

    assert fetched.status is FetchStatus.FETCHED
    assert hands.waits == [7]


def test_retry_after_is_capped(get: Fetcher, server: Misbehaving, hands: Hands) -> None:
    server.misbehave(PATH, faults.answers(503, Retry_After="86400"))

    get(max_backoff_seconds=20)

    assert hands.waits == [20]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_not_tried_again(get: Fetcher, server: Misbehaving, status: int) -> None:
    server.always[PATH] = faults.answers(status)

    fetched = get()

    assert (fetched.status, fetched.attempts) == (FetchStatus.MISSING, 1)
    assert str(status) in (fetched.fault or "")


def test_a_silent_server_is_given_up_after_the_declared_attempts(
    get: Fetcher, server: Misbehaving
) -> None:
    server.always[PATH] = faults.never_answers

    fetched = get(attempts=2, read_timeout_seconds=0.1)

    assert fetched.status is FetchStatus.MISSING
    assert "ReadTimeout" in (fetched.fault or "")
    assert "gave up after 2 attempts" in (fetched.fault or "")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://no-such-host.invalid/a.json", "no-such-host.invalid"),
        ("http://127.0.0.1:9/a.json", "Connection refused"),
        ("http://127.0.0.1:{port}", "ConnectTimeout"),
    ],
    ids=["name not found", "refused", "connect timeout"],
)
def test_a_host_that_cannot_be_reached_is_an_outage(
    get: Fetcher, full_port: int, url: str, told: str
) -> None:
    fetched = get(url=url.format(port=full_port), attempts=2, connect_timeout_seconds=0.1)

    assert (fetched.status, fetched.attempts) == (FetchStatus.MISSING, 2)
    assert told in (fetched.fault or "")


def test_a_broken_tls_handshake_is_an_outage(get: Fetcher, server: Misbehaving) -> None:
    fetched = get(url=server.url.replace("http:", "https:") + PATH, attempts=2)

    assert (fetched.status, fetched.attempts) == (FetchStatus.MISSING, 2)
    assert "SSL" in (fetched.fault or "")


def test_an_outage_serves_the_last_good_file(
    get: Fetcher, server: Misbehaving, home: Home
) -> None:
    good = get()
    server.always[PATH] = faults.answers(500)

    fetched = get(last=good, reason=Reason.ETAG_CHANGED)

    assert fetched.status is FetchStatus.OUTAGE
    assert fetched.file == good.file
    assert "500" in (fetched.fault or "")
    assert stored(fetched, home) == GOOD


def test_an_outage_whose_last_good_file_is_lost_says_so(
    get: Fetcher, server: Misbehaving, home: Home
) -> None:
    good = get()
    home.raw_file(hashlib.sha256(GOOD).hexdigest()).unlink()
    server.always[PATH] = faults.answers(500)

    fetched = get(last=good, reason=Reason.FILE_MISSING)

    assert (fetched.status, fetched.file) == (FetchStatus.MISSING, None)
    assert "is lost" in (fetched.fault or "")


def test_a_404_for_a_file_that_was_held_is_an_outage(get: Fetcher, server: Misbehaving) -> None:
    good = get()
    server.always[PATH] = faults.answers(404)

    fetched = get(last=good, reason=Reason.PROBE_FAILED)

    assert (fetched.status, fetched.file) == (FetchStatus.OUTAGE, good.file)


def test_a_period_that_is_not_yet_published_is_not_asked_for(
    get: Fetcher, server: Misbehaving
) -> None:
    fetched = get(reason=Reason.NOT_YET_PUBLISHED)

    assert (fetched.status, fetched.fault) == (FetchStatus.NOT_YET_PUBLISHED, None)
    assert server.requests == []


def test_what_is_up_to_date_is_not_asked_for(get: Fetcher, server: Misbehaving) -> None:
    good = get()
    server.requests.clear()

    fetched = get(last=good, reason=Reason.UP_TO_DATE)

    assert (fetched.status, fetched.file) == (FetchStatus.UNCHANGED, good.file)
    assert server.requests == []


def test_equal_bytes_under_a_new_etag_are_unchanged(get: Fetcher, server: Misbehaving) -> None:
    good = get()
    server.publish(PATH, GOOD, etag='"another"')

    fetched = get(last=good, reason=Reason.ETAG_CHANGED)

    assert fetched.status is FetchStatus.UNCHANGED
    assert fetched.file is not None
    assert fetched.file.etag == '"another"'


def test_after_a_failed_probe_the_server_may_say_that_nothing_changed(
    get: Fetcher, server: Misbehaving
) -> None:
    good = get()

    fetched = get(last=good, reason=Reason.PROBE_FAILED)

    assert (fetched.status, fetched.last_status) == (FetchStatus.UNCHANGED, 304)
    assert fetched.file == good.file


def test_a_damaged_stored_file_is_replaced(
    get: Fetcher, home: Home
) -> None:
    good = get()
    assert good.file is not None
    path = home.root / good.file.path
    path.chmod(0o644)
    path.write_bytes(GOOD.replace(b"1.2", b"6.6"))

    fetched = get(last=good, reason=Reason.FILE_DAMAGED)

    assert fetched.status is FetchStatus.UNCHANGED
    assert store.verify(home, good.file.sha256) is Stored.PRESENT


def test_two_sources_with_equal_bytes_share_one_file(
    get: Fetcher, server: Misbehaving, home: Home
) -> None:
    server.publish("/other.json", GOOD)

    one, two = get(), get(url=server.url + "/other.json")

    assert one.file is not None
    assert two.file is not None
    assert one.file.path == two.file.path
    assert one.file.url != two.file.url
    assert len(list(home.raw.rglob("*/*"))) == 1


def test_a_redirect_is_followed(get: Fetcher, server: Misbehaving, home: Home) -> None:
    server.always["/old.json"] = faults.redirects("/feed.json")

    fetched = get(url=server.url + "/old.json")

    assert stored(fetched, home) == GOOD
    assert fetched.file is not None
    assert fetched.file.url == server.url + "/old.json"


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/feed.json", "redirect loop"),
        ("file:///etc/passwd", "an http or https address"),
        ("ftp://127.0.0.1/feed.json", "an http or https address"),
        ("http://[broken/", "a valid address"),
    ],
    ids=["loop", "file", "ftp", "broken"],
)
def test_a_redirect_astray_is_refused_and_named(
    get: Fetcher, server: Misbehaving, location: str, told: str
) -> None:
    server.always[PATH] = faults.redirects(location)

    fetched = get()

    assert (fetched.status, fetched.attempts) == (FetchStatus.MISSING, 1)
    assert told in (fetched.fault or "")


def test_a_long_chain_of_redirects_is_refused(get: Fetcher, server: Misbehaving) -> None:
    for step in range(5):
        server.always[f"/{step}"] = faults.redirects(f"/{step + 1}")

    fetched = get(url=f"{server.url}/0", max_redirects=3)

    assert "expected at most 3 redirects" in (fetched.fault or "")


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/a",
        "http://localhost/a",
        "http://10.1.2.3/a",
        "http://169.254.169.254/a",
        "http://[::1]/a",
        "http://[::ffff:10.0.0.1]/a",
        "http://intranet/a",
        "http://rebound.example/a",
    ],
)
def test_a_public_source_may_not_redirect_to_a_private_address(
    get: Fetcher, server: Misbehaving, hands: Hands, location: str
) -> None:
    server.always[PATH] = faults.redirects(location)
    network = elsewhere(feeds_example=["93.184.215.14"], rebound_example=["10.0.0.8"])

    with Client(clock=hands.clock(), network=network) as asker:
        fetched = get(url=server.url.replace("127.0.0.1", "feeds.example") + PATH, asker=asker)

    assert fetched.status is FetchStatus.MISSING
    assert "expected a public address" in (fetched.fault or "")
    assert len(server.requests) == 1


def test_a_public_name_that_stands_for_a_private_address_is_refused(
    get: Fetcher, server: Misbehaving, hands: Hands
) -> None:
    network = elsewhere(feeds_example=["93.184.215.14", "127.0.0.1"])

    with Client(clock=hands.clock(), network=network) as asker:
        fetched = get(url=server.url.replace("127.0.0.1", "feeds.example") + PATH, asker=asker)

    assert "feeds.example: expected a public address, found 127.0.0.1" in (fetched.fault or "")
    assert server.requests == []


def test_a_declared_private_host_may_be_asked(
    server: Misbehaving, hands: Hands, home: Home
) -> None:
    server.publish(PATH, GOOD)
    url = server.url.replace("127.0.0.1", "feeds.example") + PATH
    source = declared(location={"url": url, "private": True})

    with Client(clock=hands.clock(), network=elsewhere(feeds_example=["127.0.0.1"])) as asker:
        fetched = fetch(Job(source, PART, decision()), desk(asker, home))

    assert fetched.status is FetchStatus.FETCHED


def test_a_file_over_the_declared_size_is_refused_before_it_is_read(
    get: Fetcher, home: Home
) -> None:
    fetched = get(max_bytes=1000)

    assert f"expected at most 1,000 bytes, found {len(GOOD):,}" in (fetched.fault or "")
    assert leftovers(home) == []


def test_a_file_without_length_is_aborted_when_it_passes_the_limit(
    get: Fetcher, server: Misbehaving, home: Home
) -> None:
    server.always[PATH] = faults.sends_less_unframed

    fetched = get(max_bytes=1000)

    assert "expected at most 1,000 bytes" in (fetched.fault or "")
    assert leftovers(home) == []
    assert quarantined(home) == []


def test_a_file_slower_than_the_declared_rate_is_aborted(
    get: Fetcher, server: Misbehaving, hands: Hands, home: Home
) -> None:
    server.always[PATH] = faults.drips
    hands.tick = 5

    fetched = get()

    assert "expected at least 1,000 bytes a second" in (fetched.fault or "")
    assert fetched.attempts == 1
    assert leftovers(home) == []


PACKED = gzip.compress(GOOD, mtime=0)
DIGEST = hashlib.sha256(GOOD).hexdigest()


def with_digest(server: Misbehaving, digest: str, content: bytes = PACKED) -> Source:
    server.publish("/feed.json.gz", content)
    server.publish("/feed.meta", f"size:1\r\nsha256:{digest.upper()}\r\n".encode())
    return declared(
        location={
            "url": f"{server.url}/feed.json.gz",
            "digest": {"url": f"{server.url}/feed.meta", "of": "unpacked"},
        },
        expect={"compression": "gzip"},
        limits={"requests_per_second": 1e6},
    )


def probed(digest: str) -> Probe:
    said = Validators(published_sha256=digest)
    return Probe(part=PART, url="", probed_at=NOW, validators=said)


def test_a_file_that_agrees_with_its_published_digest_is_kept(
    server: Misbehaving, client: Client, home: Home
) -> None:
    source = with_digest(server, DIGEST)

    fetched = fetch(Job(source, PART, decision()), desk(client, home))

    assert fetched.file is not None
    assert fetched.file.published_sha256 == DIGEST


def test_a_file_that_differs_from_its_published_digest_is_quarantined(
    server: Misbehaving, client: Client, home: Home
) -> None:
    source = with_digest(server, "ab" * 32)

    fetched = fetch(Job(source, PART, decision(), probed("ab" * 32)), desk(client, home))

    assert fetched.status is FetchStatus.MISSING
    assert not home.raw.exists()
    [record] = quarantined(home)
    assert (record.expected, record.found) == (
        f"{'ab' * 32} as the SHA-256 of the unpacked bytes, as published",
        DIGEST,
    )
    assert (home.root / record.path).read_bytes() == PACKED
    assert (record.url, record.quarantined_at) == (f"{server.url}/feed.json.gz", NOW)


def test_a_truncated_gzip_with_a_published_digest_never_becomes_a_raw_file(
    server: Misbehaving, client: Client, home: Home
) -> None:
    source = with_digest(server, DIGEST, PACKED[:-4])

    fetched = fetch(Job(source, PART, decision(), probed(DIGEST)), desk(client, home))

    assert "cut off" in (fetched.fault or "")
    assert not home.raw.exists()


def test_a_digest_that_moved_since_the_probe_is_read_again(
    server: Misbehaving, client: Client, home: Home
) -> None:
    source = with_digest(server, DIGEST)

    fetched = fetch(Job(source, PART, decision(), probed("ab" * 32)), desk(client, home))

    assert fetched.status is FetchStatus.FETCHED


def test_a_digest_file_that_is_gone_is_no_obstacle(
    server: Misbehaving, client: Client, home: Home
) -> None:
    source = with_digest(server, DIGEST)
    server.always["/feed.meta"] = faults.answers(404)

    fetched = fetch(Job(source, PART, decision()), desk(client, home))

    assert fetched.file is not None
    assert fetched.file.published_sha256 is None


def test_a_digest_file_that_is_a_login_page_is_an_outage(
    server: Misbehaving, client: Client, home: Home
) -> None:
    source = with_digest(server, DIGEST)
    server.always["/feed.meta"] = faults.asks_for_login

    fetched = fetch(Job(source, PART, decision()), desk(client, home))

    assert "expected a line sha256:<64 hexadecimal digits>" in (fetched.fault or "")


def test_pieces_of_two_files_are_found_by_the_digest_and_fetched_anew(
    server: Misbehaving, client: Client, home: Home
) -> None:
    old = gzip.compress(GOOD.replace(b"1.2", b"9.9"), mtime=0)
    source = with_digest(server, DIGEST, old)
    path = "/feed.json.gz"
    etag = server.files[path].etag

    def keeps_its_etag(handler: faults.Handler, file: faults.File) -> None:
        faults.resets_midway(handler, file)
        handler.server.publish(path, PACKED, etag=etag)

    server.misbehave(path, keeps_its_etag)

    fetched = fetch(Job(source, PART, decision(), probed(DIGEST)), desk(client, home))

    assert stored(fetched, home) == PACKED


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (faults.asks_for_login, "an HTML page titled 'Sign in'"),
        (faults.sends_nothing, "an empty file"),
        (faults.cuts_off, "cut off"),
        (faults.sends_less_unframed, "cut off"),
        (faults.packs_unasked, "gzip"),
    ],
    ids=["login page", "empty", "cut off", "cut off without length", "packed"],
)
def test_with_a_check_a_bad_answer_is_quarantined_and_the_last_good_file_stands(
    get: Fetcher,
    server: Misbehaving,
    client: Client,
    home: Home,
    fault: faults.Fault,
    found: str,
) -> None:
    good = get()
    server.always[PATH] = fault
    job = Job(declared(server.url + PATH), PART, decision(Reason.ETAG_CHANGED), None, good)

    fetched = fetch(job, desk(client, home, check=validate))

    assert (fetched.status, fetched.file) == (FetchStatus.OUTAGE, good.file)
    assert found in (fetched.fault or "")
    assert len(quarantined(home)) == 1


def test_a_failing_host_is_left_alone_after_failures_in_a_row(
    get: Fetcher, server: Misbehaving, hands: Hands
) -> None:
    server.always[PATH] = faults.answers(500)
    get(attempts=4, failures_before_pause=3, pause_seconds=100, backoff_seconds=0)

    fetched = get(attempts=4, failures_before_pause=3, pause_seconds=100)

    assert len(server.requests) == 3
    assert fetched.attempts == 0
    assert "left alone for another 100 s after 3 failures in a row" in (fetched.fault or "")
    assert "500 Internal Server Error" in (fetched.fault or "")


def test_a_host_is_asked_again_after_its_pause(
    get: Fetcher, server: Misbehaving, hands: Hands
) -> None:
    server.misbehave(PATH, *[faults.answers(500)] * 2)
    get(attempts=2, failures_before_pause=2, pause_seconds=100)
    hands.seconds += 101

    fetched = get()

    assert fetched.status is FetchStatus.FETCHED


def test_requests_to_one_host_keep_their_distance(get: Fetcher, hands: Hands) -> None:
    for _ in range(3):
        get(requests_per_second=4)

    assert hands.waits == [0.25, 0.25]


def test_fetches_run_at_once_and_come_as_they_are_done(
    server: Misbehaving, client: Client, home: Home
) -> None:
    jobs = []
    for number in range(8):
        server.publish(f"/{number}.json", GOOD + b" " * number)
        part = Part(source="advisories.feed", partition=str(number))
        jobs.append(Job(declared(f"{server.url}/{{partition}}.json"), part, decision(part=part)))
    seen: list[tuple[Part, int, int | None]] = []

    def watch(part: Part, received: int, total: int | None) -> None:
        seen.append((part, received, total))

    fetched = list(fetch_all(jobs, desk(client, home, progress=watch)))

    assert {f.part for f in fetched} == {job.part for job in jobs}
    assert {f.status for f in fetched} == {FetchStatus.FETCHED}
    assert (jobs[3].part, len(GOOD) + 3, len(GOOD) + 3) in seen
    assert leftovers(home) == []


def test_who_stops_taking_results_stops_the_transfers(
    server: Misbehaving, client: Client, home: Home
) -> None:
    server.publish("/0.json", GOOD)
    server.publish("/1.json", GOOD)
    server.always["/1.json"] = faults.drips
    parts = [Part(source="advisories.feed", partition=str(number)) for number in range(2)]
    source = declared(f"{server.url}/{{partition}}.json")
    results = fetch_all([Job(source, p, decision(part=p)) for p in parts], desk(client, home))

    first = next(results)
    results.close()

    assert first.part == parts[0]
    assert client.is_stopped
    assert leftovers(home) == []


def test_a_local_file_is_copied_with_its_time_and_no_etag(client: Client, home: Home) -> None:
    home.root.mkdir()
    (home.root / "rulings.json").write_bytes(GOOD)
    os.utime(home.root / "rulings.json", ns=(0, 1_700_000_000_123_456_000))
    source = declared(location={"path": "rulings.json"})

    fetched = fetch(Job(source, PART, decision()), desk(client, home))

    assert fetched.file is not None
    assert stored(fetched, home) == GOOD
    assert (fetched.file.etag, fetched.file.url) == (None, "rulings.json")
    assert fetched.file.last_modified is not None
    assert fetched.file.last_modified.timestamp() == 1_700_000_000.123456


def test_a_directory_mirror_stands_for_every_host(
    get: Fetcher, home: Home, tmp_path: Path
) -> None:
    file = tmp_path / "mirror" / "feeds.example" / "v1" / "feed.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(GOOD)

    fetched = get(url="https://feeds.example/v1/feed.json", mirror=str(tmp_path / "mirror"))

    assert stored(fetched, home) == GOOD
    assert fetched.file is not None
    assert fetched.file.url == "https://feeds.example/v1/feed.json"


def test_a_mirror_without_the_file_is_named(get: Fetcher, tmp_path: Path) -> None:
    fetched = get(url="https://feeds.example/feed.json", mirror=str(tmp_path))

    assert fetched.status is FetchStatus.MISSING
    assert f"{tmp_path}/feeds.example/feed.json" in (fetched.fault or "")


def test_a_mirror_server_stands_for_every_host(
    get: Fetcher, server: Misbehaving, home: Home
) -> None:
    server.publish("/feeds.example/feed.json", GOOD)

    fetched = get(url="https://feeds.example/feed.json", mirror=server.url)

    assert stored(fetched, home) == GOOD


def test_secrets_of_an_address_are_in_no_record(
    get: Fetcher, server: Misbehaving
) -> None:
    url = server.url.replace("//", "//user:swordfish@") + PATH + "?api_key=swordfish&year=2026"
    server.always[PATH + "?api_key=swordfish&year=2026"] = faults.answers(403)

    fetched = get(url=url)

    assert "swordfish" not in fetched.model_dump_json()
    assert "api_key=***&year=2026" in (fetched.fault or "")


def test_a_full_disk_is_named_and_leaves_nothing_behind(get: Fetcher, home: Home) -> None:
    """RLIMIT_FSIZE stands for the disk: a write beyond it fails as a write to a full one does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(HomeError, match="expected to write it, found: File too large"):
            get()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)

    assert leftovers(home) == []


def test_the_download_of_a_killed_run_is_removed_by_the_next_one(get: Fetcher, home: Home) -> None:
    home.partial.mkdir(parents=True)
    (home.partial / "advisories.feed.0123abcd.part").write_bytes(b"half")
    (home.partial / "advisories.feed[2026].0123abcd.part").write_bytes(b"another's")

    get()

    assert [path.name for path in leftovers(home)] == ["advisories.feed[2026].0123abcd.part"]


def test_the_reason_in_quarantine_is_json_beside_the_file(
    server: Misbehaving, client: Client, home: Home
) -> None:
    source = with_digest(server, "ab" * 32)

    fetch(Job(source, PART, decision()), desk(client, home))

    [file, reason] = sorted(home.quarantine("advisories", "feed").iterdir())
    assert reason.name == f"{file.name}.json"
    assert json.loads(reason.read_text(encoding="utf-8"))["sha256"] == file.name

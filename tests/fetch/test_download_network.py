"""Each fault of the network, produced by a real server, and the result of the fetch."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from threading import Lock

import pytest
from pydantic import SecretStr
from support import misbehaving_server as faults
from support.misbehaving_server import MisbehavingServer
from support.transfers import (
    GOOD,
    NOW,
    PART,
    PATH,
    Fetcher,
    ManualClock,
    list_partial_files,
    list_quarantined,
    make_decision,
    make_fetch_context,
    make_network,
    make_source,
    read_stored,
)

from etl_assets.fetch.download import FetchJob, fetch, fetch_all
from etl_assets.fetch.http import Client
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.home import Home
from etl_assets.model.records import FetchResult, FetchStatus
from etl_assets.validate.validate import validate


class Crowd:
    """Counts the requests that are answered at one time; each waits a moment for company."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = Lock()

    def serves(self, handler: faults.Handler, file: faults.File | None) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        handler.server.closing.wait(0.02)
        with self._lock:
            self._now -= 1
        faults.serves_well(handler, file)


def guarded(url: str, client: Client, home: Home, mirror: str | None = None) -> FetchResult:
    """A fetch of what is opened by a token."""
    token = {"Authorization": {"env": "FEED_TOKEN", "prefix": "Bearer "}}
    source = make_source(location={"url": url, "credentials": token})
    resolver = LocationResolver(home.root, mirror, lambda _: SecretStr("sw0rdfish"))
    return fetch(
        FetchJob(source, PART, make_decision()),
        replace(make_fetch_context(client, home), resolver=resolver),
    )


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", content)
    return packed.getvalue()


NEWER = GOOD.replace(b"1.2", b"1.3")


def test_no_content_encoding_is_accepted(fetch_feed: Fetcher, server: MisbehavingServer) -> None:
    fetch_feed()

    assert server.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.fault("resume", "reset")
@pytest.mark.parametrize(
    "fault",
    [faults.resets_midway, faults.closes_early, faults.stalls_midway],
    ids=["reset", "short", "stall"],
)
def test_a_body_that_breaks_off_is_resumed(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home, fault: faults.Fault
) -> None:
    server.misbehave(PATH, fault, fault)

    fetched = fetch_feed(read_timeout_seconds=0.2)

    assert read_stored(fetched, home) == GOOD
    assert (fetched.attempts, fetched.last_status) == (3, 206)
    ranges = [seen.headers.get("Range") for seen in server.requests]
    assert ranges == [None, f"bytes={len(GOOD) // 2}-", f"bytes={len(GOOD) * 3 // 4}-"]
    assert server.requests[1].headers["If-Range"] == server.files[PATH].etag


@pytest.mark.fault("resume")
def test_without_a_strong_validator_a_broken_body_is_fetched_again(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    server.publish(PATH, GOOD, etag='W/"1"')
    server.misbehave(PATH, faults.resets_midway)

    fetched = fetch_feed()

    assert read_stored(fetched, home) == GOOD
    assert "Range" not in server.requests[1].headers


@pytest.mark.fault("resume")
def test_an_old_last_modified_is_enough_to_resume(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    server.publish(PATH, GOOD, etag=None)
    server.misbehave(PATH, faults.resets_midway)

    fetched = fetch_feed()

    assert read_stored(fetched, home) == GOOD
    assert server.requests[1].headers["If-Range"] == format_datetime(faults.LONG_AGO, usegmt=True)


@pytest.mark.fault("resume")
@pytest.mark.parametrize(
    "answer",
    [faults.ignores_range, faults.ignores_if_range, faults.sends_another_range],
    ids=["range ignored", "condition ignored", "another range"],
)
def test_a_range_that_does_not_fit_restarts_the_transfer(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home, answer: faults.Fault
) -> None:
    server.misbehave(PATH, faults.then_publishes(faults.resets_midway, PATH, NEWER), answer)

    fetched = fetch_feed()

    assert read_stored(fetched, home) == NEWER


@pytest.mark.fault("resume")
def test_a_refused_range_is_followed_by_a_full_request(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    server.always[PATH] = faults.refuses_ranges
    server.misbehave(PATH, faults.resets_midway)

    fetched = fetch_feed()

    assert read_stored(fetched, home) == GOOD


@pytest.mark.fault("wrong-length")
def test_a_body_that_is_always_short_is_quarantined_and_an_outage(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    server.publish(PATH, GOOD, etag=None, changed=None)
    server.always[PATH] = faults.closes_early

    fetched = fetch_feed()

    assert fetched.status is FetchStatus.MISSING
    assert "body broke off" in (fetched.fault or "")
    assert [record.size_bytes for record in list_quarantined(home)] == [len(GOOD) // 2]
    assert not home.raw.exists()


def test_a_body_longer_than_its_content_length_is_retried(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    server.misbehave(PATH, faults.sends_more)

    fetched = fetch_feed()

    assert read_stored(fetched, home) == GOOD
    assert fetched.attempts == 2


@pytest.mark.fault("wrong-length")
def test_a_body_that_is_always_longer_is_quarantined_and_an_outage(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    server.always[PATH] = faults.sends_more

    fetched = fetch_feed()

    assert fetched.status is FetchStatus.MISSING
    assert f"expected {len(GOOD):,} bytes as Content-Length says" in (fetched.fault or "")
    assert len(list_quarantined(home)) == 1


@pytest.mark.fault("backoff")
def test_failures_are_retried_with_doubling_waits(
    fetch_feed: Fetcher, server: MisbehavingServer, manual_clock: ManualClock
) -> None:
    server.misbehave(PATH, faults.answers(500), faults.answers(502), faults.resets_midway)

    fetched = fetch_feed(backoff_seconds=2)

    assert fetched.status is FetchStatus.FETCHED
    assert manual_clock.waits == [2, 4, 8]
    assert (fetched.attempts, fetched.waited_seconds) == (4, 14)


@pytest.mark.fault("backoff")
def test_a_wait_is_a_random_share_of_its_ceiling(
    fetch_feed: Fetcher, server: MisbehavingServer, manual_clock: ManualClock
) -> None:
    manual_clock.chance = 0.25
    server.misbehave(PATH, faults.answers(500), faults.answers(500), faults.answers(500))

    fetch_feed(backoff_seconds=8, max_backoff_seconds=12)

    assert manual_clock.waits == [2, 3, 3]


@pytest.mark.fault("retry-after")
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "value",
    ["7", format_datetime(NOW + timedelta(seconds=7), usegmt=True)],
    ids=["seconds", "date"],
)
def test_retry_after_is_waited_for(
    fetch_feed: Fetcher,
    server: MisbehavingServer,
    manual_clock: ManualClock,
    status: int,
    value: str,
) -> None:
    server.misbehave(PATH, faults.answers(status, Retry_After=value))

    fetched = fetch_feed()

    assert fetched.status is FetchStatus.FETCHED
    assert manual_clock.waits == [7]


@pytest.mark.fault("retry-after")
def test_retry_after_is_capped(
    fetch_feed: Fetcher, server: MisbehavingServer, manual_clock: ManualClock
) -> None:
    server.misbehave(PATH, faults.answers(503, Retry_After="86400"))

    fetch_feed(max_backoff_seconds=20)

    assert manual_clock.waits == [20]


@pytest.mark.fault("refusal")
@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_not_retried(
    fetch_feed: Fetcher, server: MisbehavingServer, status: int
) -> None:
    server.always[PATH] = faults.answers(status)

    fetched = fetch_feed()

    assert (fetched.status, fetched.attempts) == (FetchStatus.MISSING, 1)
    assert str(status) in (fetched.fault or "")


@pytest.mark.fault("silence")
def test_a_silent_server_is_given_up_after_the_declared_attempts(
    fetch_feed: Fetcher, server: MisbehavingServer
) -> None:
    server.always[PATH] = faults.never_answers

    fetched = fetch_feed(attempts=2, read_timeout_seconds=0.1)

    assert fetched.status is FetchStatus.MISSING
    assert "ReadTimeout" in (fetched.fault or "")
    assert "gave up after 2 attempts" in (fetched.fault or "")


@pytest.mark.fault("unreachable")
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://no-such-host.invalid/a.json", "no-such-host.invalid"),
        ("http://127.0.0.1:9/a.json", "Connection refused"),
        ("http://127.0.0.1:{port}", "ConnectTimeout"),
    ],
    ids=["name not found", "refused", "connect timeout"],
)
def test_a_host_that_cannot_be_reached_is_an_outage(
    fetch_feed: Fetcher, full_port: int, url: str, message: str
) -> None:
    fetched = fetch_feed(url=url.format(port=full_port), attempts=2, connect_timeout_seconds=0.1)

    assert (fetched.status, fetched.attempts) == (FetchStatus.MISSING, 2)
    assert message in (fetched.fault or "")


@pytest.mark.fault("tls")
def test_a_broken_tls_handshake_is_an_outage(
    fetch_feed: Fetcher, server: MisbehavingServer
) -> None:
    fetched = fetch_feed(url=server.url.replace("http:", "https:") + PATH, attempts=2)

    assert (fetched.status, fetched.attempts) == (FetchStatus.MISSING, 2)
    assert "SSL" in (fetched.fault or "")


def test_a_redirect_is_followed(fetch_feed: Fetcher, server: MisbehavingServer, home: Home) -> None:
    server.always["/old.json"] = faults.redirects("/feed.json")

    fetched = fetch_feed(url=server.url + "/old.json")

    assert read_stored(fetched, home) == GOOD
    assert fetched.file is not None
    assert fetched.file.url == server.url + "/old.json"


@pytest.mark.fault("redirect-loop", "redirect-scheme")
@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("/feed.json", "redirect loop"),
        ("file:///etc/passwd", "an http or https address"),
        ("ftp://127.0.0.1/feed.json", "an http or https address"),
        ("http://[broken/", "a valid address"),
    ],
    ids=["loop", "file", "ftp", "broken"],
)
def test_a_redirect_to_a_forbidden_address_is_refused(
    fetch_feed: Fetcher, server: MisbehavingServer, location: str, message: str
) -> None:
    server.always[PATH] = faults.redirects(location)

    fetched = fetch_feed()

    assert (fetched.status, fetched.attempts) == (FetchStatus.MISSING, 1)
    assert message in (fetched.fault or "")


@pytest.mark.fault("redirect-loop")
def test_a_long_chain_of_redirects_is_refused(
    fetch_feed: Fetcher, server: MisbehavingServer
) -> None:
    for step in range(5):
        server.always[f"/{step}"] = faults.redirects(f"/{step + 1}")

    fetched = fetch_feed(url=f"{server.url}/0", max_redirects=3)

    assert "expected at most 3 redirects" in (fetched.fault or "")


@pytest.mark.fault("redirect-private")
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
    fetch_feed: Fetcher, server: MisbehavingServer, manual_clock: ManualClock, location: str
) -> None:
    server.always[PATH] = faults.redirects(location)
    network = make_network(feeds_example=["93.184.215.14"], rebound_example=["10.0.0.8"])

    with Client(clock=manual_clock.clock(), network=network) as other_client:
        fetched = fetch_feed(
            url=server.url.replace("127.0.0.1", "feeds.example") + PATH, with_client=other_client
        )

    assert fetched.status is FetchStatus.MISSING
    assert "expected a public address" in (fetched.fault or "")
    assert len(server.requests) == 1


@pytest.mark.fault("dns-private")
def test_a_public_name_with_a_private_address_is_refused(
    fetch_feed: Fetcher, server: MisbehavingServer, manual_clock: ManualClock
) -> None:
    network = make_network(feeds_example=["93.184.215.14", "127.0.0.1"])

    with Client(clock=manual_clock.clock(), network=network) as other_client:
        fetched = fetch_feed(
            url=server.url.replace("127.0.0.1", "feeds.example") + PATH, with_client=other_client
        )

    assert "feeds.example: expected a public address, found 127.0.0.1" in (fetched.fault or "")
    assert server.requests == []


def test_a_declared_private_host_is_requested(
    server: MisbehavingServer, manual_clock: ManualClock, home: Home
) -> None:
    server.publish(PATH, GOOD)
    url = server.url.replace("127.0.0.1", "feeds.example") + PATH
    source = make_source(location={"url": url, "private": True})

    with Client(
        clock=manual_clock.clock(), network=make_network(feeds_example=["127.0.0.1"])
    ) as other_client:
        fetched = fetch(
            FetchJob(source, PART, make_decision()), make_fetch_context(other_client, home)
        )

    assert fetched.status is FetchStatus.FETCHED


@pytest.mark.fault("too-large")
def test_a_file_over_the_declared_size_is_refused_before_it_is_read(
    fetch_feed: Fetcher, home: Home
) -> None:
    fetched = fetch_feed(max_bytes=1000)

    assert f"expected at most 1,000 bytes, found {len(GOOD):,}" in (fetched.fault or "")
    assert list_partial_files(home) == []


@pytest.mark.fault("too-large")
def test_a_file_without_length_is_aborted_when_it_exceeds_the_limit(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    server.always[PATH] = faults.sends_less_unframed

    fetched = fetch_feed(max_bytes=1000)

    assert "expected at most 1,000 bytes" in (fetched.fault or "")
    assert list_partial_files(home) == []
    assert list_quarantined(home) == []


@pytest.mark.fault("too-slow")
def test_a_file_slower_than_the_declared_rate_is_aborted(
    fetch_feed: Fetcher, server: MisbehavingServer, manual_clock: ManualClock, home: Home
) -> None:
    server.always[PATH] = faults.drips
    manual_clock.tick = 5

    fetched = fetch_feed()

    assert "expected at least 1,000 bytes a second" in (fetched.fault or "")
    assert fetched.attempts == 1
    assert list_partial_files(home) == []


@pytest.mark.fault("circuit")
def test_a_host_is_paused_after_failures_in_a_row(
    fetch_feed: Fetcher, server: MisbehavingServer, manual_clock: ManualClock
) -> None:
    server.always[PATH] = faults.answers(500)
    fetch_feed(attempts=4, failures_before_pause=3, pause_seconds=100, backoff_seconds=0)

    fetched = fetch_feed(attempts=4, failures_before_pause=3, pause_seconds=100)

    assert len(server.requests) == 3
    assert fetched.attempts == 0
    assert "paused for another 100 s after 3 failures in a row" in (fetched.fault or "")
    assert "500 Internal Server Error" in (fetched.fault or "")


@pytest.mark.fault("circuit")
def test_a_paused_host_is_requested_again_later(
    fetch_feed: Fetcher, server: MisbehavingServer, manual_clock: ManualClock
) -> None:
    server.misbehave(PATH, *[faults.answers(500)] * 2)
    fetch_feed(attempts=2, failures_before_pause=2, pause_seconds=100)
    manual_clock.seconds += 101

    fetched = fetch_feed()

    assert fetched.status is FetchStatus.FETCHED


@pytest.mark.fault("rate")
def test_requests_to_one_host_keep_their_distance(
    fetch_feed: Fetcher, manual_clock: ManualClock
) -> None:
    for _ in range(3):
        fetch_feed(requests_per_second=4)

    assert manual_clock.waits == [0.25, 0.25]


@pytest.mark.fault("rate")
def test_connections_are_limited_as_declared(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    crowd = Crowd()
    parts = [PART.model_copy(update={"partition": str(number)}) for number in range(12)]
    limits = {"connections": 3, "requests_per_second": 1e6}
    source = make_source(f"{server.url}/{{partition}}.json", limits=limits)
    for part in parts:
        server.publish(f"/{part.partition}.json", GOOD)
        server.always[f"/{part.partition}.json"] = crowd.serves

    jobs = [FetchJob(source, part, make_decision(part=part)) for part in parts]
    fetched = list(fetch_all(jobs, make_fetch_context(client, home)))

    assert {each.status for each in fetched} == {FetchStatus.FETCHED}
    assert 1 < crowd.most <= 3


@pytest.mark.fault("truncated-zip")
def test_an_archive_that_breaks_off_never_becomes_a_raw_file(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    server.publish(PATH, zipped(GOOD))
    server.always[PATH] = faults.cuts_off
    source = make_source(server.url + PATH, expect={"compression": "zip"})

    fetched = fetch(
        FetchJob(source, PART, make_decision()), make_fetch_context(client, home, check=validate)
    )

    assert fetched.status is FetchStatus.MISSING
    assert "a whole zip archive" in (fetched.fault or "")
    assert len(list_quarantined(home)) == 1
    assert not home.raw.exists()


@pytest.mark.fault("secrets")
def test_a_credential_goes_to_the_declared_origin_alone(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    server.always[PATH] = faults.redirects("/moved.json")
    with faults.run_misbehaving_server() as other:
        other.publish(PATH, GOOD)
        server.always["/moved.json"] = faults.redirects(other.url + PATH)
        fetched = guarded(server.url + PATH, client, home)

    seen = [server.requests[0], server.requests[1], other.requests[0]]
    tokens = [request.headers.get("Authorization") for request in seen]
    assert fetched.status is FetchStatus.FETCHED
    assert tokens == ["Bearer sw0rdfish", "Bearer sw0rdfish", None]


@pytest.mark.fault("secrets")
def test_a_mirror_gets_no_credential(server: MisbehavingServer, client: Client, home: Home) -> None:
    server.publish("/feeds.example/feed.json", GOOD)

    guarded("https://feeds.example/feed.json", client, home, mirror=server.url)

    assert "Authorization" not in server.requests[0].headers


@pytest.mark.fault("secrets")
def test_a_secret_in_the_servers_status_line_is_not_repeated(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    server.always[PATH] = faults.repeats_the_secret

    fetched = guarded(server.url + PATH, client, home)

    assert "answered 401 Unauthorized" in (fetched.fault or "")
    assert "sw0rdfish" not in fetched.model_dump_json()


@pytest.mark.fault("secrets")
def test_secrets_of_an_address_are_in_no_record(
    fetch_feed: Fetcher, server: MisbehavingServer
) -> None:
    url = server.url.replace("//", "//user:swordfish@") + PATH + "?api_key=swordfish&year=2026"
    server.always[PATH + "?api_key=swordfish&year=2026"] = faults.answers(403)

    fetched = fetch_feed(url=url)

    assert "swordfish" not in fetched.model_dump_json()
    assert "api_key=***&year=2026" in (fetched.fault or "")


@pytest.mark.fault("retry-after")
def test_retry_after_of_a_host_applies_to_every_source(
    fetch_feed: Fetcher, server: MisbehavingServer, manual_clock: ManualClock
) -> None:
    server.publish("/other.json", GOOD)
    server.always[PATH] = faults.answers(429, Retry_After="9")
    fetch_feed(attempts=1)

    fetched = fetch_feed(url=server.url + "/other.json")

    assert fetched.status is FetchStatus.FETCHED
    assert manual_clock.waits == [9]


def test_public_files_are_requested_through_the_proxy(
    server: MisbehavingServer, manual_clock: ManualClock, home: Home
) -> None:
    server.publish("http://feeds.example/feed.json", GOOD)
    source = make_source("http://feeds.example/feed.json")

    with Client(clock=manual_clock.clock(), proxy=server.url) as other_client:
        fetched = fetch(
            FetchJob(source, PART, make_decision()), make_fetch_context(other_client, home)
        )

    assert read_stored(fetched, home) == GOOD

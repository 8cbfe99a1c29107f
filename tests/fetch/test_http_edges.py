"""Unusual and wrong responses: read as the standard says, or a fault of their source."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Thread
from typing import Any

import pytest
from cryptography.x509 import DNSName
from pydantic import SecretStr
from support import misbehaving_server as faults
from support.certificates import Authority
from support.misbehaving_server import Fault, MisbehavingServer, run_misbehaving_server
from support.transfers import (
    GOOD,
    NOW,
    PART,
    PATH,
    Fetcher,
    list_partial_files,
    make_decision,
    make_source,
    read_stored,
)

from etl_assets.fetch.content_coding import decode
from etl_assets.fetch.download import FetchContext, FetchJob, fetch
from etl_assets.fetch.http import Client, http_date
from etl_assets.fetch.locations import LocationResolver
from etl_assets.fetch.probe import probe
from etl_assets.model.errors import ContentError
from etl_assets.model.home import Home
from etl_assets.model.records import FetchResult, FetchStatus, Probe

PACKED = gzip.compress(GOOD, mtime=0)


def run_probe(server: MisbehavingServer, client: Client, home: Home) -> Probe:
    source, resolver = make_source(server.url + PATH), LocationResolver(home.root)
    return probe(source, PART, client=client, resolver=resolver, now=NOW)


def fetch_gzip_file(server: MisbehavingServer, client: Client, home: Home) -> FetchResult:
    """Fetch a file that is declared as gzip."""
    source = make_source(server.url + PATH, expect={"compression": "gzip"})
    context = FetchContext(client=client, resolver=LocationResolver(home.root), home=home, now=NOW)
    return fetch(FetchJob(source, PART, make_decision()), context)


@pytest.mark.fault("head-refused")
@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_a_refused_head_is_followed_by_a_get(
    server: MisbehavingServer, client: Client, home: Home, status: int
) -> None:
    server.publish(PATH, GOOD)
    server.always[PATH] = faults.refuses_head_with(status)

    result = run_probe(server, client, home)

    assert result.published
    assert result.validators is not None
    assert result.validators.size_bytes == len(GOOD)
    assert [request.method for request in server.requests] == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_missing_for_get_too_is_not_published(
    server: MisbehavingServer, client: Client, home: Home, status: int
) -> None:
    server.always[PATH] = faults.answers(status)

    assert not run_probe(server, client, home).published


@pytest.mark.fault("incredible-date")
@pytest.mark.parametrize(
    "date",
    [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:01 GMT",
        "Tue, 01 Jan 1980 00:00:00 GMT",
        "Mon, 31 Dec 1979 23:00:00 GMT",
        "Sat, 26 Oct 1985 08:15:00 GMT",
        format_datetime(NOW + timedelta(hours=1), usegmt=True),
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ],
)
def test_a_last_modified_that_cannot_be_true_is_no_validator(
    fetch_feed: Fetcher, server: MisbehavingServer, client: Client, home: Home, date: str
) -> None:
    server.always[PATH] = faults.serves_with(Last_Modified=date)

    fetched, probed = fetch_feed(), run_probe(server, client, home)

    assert fetched.file is not None
    assert fetched.file.last_modified is None
    assert probed.validators is not None
    assert probed.validators.last_modified is None


@pytest.mark.fault("malformed-header")
@pytest.mark.parametrize(
    "text",
    [
        None, "", "yesterday", "0", "-1", "2026-13-45T99:99:99Z", "Mon, 99 Foo 2026 99:99:99 GMT",
        "Fri, 31 Dec 9999 23:59:59 -1400", "1 Jan 99999999999",
        "Sun, 06 Nov 1994 08:49:37 +9999999999", "\x00", "Sun, 06 Nov 1994 " + "9" * 5000,
    ],
)  # fmt: skip
def test_a_date_that_cannot_be_read_is_none(text: str | None) -> None:
    assert http_date(text) is None


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_the_three_forms_of_a_date_are_read(text: str) -> None:
    assert http_date(text) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


MALFORMED_HEADERS: list[dict[str, str]] = [
    {"Last_Modified": "Mon, 01 Jan 0001 00:00:00 +1400"},
    {"Last_Modified": "9" * 5000, "Date": "never"},
    {"Content_Range": "bytes 0-x/²"},
    {"Content_Range": "9" * 5000},
    {"Retry_After": "soon"},
    {"ETag": '"é\x80"'},
    {"Location": "http://[::1"},
    {"Set_Cookie": "a=b; expires=Thu, 99 Foo 0001; domain=[", "Content_Type": "text/x; charset=ü"},
    {"Content_Encoding": " , identity,"},
]


@pytest.mark.fault("malformed-header")
@pytest.mark.parametrize("headers", MALFORMED_HEADERS, ids="-".join)
def test_a_malformed_header_is_ignored(
    fetch_feed: Fetcher,
    server: MisbehavingServer,
    client: Client,
    home: Home,
    headers: dict[str, str],
) -> None:
    server.always[PATH] = faults.serves_with(**headers)

    fetched, probed = fetch_feed(), run_probe(server, client, home)
    again = fetch_feed(last=fetched, probe=probed)

    assert (fetched.status, read_stored(fetched, home)) == (FetchStatus.FETCHED, GOOD)
    assert probed.fault is None
    assert again.status is FetchStatus.UNCHANGED


def serves_a_part(content_range: str | None, part: bytes) -> Fault:
    stated = f"Content-Range: {content_range}\r\n" if content_range else ""
    head = f"HTTP/1.1 206 Partial Content\r\n{stated}Content-Length: {len(part)}\r\n\r\n"
    return faults.answers_raw(head.encode() + part)


@pytest.mark.fault("unasked-part")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(serves_a_part(None, GOOD), id="without a range"),
        pytest.param(serves_a_part("bytes 0-9/*", GOOD[:10]), id="of an unknown total"),
        pytest.param(serves_a_part(f"bytes 0-9/{len(GOOD)}", GOOD[:10]), id="the first bytes"),
        pytest.param(serves_a_part(f"bytes 9-99/{len(GOOD)}", GOOD[9:]), id="the last bytes"),
        pytest.param(serves_a_part("items 0-9/10", GOOD), id="of another unit"),
    ],
)
def test_a_part_that_was_not_asked_for_is_no_file(
    fetch_feed: Fetcher, server: MisbehavingServer, fault: Fault
) -> None:
    server.always[PATH] = fault

    assert fetch_feed().file is None


def test_a_part_that_is_the_whole_file_is_the_file(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    size = len(GOOD)
    server.always[PATH] = serves_a_part(f"bytes 0-{size - 1}/{size}", GOOD)

    assert read_stored(fetch_feed(), home) == GOOD


@pytest.mark.fault("malformed-header")
@pytest.mark.parametrize(
    "fault",
    [
        faults.serves_with(206, Content_Range="bytes x-y/z"),
        faults.serves_with(206, Content_Range="bytes ²-3/4"),
        faults.serves_with(206, Content_Range="bytes " + "9" * 5000 + "-/1"),
        faults.redirects("http://[::1/a"),
        faults.redirects("http://a:99999999/"),
        faults.redirects("http://" + "a" * 300 + ".example/"),
        faults.redirects("http://xn--a/.b"),
        faults.redirects("http://.a..b/"),
        faults.redirects("\x01\x7f\x80"),
        faults.redirects("http://a b/"),
        faults.redirects("//"),
        faults.redirects("?" + "x" * 70_000),
        faults.answers(503, Retry_After="9" * 400),
        faults.answers(503, Retry_After="Mon, 01 Jan 0001 00:00:00 +1400"),
        faults.answers(429, Retry_After="²"),
        faults.answers(304),
        faults.answers(300),
        faults.answers(999),
        faults.answers_raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        faults.answers_raw(b"HTTP/1.1 099 Odd\r\n\r\n"),
        faults.answers_raw(b"HTTP/9.9 200 OK\r\n\r\n"),
        faults.answers_raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
        faults.answers_raw(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"
        ),
        faults.answers_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        faults.answers_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: magic\r\n\r\n"),
        faults.answers_raw(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
        faults.answers_raw(b"\xff\xfe\x00" * 50),
        faults.answers_raw(b""),
    ],
)
def test_a_response_that_cannot_be_read_is_a_fault_of_its_source(
    fetch_feed: Fetcher, server: MisbehavingServer, client: Client, home: Home, fault: Fault
) -> None:
    server.always[PATH] = fault

    fetched, probed = (
        fetch_feed(attempts=1, read_timeout_seconds=1),
        run_probe(server, client, home),
    )

    assert fetched.status in {FetchStatus.MISSING, FetchStatus.FETCHED}
    assert fetched.status is FetchStatus.FETCHED or fetched.fault
    assert probed.validators is not None or probed.fault
    assert list_partial_files(home) == []


@pytest.mark.fault("malformed-header")
@pytest.mark.parametrize("secret", ["pässwörd", "line\nbreak", "nul\x00"])
def test_a_secret_that_no_header_can_carry_is_not_shown(
    server: MisbehavingServer, client: Client, home: Home, secret: str
) -> None:
    server.publish(PATH, GOOD)
    location = {"url": server.url + PATH, "credentials": {"X-Api-Key": {"env": "FEED_KEY"}}}
    resolver = LocationResolver(home.root, secret=lambda _: SecretStr(secret))
    context = FetchContext(client=client, resolver=resolver, home=home, now=NOW)

    fetched = fetch(FetchJob(make_source(location=location), PART, make_decision()), context)

    assert fetched.status is FetchStatus.MISSING
    assert secret not in fetched.model_dump_json()
    assert repr(secret)[1:-1] not in (fetched.fault or "")


@pytest.mark.fault("content-encoding")
@pytest.mark.parametrize(
    "coding", ["gzip", "x-gzip", "GZIP", "deflate", "raw", "identity", "deflate, gzip", "gzip,gzip"]
)
def test_a_content_encoding_is_undone(
    fetch_feed: Fetcher, server: MisbehavingServer, client: Client, home: Home, coding: str
) -> None:
    server.always[PATH] = faults.encodes(coding)

    fetched, probed = fetch_feed(), run_probe(server, client, home)

    assert read_stored(fetched, home) == GOOD
    assert probed.validators is not None
    assert probed.validators.size_bytes in {None, len(GOOD)}


@pytest.mark.fault("content-encoding")
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.encodes("br"), "found 'br'"),
        (faults.encodes("gzip, zstd"), "found 'zstd'"),
        (faults.encodes("compress"), "found 'compress'"),
        (faults.encodes(", ".join(["gzip"] * 9)), "a Content-Encoding of gzip"),
        (faults.states_encoding(GOOD, "gzip"), "broken data"),
        (faults.states_encoding(GOOD, "deflate"), "coded with deflate"),
        (faults.states_encoding(PACKED[:-20], "gzip"), "cut off"),
        (faults.states_encoding(PACKED + b"more", "gzip"), "after its end"),
        (faults.states_encoding(gzip.compress(b" " * 300_000), "gzip"), "at most 200,000"),
    ],
)
def test_an_encoding_that_cannot_be_undone_is_a_fault_of_its_source(
    fetch_feed: Fetcher, server: MisbehavingServer, fault: Fault, expected: str
) -> None:
    server.always[PATH] = fault

    fetched = fetch_feed(max_bytes=200_000)

    assert fetched.status is FetchStatus.MISSING
    assert expected in (fetched.fault or "")


@pytest.mark.fault("content-encoding")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.states_encoding(PACKED), id="the header describes the file"),
        pytest.param(faults.states_encoding(gzip.compress(PACKED)), id="packed once more"),
        pytest.param(faults.states_encoding(gzip.compress(PACKED), "x-gzip"), id="x-gzip"),
        pytest.param(faults.states_encoding(PACKED, "identity"), id="identity"),
    ],
)
def test_a_gzip_file_with_a_content_encoding_stays_a_gzip_file(
    server: MisbehavingServer, client: Client, home: Home, fault: Fault
) -> None:
    server.publish(PATH, PACKED)
    server.always[PATH] = fault

    fetched = fetch_gzip_file(server, client, home)

    assert read_stored(fetched, home) == PACKED


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("codings", [["gzip"], ["deflate"], ["gzip", "deflate"]])
def test_a_body_is_decoded_in_pieces_of_any_size(codings: list[str], size: int) -> None:
    body = GOOD
    for coding in codings:
        body = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    pieces = (body[start : start + size] for start in range(0, len(body), size))

    assert b"".join(decode(pieces, codings, max_bytes=10_000, is_gzip_file=False)) == GOOD


def test_an_empty_body_has_no_coding_to_undo() -> None:
    assert list(decode(iter([]), ["gzip"], max_bytes=10, is_gzip_file=False)) == []


def test_bytes_after_a_deflated_body_are_refused() -> None:
    body = iter([zlib.compress(b"a") + b"b"])
    with pytest.raises(ContentError, match="bytes after its end"):
        list(decode(body, ["deflate"], max_bytes=10, is_gzip_file=False))


@pytest.mark.fault("drips")
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.drips_header, "no complete header within 0.4 s"),
        (faults.drips_interim, "no complete header within 0.4 s"),
        (faults.drips_redirects, "no complete header within 0.4 s"),
        (faults.drips_body, "expected the body within 0.4 s"),
        (faults.drips_chunk_extension, "expected the body within 0.4 s"),
        (faults.drips_trailer, "expected the body within 0.4 s"),
    ],
)
def test_a_response_that_drips_ends_at_its_deadline(
    server: MisbehavingServer, home: Home, fault: Fault, expected: str
) -> None:
    server.publish(PATH, GOOD)
    server.always[PATH] = fault
    limits = {
        "response_timeout_seconds": 0.4, "max_bytes": 20_000, "min_bytes_per_second": 50_000,
        "attempts": 1, "max_redirects": 50,
    }  # fmt: skip
    started = time.monotonic()

    with Client() as client:
        source = make_source(server.url + PATH, limits=limits)
        context = FetchContext(
            client=client, resolver=LocationResolver(home.root), home=home, now=NOW
        )
        fetched = fetch(FetchJob(source, PART, make_decision()), context)

    assert expected in (fetched.fault or "")
    assert time.monotonic() - started < 4
    assert list_partial_files(home) == []


def wait_until_it_drips(server: MisbehavingServer) -> None:
    while not (server.requests or server.dripped_handshakes):
        time.sleep(0.01)
    time.sleep(0.1)


Connect = Callable[[MisbehavingServer], tuple[str, str | None]]


def handshake(server: MisbehavingServer) -> tuple[str, str | None]:
    """Let the server's TLS handshake drip; return the address of the file, and no proxy."""
    server.drips_handshake = True
    return server.url.replace("http:", "https:") + PATH, None


def through_proxy(fault: Fault) -> Connect:
    """Return a way to a public host through the server as a proxy, which answers CONNECT so."""

    def connect(server: MisbehavingServer) -> tuple[str, str | None]:
        server.always["feeds.example:443"] = fault
        return f"https://feeds.example{PATH}", server.url

    return connect


DRIPPING_CONNECTIONS = [
    pytest.param(handshake, id="TLS handshake"),
    pytest.param(through_proxy(faults.drips_header), id="CONNECT"),
    pytest.param(through_proxy(faults.drips_interim), id="CONNECT, interim responses"),
    pytest.param(through_proxy(faults.drips_tunnel), id="TLS handshake in a tunnel"),
]


@pytest.mark.fault("drips")
@pytest.mark.parametrize("connect", DRIPPING_CONNECTIONS)
def test_a_connection_that_drips_ends_at_the_deadline_of_the_header(
    server: MisbehavingServer, home: Home, connect: Connect
) -> None:
    url, proxy = connect(server)
    limits = {"response_timeout_seconds": 0.4, "attempts": 1}
    started = time.monotonic()

    with Client(proxy=proxy) as client:
        context = FetchContext(
            client=client, resolver=LocationResolver(home.root), home=home, now=NOW
        )
        fetched = fetch(FetchJob(make_source(url, limits=limits), PART, make_decision()), context)

    assert "no complete header within 0.4 s" in (fetched.fault or "")
    assert time.monotonic() - started < 4


@pytest.mark.fault("drips")
@pytest.mark.parametrize("connect", DRIPPING_CONNECTIONS)
def test_a_stopped_run_waits_for_no_connection(
    server: MisbehavingServer, home: Home, connect: Connect
) -> None:
    url, proxy = connect(server)
    results: list[FetchResult] = []

    with Client(proxy=proxy) as client:
        context = FetchContext(
            client=client, resolver=LocationResolver(home.root), home=home, now=NOW
        )
        job = FetchJob(make_source(url), PART, make_decision())
        thread = Thread(target=lambda: results.append(fetch(job, context)))
        thread.start()
        wait_until_it_drips(server)
        client.stop()
        thread.join(timeout=3)

    [fetched] = results
    assert "the run is being stopped" in (fetched.fault or "")


@pytest.mark.fault("drips")
@pytest.mark.parametrize(
    "fault",
    [
        faults.drips_header, faults.drips_interim, faults.drips_body,
        faults.drips_chunk_extension, faults.drips_trailer, faults.never_answers,
        faults.stalls_midway,
    ],
)  # fmt: skip
def test_a_stopped_run_waits_for_no_response(
    server: MisbehavingServer, home: Home, fault: Callable[..., Any]
) -> None:
    server.publish(PATH, GOOD)
    server.always[PATH] = fault
    results: list[FetchResult] = []

    with Client() as client:
        context = FetchContext(
            client=client, resolver=LocationResolver(home.root), home=home, now=NOW
        )
        job = FetchJob(make_source(server.url + PATH), PART, make_decision())
        thread = Thread(target=lambda: results.append(fetch(job, context)))
        thread.start()
        wait_until_it_drips(server)
        client.stop()
        thread.join(timeout=3)

    [fetched] = results
    assert "the run is being stopped" in (fetched.fault or "")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusting(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of a machine that trusts the authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with Client() as client:
        yield client


def fetch_over_tls(client: Client, home: Home, url: str) -> FetchResult:
    source = make_source(url, limits={"attempts": 2, "backoff_seconds": 0})
    context = FetchContext(client=client, resolver=LocationResolver(home.root), home=home, now=NOW)
    return fetch(FetchJob(source, PART, make_decision()), context)


def test_a_file_is_fetched_over_tls(authority: Authority, trusting: Client, home: Home) -> None:
    with run_misbehaving_server(tls=authority.server_context()) as server:
        server.publish(PATH, GOOD)
        fetched = fetch_over_tls(trusting, home, server.url + PATH)

    assert read_stored(fetched, home) == GOOD


@pytest.mark.fault("tls")
@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        pytest.param({"is_self_signed": True}, "self-signed certificate", id="self-signed"),
        pytest.param({"days": -1}, "certificate has expired", id="expired"),
        pytest.param({"days": 31}, "certificate is not yet valid", id="not yet valid"),
        pytest.param(
            {"name": DNSName("feeds.example")},
            "certificate is not valid for '127.0.0.1'",
            id="another host",
        ),
    ],
)
def test_a_certificate_that_cannot_be_trusted_is_an_outage(
    authority: Authority, trusting: Client, home: Home, certificate: dict[str, Any], expected: str
) -> None:
    with run_misbehaving_server(tls=authority.server_context(**certificate)) as server:
        server.publish(PATH, GOOD)
        fetched = fetch_over_tls(trusting, home, server.url + PATH)

    assert fetched.status is FetchStatus.MISSING
    assert f"{server.url}{PATH}: ConnectError: " in (fetched.fault or "")
    assert expected in (fetched.fault or "")
    assert server.requests == []


@pytest.mark.fault("tls")
def test_an_authority_that_the_machine_does_not_know_is_an_outage(
    authority: Authority, client: Client, home: Home
) -> None:
    with run_misbehaving_server(tls=authority.server_context()) as server:
        fetched = fetch_over_tls(client, home, server.url + PATH)

    assert "unable to get local issuer certificate" in (fetched.fault or "")


@pytest.mark.fault("redirect-scheme")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_from_https_to_http_is_refused(
    authority: Authority, server: MisbehavingServer, trusting: Client, home: Home, status: int
) -> None:
    server.publish(PATH, GOOD)
    with run_misbehaving_server(tls=authority.server_context()) as secure:
        secure.always[PATH] = faults.redirects(server.url + PATH, status)
        secure.always["/relative.json"] = faults.redirects(PATH, status)
        direct = fetch_over_tls(trusting, home, secure.url + PATH)
        through_another = fetch_over_tls(trusting, home, secure.url + "/relative.json")

    for fetched in (direct, through_another):
        assert fetched.status is FetchStatus.MISSING
        assert "expected https to stay https" in (fetched.fault or "")
    assert server.requests == []

"""Requests over HTTP and their answers; the only module that knows httpx.

One question and its answer belong here, redirects included. Trying again, resuming and keeping the
bytes is `etl_assets.fetch.transfer`; how often a host is asked is `etl_assets.fetch.rate_limiter`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from threading import Event, Lock
from typing import Self

import httpcore
import httpx

from etl_assets.declarations.source import Limits
from etl_assets.fetch.locations import TOLD_BYTES, AddressLookup, Target, address_in
from etl_assets.fetch.network_guard import (
    CountingStream,
    GuardedBackend,
    Network,
    redact_url,
    resolve_redirect,
)
from etl_assets.fetch.rate_limiter import Clock, HostRateLimiter, TransferStats
from etl_assets.model.errors import (
    ContentError,
    NotPublishedError,
    TransferRefusedError,
    UnreachableError,
)
from etl_assets.model.records import Validators

USER_AGENT = "etl-assets"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GONE = frozenset({404, 410})
NOT_MODIFIED = 304
RANGE_NOT_SATISFIABLE = 416
TALKATIVE = ("httpx", "httpcore")  # below warnings they log whole addresses and headers
FIRST_ERROR = 400
FIRST_SERVER_ERROR = 500
WORTH_A_RETRY = frozenset({408, 421, 425, 429, RANGE_NOT_SATISFIABLE})
OVERLOADED = frozenset({429, 503})


class WrongLengthError(ContentError):
    """The body ended before or after the length that its header states."""


class Response:
    """An answer whose header has arrived and whose body has not been read."""

    def __init__(self, target: Target, response: httpx.Response) -> None:
        self._target = target
        self._response = response
        self.status = response.status_code

    def header(self, name: str) -> str | None:
        value: str | None = self._response.headers.get(name)
        return value

    @property
    def length(self) -> int | None:
        """Bytes of this body as the header states them."""
        text = self.header("Content-Length") or ""
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def validators(self) -> Validators:
        """What the header says of the whole file; a length of 0 is none, as some answer HEAD so."""
        start_and_total = self.content_range
        size = start_and_total[1] if start_and_total else self.length
        return Validators(
            etag=self.header("ETag"),
            last_modified=http_date(self.header("Last-Modified")),
            size_bytes=size or None,
        )

    @property
    def content_range(self) -> tuple[int, int | None] | None:
        """First byte and total size of a partial answer; None where the whole file comes."""
        unit, _, rest = (self.header("Content-Range") or "").partition(" ")
        span, _, total = rest.partition("/")
        start = span.partition("-")[0]
        if self.status != httpx.codes.PARTIAL_CONTENT or unit != "bytes" or not start.isdigit():
            return None
        return int(start), int(total) if total.isdigit() else None

    def chunks(self) -> Iterator[bytes]:
        """The body as transferred; raises WrongLengthError or UnreachableError if it breaks off."""
        try:
            yield from self._response.iter_raw()
        except httpx.RemoteProtocolError as error:
            raise WrongLengthError(f"{self._target}: body broke off: {error}") from error
        except httpx.TransportError as error:
            raise UnreachableError(f"{self._target}: body broke off: {_told(error)}") from error
        self._check_nothing_follows()

    def _check_nothing_follows(self) -> None:
        stream = self._response.extensions["network_stream"]
        if self.length is None or not isinstance(stream, CountingStream):
            return
        _read_what_waits(stream)
        if stream.body_bytes is not None and stream.body_bytes > self.length:
            stream.close()  # what follows would be taken for the next answer
            raise WrongLengthError(
                f"{self._target}: expected {self.length:,} bytes as Content-Length says,"
                f" found at least {stream.body_bytes:,}"
            )


class Client:
    """Asks hosts within their limits; one for a whole run, shared by its threads."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        network: Network | None = None,
        proxy: str | None = None,
    ) -> None:
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.clock = clock or Clock()
        self._network = network or Network()
        self._proxy = proxy
        self._stop = Event()
        self._lock = Lock()
        self._hosts: dict[str, HostRateLimiter] = {}
        self._clients: dict[bool, httpx.Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def stop(self) -> None:
        """Make every transfer under way end at its next step."""
        self._stop.set()

    @contextmanager
    def stopped_by_errors(self, pool: Executor) -> Iterator[None]:
        """Leave nothing running in the pool when the block is interrupted."""
        with ExitStack() as unless_done:
            unless_done.callback(pool.shutdown, cancel_futures=True)
            unless_done.callback(self.stop)
            yield
            unless_done.pop_all()

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    def host(self, target: Target) -> HostRateLimiter:
        with self._lock:
            if target.host not in self._hosts:
                self._hosts[target.host] = HostRateLimiter(target.host, self.clock, self._stop)
            return self._hosts[target.host]

    @contextmanager
    def ask(
        self,
        target: Target,
        limits: Limits,
        effort: TransferStats,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Iterator[Response]:
        """One request, redirects followed; its answer is good (2xx) or says "not modified".

        A body goes to the declared address alone: no redirect takes it elsewhere.

        Raises NotPublishedError, TransferRefusedError or UnreachableError otherwise.
        """
        url = (
            self._told(target, target.address_lookup, limits, effort)
            if target.address_lookup
            else target.url
        )
        host = self.host(target)
        with host.turn(limits, effort):
            effort.attempts += 1
            effort.last_status = None
            asked = url or ""
            response = self._follow(host, target, asked, limits, method, headers or {}, body)
            try:
                effort.last_status = response.status_code
                self._judge(host, target, limits, response)
                yield Response(target, response)
            finally:
                response.close()

    def _told(
        self, target: Target, teller: AddressLookup, limits: Limits, effort: TransferStats
    ) -> str:
        """The address at which the file is just now; asking for it is part of the same attempt."""
        data = b""
        with self.ask(teller.target, limits, effort) as answer:
            for chunk in answer.chunks():
                data += chunk
                if len(data) > TOLD_BYTES:
                    break
        effort.attempts -= 1
        told = address_in(data, teller.member, str(teller.target))
        return resolve_redirect(teller.target.url or "", told, private=target.is_private)

    def _follow(
        self,
        host: HostRateLimiter,
        target: Target,
        url: str,
        limits: Limits,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> httpx.Response:
        way = [url]
        while True:
            response = self._send(host, target, limits, url, method, headers, body)
            location = response.headers.get("Location")
            if response.status_code not in REDIRECTS or not location:
                return response
            response.close()
            if body is not None:
                raise TransferRefusedError(
                    f"{target}: expected an answer to what was sent, found a redirect"
                )
            url = resolve_redirect(url, location, private=target.is_private)
            if url in way:
                raise TransferRefusedError(f"{target}: redirect loop: {_chain([*way, url])}")
            way.append(url)
            if len(way) > limits.max_redirects + 1:
                raise TransferRefusedError(
                    f"{target}: expected at most {limits.max_redirects} redirects,"
                    f" found {_chain(way)}"
                )

    def _send(
        self,
        host: HostRateLimiter,
        target: Target,
        limits: Limits,
        url: str,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> httpx.Response:
        client = self._client(private=target.is_private)
        timeout = httpx.Timeout(
            limits.read_timeout_seconds, connect=limits.connect_timeout_seconds, pool=None
        )
        try:
            sent = {**headers, **target.credentials_at(url)}
            request = client.build_request(method, url, headers=sent, content=body, timeout=timeout)
            return client.send(request, stream=True)
        except httpx.TransportError as error:
            host.failed(limits, _told(error))
            raise UnreachableError(f"{target}: {_told(error)}") from error
        except httpx.InvalidURL as error:
            raise TransferRefusedError(
                f"{target}: expected a valid address, found {error}"
            ) from error

    def _judge(
        self, host: HostRateLimiter, target: Target, limits: Limits, response: httpx.Response
    ) -> None:
        status = response.status_code
        if status in GONE:
            host.succeeded()
            raise NotPublishedError(f"{target}: answered {_named(response)}")
        if status < FIRST_ERROR and (response.is_success or status == NOT_MODIFIED):
            host.succeeded()
            return
        wait = _retry_after(response, self.clock.now()) if status in OVERLOADED else None
        if wait is not None:
            wait = min(wait, limits.max_backoff_seconds)
            host.hold(wait)
        if status >= FIRST_SERVER_ERROR or status in OVERLOADED:
            host.failed(limits, _named(response))
        raise UnreachableError(
            f"{target}: answered {_named(response)}",
            status=status,
            retry_after=wait,
            is_final=status < FIRST_SERVER_ERROR and status not in WORTH_A_RETRY,
        )

    def _client(self, *, private: bool) -> httpx.Client:
        with self._lock:
            if private not in self._clients:
                self._clients[private] = self._new_client(private=private)
            return self._clients[private]

    def _new_client(self, *, private: bool) -> httpx.Client:
        transport = httpx.HTTPTransport(
            limits=httpx.Limits(max_connections=None), proxy=None if private else self._proxy
        )
        if private or self._proxy is None:
            # httpx offers no argument for httpcore's backend; drop this once encode/httpx has one.
            transport._pool._network_backend = GuardedBackend(self._network, private=private)  # noqa: SLF001
        return httpx.Client(
            transport=transport,
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
            headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
        )


def http_date(text: str | None) -> datetime | None:
    """The moment that an HTTP header names; None where it names none."""
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _retry_after(response: httpx.Response, now: datetime) -> float | None:
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    moment = http_date(text)
    return max(0.0, (moment - now).total_seconds()) if moment else None


def _read_what_waits(stream: CountingStream) -> None:
    """Count bytes that came after the body and that nobody has asked for."""
    if stream.get_extra_info("is_readable"):
        try:
            stream.read(1, timeout=0.01)
        except (httpcore.ReadError, httpcore.ReadTimeout):
            return


def _chain(way: list[str]) -> str:
    return " -> ".join(redact_url(url) for url in way)


def _named(response: httpx.Response) -> str:
    """The status in the standard's words: a server's own might repeat what it was sent."""
    words = httpx.codes.get_reason_phrase(response.status_code)
    return f"{response.status_code} {words}".strip()


def _told(error: Exception) -> str:
    """What went wrong, also where the library leaves the text empty."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

"""One HTTP request and its response, redirects included; the only module that imports httpx.

Retrying, resuming and keeping the bytes is `etl_assets.fetch.transfer`; the limits of a host are
`etl_assets.fetch.rate_limiter`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from threading import Event, Lock
from typing import Self

import httpcore
import httpx

from etl_assets.declarations.source import Limits
from etl_assets.fetch.content_coding import decode, parse_codings
from etl_assets.fetch.locations import MAX_LOOKUP_BYTES, AddressLookup, Target, parse_lookup
from etl_assets.fetch.network_guard import (
    CountingStream,
    GuardedBackend,
    Network,
    redact_message,
    redact_url,
    resolve_redirect,
)
from etl_assets.fetch.rate_limiter import Clock, HostRateLimiter, TransferStats, Turns
from etl_assets.fetch.request_timer import RequestTimer
from etl_assets.model.errors import (
    ContentError,
    NotPublishedError,
    TransferRefusedError,
    UnreachableError,
)
from etl_assets.model.records import Validators, credible_date

USER_AGENT = "etl-assets"
VERBOSE_LOGGERS = ("httpx", "httpcore")  # below WARNING they log whole URLs and headers

NOT_MODIFIED = 304
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416
FIRST_ERROR = 400
FIRST_SERVER_ERROR = 500
REDIRECTS = frozenset({301, 302, 303, 307, 308})
NOT_PUBLISHED = frozenset({404, 410})
# Timeout, another connection, too early, too many: the same request may succeed later. After 416
# the transfer restarts without a range.
RETRYABLE_CLIENT_ERRORS = frozenset({408, 421, 425, 429, RANGE_NOT_SATISFIABLE})
OVERLOADED = frozenset({429, 503})
MAX_DIGITS = 18
# What httpx, httpcore, ssl and the codecs of host names and headers raise for what a remote sends.
# Only calls of these libraries are inside the `try`: a full disk is not a fault of the remote.
LIBRARY_ERRORS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.CookieConflict,
    OSError,
    ValueError,
    ArithmeticError,
    LookupError,
    RuntimeError,
)


class WrongLengthError(ContentError):
    """The body ended before or after the length that its header states."""


class Response:
    """A response whose header has arrived and whose body has not been read."""

    def __init__(
        self,
        target: Target,
        response: httpx.Response,
        timer: RequestTimer,
        limits: Limits,
        now: datetime,
    ) -> None:
        self._target = target
        self._response = response
        self._timer = timer
        self._max_bytes = limits.max_bytes
        self._now = now
        self.status = response.status_code

    def header(self, name: str) -> str | None:
        value: str | None = self._response.headers.get(name)
        return value

    @property
    def length(self) -> int | None:
        """The bytes of this body as Content-Length states them."""
        return _parse_count(self.header("Content-Length") or "")

    @property
    def is_encoded(self) -> bool:
        """True if a Content-Encoding has to be undone: the lengths are then not the file's."""
        encoding = self.header("Content-Encoding") or ""
        return any(name.strip().lower() not in {"", "identity"} for name in encoding.split(","))

    @property
    def validators(self) -> Validators:
        """The validators and the size of the whole file, of which this may be a part."""
        position = self.content_range
        size = position[1] if position else self.length
        return Validators(
            etag=self.etag,
            last_modified=credible_date(http_date(self.header("Last-Modified")), self._now),
            # Some servers answer HEAD with a length of 0.
            size_bytes=None if self.is_encoded else size or None,
        )

    @property
    def etag(self) -> str | None:
        """The ETag; None if a request header could not repeat it."""
        etag = self.header("ETag")
        return etag if etag is None or (etag.isascii() and etag.isprintable()) else None

    @property
    def next_link(self) -> str | None:
        """The address of the next page in the Link header (RFC 8288)."""
        return self._response.links.get("next", {}).get("url")

    @property
    def retry_after(self) -> float | None:
        """The seconds that Retry-After states."""
        return _retry_after_seconds(self._response, self._now)

    @property
    def content_range(self) -> tuple[int, int | None] | None:
        """The first byte and the total size of a partial response (206); None for a whole file."""
        unit, _, rest = (self.header("Content-Range") or "").partition(" ")
        span, _, total = rest.partition("/")
        start = span.partition("-")[0]
        first = _parse_count(start)
        if self.status != PARTIAL_CONTENT or unit.lower() != "bytes" or first is None:
            return None
        return first, _parse_count(total.strip())

    def chunks(self, *, is_gzip_file: bool = False) -> Iterator[bytes]:
        """Yields the content of the file: the body without its Content-Encoding.

        `is_gzip_file` is whether the file itself is declared as gzip. Raises WrongLengthError if
        the length is not as stated, ContentError if the coding is not, and UnreachableError if the
        connection breaks.
        """
        try:
            codings = parse_codings(self.header("Content-Encoding"))
            yield from decode(
                self._raw_chunks(),
                codings,
                max_bytes=self._max_bytes,
                is_gzip_file=is_gzip_file,
            )
        except WrongLengthError:
            raise
        except ContentError as error:
            problem = error.problem
            if problem is None:
                raise
            raise ContentError.of(str(self._target), problem.expected, problem.actual) from error

    def _raw_chunks(self) -> Iterator[bytes]:
        """Yields the body as transferred."""
        try:
            for chunk in self._response.iter_raw():
                self._timer.count_body(len(chunk))
                yield chunk
        except httpx.RemoteProtocolError as error:
            reason = redact_message(str(error))
            raise WrongLengthError(f"{self._target}: body broke off: {reason}") from error
        except LIBRARY_ERRORS as error:
            reason = _describe_error(error)
            raise UnreachableError(f"{self._target}: body broke off: {reason}") from error
        self._check_no_surplus()

    def _check_no_surplus(self) -> None:
        """Raise WrongLengthError if the server sends more than the stated length."""
        stream = self._response.extensions["network_stream"]
        if self.length is None or not isinstance(stream, CountingStream):
            return
        # httpx reads no further than the stated length: count what has arrived after it.
        if stream.get_extra_info("is_readable"):
            with suppress(httpcore.ReadError, httpcore.ReadTimeout):
                stream.read(1, timeout=0.01)
        if stream.body_bytes is not None and stream.body_bytes > self.length:
            stream.close()  # a later request on it would read the surplus as its response
            raise WrongLengthError(
                f"{self._target}: expected {self.length:,} bytes as Content-Length says,"
                f" found at least {stream.body_bytes:,}"
            )


@dataclass(frozen=True, slots=True)
class _Request:
    """What every step of one request needs: the target, its limits, and the message to send."""

    target: Target
    limits: Limits
    limiter: HostRateLimiter
    method: str
    headers: Mapping[str, str]
    body: bytes | None


class Client:
    """Sends requests within the limits of each host; one per run, shared by its threads."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        network: Network | None = None,
        proxy: str | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._turns = turns
        for name in VERBOSE_LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.clock = clock or Clock()
        self._network = network or Network()
        self._proxy = proxy
        self._stop = Event()
        self._lock = Lock()
        self._rate_limiters: dict[str, HostRateLimiter] = {}
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
        if self._turns:
            self._turns.close()

    def stop(self) -> None:
        """End every running transfer at its next step."""
        self._stop.set()

    @contextmanager
    def stop_on_error(self, pool: Executor) -> Iterator[None]:
        """Stop the transfers and shut down the pool if the block is interrupted."""
        with ExitStack() as on_error:
            on_error.callback(pool.shutdown, cancel_futures=True)
            on_error.callback(self.stop)
            yield
            on_error.pop_all()

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    def rate_limiter(self, target: Target) -> HostRateLimiter:
        """Returns the rate limiter of the target's declared host."""
        with self._lock:
            if target.host not in self._rate_limiters:
                self._rate_limiters[target.host] = HostRateLimiter(
                    target.host, self.clock, self._stop, self._turns
                )
            return self._rate_limiters[target.host]

    @contextmanager
    def request(
        self,
        target: Target,
        limits: Limits,
        stats: TransferStats,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Iterator[Response]:
        """Send one request and follow its redirects; yields a 2xx or 304 response.

        A request with a body follows no redirect, so the body goes only to the declared address.
        Raises NotPublishedError, TransferRefusedError or UnreachableError for any other response,
        and if there is none.
        """
        url = target.url or ""
        if target.address_lookup:
            url = self._look_up_address(target, target.address_lookup, limits, stats)
        limiter = self.rate_limiter(target)
        request = _Request(target, limits, limiter, method, headers or {}, body)
        with limiter.acquire(limits, stats):
            stats.attempts += 1
            stats.last_status = None
            timer = RequestTimer(str(target), limits, self.clock, self._stop)
            with timer.activate():
                response = self._follow_redirects(request, url)
                timer.start_body()
            try:
                stats.last_status = response.status_code
                self._check_status(request, response)
                with timer.activate():
                    yield Response(target, response, timer, limits, self.clock.now())
            finally:
                response.close()

    def _look_up_address(
        self, target: Target, lookup: AddressLookup, limits: Limits, stats: TransferStats
    ) -> str:
        """Returns the current address of the file, within the rules of a redirect."""
        data = b""
        with self.request(lookup.target, limits, stats) as response:
            for chunk in response.chunks():
                data += chunk
                if len(data) > MAX_LOOKUP_BYTES:
                    break
        stats.attempts -= 1  # the lookup and the file are one attempt
        address = parse_lookup(data, lookup.member, str(lookup.target))
        return resolve_redirect(lookup.target.url or "", address, private=target.is_private)

    def _follow_redirects(self, request: _Request, url: str) -> httpx.Response:
        """Returns the first response that is no redirect."""
        target, max_redirects = request.target, request.limits.max_redirects
        visited = [url]
        while True:
            response = self._send(request, url)
            location = response.headers.get("Location")
            if response.status_code not in REDIRECTS or not location:
                return response
            response.close()
            if request.body is not None:
                raise TransferRefusedError(
                    f"{target}: expected a response to the request, found a redirect"
                )
            url = resolve_redirect(url, location, private=target.is_private)
            is_loop = url in visited
            visited.append(url)
            chain = " -> ".join(redact_url(each) for each in visited)
            if is_loop:
                raise TransferRefusedError(f"{target}: redirect loop: {chain}")
            if len(visited) > max_redirects + 1:
                raise TransferRefusedError(
                    f"{target}: expected at most {max_redirects} redirects, found {chain}"
                )

    def _send(self, request: _Request, url: str) -> httpx.Response:
        """Send a request to one address; its body is read later, by `Response.chunks`."""
        target, limits = request.target, request.limits
        client = self._client(private=target.is_private)
        timeout = httpx.Timeout(
            limits.read_timeout_seconds, connect=limits.connect_timeout_seconds, pool=None
        )
        try:
            message = client.build_request(
                request.method,
                url,
                headers={**request.headers, **target.credentials_for(url)},
                content=request.body,
                timeout=timeout,
            )
            return client.send(message, stream=True)
        except httpx.TransportError as error:
            failure = _describe_error(error)
            request.limiter.record_failure(limits, failure)
            raise UnreachableError(f"{target}: {failure}") from error
        except httpx.InvalidURL as error:
            reason = redact_message(str(error))
            raise TransferRefusedError(
                f"{target}: expected a valid address, found {reason}"
            ) from error
        except LIBRARY_ERRORS as error:
            # Such as a header that cannot be encoded, or a host name that TLS does not take.
            raise UnreachableError(f"{target}: {_describe_error(error)}", is_final=True) from error

    def _check_status(self, request: _Request, response: httpx.Response) -> None:
        """Raise the error of a status that is neither success nor 304, and record it for the host.

        A 404 counts as a success of the host: it works, and has no such file.
        """
        status, limiter = response.status_code, request.limiter
        message = f"{request.target}: answered {_describe_status(status)}"
        if status in NOT_PUBLISHED:
            limiter.record_success()
            raise NotPublishedError(message, status=status)
        if status < FIRST_ERROR and (response.is_success or status == NOT_MODIFIED):
            limiter.record_success()
            return
        retry_after = None
        if status in OVERLOADED:
            retry_after = _retry_after_seconds(response, self.clock.now())
        if retry_after is not None:
            retry_after = min(retry_after, request.limits.max_backoff_seconds)
            limiter.postpone(retry_after)
        if status >= FIRST_SERVER_ERROR or status in OVERLOADED:
            limiter.record_failure(request.limits, _describe_status(status))
        raise UnreachableError(
            message,
            status=status,
            retry_after=retry_after,
            is_final=status < FIRST_SERVER_ERROR and status not in RETRYABLE_CLIENT_ERRORS,
        )

    def _client(self, *, private: bool) -> httpx.Client:
        """Returns the httpx client for private or for public addresses, created at first use."""
        with self._lock:
            if private not in self._clients:
                self._clients[private] = self._new_client(private=private)
            return self._clients[private]

    def _new_client(self, *, private: bool) -> httpx.Client:
        transport = httpx.HTTPTransport(
            limits=httpx.Limits(max_connections=None),  # each host's rate limiter limits them
            proxy=None if private else self._proxy,  # a proxy need not reach private addresses
        )
        # A proxy may have a private address; it looks up the names of the files' hosts itself.
        backend = GuardedBackend(self._network, private=private or self._proxy is not None)
        # httpx has no argument for httpcore's backend; drop this once encode/httpx has one.
        transport._pool._network_backend = backend  # noqa: SLF001
        return httpx.Client(
            transport=transport,
            # No cookies: a response must not depend on which files were fetched before.
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
            # Hashes, lengths and ranges are of the bytes as published. A server may encode the body
            # in spite of this; `Response.chunks` then undoes it.
            headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
        )


def http_date(text: str | None) -> datetime | None:
    """Returns the time of an HTTP date in UTC; None if there is none or it cannot be read."""
    try:
        moment = parsedate_to_datetime(text or "")
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, LookupError, OverflowError):
        # `email.utils` raises all of these for dates from the wild; OverflowError is also that of a
        # date in year 1 or 9999 that a time zone moves out of range.
        return None


def _parse_count(text: str) -> int | None:
    """Returns a number of bytes in a header; None if there is none."""
    # isdigit alone is true for superscripts, and int refuses more than 4,300 digits.
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    return int(text) if is_number else None


def _retry_after_seconds(response: httpx.Response, now: datetime) -> float | None:
    """Returns the wait of Retry-After, which may be seconds or a date (RFC 9110, 10.2.3)."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    moment = http_date(text)
    return max(0.0, (moment - now).total_seconds()) if moment else None


def _describe_status(status: int) -> str:
    # The standard's phrase and not the server's own, which may repeat a secret of the request.
    return f"{status} {httpx.codes.get_reason_phrase(status)}".strip()


def _describe_error(error: Exception) -> str:
    """Returns the type and the text of an error, as httpx leaves some texts empty."""
    if isinstance(error, httpx.LocalProtocolError):
        # Its text repeats the header, which may be the secret of the source.
        return "LocalProtocolError: expected headers that HTTP allows, found another one"
    text = redact_message(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

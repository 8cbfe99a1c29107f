"""The deadlines of one request, and waits on the network that end when the run is stopped.

Pauses between requests are `etl_assets.fetch.rate_limiter`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from threading import Event, Thread
from typing import TypeVar

import httpcore

from etl_assets.declarations.source import Limits
from etl_assets.fetch.rate_limiter import Clock
from etl_assets.model.errors import EtlError, TransferRefusedError, UnreachableError

T = TypeVar("T")

# What a lookup, a connection, a handshake or a write raises: httpcore's errors, those of the socket
# (OSError), of a name or a port that is none (ValueError, OverflowError), and our own refusals.
NETWORK_ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    OSError,
    ValueError,
    OverflowError,
    EtlError,
)
POLL_SECONDS = 0.5  # how long a wait on the network goes on after the run was stopped
RATE_WINDOW_SECONDS = 30


class RequestTimer:
    """The time that one request has used, redirects included, and how long it may go on.

    A timeout for each read does not end a response that arrives one byte at a time, so the header
    and the body have a deadline each.
    """

    def __init__(self, subject: str, limits: Limits, clock: Clock, stop: Event) -> None:
        self._subject = subject
        self._limits = limits
        self._clock = clock
        self._stop = stop
        self._is_in_body = False
        self._started = clock.monotonic()
        self._window_start = self._started
        self._window_bytes = 0

    def start_body(self) -> None:
        """Replace the deadline of the header by that of the body."""
        self._is_in_body = True
        self._started = self._window_start = self._clock.monotonic()

    def count_body(self, received: int) -> None:
        """Count bytes of the body, without its framing."""
        self._window_bytes += received

    def next_wait(self, timeout: float | None = None) -> float:
        """Returns the seconds to wait for the network now, at most `timeout`.

        Raises UnreachableError if the run is being stopped, httpcore.ReadTimeout after the deadline
        of the header, and TransferRefusedError after that of the body.
        """
        if self._stop.is_set():
            raise UnreachableError(f"{self._subject}: the run is being stopped", is_final=True)
        seconds = POLL_SECONDS if timeout is None else min(POLL_SECONDS, timeout)
        deadline = self._body_seconds if self._is_in_body else self._limits.response_timeout_seconds
        if deadline is None:
            return seconds
        left = deadline - (self._clock.monotonic() - self._started)
        if left > 0:
            return min(seconds, left)
        if self._is_in_body:
            shown = f"{deadline:,.0f}" if deadline >= 10 else f"{deadline:.2g}"
            raise TransferRefusedError(
                f"{self._subject}: expected the body within {shown} s, which is"
                " limits.max_bytes divided by limits.min_bytes_per_second, found it incomplete"
            )
        # httpx knows this one as a fault of the transport, so that the host's failures count it.
        raise httpcore.ReadTimeout(
            f"no complete header within {deadline:g} s; see limits.response_timeout_seconds"
        )

    @property
    def _body_seconds(self) -> float | None:
        rate = self._limits.min_bytes_per_second
        return self._limits.max_bytes / rate if rate else None

    def check_rate(self) -> None:
        """Raise TransferRefusedError if the body arrived too slowly in the last 30 seconds.

        Called after each read and not after each piece of the body: chunk extensions and trailers
        take time and are no body.
        """
        if not self._is_in_body:
            return
        elapsed = self._clock.monotonic() - self._window_start
        if elapsed < RATE_WINDOW_SECONDS:
            return
        rate = self._window_bytes / elapsed
        if rate < self._limits.min_bytes_per_second:
            raise TransferRefusedError(
                f"{self._subject}: expected at least {self._limits.min_bytes_per_second:,} bytes"
                f" a second, found {rate:,.0f} over {elapsed:.0f} s;"
                " see limits.min_bytes_per_second"
            )
        self._window_start, self._window_bytes = self._clock.monotonic(), 0

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Apply this timer to the connections that this thread uses in the block."""
        previous = _active_timer.get()
        _active_timer.set(self)
        try:
            yield
        finally:
            _active_timer.set(previous)


# httpcore passes its network backend a timeout for each operation and nothing of the request. All
# operations of a request run in the thread that sent it.
_active_timer: ContextVar[RequestTimer | None] = ContextVar("active_timer", default=None)


def active_timer() -> RequestTimer | None:
    """Returns the timer of the request that this thread is sending."""
    return _active_timer.get()


def call_interruptibly(function: Callable[[], T], discard: Callable[[T], object]) -> T:
    """Returns the result of a function that may block beyond the deadline of the active timer.

    Looking up a name takes no timeout at all, so the function runs in a thread of its own. A result
    that comes after the deadline is passed to `discard`.
    """
    timer = active_timer()
    if timer is None:
        return function()
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except NETWORK_ERRORS as error:
            future.set_exception(error)
        finally:
            if not future.done():  # a fault of this program, which the thread itself reports
                future.set_exception(RuntimeError("a network call ended without a result"))

    def discard_late(late: Future[T]) -> None:
        if late.exception() is None:
            discard(late.result())

    # A daemon, so that a lookup that hangs does not keep the process from ending.
    Thread(target=run, daemon=True).start()
    with ExitStack() as on_interruption:
        on_interruption.callback(future.add_done_callback, discard_late)
        while not future.done():
            # A timeout of the function itself is read below.
            with suppress(TimeoutError):
                future.exception(timeout=timer.next_wait())
        on_interruption.pop_all()
    return future.result()

"""The limits of one host: requests per second, connections at a time, pauses after failures.

Sending a request and judging its response is `etl_assets.fetch.http`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Condition, Event
from typing import Protocol

from etl_assets.declarations.source import Limits
from etl_assets.model.errors import UnreachableError


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and randomness, passed in so that a test controls both."""

    monotonic: Callable[[], float] = time.monotonic
    wait: Callable[[Event, float], object] = Event.wait
    random: Callable[[], float] = random.random
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


@dataclass(slots=True)
class TransferStats:
    """What the transfer of one file has taken so far: requests, and seconds spent waiting."""

    attempts: int = 0
    last_status: int | None = None
    waited_seconds: float = 0.0


class Turns(Protocol):
    """The starts of requests of all processes that share an event log."""

    def reserve(self, host: str, seconds: float) -> float:
        """Return in how many seconds the next request may start; its turn takes `seconds`."""

    def postpone(self, host: str, seconds: float) -> None:
        """Start no request for a time."""

    def close(self) -> None: ...


class HostRateLimiter:
    """Applies the limits of one host; shared by all threads of a run.

    With `turns`, requests of other processes count, too.
    """

    def __init__(self, name: str, clock: Clock, stop: Event, turns: Turns | None = None) -> None:
        self._turns = turns
        self._name = name
        self._clock = clock
        self._stop = stop
        self._free = Condition()
        self._active = 0
        self._next_start = 0.0
        self._failures = 0
        self._paused_until = 0.0
        self._last_failure = ""

    @contextmanager
    def acquire(self, limits: Limits, stats: TransferStats) -> Iterator[None]:
        """Wait for a connection and for the next start, and use the connection for the block.

        Raises UnreachableError at once while the host is paused after failures in a row.
        """
        with self._free:
            self._free.wait_for(lambda: self._active < limits.connections)
            self._active += 1
        try:
            self._refuse_while_paused()
            with self._free:
                now = self._clock.monotonic()
                start = max(now, self._next_start)
                # Reserved before the wait, so that the next thread queues up behind this one.
                self._next_start = start + 1 / limits.requests_per_second
            pause = start - now
            if self._turns:
                turn = self._turns.reserve(self._name, 1 / limits.requests_per_second)
                pause = max(pause, turn)
            self.wait(pause, stats)
            yield
        finally:
            with self._free:
                self._active -= 1
                self._free.notify()

    def postpone(self, seconds: float) -> None:
        """Start no request for a time, as the host has asked (Retry-After)."""
        with self._free:
            self._next_start = max(self._next_start, self._clock.monotonic() + seconds)
        if self._turns:
            self._turns.postpone(self._name, seconds)

    def record_success(self) -> None:
        with self._free:
            self._failures = 0

    def record_failure(self, limits: Limits, failure: str) -> None:
        """Count a failure of the host; enough of them in a row pause it."""
        with self._free:
            self._failures += 1
            self._last_failure = failure
            if self._failures >= limits.failures_before_pause:
                self._paused_until = self._clock.monotonic() + limits.pause_seconds

    def wait(self, seconds: float, stats: TransferStats) -> None:
        """Wait, adding to `stats`; raises UnreachableError if the run is being stopped."""
        if seconds > 0:
            self._clock.wait(self._stop, seconds)
            stats.waited_seconds += seconds
        if self._stop.is_set():
            raise UnreachableError(f"{self._name}: the run is being stopped", is_final=True)

    def _refuse_while_paused(self) -> None:
        left = self._paused_until - self._clock.monotonic()
        if left > 0:
            raise UnreachableError(
                f"{self._name}: paused for another {left:.0f} s after {self._failures} failures"
                f" in a row, the last: {self._last_failure}",
                is_final=True,
            )

"""One file from a remote to a local one: tried again, resumed, bounded and hashed on its way.

How the bytes come and when to stop belongs here. One request is `etl_assets.fetch.http`; what the
file is for, and where it is kept, is the caller's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, TypeVar

from etl_assets.declarations.source import Limits
from etl_assets.fetch.http import (
    NOT_MODIFIED,
    RANGE_NOT_SATISFIABLE,
    Client,
    Response,
    WrongLengthError,
    http_date,
)
from etl_assets.fetch.locations import Target
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.model.errors import ContentError, Problem, TransferRefusedError, UnreachableError
from etl_assets.storage.archives import Gunzip

T = TypeVar("T")
Progress = Callable[[int, int | None], None]
RATE_WINDOW_SECONDS = 30
STRONG_DATE_AGE = timedelta(seconds=60)  # RFC 9110, 8.8.2.2: a younger date does not prove equality


def ignore_progress(_received: int, _total: int | None) -> None:
    """A progress callback for those who do not watch."""


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A whole file that has arrived."""

    sha256: str
    size_bytes: int
    unpacked_sha256: str | None = None
    unpack_fault: Problem | None = None
    etag: str | None = None
    last_modified: datetime | None = None
    is_resumed: bool = False


class HashingWriter:
    """Writes what arrives and hashes it, as transferred and (for gzip) as unpacked."""

    def __init__(self, file: BinaryIO, *, unpack_limit: int | None = None) -> None:
        self._file = file
        self._unpack_limit = unpack_limit
        self.restart()

    def restart(self) -> None:
        """Forget everything that has arrived."""
        self._file.seek(0)
        self._file.truncate()
        self.size_bytes = 0
        self._digest = hashlib.sha256()
        self._unpacked = hashlib.sha256()
        self._gunzip = Gunzip(self._unpack_limit) if self._unpack_limit is not None else None
        self._fault: Problem | None = None

    def add(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:  # an unbuffered file may take a part, as when the disk is nearly full
            rest = rest[self._file.write(rest) :]
        self._digest.update(data)
        self.size_bytes += len(data)
        if self._gunzip and not self._fault:
            self._unpack(data)

    def received(self, answer: Response | None, *, is_resumed: bool = False) -> ReceivedFile:
        """What has arrived, as a whole."""
        if self._gunzip and not self._fault:
            self._settle(self._gunzip.finish)
        known = answer.validators if answer else None
        return ReceivedFile(
            sha256=self._digest.hexdigest(),
            size_bytes=self.size_bytes,
            unpacked_sha256=self._unpacked.hexdigest()
            if self._gunzip and not self._fault
            else None,
            unpack_fault=self._fault,
            etag=known.etag if known else None,
            last_modified=known.last_modified if known else None,
            is_resumed=is_resumed,
        )

    def _unpack(self, data: bytes) -> None:
        gunzip = self._gunzip

        def hash_pieces() -> None:
            for piece in gunzip.feed(data) if gunzip else ():
                self._unpacked.update(piece)

        self._settle(hash_pieces)

    def _settle(self, step: Callable[[], None]) -> None:
        """A file that cannot be unpacked is still taken whole: quarantine keeps what was served."""
        try:
            step()
        except ContentError as error:
            self._fault = error.problem


def run_with_retries(
    client: Client,
    target: Target,
    limits: Limits,
    effort: TransferStats,
    attempt: Callable[[], T],
    *,
    attempts: int | None = None,
) -> T:
    """The attempt's value; failures that may pass are tried again after growing, random waits."""
    allowed = min(attempts or limits.attempts, limits.attempts)
    number = 1
    while True:
        try:
            return attempt()
        except (UnreachableError, WrongLengthError) as error:
            if number == allowed or _is_final(error):
                raise
            delay = _delay(client, limits, number, error)
        client.host(target).pause(delay, effort)
        number += 1


def _is_final(error: UnreachableError | WrongLengthError) -> bool:
    return isinstance(error, UnreachableError) and error.is_final


def _delay(
    client: Client, limits: Limits, number: int, error: UnreachableError | WrongLengthError
) -> float:
    """Exponential with full jitter; where the host has named a wait, its next turn observes it."""
    if isinstance(error, UnreachableError) and error.retry_after is not None:
        return 0.0
    ceiling = min(limits.max_backoff_seconds, limits.backoff_seconds * 2.0 ** (number - 1))
    return client.clock.random() * ceiling


class Transfer:
    """The transfer of one remote file through as many answers as it takes."""

    def __init__(
        self,
        client: Client,
        target: Target,
        limits: Limits,
        effort: TransferStats,
        sink: HashingWriter,
        progress: Progress = ignore_progress,
    ) -> None:
        self._client = client
        self._target = target
        self._limits = limits
        self._effort = effort
        self._sink = sink
        self._progress = progress
        self._resume_if: str | None = None
        self._total: int | None = None
        self._is_resumed = False

    def run(self, *, known_etag: str | None = None) -> ReceivedFile | None:
        """The file; None where the remote says that it is still the one of `known_etag`.

        Raises SourceError when the attempts are spent or going on is forbidden.
        """
        return run_with_retries(
            self._client,
            self._target,
            self._limits,
            self._effort,
            lambda: self._attempt(known_etag),
        )

    def restart(self) -> None:
        """Forget everything, so that the next `run` starts anew."""
        self._sink.restart()
        self._resume_if, self._total, self._is_resumed = None, None, False

    def _attempt(self, known_etag: str | None) -> ReceivedFile | None:
        headers = self._resume_headers() or ({"If-None-Match": known_etag} if known_etag else {})
        try:
            with self._client.ask(
                self._target, self._limits, self._effort, headers=headers
            ) as answer:
                if answer.status == NOT_MODIFIED:
                    return None
                self._begin(answer)
                for chunk in self._watched(answer.chunks()):
                    self._sink.add(chunk)
                self._check_complete()
                return self._sink.received(answer, is_resumed=self._is_resumed)
        except UnreachableError as error:
            if error.status == RANGE_NOT_SATISFIABLE:
                self.restart()
            raise

    def _resume_headers(self) -> dict[str, str]:
        is_part = 0 < self._sink.size_bytes < (self._total or self._limits.max_bytes)
        if not is_part or not self._resume_if:
            return {}
        return {"Range": f"bytes={self._sink.size_bytes}-", "If-Range": self._resume_if}

    def _begin(self, answer: Response) -> None:
        """Go on where the last answer broke off if this one does, else start anew."""
        validator = _strong_validator(answer)
        position = answer.content_range
        continues = (
            position == (self._sink.size_bytes, self._total)
            and self._resume_if is not None
            and validator == self._resume_if
        )
        if continues:
            self._is_resumed = True
            return
        self.restart()
        if position is not None and position[0] != 0:
            raise UnreachableError(
                f"{self._target}: expected the whole file, found a part that does not fit"
            )
        self._resume_if, self._total = validator, position[1] if position else answer.length
        if self._total is not None and self._total > self._limits.max_bytes:
            raise self._too_large(self._total)

    def _watched(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks, until a limit is passed."""
        began, since = self._client.clock.monotonic(), 0
        for chunk in chunks:
            if self._sink.size_bytes + len(chunk) > self._limits.max_bytes:
                raise self._too_large(self._sink.size_bytes + len(chunk))
            yield chunk
            since += len(chunk)
            self._progress(self._sink.size_bytes, self._total)
            elapsed = self._client.clock.monotonic() - began
            if elapsed >= RATE_WINDOW_SECONDS:
                self._check_rate(since, elapsed)
                began, since = self._client.clock.monotonic(), 0
            if self._client.is_stopped:
                raise UnreachableError(f"{self._target}: the run is being stopped", is_final=True)

    def _check_rate(self, received: int, seconds: float) -> None:
        rate = received / seconds
        if rate < self._limits.min_bytes_per_second:
            raise TransferRefusedError(
                f"{self._target}: expected at least {self._limits.min_bytes_per_second:,} bytes"
                f" a second, found {rate:,.0f} over {seconds:.0f} s;"
                " see limits.min_bytes_per_second"
            )

    def _check_complete(self) -> None:
        if self._total is not None and self._sink.size_bytes != self._total:
            raise WrongLengthError(
                f"{self._target}: expected {self._total:,} bytes, found {self._sink.size_bytes:,}"
            )

    def _too_large(self, found: int) -> TransferRefusedError:
        return TransferRefusedError(
            f"{self._target}: expected at most {self._limits.max_bytes:,} bytes, found {found:,};"
            " see limits.max_bytes"
        )


def _strong_validator(answer: Response) -> str | None:
    """What If-Range may carry: a strong ETag, or a date that is old enough to be one."""
    etag = answer.header("ETag")
    if etag:
        return None if etag.startswith("W/") else etag
    changed, now = http_date(answer.header("Last-Modified")), http_date(answer.header("Date"))
    is_strong = changed is not None and now is not None and now - changed >= STRONG_DATE_AGE
    return answer.header("Last-Modified") if is_strong else None

"""The transfer of one remote file: retried, resumed, limited, and hashed while it is written.

One request is `etl_assets.fetch.http`; what the file is for and where it is kept is the caller's.
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
    PARTIAL_CONTENT,
    RANGE_NOT_SATISFIABLE,
    Client,
    Response,
    WrongLengthError,
    http_date,
)
from etl_assets.fetch.locations import Target
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.model.errors import ContentError, Problem, TransferRefusedError, UnreachableError
from etl_assets.model.records import Validators
from etl_assets.storage.archives import Gunzip

T = TypeVar("T")
Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the total, which may be unknown."""

STRONG_DATE_AGE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A complete file: its hashes, its size, and the validators that came with it."""

    sha256: str
    size_bytes: int
    unpacked_sha256: str | None = None
    unpack_fault: Problem | None = None
    etag: str | None = None
    last_modified: datetime | None = None
    is_resumed: bool = False


class HashingWriter:
    """Writes to a file and hashes the bytes; with `unpack_limit`, also the unpacked gzip."""

    def __init__(self, file: BinaryIO, *, unpack_limit: int | None = None) -> None:
        self._file = file
        self._unpack_limit = unpack_limit
        self.restart()

    def restart(self) -> None:
        """Truncate the file and start the hashes again."""
        self._file.seek(0)
        self._file.truncate()
        self.size_bytes = 0
        self._digest = hashlib.sha256()
        self._unpacked_digest = hashlib.sha256()
        self._gunzip = Gunzip(self._unpack_limit) if self._unpack_limit is not None else None
        self._unpack_fault: Problem | None = None

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:  # an unbuffered file may write a part only, as on a nearly full disk
            rest = rest[self._file.write(rest) :]
        self._digest.update(data)
        self.size_bytes += len(data)
        if self._gunzip and not self._unpack_fault:
            try:
                for block in self._gunzip.feed(data):
                    self._unpacked_digest.update(block)
            except ContentError as error:
                # The download goes on: quarantine keeps the file as it was served.
                self._unpack_fault = error.problem

    def finish(self, response: Response | None, *, is_resumed: bool = False) -> ReceivedFile:
        """Returns the file as received, with the validators of its response."""
        unpacked_sha256 = None
        if self._gunzip and not self._unpack_fault:
            try:
                self._gunzip.finish()
                unpacked_sha256 = self._unpacked_digest.hexdigest()
            except ContentError as error:
                self._unpack_fault = error.problem
        validators = response.validators if response else Validators()
        return ReceivedFile(
            sha256=self._digest.hexdigest(),
            size_bytes=self.size_bytes,
            unpacked_sha256=unpacked_sha256,
            unpack_fault=self._unpack_fault,
            etag=validators.etag,
            last_modified=validators.last_modified,
            is_resumed=is_resumed,
        )


def run_with_retries(
    client: Client,
    target: Target,
    limits: Limits,
    stats: TransferStats,
    attempt: Callable[[], T],
    *,
    attempts: int | None = None,
) -> T:
    """Returns the result of the first attempt that succeeds, with growing random waits in between.

    Raises the error of the last attempt, or of the first one that cannot succeed when repeated.
    `attempts` lowers the declared number.
    """
    allowed = min(attempts or limits.attempts, limits.attempts)
    number = 1
    while True:
        try:
            return attempt()
        except (UnreachableError, WrongLengthError) as error:
            is_final = isinstance(error, UnreachableError) and error.is_final
            if number == allowed or is_final:
                raise
            delay = _backoff_seconds(client, limits, number, error)
        client.rate_limiter(target).wait(delay, stats)
        number += 1


def _backoff_seconds(
    client: Client, limits: Limits, number: int, error: UnreachableError | WrongLengthError
) -> float:
    """Returns the seconds to wait before the next attempt: exponential backoff with full jitter.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    if isinstance(error, UnreachableError) and error.retry_after is not None:
        return 0.0  # the rate limiter already postpones the next request
    ceiling = min(limits.max_backoff_seconds, limits.backoff_seconds * 2.0 ** (number - 1))
    return client.clock.random() * ceiling


class Transfer:
    """The transfer of one remote file, over as many requests as it takes."""

    def __init__(
        self,
        client: Client,
        target: Target,
        limits: Limits,
        stats: TransferStats,
        writer: HashingWriter,
        progress: Progress,
        *,
        is_gzip_file: bool = False,
    ) -> None:
        self._client = client
        self._target = target
        self._limits = limits
        self._stats = stats
        self._writer = writer
        self._progress = progress
        self._is_gzip_file = is_gzip_file
        self._resume_validator: str | None = None
        self._total: int | None = None
        self._is_resumed = False

    def run(self, *, known_etag: str | None = None) -> ReceivedFile | None:
        """Returns the file, or None if the remote answers that `known_etag` is still current.

        Raises SourceError when the attempts are used up or a limit is exceeded.
        """
        return run_with_retries(
            self._client,
            self._target,
            self._limits,
            self._stats,
            lambda: self._attempt(known_etag),
        )

    def restart(self) -> None:
        """Discard what was received, so that the next `run` starts at the first byte."""
        self._writer.restart()
        self._resume_validator, self._total, self._is_resumed = None, None, False

    def _attempt(self, known_etag: str | None) -> ReceivedFile | None:
        # Never both: a 304 answers for the stored file and not for the received part.
        headers = self._resume_headers()
        if not headers and known_etag:
            headers = {"If-None-Match": known_etag}
        try:
            with self._client.request(
                self._target, self._limits, self._stats, headers=headers
            ) as response:
                if response.status == NOT_MODIFIED and "If-None-Match" in headers:
                    return None
                self._begin(response)
                chunks = response.chunks(is_gzip_file=self._is_gzip_file)
                for chunk in self._within_limits(chunks):
                    self._writer.write(chunk)
                size = self._writer.size_bytes
                if self._total is not None and size != self._total:
                    raise WrongLengthError(
                        f"{self._target}: expected {self._total:,} bytes, found {size:,}"
                    )
                return self._writer.finish(response, is_resumed=self._is_resumed)
        except UnreachableError as error:
            if error.status == RANGE_NOT_SATISFIABLE:
                self.restart()
            raise

    def _resume_headers(self) -> dict[str, str]:
        """Returns the headers that ask for the rest of the file; none if it cannot be resumed."""
        received = self._writer.size_bytes
        is_part = 0 < received < (self._total or self._limits.max_bytes)
        if not is_part or not self._resume_validator:
            return {}
        return {"Range": f"bytes={received}-", "If-Range": self._resume_validator}

    def _begin(self, response: Response) -> None:
        """Continue where the last response ended if this one does, else start at the first byte."""
        if response.status == NOT_MODIFIED:
            raise UnreachableError(
                f"{self._target}: answered 'not modified' to a request without a condition",
                is_final=True,
            )
        validator = _strong_validator(response)
        position = response.content_range
        # Both are compared again: some servers ignore If-Range, or send another range.
        is_continuation = (
            position == (self._writer.size_bytes, self._total)
            and self._resume_validator is not None
            and validator == self._resume_validator
        )
        if is_continuation:
            self._is_resumed = True
            return
        self.restart()
        # A part of a list or of a table may look like all of it.
        is_part = response.status == PARTIAL_CONTENT and (
            position is None or position[0] != 0 or position[1] is None
        )
        if is_part:
            raise UnreachableError(
                f"{self._target}: expected the whole file, found a part that does not fit"
            )
        if response.is_encoded:
            # Lengths and ranges are of the coded body, and not of the file that is written.
            self._resume_validator, self._total = None, None
            return
        self._resume_validator = validator
        self._total = position[1] if position else response.length
        if self._total is not None and self._total > self._limits.max_bytes:
            raise self._too_large(self._total)

    def _within_limits(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yields the chunks; raises TransferRefusedError if the file is too large."""
        for chunk in chunks:
            size = self._writer.size_bytes + len(chunk)
            if size > self._limits.max_bytes:
                raise self._too_large(size)
            yield chunk
            self._progress(self._writer.size_bytes, self._total)
            if self._client.is_stopped:
                raise UnreachableError(f"{self._target}: the run is being stopped", is_final=True)

    def _too_large(self, size: int) -> TransferRefusedError:
        return TransferRefusedError(
            f"{self._target}: expected at most {self._limits.max_bytes:,} bytes, found {size:,};"
            " see limits.max_bytes"
        )


def _strong_validator(response: Response) -> str | None:
    """Returns the validator that If-Range may carry: a strong ETag, or a date that is one.

    A Last-Modified is strong if it is at least a minute older than the Date of the response: a
    younger file may have changed twice in one second (RFC 9110, 8.8.2.2 and 13.1.5).
    """
    etag = response.etag
    if etag:
        return None if etag.startswith("W/") else etag
    changed, now = response.validators.last_modified, http_date(response.header("Date"))
    if changed is None or now is None or now - changed < STRONG_DATE_AGE:
        return None
    return response.header("Last-Modified")

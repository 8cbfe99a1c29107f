"""Fetches of declared files: downloaded, checked, stored, or replaced by the last good file.

Whether a part is fetched is decided by `etl_assets.fetch.decide`; how bytes are transferred is
`etl_assets.fetch.transfer`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from etl_assets.declarations.source import Source
from etl_assets.fetch import raw_store
from etl_assets.fetch.digest import read_digest
from etl_assets.fetch.http import Client, WrongLengthError
from etl_assets.fetch.local import receive_local
from etl_assets.fetch.locations import LocationResolver, ResolvedLocation
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.fetch.transfer import HashingWriter, ReceivedFile, Transfer
from etl_assets.model.errors import ContentError, NotPublishedError, Problem, SourceError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    Part,
    Probe,
    RawFile,
    Reason,
    StoredState,
    Verdict,
)
from etl_assets.storage.signatures import Signatures
from etl_assets.validate.quarantine import quarantine_file

CODE_VERSION = "1"
WORKERS = 64  # most of them wait for the limits of one host, and must not delay other hosts
# For these reasons the stored file may still be current, and the request is made conditional.
MAYBE_UNCHANGED = frozenset({Reason.PROBE_FAILED, Reason.LAST_WAS_OUTAGE, Reason.ETAG_GONE})

PartProgress = Callable[[Part, int, int | None], None]
"""Called with a part, the bytes received so far, and the total, which may be unknown."""

log = logging.getLogger(__name__)


class ContentCheck(Protocol):
    """Validates a downloaded file, as `etl_assets.validate.validate.validate` does."""

    def __call__(self, source: Source, part: Part, path: Path, *, sha256: str) -> Verdict: ...


def no_progress(_part: Part, _received: int, _total: int | None) -> None:
    """Ignore the progress of downloads."""


@dataclass(frozen=True, slots=True)
class FetchJob:
    """One part to fetch, with the decision and the records that it was made from."""

    source: Source
    part: Part
    decision: Decision
    probe: Probe | None = None
    last_result: FetchResult | None = None

    @property
    def last_file(self) -> RawFile | None:
        return self.last_result.file if self.last_result else None

    @property
    def probed_sha256(self) -> str | None:
        """The published digest, as the probe has read it."""
        if self.probe is None or self.probe.validators is None:
            return None
        return self.probe.validators.published_sha256

    @property
    def unpack_limit(self) -> int | None:
        """The limit of unpacked bytes if a digest of them is published; else None."""
        digest = self.source.location.digest
        is_of_unpacked = digest is not None and digest.of == "unpacked"
        if not is_of_unpacked or self.source.expect.compression != "gzip":
            return None
        return self.source.limits.max_unpacked_bytes


@dataclass(frozen=True, slots=True)
class FetchContext:
    """What all fetches of a run share.

    With `check`, a file that is not as declared goes to quarantine instead of the raw store, and
    the fetch counts as an outage.
    """

    client: Client
    resolver: LocationResolver
    home: Home
    now: datetime
    code_version: str = CODE_VERSION
    check: ContentCheck | None = None
    progress: PartProgress = no_progress
    signatures: Signatures = field(default_factory=Signatures)


def fetch_all(jobs: Sequence[FetchJob], context: FetchContext) -> Iterator[FetchResult]:
    """Yields the result of each job as it completes; they run concurrently."""
    with ThreadPoolExecutor(max_workers=min(WORKERS, len(jobs) or 1)) as pool:
        pending = [pool.submit(fetch, job, context) for job in jobs]
        with context.client.stop_on_error(pool):
            for future in as_completed(pending):
                yield future.result()


def fetch(job: FetchJob, context: FetchContext) -> FetchResult:
    """Returns the result of one job; a fault of the remote is recorded in it and not raised."""
    decision, stats = job.decision, TransferStats()
    if job.last_result and decision.reason is Reason.PINNED:
        return job.last_result.model_copy(update={"decision": decision})
    if job.last_result and decision.reason is Reason.ALREADY_STORED:
        return _repeat(job.last_result, decision)
    if decision.reason is Reason.NOT_YET_PUBLISHED:
        return _result(job, FetchStatus.NOT_YET_PUBLISHED, None, stats)
    if not decision.fetch:
        return _result(job, FetchStatus.UNCHANGED, job.last_file, stats)
    try:
        file = download(job, context, stats)
    except SourceError as error:
        return _outage(job, context, stats, error)
    is_same = job.last_file is not None and job.last_file.sha256 == file.sha256
    status = FetchStatus.UNCHANGED if is_same else FetchStatus.FETCHED
    warning = None
    if step := _step_back(job, file.last_modified):
        warning = f"its Last-Modified went back: {step}; it may be an earlier file"
    return _result(job, status, file, stats, warning=warning)


def download(job: FetchJob, context: FetchContext, stats: TransferStats) -> RawFile:
    """Returns the record of the downloaded and stored file.

    Raises SourceError if it cannot be downloaded, or is not as declared or published; a refused
    file is then in quarantine.
    """
    location = context.resolver.resolve(job.source.location, job.part.partition)
    with raw_store.partial_file(context.home, job.part) as (path, file):
        writer = HashingWriter(file, unpack_limit=job.unpack_limit)
        try:
            received = _receive(job, context, location, writer, stats)
            if received is None:
                return _unmodified_file(job)
            verdict = _accepted_verdict(job, received)
            if verdict:
                published = job.probed_sha256
            else:
                _check_age(job, location, received)
                published = _check_digest(job, context, location, received)
                verdict = _check_content(job, context, path, received)
        except ContentError as error:
            _quarantine(job, context, location, path, error)
            raise
        stored = raw_store.store_file(context.home, path, received.sha256)
    return RawFile(
        part=job.part,
        sha256=received.sha256,
        size_bytes=received.size_bytes,
        path=context.home.relative(stored),
        url=location.file.label,
        etag=received.etag,
        last_modified=received.last_modified,
        published_sha256=published,
        fetched_at=context.now.astimezone(UTC),
        attempts=max(1, stats.attempts),  # a local file takes no request
        last_status=stats.last_status,
        waited_seconds=round(stats.waited_seconds, 3),
        verdict=verdict,
        code_version=context.code_version,
    )


def _step_back(job: FetchJob, last_modified: datetime | None) -> str | None:
    """Returns the change of a Last-Modified that is earlier than that of the last file."""
    before = job.last_file.last_modified if job.last_file else None
    if before is None or last_modified is None or last_modified >= before:
        return None
    return f"{before.isoformat()} -> {last_modified.isoformat()}"


def _check_age(job: FetchJob, location: ResolvedLocation, received: ReceivedFile) -> None:
    """Raise ContentError for an earlier file with other content, if the source refuses those."""
    is_same = job.last_file is not None and job.last_file.sha256 == received.sha256
    step = _step_back(job, received.last_modified)
    if step and not is_same and job.source.freshness.if_older == "refuse":
        expected = "a Last-Modified that does not go back, as freshness.if_older says"
        raise ContentError.of(str(location.file), expected, step)


def _receive(
    job: FetchJob,
    context: FetchContext,
    location: ResolvedLocation,
    writer: HashingWriter,
    stats: TransferStats,
) -> ReceivedFile | None:
    """Returns the file, or None if the remote answers that the stored one is current."""
    limits = job.source.limits
    if location.file.path is not None:
        return receive_local(location.file, location.file.path, limits, writer, context.now)
    transfer = Transfer(
        context.client,
        location.file,
        limits,
        stats,
        writer,
        lambda received, total: context.progress(job.part, received, total),
        is_gzip_file=job.source.expect.compression == "gzip",
    )
    received = transfer.run(known_etag=_conditional_etag(job, context))
    if received is None or not received.is_resumed:
        return received
    if _agrees_with_digest(job, received, job.probed_sha256):
        return received
    # The pieces of a resumed download may be of two files, although the validators were equal.
    transfer.restart()
    return transfer.run()


def _conditional_etag(job: FetchJob, context: FetchContext) -> str | None:
    """Returns the ETag for a conditional request; None unless the stored file may be current."""
    file = job.last_file
    if file is None or job.decision.reason not in MAYBE_UNCHANGED:
        return None
    state = raw_store.stored_state(context.home, file, context.signatures)
    return file.etag if state is StoredState.PRESENT else None


def _unmodified_file(job: FetchJob) -> RawFile:
    if job.last_file is None:
        raise ContentError(f"{job.part}: answered 'not modified' to a request without a condition")
    return job.last_file


def _accepted_verdict(job: FetchJob, received: ReceivedFile) -> Verdict | None:
    """Returns the verdict on the last file if the operator released these bytes from quarantine."""
    if job.last_file is None:
        return None
    verdict = job.last_file.verdict
    if verdict and verdict.accepted and verdict.sha256 == received.sha256:
        return verdict
    return None


def _check_digest(
    job: FetchJob, context: FetchContext, location: ResolvedLocation, received: ReceivedFile
) -> str | None:
    """Returns the published digest that the file agrees with; None if none is published.

    Before a file is refused its digest is read again: the probe's may be older than the file.
    """
    published = job.probed_sha256
    if published is not None and _agrees_with_digest(job, received, published):
        return published
    declared = job.source.location.digest
    if declared is None or location.digest is None:
        return None
    try:
        published = read_digest(context.client, location.digest, declared, job.source.limits)
    except NotPublishedError:
        return None
    if fault := received.unpack_fault:
        raise ContentError.of(str(location.file), fault.expected, fault.actual)
    if not _agrees_with_digest(job, received, published):
        subject = "unpacked bytes" if declared.of == "unpacked" else "file"
        expected = f"{published} as the SHA-256 of the {subject}, as published"
        raise ContentError.of(str(location.file), expected, _digest_of(job, received) or "none")
    return published


def _agrees_with_digest(job: FetchJob, received: ReceivedFile, published: str | None) -> bool:
    return published is None or _digest_of(job, received) == published


def _digest_of(job: FetchJob, received: ReceivedFile) -> str | None:
    """Returns the digest of the bytes that the published one is of."""
    return received.sha256 if job.unpack_limit is None else received.unpacked_sha256


def _check_content(
    job: FetchJob, context: FetchContext, path: Path, received: ReceivedFile
) -> Verdict | None:
    """Returns the verdict of the context's check; raises ContentError if it refuses the file."""
    min_bytes = job.source.expect.min_bytes
    if received.size_bytes < min_bytes:
        actual = f"{received.size_bytes:,} bytes" if received.size_bytes else "an empty file"
        raise ContentError.of(str(job.part), f"at least {min_bytes:,} bytes", actual)
    if context.check is None:
        return None
    verdict = context.check(job.source, job.part, path, sha256=received.sha256)
    if not verdict.ok:
        where = ", ".join(text for text in (str(job.part), verdict.where) if text)
        raise ContentError.of(where, verdict.expected, verdict.actual)
    return verdict


def _quarantine(
    job: FetchJob,
    context: FetchContext,
    location: ResolvedLocation,
    path: Path,
    error: ContentError,
) -> None:
    problem = error.problem
    if problem is None:
        is_length = isinstance(error, WrongLengthError)
        expected = "the length that its header states" if is_length else "a good file"
        problem = Problem(str(job.part), expected, str(error))
    url = location.file.label
    quarantine_file(context.home, job.source, job.part, path, problem, url=url, at=context.now)


def _repeat(last: FetchResult, decision: Decision) -> FetchResult:
    """Returns the last result for a file that is kept without a probe: an outage is not over."""
    status = FetchStatus.UNCHANGED if last.status is FetchStatus.FETCHED else last.status
    costs = {"attempts": 0, "last_status": None, "waited_seconds": 0.0}
    return last.model_copy(update={"status": status, "decision": decision, **costs})


def _outage(
    job: FetchJob, context: FetchContext, stats: TransferStats, error: SourceError
) -> FetchResult:
    """Returns the last good file as the result, if it is still intact."""
    log.info("%s: %s", job.part, error)  # not a warning: the run reports it with its checks
    fault = str(error)
    if stats.attempts > 1:
        fault += f"; gave up after {stats.attempts} attempts"
    file = job.last_file
    if file is None:
        return _result(job, FetchStatus.MISSING, None, stats, fault)
    state = raw_store.stored_state(context.home, file, context.signatures)
    if state is StoredState.PRESENT and job.decision.reason is not Reason.FILE_DAMAGED:
        return _result(job, FetchStatus.OUTAGE, file, stats, fault)
    fault += f"; the last good file {file.path} is lost"
    return _result(job, FetchStatus.MISSING, None, stats, fault)


def _result(
    job: FetchJob,
    status: FetchStatus,
    file: RawFile | None,
    stats: TransferStats,
    fault: str | None = None,
    warning: str | None = None,
) -> FetchResult:
    return FetchResult(
        part=job.part,
        status=status,
        decision=job.decision,
        file=file,
        fault=fault,
        warning=warning,
        attempts=stats.attempts,
        last_status=stats.last_status,
        waited_seconds=round(stats.waited_seconds, 3),
    )

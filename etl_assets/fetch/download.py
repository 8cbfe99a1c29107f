"""Fetch declared files: stream them, check them against what was published, and keep them.

What comes of one part in one run belongs here: a new file, the old one, or an outage. Whether it
was to be fetched is decided in `fetch.decide`; how bytes travel is `fetch.transfer`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
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
from etl_assets.validate.quarantine import quarantine_file

CODE_VERSION = "1"
WORKERS = 64  # most wait for their turn at a host and must not keep other hosts waiting
# Where nothing but the question failed, the remote may answer that the held file still stands.
MAY_BE_UNCHANGED = frozenset({Reason.PROBE_FAILED, Reason.LAST_WAS_OUTAGE, Reason.ETAG_GONE})

PartProgress = Callable[[Part, int, int | None], None]
log = logging.getLogger(__name__)


class ContentCheck(Protocol):
    """Judges a file that has arrived, as `validate.validate` does."""

    def __call__(self, source: Source, part: Part, path: Path, *, sha256: str) -> Verdict: ...


def no_progress(_part: Part, _received: int, _total: int | None) -> None:
    """For those who do not watch."""


@dataclass(frozen=True, slots=True)
class FetchJob:
    """One part to fetch, with all that is known of it."""

    source: Source
    part: Part
    decision: Decision
    probe: Probe | None = None
    last: FetchResult | None = None


@dataclass(frozen=True, slots=True)
class FetchContext:
    """What all fetches of a run share.

    With `check`, a file that is not as declared never becomes a raw file: it goes to quarantine,
    and the last good one stands in as in any outage.
    """

    client: Client
    resolver: LocationResolver
    home: Home
    now: datetime
    code_version: str = CODE_VERSION
    check: ContentCheck | None = None
    progress: PartProgress = no_progress


def fetch_all(jobs: Sequence[FetchJob], desk: FetchContext) -> Iterator[FetchResult]:
    """What came of each job, as each is done; they run at once within the limits of each host."""
    with ThreadPoolExecutor(max_workers=min(WORKERS, len(jobs) or 1)) as pool:
        pending = [pool.submit(fetch, job, desk) for job in jobs]
        with desk.client.stopped_by_errors(pool):
            for done in as_completed(pending):
                yield done.result()


def fetch(job: FetchJob, desk: FetchContext) -> FetchResult:
    """What came of one job; a remote's fault is told in the record and never raised."""
    held = job.last.file if job.last else None
    if job.last and job.decision.reason is Reason.PINNED:
        return job.last.model_copy(update={"decision": job.decision})
    if job.last and job.decision.reason is Reason.HELD:
        return _unasked(job, job.last)
    if job.decision.reason is Reason.NOT_YET_PUBLISHED:
        return _outcome(job, FetchStatus.NOT_YET_PUBLISHED, None, TransferStats())
    if not job.decision.fetch:
        return _outcome(job, FetchStatus.UNCHANGED, held, TransferStats())
    effort = TransferStats()
    try:
        file = download(job, desk, effort)
    except SourceError as error:
        return _outage(job, desk, effort, error)
    is_same = held is not None and held.sha256 == file.sha256
    return _outcome(job, FetchStatus.UNCHANGED if is_same else FetchStatus.FETCHED, file, effort)


def download(job: FetchJob, desk: FetchContext, effort: TransferStats) -> RawFile:
    """The remote's file, whole, checked and stored; the held one where it has not changed.

    Raises SourceError where it cannot be had or trusted; a bad file is then in quarantine.
    """
    place = desk.resolver.resolve(job.source.location, job.part.partition)
    with raw_store.partial_file(desk.home, job.part) as (path, file):
        sink = HashingWriter(file, unpack_limit=_unpack_limit(job.source))
        try:
            received = _receive(job, desk, place, sink, effort)
            if received is None:
                return _still_held(job)
            known = _accepted(job, received)
            published = _probed(job) if known else _check_digest(job, desk, place, received)
            verdict = known or _check_content(job, desk, path, received)
        except ContentError as error:
            _set_aside(job, desk, place, path, error)
            raise
        stored = raw_store.store_file(desk.home, path, received.sha256)
    return RawFile(
        part=job.part,
        sha256=received.sha256,
        size_bytes=received.size_bytes,
        path=desk.home.relative(stored),
        url=place.file.label,
        etag=received.etag,
        last_modified=received.last_modified,
        published_sha256=published,
        fetched_at=desk.now.astimezone(UTC),
        attempts=max(1, effort.attempts),
        last_status=effort.last_status,
        waited_seconds=round(effort.waited_seconds, 3),
        verdict=verdict,
        code_version=desk.code_version,
    )


def _receive(
    job: FetchJob,
    desk: FetchContext,
    place: ResolvedLocation,
    sink: HashingWriter,
    effort: TransferStats,
) -> ReceivedFile | None:
    if place.file.path is not None:
        return receive_local(place.file, place.file.path, job.source.limits, sink)
    transfer = Transfer(
        desk.client,
        place.file,
        job.source.limits,
        effort,
        sink,
        lambda received, total: desk.progress(job.part, received, total),
    )
    received = transfer.run(known_etag=_known_etag(job, desk))
    if received is None or not received.is_resumed or _agrees(job, received, _probed(job)):
        return received
    transfer.restart()  # the pieces may be of two files
    return transfer.run()


def _known_etag(job: FetchJob, desk: FetchContext) -> str | None:
    file = job.last.file if job.last else None
    if file is None or job.decision.reason not in MAY_BE_UNCHANGED:
        return None
    return file.etag if raw_store.stored_state(desk.home, file) is StoredState.PRESENT else None


def _unasked(job: FetchJob, last: FetchResult) -> FetchResult:
    """What stood before; an outage is not over as long as nobody has asked."""
    status = FetchStatus.UNCHANGED if last.status is FetchStatus.FETCHED else last.status
    nothing_done = {"attempts": 0, "last_status": None, "waited_seconds": 0.0}
    return last.model_copy(update={"status": status, "decision": job.decision, **nothing_done})


def _still_held(job: FetchJob) -> RawFile:
    if job.last is None or job.last.file is None:
        raise ContentError(f"{job.part}: answered 'not modified' to a request without a condition")
    return job.last.file


def _unpack_limit(source: Source) -> int | None:
    digest = source.location.digest
    needs_unpacking = digest is not None and digest.of == "unpacked"
    if not needs_unpacking or source.expect.compression != "gzip":
        return None
    return source.limits.max_unpacked_bytes


def _probed(job: FetchJob) -> str | None:
    validators = job.probe.validators if job.probe else None
    return validators.published_sha256 if validators else None


def _check_digest(
    job: FetchJob, desk: FetchContext, place: ResolvedLocation, received: ReceivedFile
) -> str | None:
    """The published digest that the file agrees with; None where none is published.

    The digest is read again before a file is refused: it may be newer than the probe.
    """
    published = _probed(job)
    if published is not None and _agrees(job, received, published):
        return published
    declared = job.source.location.digest
    if declared is None or place.digest is None:
        return None
    try:
        published = read_digest(desk.client, place.digest, declared, job.source.limits)
    except NotPublishedError:
        return None
    if fault := received.unpack_fault:
        raise ContentError.of(str(place.file), fault.expected, fault.found)
    if not _agrees(job, received, published):
        of = "unpacked bytes" if declared.of == "unpacked" else "file"
        expected = f"{published} as the SHA-256 of the {of}, as published"
        raise ContentError.of(str(place.file), expected, _digest_of(job, received) or "none")
    return published


def _agrees(job: FetchJob, received: ReceivedFile, published: str | None) -> bool:
    return published is None or _digest_of(job, received) == published


def _digest_of(job: FetchJob, received: ReceivedFile) -> str | None:
    is_packed = _unpack_limit(job.source) is not None
    return received.unpacked_sha256 if is_packed else received.sha256


def _accepted(job: FetchJob, received: ReceivedFile) -> Verdict | None:
    """The verdict on the held file, where a person released these very bytes from quarantine."""
    verdict = job.last.file.verdict if job.last and job.last.file else None
    is_accepted = verdict and verdict.accepted and verdict.sha256 == received.sha256
    return verdict if is_accepted else None


def _check_content(
    job: FetchJob, desk: FetchContext, path: Path, received: ReceivedFile
) -> Verdict | None:
    smallest = job.source.expect.min_bytes
    if received.size_bytes < smallest:
        found = f"{received.size_bytes:,} bytes" if received.size_bytes else "an empty file"
        raise ContentError.of(str(job.part), f"at least {smallest:,} bytes", found)
    if desk.check is None:
        return None
    verdict = desk.check(job.source, job.part, path, sha256=received.sha256)
    if not verdict.ok:
        where = ", ".join(text for text in (str(job.part), verdict.where) if text)
        raise ContentError.of(where, verdict.expected, verdict.found)
    return verdict


def _set_aside(
    job: FetchJob, desk: FetchContext, place: ResolvedLocation, path: Path, error: ContentError
) -> None:
    expected = (
        "the length that its header states"
        if isinstance(error, WrongLengthError)
        else "a good file"
    )
    problem = error.problem or Problem(str(job.part), expected, str(error))
    quarantine_file(
        desk.home, job.source, job.part, path, problem, url=place.file.label, at=desk.now
    )


def _outage(
    job: FetchJob, desk: FetchContext, effort: TransferStats, error: SourceError
) -> FetchResult:
    """The last good file stands in, if it is still there."""
    log.info("%s: %s", job.part, error)  # the run tells it
    held = job.last.file if job.last else None
    fault = (
        str(error) if effort.attempts <= 1 else f"{error}; gave up after {effort.attempts} attempts"
    )
    if held is None:
        return _outcome(job, FetchStatus.MISSING, None, effort, fault)
    state = raw_store.stored_state(desk.home, held)
    if state is StoredState.PRESENT and job.decision.reason is not Reason.FILE_DAMAGED:
        return _outcome(job, FetchStatus.OUTAGE, held, effort, fault)
    return _outcome(
        job, FetchStatus.MISSING, None, effort, f"{fault}; the last good file {held.path} is lost"
    )


def _outcome(
    job: FetchJob,
    status: FetchStatus,
    file: RawFile | None,
    effort: TransferStats,
    fault: str | None = None,
) -> FetchResult:
    return FetchResult(
        part=job.part,
        status=status,
        decision=job.decision,
        file=file,
        fault=fault,
        attempts=effort.attempts,
        last_status=effort.last_status,
        waited_seconds=round(effort.waited_seconds, 3),
    )

"""An earlier file that a person puts in the place of what a remote serves, until it is unpinned.

Both are events of the raw asset, with who and why; what a run makes of a pin is `fetch.decide`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from etl_assets.declarations.source import Source
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.event_log import EventLog
from etl_assets.fetch import raw_store
from etl_assets.model.errors import UsageError
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    OperatorDecision,
    Part,
    Pin,
    RawFile,
    Reason,
    StoredState,
)
from etl_assets.operations.operator_decisions import (
    publish_decision,
    record_decision,
    required_reason,
    was_cut_off,
)


def rollback(
    session: DomainSession,
    source: Source,
    part: Part,
    *,
    to: str | None,
    by: str,
    why: str,
    at: datetime,
) -> FetchResult:
    """Pin the part to a version that begins with `to`, or to the one before the current.

    One that was cut off is completed, and goes no further back. Raises UsageError where there is no
    such version whose file is still stored and whole.
    """
    event_log, project = session.event_log, session.project
    last = _last(event_log, source, part)
    if to is None and last.pin and was_cut_off(project, source, last):
        publish_decision(session, source, at)
        return last
    file = _chosen(project, part, list(versions_of(event_log, source, part)), last, to)
    held = last.pin.replaced_file if last.pin else last.file
    ruling = OperatorDecision(sha256=file.sha256, by=by, why=required_reason(why), at=at)
    pin = Pin(decision=ruling, replaced_file=held)
    decision = Decision(part=part, fetch=False, reason=Reason.PINNED, detail=str(pin))
    fetch = FetchResult(
        part=part,
        status=FetchStatus.PINNED,
        decision=decision,
        file=file,
        fault=str(pin),
        pin=pin,
    )
    return record_decision(session, source, fetch, ruling)


def unpin(
    session: DomainSession,
    source: Source,
    part: Part,
    *,
    by: str,
    why: str,
    at: datetime,
) -> FetchResult:
    """Take the pin away: what stood before it stands again, and the next run asks the remote."""
    event_log, project = session.event_log, session.project
    last = _last(event_log, source, part)
    if last.pin is None and was_cut_off(project, source, last):
        publish_decision(session, source, at)
        return last
    if last.pin is None:
        raise UsageError(f"{part} is not pinned; it is served as the remote has it")
    ruling = OperatorDecision(
        sha256=last.pin.decision.sha256, by=by, why=required_reason(why), at=at
    )
    held = last.pin.replaced_file
    fetch = FetchResult(
        part=part,
        status=FetchStatus.UNCHANGED if held else FetchStatus.MISSING,
        decision=Decision(part=part, fetch=False, reason=Reason.UNPINNED, detail=str(ruling)),
        file=held,
        fault=None if held else "nothing was held before the pin",
    )
    return record_decision(session, source, fetch, ruling)


def versions_of(event_log: EventLog, source: Source, part: Part) -> Iterator[RawFile]:
    """Every file that was fetched for the part, the newest first, each content once."""
    seen = set()
    for fetch in event_log.fetch_history(source, part.partition):
        if fetch.file and fetch.pin is None and fetch.file.sha256 not in seen:
            seen.add(fetch.file.sha256)
            yield fetch.file


def _last(event_log: EventLog, source: Source, part: Part) -> FetchResult:
    last = event_log.read_sources([source])[source.name].fetches.get(part.partition)
    if last is None:
        raise UsageError(f"{part}: nothing was ever fetched; run `etl run {source.domain}` first")
    return last


def _chosen(
    project: ProjectContext, part: Part, versions: list[RawFile], last: FetchResult, to: str | None
) -> RawFile:
    current = last.file.sha256 if last.file else ""
    if to is None:
        wanted = f"a stored version before {current[:12] or 'the current'}"
        meant = _before(versions, current)
    else:
        wanted = f"one stored version {to}"
        meant = [version for version in versions if version.sha256.startswith(to)]
    is_clear = to is None or len(meant) == 1
    stored = (v for v in meant if raw_store.verify(project.home, v.sha256) is StoredState.PRESENT)
    chosen = next(stored, None) if is_clear else None
    if chosen is None:
        found = f"{len(meant)} known ones" if len(meant) > 1 and not is_clear else "none"
        raise UsageError(f"{part}: expected {wanted}, found {found}; {_known(versions, current)}")
    return chosen


def _before(versions: list[RawFile], current: str) -> list[RawFile]:
    digests = [version.sha256 for version in versions]
    return versions[digests.index(current) + 1 :] if current in digests else versions


def _known(versions: list[RawFile], current: str) -> str:
    lines = [
        f"  {version.sha256} of {version.fetched_at:%Y-%m-%d %H:%M} UTC"
        f"{' (current)' if version.sha256 == current else ''}"
        for version in versions
    ]
    return "\n".join(["known are, the newest first, stored or not:", *lines])

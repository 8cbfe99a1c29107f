"""Decisions of the operator on the current file of a source: `etl rollback`, `unpin`, `forget`.

Each is recorded as an event of the raw asset, with who made it and why. How a run treats a pinned
file is decided in `etl_assets.fetch.decide`; `etl_assets.operations.quarantine` releases files.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from etl_assets.declarations.source import Files, Source
from etl_assets.defs import asset_keys, raw
from etl_assets.defs.context import DomainSession
from etl_assets.defs.export_manifest import export_ledger
from etl_assets.defs.retention.raw_versions import list_versions
from etl_assets.fetch import download, raw_store
from etl_assets.fetch.file_set import list_files, resolve_folder
from etl_assets.ledger.manifest import DownloadRecord, Process, load_manifest
from etl_assets.model.errors import UsageError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    OperatorDecision,
    Part,
    Pin,
    RawFile,
    Reason,
)
from etl_assets.model.run_manifest import RunSource
from etl_assets.tables.parquet import remove_file


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
    """Pin the part to the version whose SHA-256 starts with `to`, or to the previous version.

    A rollback that was interrupted is completed instead of going back once more. Raises UsageError
    if there is no such version, or if its file is no longer stored.
    """
    last = _require_fetch(session, source, part)
    # Without a digest, repeating an interrupted rollback would go back by two versions.
    if to is None and last.pin and was_interrupted(session.home, source, last):
        export_decision(session, source, at)
        return last
    versions = list_versions(session.event_log.fetch_history(source, part.partition))
    current = last.file.sha256 if last.file else ""
    file = _select_version(session.home, part, versions, current, to)
    # A second rollback must not make the first pinned file the one that unpin returns to.
    replaced_file = last.pin.replaced_file if last.pin else last.file
    decision = OperatorDecision(sha256=file.sha256, by=by, why=require_reason(why), at=at)
    pin = Pin(decision=decision, replaced_file=replaced_file)
    fetch = FetchResult(
        part=part,
        status=FetchStatus.PINNED,
        decision=Decision(part=part, fetch=False, reason=Reason.PINNED, detail=str(pin)),
        file=file,
        fault=str(pin),
        pin=pin,
    )
    return record_decision(session, source, fetch, decision)


def restore_pin(session: DomainSession, source: Source, used: RunSource) -> str:
    """Record the pin of an earlier run again, and return what became of it."""
    home, pin = session.home, used.pin
    if pin is None:
        return f"{used.name} is not pinned"
    sha256 = pin.decision.sha256
    if not raw_store.is_intact(home, sha256):
        return f"{used.name}: its pin is lost, as its file is not stored: {pin}"
    path = home.raw_file(sha256)
    file = RawFile(
        part=used.part,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        path=home.relative(path),
        url=used.url or "",
        fetched_at=used.fetched_at or pin.decision.at,
        code_version=download.CODE_VERSION,
    )
    decision = Decision(part=used.part, fetch=False, reason=Reason.PINNED, detail=str(pin))
    fetch = FetchResult(
        part=used.part,
        status=FetchStatus.PINNED,
        decision=decision,
        file=file,
        fault=str(pin),
        pin=pin,
    )
    key = asset_keys.raw_key(source)
    session.event_log.report_outcome(key, used.partition, raw.raw_outcome(fetch))
    return f"{used.name}: {pin}, as in the last run"


def unpin(
    session: DomainSession, source: Source, part: Part, *, by: str, why: str, at: datetime
) -> FetchResult:
    """Remove the pin: the file before it is the current one, and the next run probes the remote.

    Raises UsageError if the part is not pinned.
    """
    last = _require_fetch(session, source, part)
    if last.pin is None and was_interrupted(session.home, source, last):
        export_decision(session, source, at)
        return last
    if last.pin is None:
        raise UsageError(f"{part} is not pinned; it is served as the remote has it")
    pinned_sha256 = last.pin.decision.sha256
    decision = OperatorDecision(sha256=pinned_sha256, by=by, why=require_reason(why), at=at)
    file = last.pin.replaced_file
    fetch = FetchResult(
        part=part,
        status=FetchStatus.UNCHANGED if file else FetchStatus.MISSING,
        decision=Decision(part=part, fetch=False, reason=Reason.UNPINNED, detail=str(decision)),
        file=file,
        fault=None if file else "no file was stored before the pin",
    )
    return record_decision(session, source, fetch, decision)


def forget(
    session: DomainSession, source: Source, part: Part, *, by: str, why: str, at: datetime
) -> FetchResult:
    """Stop tracking a file that was deleted from its folder; the next run publishes without it.

    Until then the rows of the last good file are used. The raw file stays stored as long as
    retention keeps it. Raises UsageError if the file was never fetched, or is still in its folder.
    """
    last = _require_deleted_file(session, source, part)
    sha256 = last.file.sha256 if last.file else ""
    decision = OperatorDecision(sha256=sha256, by=by, why=require_reason(why), at=at)
    # Tables first: if the command is interrupted here, the next run just makes them again.
    remove_file(session.home.table_file(source.domain, source.name, part.partition))
    remove_file(session.home.rejects_file(source.domain, source.name, part.partition))
    fetch = FetchResult(
        part=part,
        status=FetchStatus.FORGOTTEN,
        decision=Decision(part=part, fetch=False, reason=Reason.FORGOTTEN, detail=str(decision)),
    )
    return record_decision(session, source, fetch, decision)


def require_reason(why: str) -> str:
    """Return the stripped text; raises UsageError if it is empty."""
    if not why.strip():
        raise UsageError("--why: expected a reason, found an empty text")
    return why.strip()


def record_decision(
    session: DomainSession, source: Source, fetch: FetchResult, decision: OperatorDecision
) -> FetchResult:
    """Record the result of a decision in the event log, and export it."""
    session.event_log.report_outcome(
        asset_keys.raw_key(source),
        fetch.part.partition,
        raw.raw_outcome(fetch),
        by=decision.by,
        why=decision.why,
        at=decision.at.isoformat(),
    )
    export_decision(session, source, decision.at)
    return fetch


def export_decision(session: DomainSession, source: Source, at: datetime) -> None:
    """Update the check of the source and the exported ledger from the event log."""
    key = asset_keys.raw_key(source)
    fetches = session.event_log.read_sources([source])[source.name].fetches
    session.event_log.report_checks(source, key, raw.CHECKS, fetches, fetches)
    export_ledger(session, at)


def was_interrupted(home: Home, source: Source, last: FetchResult) -> bool:
    """True if the exported ledger has another pin than the event log: it is written last."""
    manifest = load_manifest(home, source.domain, Process.DOWNLOAD)
    record = manifest.records.get(str(last.part)) if manifest else None
    return isinstance(record, DownloadRecord) and record.pin != last.pin


def _require_fetch(session: DomainSession, source: Source, part: Part) -> FetchResult:
    fetches = session.event_log.read_sources([source])[source.name].fetches
    if part.partition not in fetches:
        raise UsageError(f"{part}: nothing was ever fetched; run `etl run {source.domain}` first")
    return fetches[part.partition]


def _require_deleted_file(session: DomainSession, source: Source, part: Part) -> FetchResult:
    resolver = session.project.resolver
    if not isinstance(source.partitions, Files):
        raise UsageError(f"{source.full_name}: expected a set of files, found a single location")
    fetches = session.event_log.read_sources([source])[source.name].fetches
    if part.partition not in fetches:
        names = ", ".join(sorted(name for name in fetches if name)) or "none"
        raise UsageError(
            f"{part}: expected a file that was fetched, found none; fetched files: {names}"
        )
    if part.partition in list_files(source, source.partitions, resolver).partitions:
        folder = resolve_folder(source, resolver)
        raise UsageError(f"{part}: expected a deleted file, found it in {folder}; move it away")
    return fetches[part.partition]


def _select_version(
    home: Home, part: Part, versions: Sequence[RawFile], current: str, to: str | None
) -> RawFile:
    digests = [version.sha256 for version in versions]
    if to is None:
        expected = f"a stored version before {current[:12] or 'the current one'}"
        candidates = versions[digests.index(current) + 1 :] if current in digests else versions
    else:
        expected = f"one stored version {to}"
        candidates = [version for version in versions if version.sha256.startswith(to)]
    found = "none"
    if to is not None and len(candidates) > 1:
        found = f"{len(candidates)} versions"
    else:
        for version in candidates:
            if raw_store.is_intact(home, version.sha256):
                return version
    lines = [f"{part}: expected {expected}, found {found}; versions, the newest first:"]
    for version in versions:
        mark = " (current)" if version.sha256 == current else ""
        lines.append(f"  {version.sha256} of {version.fetched_at:%Y-%m-%d %H:%M} UTC{mark}")
    raise UsageError("\n".join(lines))

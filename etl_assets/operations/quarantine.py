"""Release or delete quarantined files: `etl quarantine release` and `etl quarantine purge`.

A stage quarantines files, and lists and removes them by `etl_assets.validate.quarantine`.
"""

from __future__ import annotations

from datetime import datetime

from etl_assets.declarations.source import Source
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.fetch import download, raw_store
from etl_assets.model.errors import HomeError, UsageError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    OperatorDecision,
    QuarantinedFile,
    RawFile,
    Reason,
    parse_digits,
)
from etl_assets.operations.rollback import export_decision, record_decision, require_reason
from etl_assets.storage.hashing import hash_file
from etl_assets.validate import quarantine, validate


def find_quarantined(
    project: ProjectContext, source: Source, sha256: str | None
) -> QuarantinedFile:
    """Return the quarantined file whose SHA-256 starts with `sha256`, or the only one.

    Raises UsageError with all quarantined files of the source if not exactly one matches.
    """
    files = quarantine.list_quarantined(project.home, source)
    digits = "" if sha256 is None else parse_digits(sha256)
    matches = [file for file in files if file.sha256.startswith(digits)]
    if len(matches) == 1:
        return matches[0]
    expected = f"one quarantined file {digits}" if digits else "one quarantined file"
    lines = [f"  {file.sha256} of {file.part}" for file in files] or ["  none"]
    raise UsageError("\n".join([f"{source.full_name}: expected {expected}, there are:", *lines]))


def release(
    session: DomainSession,
    source: Source,
    quarantined: QuarantinedFile,
    *,
    by: str,
    why: str,
    at: datetime,
) -> FetchResult:
    """Make the file the current one of its source; its content passes validation from now on.

    A release that was interrupted is completed. Raises UsageError if the source is pinned or the
    file is empty, HomeError if the file is missing or was changed.
    """
    part = quarantined.part
    decision = OperatorDecision(sha256=quarantined.sha256, by=by, why=require_reason(why), at=at)
    last = session.event_log.read_sources([source])[source.name].fetches.get(part.partition)
    if last and last.pin:
        raise UsageError(f"{part} is {last.pin}; unpin it first")
    if last and _is_released(last, quarantined):
        export_decision(session, source, at)
        quarantine.delete_quarantined(session.home, quarantined)
        return last
    if quarantined.size_bytes == 0:
        raise UsageError(f"{part}: an empty file cannot become a table; purge it")
    fetch = FetchResult(
        part=part,
        status=FetchStatus.FETCHED,
        decision=Decision(part=part, fetch=False, reason=Reason.RELEASED, detail=str(decision)),
        file=_store_released(session.home, source, quarantined, decision),
    )
    record_decision(session, source, fetch, decision)
    # Last: until it is deleted, an interrupted release can be repeated.
    quarantine.delete_quarantined(session.home, quarantined)
    return fetch


def purge(
    project: ProjectContext, source_name: str | None, sha256: str | None, *, everything: bool
) -> list[int]:
    """Delete one quarantined file, those of a source, or all; return the size of each in bytes."""
    if (source_name is None) != everything:
        raise UsageError("purge: expected either a source or --all, found both or neither")
    if source_name is None:
        sources = [s for domain in project.domains.values() for s in domain.sources.values()]
    else:
        sources = [project.find_source(source_name)]
    if sha256 is not None:
        files = [find_quarantined(project, sources[0], sha256)]
    else:
        files = []
        for source in sources:
            files += quarantine.list_quarantined(project.home, source)
    return [quarantine.delete_quarantined(project.home, file) for file in files]


def _is_released(last: FetchResult, quarantined: QuarantinedFile) -> bool:
    verdict = last.file.verdict if last.file else None
    accepted = verdict.accepted if verdict else None
    return accepted is not None and accepted.sha256 == quarantined.sha256


def _store_released(
    home: Home, source: Source, quarantined: QuarantinedFile, decision: OperatorDecision
) -> RawFile:
    """Copy the file to the raw store, with a verdict that the operator's decision overrides."""
    path = home.root / quarantined.path
    if not path.exists() or hash_file(path) != quarantined.sha256:
        found = "another content" if path.exists() else "no file"
        raise HomeError(f"{path}: expected the file that was quarantined, found {found}; purge it")
    stored_path = raw_store.store_copy(home, path)
    verdict = validate.validate(source, quarantined.part, stored_path, sha256=quarantined.sha256)
    return RawFile(
        part=quarantined.part,
        sha256=quarantined.sha256,
        size_bytes=quarantined.size_bytes,
        path=home.relative(stored_path),
        url=quarantined.url,
        fetched_at=quarantined.quarantined_at,
        verdict=verdict.model_copy(update={"ok": True, "accepted": decision}),
        code_version=download.CODE_VERSION,
    )

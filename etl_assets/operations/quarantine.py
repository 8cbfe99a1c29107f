"""Bad files that a person has looked at and lets pass: back into the raw store, by an event.

Setting files aside is the stages' part, listing and removing them `validate.quarantine`.
"""

from __future__ import annotations

from datetime import datetime

from etl_assets.declarations.names import find_source
from etl_assets.declarations.source import Source
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.fetch import download, raw_store
from etl_assets.model.errors import HomeError, UsageError
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    OperatorDecision,
    Part,
    QuarantinedFile,
    RawFile,
    Reason,
    Verdict,
)
from etl_assets.operations.operator_decisions import (
    publish_decision,
    record_decision,
    required_reason,
)
from etl_assets.storage.hashing import hash_file
from etl_assets.validate import quarantine, validate


def find_quarantined(
    project: ProjectContext, source: Source, sha256: str | None
) -> QuarantinedFile:
    """The quarantined file whose digest begins so; the only one where none is named.

    Raises UsageError with all that is there where it is not one.
    """
    known = quarantine.list_quarantined(project.home, source)
    meant = [record for record in known if record.sha256.startswith(sha256 or "")]
    if len(meant) != 1:
        wanted = f"one quarantined file {sha256 or ''}".rstrip()
        lines = [f"  {record.sha256} of {record.part}" for record in known] or ["  none"]
        told = "\n".join([f"{source.full_name}: expected {wanted}, there are:", *lines])
        raise UsageError(told)
    return meant[0]


def release(
    session: DomainSession,
    source: Source,
    quarantined: QuarantinedFile,
    *,
    by: str,
    why: str,
    at: datetime,
) -> FetchResult:
    """Make the file the source's current one; its content is accepted from now on, by its digest.

    One that was cut off after the event log knew of it is completed. Raises UsageError where the
    source is pinned or the file is empty, HomeError where it is gone.
    """
    event_log, project = session.event_log, session.project
    part = quarantined.part
    ruling = OperatorDecision(sha256=quarantined.sha256, by=by, why=required_reason(why), at=at)
    last = event_log.read_sources([source])[source.name].fetches.get(part.partition)
    if last and last.pin:
        raise UsageError(f"{part} is {last.pin}; unpin it first")
    if last and _is_released(last, quarantined):
        publish_decision(session, source, at)
        quarantine.delete_quarantined(project.home, quarantined)
        return last
    if quarantined.size_bytes == 0:
        raise UsageError(f"{part}: an empty file cannot become a table; purge it")
    file = _stored(project, source, quarantined, ruling)
    decision = Decision(part=part, fetch=False, reason=Reason.RELEASED, detail=str(ruling))
    fetch = FetchResult(part=part, status=FetchStatus.FETCHED, decision=decision, file=file)
    record_decision(session, source, fetch, ruling)
    quarantine.delete_quarantined(project.home, quarantined)
    return fetch


def _is_released(last: FetchResult, quarantined: QuarantinedFile) -> bool:
    verdict = last.file.verdict if last.file else None
    accepted = verdict.accepted if verdict else None
    return accepted is not None and accepted.sha256 == quarantined.sha256


def purge(
    project: ProjectContext, name: str | None, sha256: str | None, *, everything: bool
) -> list[int]:
    """Delete one quarantined file, those of a source, or everything; the bytes of each."""
    if (name is None) != everything:
        raise UsageError("purge: expected either a source or --all, found both or neither")
    every = [source for domain in project.domains.values() for source in domain.sources.values()]
    wanted = every if name is None else [find_source(project.domains, name)]
    if sha256:
        return [
            quarantine.delete_quarantined(
                project.home, find_quarantined(project, wanted[0], sha256)
            )
        ]
    records = [
        record for source in wanted for record in quarantine.list_quarantined(project.home, source)
    ]
    return [quarantine.delete_quarantined(project.home, record) for record in records]


def _stored(
    project: ProjectContext, source: Source, quarantined: QuarantinedFile, ruling: OperatorDecision
) -> RawFile:
    path = project.home.root / quarantined.path
    if not path.exists() or hash_file(path) != quarantined.sha256:
        found = "another content" if path.exists() else "no file"
        raise HomeError(f"{path}: expected the file that was quarantined, found {found}; purge it")
    stored = raw_store.store_copy(project.home, path)
    return RawFile(
        part=quarantined.part,
        sha256=quarantined.sha256,
        size_bytes=quarantined.size_bytes,
        path=project.home.relative(stored),
        url=quarantined.url,
        fetched_at=quarantined.quarantined_at,
        verdict=_accepted(source, quarantined.part, ruling, project),
        code_version=download.CODE_VERSION,
    )


def _accepted(
    source: Source, part: Part, ruling: OperatorDecision, project: ProjectContext
) -> Verdict:
    """What the rules say of it, overruled by the person."""
    path = project.home.raw_file(ruling.sha256)
    verdict = validate.validate(source, part, path, sha256=ruling.sha256)
    return verdict.model_copy(update={"ok": True, "accepted": ruling})

"""A file of a set that is gone from its folder for good: its rows go too, because a person says so.

Until then its last good rows stand, and a check tells of it. The file stays in the raw store as
long as the declared retention keeps any, and the event log says who let it go and why.
"""

from __future__ import annotations

from datetime import datetime

from etl_assets.declarations.source import Files, Source
from etl_assets.defs.context import DomainSession
from etl_assets.fetch.file_set import list_files, resolve_folder
from etl_assets.model.errors import UsageError
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    OperatorDecision,
    Part,
    Reason,
)
from etl_assets.operations.operator_decisions import record_decision, required_reason
from etl_assets.tables.parquet import remove_file


def forget(
    session: DomainSession,
    source: Source,
    part: Part,
    *,
    by: str,
    why: str,
    at: datetime,
) -> FetchResult:
    """Take the part's rows away and record it; the next run publishes without them.

    Raises UsageError where the file was never fetched, or still lies in its folder.
    """
    project = session.project
    last = _last(session, source, part)
    ruling = OperatorDecision(
        sha256=last.file.sha256 if last.file else "", by=by, why=required_reason(why), at=at
    )
    # The table first: where this breaks off, the next run makes it anew, and nothing is forgotten.
    remove_file(project.home.table_file(source.domain, source.name, part.partition))
    remove_file(project.home.rejects_file(source.domain, source.name, part.partition))
    fetch = FetchResult(
        part=part,
        status=FetchStatus.FORGOTTEN,
        decision=Decision(part=part, fetch=False, reason=Reason.FORGOTTEN, detail=str(ruling)),
    )
    return record_decision(session, source, fetch, ruling)


def _last(session: DomainSession, source: Source, part: Part) -> FetchResult:
    event_log, project = session.event_log, session.project
    if not isinstance(source.partitions, Files):
        raise UsageError(f"{source.full_name}: expected a set of files, found one at a fixed place")
    fetches = event_log.read_sources([source])[source.name].fetches
    if part.partition not in fetches:
        known = ", ".join(sorted(key for key in fetches if key)) or "none"
        raise UsageError(
            f"{part}: expected a file that was fetched, found none; known are: {known}"
        )
    if part.partition in list_files(source, source.partitions, project.resolver).partitions:
        folder = resolve_folder(source, project.resolver)
        raise UsageError(
            f"{part}: expected a file that is gone, found it in {folder}; move it away"
        )
    return fetches[part.partition]

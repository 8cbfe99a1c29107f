"""What a person decides on a raw file, written to the event log and the exported ledger.

What may be decided, and what becomes of it, are the callers'.
"""

from __future__ import annotations

from datetime import datetime

from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys, raw
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.export_manifest import export_ledger
from etl_assets.ledger.manifest import DownloadRecord, Process, load_manifest
from etl_assets.model.errors import UsageError
from etl_assets.model.records import FetchResult, OperatorDecision


def record_decision(
    session: DomainSession, source: Source, fetch: FetchResult, ruling: OperatorDecision
) -> FetchResult:
    """Write what a person decided on a raw file to the event log, and to the exported ledger."""
    session.event_log.report_outcome(
        asset_keys.raw_key(source),
        fetch.part.partition,
        raw.raw_outcome(fetch),
        by=ruling.by,
        why=ruling.why,
        at=ruling.at.isoformat(),
    )
    publish_decision(session, source, ruling.at)
    return fetch


def publish_decision(session: DomainSession, source: Source, at: datetime) -> None:
    """Let the source's check and the exported ledger say what the event log says."""
    fetches = session.event_log.read_sources([source])[source.name].fetches
    session.event_log.report_checks(
        source, asset_keys.raw_key(source), raw.CHECKS, fetches, fetches
    )
    export_ledger(session, at)


def was_cut_off(project: ProjectContext, source: Source, last: FetchResult) -> bool:
    """Whether the exported ledger, which is written last, knows another pin or none."""
    standing = load_manifest(project.home, source.domain, Process.DOWNLOAD)
    record = standing.records.get(str(last.part)) if standing else None
    return isinstance(record, DownloadRecord) and record.pin != last.pin


def required_reason(why: str) -> str:
    """The reason that a person gives; UsageError where it is none."""
    if not why.strip():
        raise UsageError("--why: expected a reason, found an empty text")
    return why.strip()

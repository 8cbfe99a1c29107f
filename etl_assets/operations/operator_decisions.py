"""What a person decides on a raw file, written to the event log and the exported ledger.

What may be decided, and what becomes of it, are the callers'.
"""

from __future__ import annotations

from datetime import datetime

import dagster as dg

from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys, raw
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import read_sources
from etl_assets.defs.export_manifest import export_ledger
from etl_assets.defs.materialize import evaluation_of, event_of
from etl_assets.ledger.manifest import DownloadRecord, Process, load_manifest
from etl_assets.model.errors import UsageError
from etl_assets.model.records import FetchResult, OperatorDecision


def record_decision(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    source: Source,
    fetch: FetchResult,
    ruling: OperatorDecision,
) -> FetchResult:
    """Write what a person decided on a raw file to the event log, and to the exported ledger."""
    key = asset_keys.raw_key(source)
    event = event_of(key, fetch.part.partition, raw.outcome_of(source, fetch))
    told = {"by": ruling.by, "why": ruling.why, "at": ruling.at.isoformat()}
    instance.report_runless_asset_event(event.with_metadata({**event.metadata, **told}))
    publish_decision(instance, place, source, ruling.at)
    return fetch


def publish_decision(
    instance: dg.DagsterInstance, place: ProjectContext, source: Source, at: datetime
) -> None:
    """Let the source's check and the exported ledger say what the event log says."""
    key = asset_keys.raw_key(source)
    fetches = read_sources(instance, [source])[source.name].fetches.values()
    outcomes = [raw.outcome_of(source, known) for known in fetches]
    instance.report_runless_asset_event(evaluation_of(key, raw.CHECK, outcomes))
    export_ledger(instance, place, place.domains[source.domain], at)


def was_cut_off(place: ProjectContext, source: Source, last: FetchResult) -> bool:
    """Whether the exported ledger, which is written last, knows another pin or none."""
    standing = load_manifest(place.home, source.domain, Process.DOWNLOAD)
    record = standing.records.get(str(last.part)) if standing else None
    return isinstance(record, DownloadRecord) and record.pin != last.pin


def required_reason(why: str) -> str:
    """The reason that a person gives; UsageError where it is none."""
    if not why.strip():
        raise UsageError("--why: expected a reason, found an empty text")
    return why.strip()

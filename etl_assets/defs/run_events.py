"""What the events of one run say: what was made, what was judged, how long each step took.

What follows from that, and whose run it is, belong to `etl_assets.defs.run_context`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys
from etl_assets.defs.event_log import record_of
from etl_assets.model.records import TableResult
from etl_assets.model.run_manifest import AcceptedChange, RunAsset, RunCheck, RunPhase

PHASE_ENDS = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}


def assets_in(domain: Domain, records: Iterable[dg.EventLogEntry]) -> list[RunAsset]:
    found = []
    for entry in records:
        event = entry.asset_materialization
        if event is None or not _of_domain(event.asset_key, domain):
            continue
        reused = event.metadata.get("reused")
        if event.partition is not None and reused is None:
            continue  # a partition of the launch that is another source's
        found.append(
            RunAsset(
                key=asset_keys.name_of(event.asset_key),
                partition=event.partition,
                outcome="reused" if reused and reused.value else "made",
                data_version=(event.tags or {}).get("dagster/data_version", ""),
            )
        )
    return sorted(found, key=lambda asset: (asset.key, asset.partition or ""))


def accepted_in(
    domain: Domain, records: Iterable[dg.EventLogEntry], since: datetime
) -> list[AcceptedChange]:
    """Smaller files that a person took in this run."""
    tables = {asset_keys.table_key(source) for source in domain.sources.values()}
    events = (entry.asset_materialization for entry in records)
    made = (record_of(e, TableResult) for e in events if e is not None and e.asset_key in tables)
    return [
        AcceptedChange(what=str(table.part), sha256=ruling.sha256)
        for table in made
        if table is not None
        for ruling in table.accepted
        if ruling.at >= since
    ]


def checks_in(
    domain: Domain, records: Iterable[dg.EventLogEntry], standing: Iterable[RunCheck]
) -> list[RunCheck]:
    found = {(check.asset, check.name): check for check in standing}
    for entry in records:
        event = entry.dagster_event
        if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        evaluation = event.asset_check_evaluation_data
        if _of_domain(evaluation.asset_key, domain):
            check = check_of(evaluation)
            found[check.asset, check.name] = check
    return [check for _, check in sorted(found.items())]


def check_of(evaluation: dg.AssetCheckEvaluation) -> RunCheck:
    return RunCheck(
        asset=asset_keys.name_of(evaluation.asset_key),
        name=evaluation.check_name,
        passed=evaluation.passed,
        severity="warn" if evaluation.severity is dg.AssetCheckSeverity.WARN else "error",
        description=evaluation.description or "",
    )


def phases_in(records: Iterable[dg.EventLogEntry], now: datetime) -> list[RunPhase]:
    """Each step with its time; one that is still under way, such as this one, up to now."""
    started: dict[str, float] = {}
    ended: dict[str, float] = {}
    for entry in records:
        event = entry.dagster_event
        if event is None or event.step_key is None:
            continue
        if event.event_type == dg.DagsterEventType.STEP_START:
            started[event.step_key] = entry.timestamp
        elif event.event_type in PHASE_ENDS:
            ended[event.step_key] = entry.timestamp
    return [
        RunPhase(name=step, seconds=max(0.0, ended.get(step, now.timestamp()) - start))
        for step, start in started.items()
    ]


def _of_domain(key: dg.AssetKey | None, domain: Domain) -> bool:
    return key is not None and key.path[0] == domain.name

"""One sensor per domain: probe every remote, request a run of exactly what moved.

An optimisation only: a full run is right without it, so a failed probe requests nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

from etl_assets.declarations.domain import Domain
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.materialize import digest_of
from etl_assets.defs.plan import Plan, make_plan
from etl_assets.defs.specs import file_partitions
from etl_assets.model.records import Probe, Reason


def build_sensor(domain: Domain, place: ProjectContext) -> dg.SensorDefinition:
    """The domain's sensor; its cursor holds what each remote said when a run was last requested."""

    @dg.sensor(
        name=f"{domain.name}_probe",
        target=dg.AssetSelection.groups(domain.name),
        minimum_interval_seconds=domain.probe_interval_minutes * 60,
        description=f"Asks the remotes of {domain.title} and requests what moved.",
    )
    def probe(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        plan = make_plan(context.instance, place, domain, list(domain.sources.values()), now=now)
        before: dict[str, str] = json.loads(context.cursor or "{}")
        moved = _moved(plan, before)
        cursor = json.dumps(before | _said(plan), sort_keys=True)
        if not moved.decisions:
            context.update_cursor(cursor)
            return dg.SkipReason(f"{len(plan.decisions)} files asked for, none has moved")
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_key=f"{now:%Y-%m-%d} {digest_of(cursor)}",
                    asset_selection=moved.select(_graph(context), domain),
                    tags=moved.range_tags,
                )
            ],
            dynamic_partitions_requests=_new_files(domain, moved),
            cursor=cursor,
            asset_events=moved.observations(domain),
        )

    return probe


def _moved(plan: Plan, before: dict[str, str]) -> Plan:
    """What is to be fetched because the remote answered something new."""
    said = _said(plan)
    new = [
        decision
        for decision in plan.decisions
        if decision.fetch
        and decision.reason is not Reason.PROBE_FAILED
        and said.get(str(decision.part)) != before.get(str(decision.part))
    ]
    return replace(plan, decisions=new, stale={}, rest="")


def _new_files(domain: Domain, plan: Plan) -> list[dg.AddDynamicPartitionsRequest]:
    """Dagster must know a file's partition before a run can ask for it."""
    request = file_partitions(domain.name).build_add_request(list(plan.order))
    return [request] if plan.order else []


def _said(plan: Plan) -> dict[str, str]:
    """Each remote's answer in short; one that gave none keeps its old entry."""
    return {
        str(part): _in_short(probe)
        for part, probe in plan.probes.items()
        if probe.validators is not None or not probe.published
    }


def _in_short(probe: Probe) -> str:
    return probe.validators.model_dump_json() if probe.validators else "not published"


def _graph(context: dg.SensorEvaluationContext) -> BaseAssetGraph[Any]:
    if context.repository_def is None:
        raise dg.DagsterInvariantViolationError("a sensor's tick needs its repository")
    return context.repository_def.asset_graph

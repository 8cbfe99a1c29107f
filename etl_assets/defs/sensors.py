"""One sensor for each domain: it probes every remote and requests a run of what moved.

Sensors only save work: a full run is right without them, so a probe that fails requests nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.materialize import digest_texts
from etl_assets.defs.plan import Plan, make_plan
from etl_assets.defs.specs import file_partitions
from etl_assets.model.records import Reason


def build_sensor(domain: Domain, project: ProjectContext) -> dg.SensorDefinition:
    """Return the domain's sensor; its cursor holds the last answer of each remote, as JSON."""

    @dg.sensor(
        name=f"{domain.name}_probe",
        target=dg.AssetSelection.groups(domain.name),
        minimum_interval_seconds=domain.probe_interval_minutes * 60,
        description=f"Probes the remotes of {domain.title} and requests a run of what moved.",
    )
    def probe(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        session = DomainSession(EventLog(context.instance), project, domain)
        plan = make_plan(session, list(domain.sources.values()), now=now)
        previous: dict[str, str] = json.loads(context.cursor or "{}")
        moved = _only_new_answers(plan, previous)
        cursor = json.dumps(previous | _answers(plan), sort_keys=True)
        if not moved.decisions:
            context.update_cursor(cursor)
            return dg.SkipReason(f"{len(plan.decisions)} files probed, none has moved")
        if context.repository_def is None:
            raise dg.DagsterInvariantViolationError("a sensor's tick needs its repository")
        # A run may only ask for a file's partition that Dagster has.
        new_files = []
        if moved.file_order:
            partitions = file_partitions(domain.name)
            new_files.append(partitions.build_add_request(list(moved.file_order)))
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    # A run key is used once and for all: the day lets a later attempt through.
                    run_key=f"{now:%Y-%m-%d} {digest_texts(cursor)}",
                    asset_selection=moved.select(context.repository_def.asset_graph, domain),
                    tags=moved.range_tags,
                )
            ],
            dynamic_partitions_requests=new_files,
            cursor=cursor,
        )

    return probe


def _only_new_answers(plan: Plan, previous: Mapping[str, str]) -> Plan:
    """Return the plan of the files to fetch because the remote's answer is new."""
    answers = _answers(plan)
    decisions = []
    for decision in plan.decisions:
        part = str(decision.part)
        is_new = answers.get(part) != previous.get(part)
        # A failed probe would request a run at every tick until the remote is back.
        if decision.fetch and decision.reason is not Reason.PROBE_FAILED and is_new:
            decisions.append(decision)
    # What is missing or stale for other reasons waits for the daily run.
    return replace(plan, decisions=decisions, stale={}, rest="")


def _answers(plan: Plan) -> dict[str, str]:
    """Return each remote's answer; a remote that gave none keeps its earlier entry."""
    answers = {}
    for part, probe in plan.probes.items():
        if probe.validators is not None:
            answers[str(part)] = probe.validators.model_dump_json()
        elif not probe.published:
            answers[str(part)] = "not published"
    return answers

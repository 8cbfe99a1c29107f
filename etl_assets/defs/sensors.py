"""What runs by itself: a sensor that probes the remotes, and the schedules of a domain.

Nothing here is needed for a correct result: a full run is right without a sensor, so a probe that
fails requests nothing.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Timer
from typing import TYPE_CHECKING, Self

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.fetch_plan import Fetcher, open_fetcher, parts_of_sources
from etl_assets.defs.materialize import digest_texts
from etl_assets.defs.plan import Plan, file_order
from etl_assets.defs.specs import file_partitions
from etl_assets.model.records import Decision, Part, Probe, Reason

if TYPE_CHECKING:
    # What `define_asset_job` returns has no public name.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

# Dagster ends a tick after 60 seconds, and loses its cursor. The rest is for reading the event log.
PROBE_SECONDS = 30
SLICE = 64  # parts that are probed together
VERIFY_CRON = "0 1 * * 0"  # weekly: it reads every stored file


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a sensor remembers: the last answer of each remote, and where the next tick begins."""

    answers: Mapping[str, str] = field(default_factory=dict)
    next_part: str = ""

    @classmethod
    def parse(cls, text: str | None) -> Self:
        document = json.loads(text or "{}")
        # Before the slices, the cursor was the answers alone.
        if not isinstance(document.get("answers"), dict):
            return cls(document)
        return cls(document["answers"], document["next_part"])

    def __str__(self) -> str:
        document = {"answers": dict(self.answers), "next_part": self.next_part}
        return json.dumps(document, sort_keys=True)


def build_sensor(
    domain: Domain,
    project: ProjectContext,
    job: "UnresolvedAssetJobDefinition",
    *,
    probe_seconds: float = PROBE_SECONDS,
) -> dg.SensorDefinition:
    """Return the domain's sensor, which requests a run of what moved."""

    @dg.sensor(
        name=asset_keys.sensor_name(domain),
        job=job,
        minimum_interval_seconds=domain.probe_interval_minutes * 60,
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if project.settings.automation
            else dg.DefaultSensorStatus.STOPPED
        ),
        description=f"Probes the remotes of {domain.title} and requests a run of what moved.",
    )
    def probe(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        session = DomainSession(EventLog(context.instance), project, domain)
        previous = Cursor.parse(context.cursor)
        plan, next_part, total = _probe(session, previous, now, probe_seconds)
        cursor = Cursor({**previous.answers, **_answers(plan.probes)}, next_part)
        moved = _only_new_answers(plan, previous.answers)
        if not moved.decisions:
            context.update_cursor(str(cursor))
            return dg.SkipReason(f"{len(plan.decisions)} of {total} files probed, none has moved")
        if context.repository_def is None:
            raise dg.DagsterInvariantViolationError("a sensor's tick needs its repository")
        # A run may only ask for a file's partition that Dagster has.
        new_files = []
        if moved.file_order:
            partitions = file_partitions(domain.name)
            new_files.append(partitions.build_add_request(list(moved.file_order)))
        answers = json.dumps(cursor.answers, sort_keys=True)
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    # A run key is used once and for all: the day lets a later attempt through.
                    run_key=f"{now:%Y-%m-%d} {digest_texts(answers)}",
                    asset_selection=moved.select(context.repository_def.asset_graph, domain),
                    tags=moved.range_tags,
                )
            ],
            dynamic_partitions_requests=new_files,
            cursor=str(cursor),
        )

    return probe


def build_schedules(
    domain: Domain, project: ProjectContext, job: "UnresolvedAssetJobDefinition"
) -> list[dg.ScheduleDefinition]:
    """Return the daily run, and the weekly verification of the stored files."""
    status = (
        dg.DefaultScheduleStatus.RUNNING
        if project.settings.automation
        else dg.DefaultScheduleStatus.STOPPED
    )
    daily_name, verify_name = asset_keys.schedule_names(domain)
    daily = dg.ScheduleDefinition(
        name=daily_name,
        job=job,  # without partitions it is over all of them
        cron_schedule=domain.schedule,
        default_status=status,
        description=f"{domain.title}: a run over every source and partition.",
    )
    weekly = dg.ScheduleDefinition(
        name=verify_name,
        job=build_verify_job(domain, project),
        cron_schedule=VERIFY_CRON,
        default_status=status,
        description=f"{domain.title}: hashes every stored file.",
    )
    return [daily, weekly]


def build_verify_job(domain: Domain, project: ProjectContext) -> dg.JobDefinition:
    """Return the job of `etl manifest verify`, which fails if a file is not what was recorded."""

    @dg.op(name=f"{domain.name}_verify_files")
    def verify(context: dg.OpExecutionContext) -> None:
        # Verbs are above this package, and the command releases its memory when it ends.
        result = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "etl_assets.cli.main", "manifest", "verify", domain.name],
            env=project.settings.child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        context.log.info(result.stdout)
        if result.returncode:
            raise dg.Failure(result.stderr.strip() or result.stdout.strip(), allow_retries=False)

    @dg.job(
        name=asset_keys.verify_job_name(domain),
        description=f"{domain.title}: `etl manifest verify {domain.name}`.",
    )
    def verify_job() -> None:
        verify()

    return verify_job


def _probe(
    session: DomainSession, cursor: Cursor, now: datetime, seconds: float
) -> tuple[Plan, str, int]:
    """Probe the parts from the cursor on, in slices, until all are probed or the time is over.

    Returns the plan of what was probed, the part with which the next tick begins, and the number of
    all parts.
    """
    project, sources = session.project, session.domain.sources.values()
    states = session.event_log.read_sources(sources)
    parts = parts_of_sources(project, sources, states, now)
    first = next((n for n, (_, part) in enumerate(parts) if str(part) == cursor.next_part), 0)
    waiting = [*parts[first:], *parts[:first]]
    decisions: list[Decision] = []
    probes: dict[Part, Probe] = {}
    with open_fetcher(project, now=now) as fetcher, _time_limit(fetcher, seconds):
        while waiting and not fetcher.context.client.is_stopped:
            current, waiting = waiting[:SLICE], waiting[SLICE:]
            plan = fetcher.plan(states, current)
            decisions += plan.decisions
            probes |= plan.probes
    next_part = _first_name(waiting)
    order = file_order(session, [part for _, part in parts])
    return Plan(decisions, probes, file_order=order), next_part, len(parts)


@contextmanager
def _time_limit(fetcher: Fetcher, seconds: float) -> Iterator[None]:
    """Stop the requests after so many seconds; those that are cut off count as failed probes."""
    timer = Timer(seconds, fetcher.context.client.stop)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _first_name(parts: Sequence[tuple[Source, Part]]) -> str:
    return str(parts[0][1]) if parts else ""


def _only_new_answers(plan: Plan, previous: Mapping[str, str]) -> Plan:
    """Return the plan of the files to fetch because the remote's answer is new."""
    answers = _answers(plan.probes)
    decisions = []
    for decision in plan.decisions:
        part = str(decision.part)
        is_new = answers.get(part) != previous.get(part)
        # A failed probe would request a run at every tick until the remote is back.
        if decision.fetch and decision.reason is not Reason.PROBE_FAILED and is_new:
            decisions.append(decision)
    return Plan(decisions, plan.probes, file_order=plan.file_order)


def _answers(probes: Mapping[Part, Probe]) -> dict[str, str]:
    """Return each remote's answer; a remote that gave none keeps its earlier entry."""
    answers = {}
    for part, probe in probes.items():
        if probe.validators is not None:
            answers[str(part)] = probe.validators.model_dump_json()
        elif not probe.published:
            answers[str(part)] = "not published"
    return answers

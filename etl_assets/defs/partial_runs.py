"""A run that ends before it publishes: what it leaves behind, launched from wherever.

It leaves a manifest and a report as every run does, tells no target of notices, and leaves `latest`
alone; the next run goes on from what it made.
"""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys, run_context
from etl_assets.defs.context import ProjectContext
from etl_assets.model.run_manifest import MANIFEST_FILE, MARTS, RunManifest
from etl_assets.model.run_options import Stage, StageRange
from etl_assets.publish import run_directory
from etl_assets.report import gather

UNPUBLISHED = "nothing is published"


def success_hook(place: ProjectContext, domain: Domain) -> dg.HookDefinition:
    """Leaves the manifest when the last step of a run that does not publish has ended well."""

    @dg.success_hook(name=f"{domain.name}_leave_halfway")
    def leave_halfway(context: dg.HookContext) -> None:
        planned = _planned(context.instance, context.run_id, domain)
        ended = _ended(context.instance, context.run_id) | {context.step_key}
        if Stage.PUBLISH not in planned.values() and set(planned) <= ended:
            run = run_context.current(context.instance, context.run_id, place, domain)
            leave(context.instance, place, domain, run)

    return leave_halfway


def leave(
    instance: dg.DagsterInstance, place: ProjectContext, domain: Domain, run: run_context.Run
) -> None:
    """Write manifest and report of a run that ended well and early, unless a step has done so."""
    if (run.directory / MANIFEST_FILE).exists():
        return
    stretch = StageRange.spanning(_planned(instance, run.run_id, domain).values())
    sources = run_context.sources_of(instance, domain)
    run_context.leave_unpublished(
        instance,
        place,
        domain,
        run,
        status=run_context.status_of(sources),
        note="; ".join(filter(None, [f"{stretch}: {UNPUBLISHED}", run_context.note_of(sources)])),
    )


def leave_unmoved(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    domain: Domain,
    stretch: StageRange,
    *,
    as_of: datetime | None,
    started_at: datetime,
) -> RunManifest:
    """The same of a run that found nothing to do, without a Dagster run."""
    directory = run_directory.create(place.home, domain.name, started_at)
    sources = run_context.sources_of(instance, domain)
    found = [f"{stretch}: nothing moved, {UNPUBLISHED}", run_context.note_of(sources)]
    told = RunManifest(
        run_id=directory.name,
        domain=domain.name,
        status=run_context.status_of(sources),
        published=False,
        as_of=as_of or started_at,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        code_version=place.code_version(domain),
        note="; ".join(filter(None, found)),
        sources=sources,
    )
    told = run_context.advised(place, domain, told.with_result(), directory)
    gather.write_report(domain, told, directory / MARTS, directory)
    run_directory.write_manifest(directory, told)
    return told


def _planned(instance: dg.DagsterInstance, run_id: str, domain: Domain) -> dict[str, Stage]:
    """The steps of the domain that the run was launched for."""
    stored = instance.get_run_by_id(run_id)
    snapshot = stored.execution_plan_snapshot_id if stored else None
    if snapshot is None:
        raise KeyError(run_id)
    wanted = instance.get_execution_plan_snapshot(snapshot).step_keys_to_execute
    stages = asset_keys.steps_of(domain)
    return {step: stages[step] for step in wanted if step in stages}


def _ended(instance: dg.DagsterInstance, run_id: str) -> set[str | None]:
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS).records
    events = (record.event_log_entry.dagster_event for record in records)
    return {event.step_key for event in events if event}

"""All definitions of a code location, from settings and declarations.

What a step does is in the stages' modules of this room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import load
from etl_assets.declarations.names import fetch_order
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import read_sources
from etl_assets.defs.fetch_plan import all_parts
from etl_assets.defs.marts import build_marts
from etl_assets.defs.plan import Plan, file_order, range_tags
from etl_assets.defs.preview import in_memory
from etl_assets.defs.publish import build_publish
from etl_assets.defs.raw import build_raw
from etl_assets.defs.sensors import build_sensor
from etl_assets.defs.tables import build_tables
from etl_assets.defs.validated import build_validated
from etl_assets.fetch.download import PartProgress, no_progress
from etl_assets.marts.graph import Graph
from etl_assets.model.records import Part, Probe
from etl_assets.settings import Settings


def build_defs(
    settings: Settings,
    *,
    domains: Mapping[str, Domain] | None = None,
    probes: Mapping[Part, Probe] | None = None,
    say: Callable[[str], None] | None = None,
    progress: PartProgress = no_progress,
    notify: bool = True,
    holds_lock: bool = False,
) -> dg.Definitions:
    """Assets, checks, jobs, schedules and sensors of every domain; raises DeclarationError.

    `probes` are answers that the launching process already has; `say` and `progress` hear of the
    steps and of the bytes; with `notify`, the targets of the settings hear of the outcome; with
    `holds_lock`, it holds the domain's lock already.
    """
    told: dict[str, Any] = {"progress": progress, "notify": notify, "holds_lock": holds_lock}
    told |= {"say": say} if say else {}
    place = ProjectContext(
        settings, domains or load(settings.domains_dir), dict(probes or {}), **told
    )
    return dg.Definitions.merge(
        *(_domain_defs(domain, place) for domain in place.domains.values()),
        dg.Definitions(resources={"duckdb": in_memory()}, executor=dg.in_process_executor),
    )


def job_name(domain: Domain) -> str:
    return f"refresh_{domain.name}"


def _domain_defs(domain: Domain, place: ProjectContext) -> dg.Definitions:
    marts = build_marts(domain, place)
    graph = Graph.from_manifest(place.dbt(domain).manifest)
    job = dg.define_asset_job(
        job_name(domain),
        selection=dg.AssetSelection.groups(domain.name),
        description=f"{domain.title}: fetch what moved, make what is below it, publish.",
    )
    return dg.Definitions(
        assets=[
            *(
                build(domain, place, wave)
                for wave in range(len(fetch_order(domain.sources)))
                for build in (build_raw, build_validated, build_tables)
            ),
            marts,
            build_publish(domain, place, graph, list(marts.check_keys)),
        ],
        jobs=[job],
        schedules=[_schedule(domain, place, job)],
        sensors=[build_sensor(domain, place)],
    )


def _schedule(
    domain: Domain, place: ProjectContext, job: UnresolvedAssetJobDefinition
) -> dg.ScheduleDefinition:
    """The full run that is right without any sensor, over every partition that there is."""

    @dg.schedule(name=f"{domain.name}_daily", job=job, cron_schedule=domain.schedule)
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        now, sources = context.scheduled_execution_time, list(domain.sources.values())
        states = read_sources(context.instance, sources)
        parts = [
            part
            for source in sources
            for part in all_parts(place.resolver, source, now, known=states[source.name].fetches)
        ]
        whole = Plan(order=file_order(context.instance, domain, parts))
        whole.register(context.instance, domain)
        return dg.RunRequest(tags=range_tags(parts, whole.order))

    return daily

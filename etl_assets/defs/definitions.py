"""All definitions of a code location, from settings and declarations.

What a step does is in the modules of the stages.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import fetch_order
from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.fetch_plan import parts_of_sources
from etl_assets.defs.marts import build_marts
from etl_assets.defs.plan import Plan, file_order, range_tags
from etl_assets.defs.publish import build_publish
from etl_assets.defs.raw import build_raw
from etl_assets.defs.sensors import build_sensor
from etl_assets.defs.specs import in_memory_duckdb
from etl_assets.defs.tables import build_tables
from etl_assets.defs.validated import build_validated
from etl_assets.marts.graph import Graph

if TYPE_CHECKING:
    # What `define_asset_job` returns has no public name.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )


log = logging.getLogger(__name__)


def build_defs(project: ProjectContext) -> dg.Definitions:
    """Return assets, checks, jobs, schedules and sensors of every domain of a project."""
    return _merge(_domain_defs(domain, project) for domain in project.domains.values())


def build_code_location(project: ProjectContext) -> dg.Definitions:
    """Return the same without the domains that cannot be loaded, which are logged.

    Such a domain has faults in its declarations, or dbt or Dagster refuses its models.
    """
    for broken in project.broken.values():
        log.error("%s", broken)
    loaded = []
    for domain in project.domains.values():
        try:
            definitions = _domain_defs(domain, project)
            dg.Definitions.validate_loadable(_merge([definitions]))
        except Exception as error:  # noqa: BLE001 - of one domain: the others have to load
            log.error(  # noqa: TRY400 - the message names file and line; a traceback hides it
                "%s is left out: %s; `etl run %s` says more", domain.name, error, domain.name
            )
        else:
            loaded.append(definitions)
    return _merge(loaded)


def _merge(definitions: Iterable[dg.Definitions]) -> dg.Definitions:
    return dg.Definitions.merge(
        *definitions,
        # The multiprocess executor imports everything again for each step, at seconds a step.
        dg.Definitions(resources={"duckdb": in_memory_duckdb()}, executor=dg.in_process_executor),
    )


def _domain_defs(domain: Domain, project: ProjectContext) -> dg.Definitions:
    assets = []
    for wave in range(len(fetch_order(domain.sources))):
        assets += [
            build(domain, project, wave) for build in (build_raw, build_validated, build_tables)
        ]
    marts = build_marts(domain, project)
    graph = Graph.from_manifest(project.dbt(domain).manifest)
    assets += [marts, build_publish(domain, project, graph, list(marts.check_keys))]
    job = dg.define_asset_job(
        asset_keys.job_name(domain),
        selection=dg.AssetSelection.groups(domain.name),
        description=f"{domain.title}: fetch what moved, make what is below it, publish.",
    )
    return dg.Definitions(
        assets=assets,
        jobs=[job],
        schedules=[_daily_schedule(domain, project, job)],
        sensors=[build_sensor(domain, project)],
    )


def _daily_schedule(
    domain: Domain, project: ProjectContext, job: UnresolvedAssetJobDefinition
) -> dg.ScheduleDefinition:
    """Return the schedule of a full run over every partition, which needs no sensor."""

    @dg.schedule(name=f"{domain.name}_daily", job=job, cron_schedule=domain.schedule)
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        session = DomainSession(EventLog(context.instance), project, domain)
        all_parts = parts_of_sources(
            project,
            domain.sources.values(),
            session.read_sources(),
            context.scheduled_execution_time,
        )
        parts = [part for _, part in all_parts]
        full_plan = Plan(file_order=file_order(session, parts))
        full_plan.add_new_files(session)
        return dg.RunRequest(tags=range_tags(parts, full_plan.file_order))

    return daily

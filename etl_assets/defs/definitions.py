"""All definitions of a code location, from settings and declarations.

What a step does is in the modules of the stages.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import fetch_order
from etl_assets.defs import asset_keys, specs
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.models.assets import build_marts
from etl_assets.defs.models.former_keys import former_check_keys
from etl_assets.defs.plan import RANGE_END, RANGE_START, tags_of_all_partitions
from etl_assets.defs.publish import build_publish
from etl_assets.defs.raw import build_raw
from etl_assets.defs.sensors import build_schedules, build_sensor
from etl_assets.defs.specs import in_memory_duckdb
from etl_assets.defs.tables import build_tables
from etl_assets.defs.validated import build_validated
from etl_assets.marts.graph import Graph
from etl_assets.model.errors import SettingsError

PARTITION_TAGS = {"dagster/partition", RANGE_START, RANGE_END}

log = logging.getLogger(__name__)


def build_defs(project: ProjectContext) -> dg.Definitions:
    """Return assets, checks, jobs, schedules and sensors of every domain of a project."""
    return _merge((_domain_defs(each, project) for each in project.domains.values()), project)


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
            dg.Definitions.validate_loadable(_merge([definitions], project))
        except Exception as error:  # noqa: BLE001 - of one domain: the others have to load
            log.error(  # noqa: TRY400 - the message names file and line; a traceback hides it
                "%s is left out: %s; `etl run %s` says more", domain.name, error, domain.name
            )
        else:
            loaded.append(definitions)
    return _merge(loaded, project)


def _merge(definitions: Iterable[dg.Definitions], project: ProjectContext) -> dg.Definitions:
    return dg.Definitions.merge(
        *definitions,
        dg.Definitions(
            loggers={"console": _console_logger(project)},
            resources={"duckdb": in_memory_duckdb(), "io_manager": _no_values(project)},
            # The multiprocess executor imports everything again for each step, at seconds a step.
            executor=dg.in_process_executor,
        ),
    )


def _console_logger(project: ProjectContext) -> dg.LoggerDefinition:
    """Return Dagster's own logger, by default with the level of the settings: it logs events."""
    level = dg.Field(str, default_value=project.settings.log_level)
    return dg.LoggerDefinition(
        dg.colored_console_logger.logger_fn,
        config_schema={"log_level": level, "name": dg.Field(str, default_value="dagster")},
    )


def _no_values(project: ProjectContext) -> dg.IOManagerDefinition:
    """Return the I/O manager of all steps, which hand over no values.

    Dagster initializes it before the first step of every run. This is where a run over partitioned
    assets that was launched without partitions is given the range of all of them: Dagster 1.13
    launches such a run, and then fails in it. Drop this once it does not. It is also the first
    place that knows which event log a launch from outside would write to.
    """

    @dg.io_manager
    def no_values(context: dg.InitResourceContext) -> dg.IOManager:
        if context.run is not None and context.instance is not None:
            _refuse_other_event_log(context.instance, project)
            _select_all_partitions(context.run, context.instance, project)
        return _NoValues()

    return no_values


def _refuse_other_event_log(instance: dg.DagsterInstance, project: ProjectContext) -> None:
    """Raise SettingsError if the run is recorded elsewhere than in the event log of the home.

    Dagster's own programs know nothing of the settings: without DAGSTER_HOME in their environment
    they take a temporary folder, and the home would have files that its event log lacks.
    """
    settings = project.settings
    actual = Path(instance.root_directory).resolve()
    # With PostgreSQL, each host may have a DAGSTER_HOME of its own.
    if settings.event_log is None and actual != settings.dagster_home:
        raise SettingsError(
            f"DAGSTER_HOME: expected {settings.dagster_home}, the event log of {settings.home}, "
            f"found {actual}; run `export DAGSTER_HOME=$(etl config get dagster_home)` and launch "
            "again, or use `etl run`"
        )


class _NoValues(dg.IOManager):
    """Refuses to store values, which would be pickles."""

    def handle_output(self, context: dg.OutputContext, _: object) -> None:
        raise dg.DagsterInvariantViolationError(f"{context.name}: expected no value")

    def load_input(self, context: dg.InputContext) -> None:
        raise dg.DagsterInvariantViolationError(f"{context.name}: expected no value")


def _select_all_partitions(
    run: dg.DagsterRun, instance: dg.DagsterInstance, project: ProjectContext
) -> None:
    """Tag a run over partitioned assets that has no partitions with the range of all of them."""
    if PARTITION_TAGS & run.tags.keys():
        return
    for domain in project.domains.values():
        partitioned = asset_keys.partitioned_keys(domain)
        is_selected = run.job_name == asset_keys.job_name(domain)
        if run.asset_selection is not None:
            is_selected = not partitioned.isdisjoint(run.asset_selection)
        if partitioned and is_selected:
            session = DomainSession(EventLog(instance), project, domain)
            tags = tags_of_all_partitions(session, datetime.now(UTC))
            instance.add_run_tags(run.run_id, tags)
            # The steps of this process read this copy of the tags, which is a dictionary.
            cast("dict[str, str]", run.tags).update(tags)
            return


def _domain_defs(domain: Domain, project: ProjectContext) -> dg.Definitions:
    assets = []
    for wave in range(len(fetch_order(domain.sources))):
        assets += [
            build(domain, project, wave) for build in (build_raw, build_validated, build_tables)
        ]
    marts = build_marts(domain, project)
    graph = Graph.from_manifest(project.dbt(domain).manifest)
    assets += [marts, build_publish(domain, project, graph, former_check_keys(marts.check_specs))]
    job = dg.define_asset_job(
        asset_keys.job_name(domain),
        selection=dg.AssetSelection.key_prefixes([domain.name]),
        description=f"{domain.title}: fetch what moved, make what is below it, publish.",
    )
    disabled = [specs.disabled_spec(domain, each) for each in domain.disabled_sources.values()]
    return dg.Definitions(
        assets=[*assets, *disabled],
        jobs=[job],
        schedules=build_schedules(domain, project, job),
        sensors=[build_sensor(domain, project, job)],
    )

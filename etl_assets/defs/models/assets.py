"""The step that builds a domain's dbt models: specs, checks and lineage from dagster-dbt.

dbt runs in this process.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt.asset_utils import build_dbt_specs
from dagster_duckdb import DuckDBResource

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys
from etl_assets.defs.context import (
    DomainSession,
    ProjectContext,
    current_run,
    domain_lock,
    run_options,
    takes_options,
)
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.finish_run import run_hooks
from etl_assets.defs.materialize import record_metadata
from etl_assets.defs.models.build import ModelsBuild
from etl_assets.defs.models.checks import check_results, check_specs
from etl_assets.defs.models.state import repair_before_step
from etl_assets.defs.models.translator import Translator
from etl_assets.defs.pages.columns import ModelColumns
from etl_assets.defs.specs import preview
from etl_assets.marts.dbt import DbtProject
from etl_assets.marts.graph import Graph
from etl_assets.marts.lineage_cache import ModelLineage
from etl_assets.model.run_manifest import MARTS
from etl_assets.model.run_options import Stage

log = logging.getLogger(__name__)


@takes_options(Stage.MARTS)
class MartsConfig(dg.Config):
    """The options of `etl run` that this step takes."""


def model_checks(domain: Domain, project: ProjectContext) -> Mapping[str, dg.AssetCheckSpec]:
    """Return the checks on the domain's models by the unique id of their test."""
    return _build_specs(domain, project, Graph.from_manifest(project.dbt(domain).manifest))[1]


def _build_specs(
    domain: Domain, project: ProjectContext, graph: Graph
) -> tuple[Sequence[dg.AssetSpec], dict[str, dg.AssetCheckSpec]]:
    """Return the assets, and the checks by the unique id of their test."""
    manifest = project.dbt(domain).manifest
    # `@dbt_assets` runs dbt as a subprocess, which costs 10-20 s of start-up a run.
    specs, dbt_checks = build_dbt_specs(
        translator=Translator(domain, project, graph),
        manifest=manifest,
        select="fqn:*",
        exclude="resource_type:unit_test",
        selector="",
        io_manager_key=None,
        project=None,
    )
    return specs, check_specs(domain, manifest, graph, dbt_checks)


def build_marts(domain: Domain, project: ProjectContext) -> dg.AssetsDefinition:
    """Return the step that builds stale models and copies the marts into the run's directory."""
    dbt_project = project.dbt(domain)
    manifest = dbt_project.manifest
    graph = Graph.from_manifest(manifest)
    specs, checks = _build_specs(domain, project, graph)

    @dg.multi_asset(
        hooks=run_hooks(project, domain),
        name=f"{domain.name}_marts",
        specs=specs,
        check_specs=list(checks.values()),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        # One at a time, as DuckDB refuses a second writer of a domain's warehouse.
        pool=asset_keys.pool_name(domain),
    )
    @domain_lock(project, domain, Stage.MARTS)
    def marts(
        context: dg.AssetExecutionContext, config: MartsConfig, duckdb: DuckDBResource
    ) -> Iterator[Any]:
        session = DomainSession(EventLog(context.instance), project, domain)
        run = current_run(session, context.run.run_id)
        selection = frozenset(
            model.unique_id
            for model in graph.models.values()
            if asset_keys.model_key(domain.name, model.name) in context.selected_asset_keys
        )
        repair_before_step(session)
        models_build = ModelsBuild(session, graph, run)
        results = models_build.run(selection, full=run_options(config).full)
        records = models_build.records()
        models_build.require_same_tables()
        columns = ModelColumns(domain, manifest, _trace_columns(dbt_project))
        for unique_id, model in graph.models.items():
            if unique_id not in selection:
                continue
            record, file = records[unique_id], run.directory / MARTS / f"{model.name}.parquet"
            entries: dict[str, Any] = {"dagster/row_count": record.rows, "sha256": record.sha256}
            if file.exists():
                entries["preview"] = preview(duckdb, file)
            yield dg.MaterializeResult(
                asset_key=asset_keys.model_key(domain.name, record.model),
                data_version=dg.DataVersion(record.version),
                metadata={
                    "reused": unique_id not in models_build.built,
                    **columns.metadata(unique_id),
                    **record_metadata(record, entries),
                },
            )
        if not selection and context.selected_asset_check_keys:
            results = dbt_project.test()
        yield from check_results(context, checks, results)
        models_build.finish()

    return marts


def _trace_columns(project: DbtProject) -> Mapping[str, ModelLineage]:
    """Return the column lineage of the models; none if finding it fails, which no build does."""
    try:
        return project.trace_columns()
    except OSError:
        raise  # of the machine, which refuses the writes of the run too
    except Exception:
        log.warning("%s: the lineage of columns was not found", project.domain, exc_info=True)
        return {}

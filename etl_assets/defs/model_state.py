"""What stands of a domain's models: the last record of each, and what each would be made from now.

Read by the step that builds them and by whoever plans a run, which is why dbt is not imported here.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import latest_of
from etl_assets.defs.materialize import digest_of
from etl_assets.defs.source_health import read_tables
from etl_assets.marts import build
from etl_assets.marts.dbt import DbtProject
from etl_assets.marts.graph import Graph
from etl_assets.marts.source_status import SourceHealth
from etl_assets.model.records import ModelBuild
from etl_assets.model.run_manifest import MARTS
from etl_assets.publish import run_directory


def versions_of(
    instance: dg.DagsterInstance, domain: Domain, project: DbtProject, graph: Graph
) -> dict[str, str]:
    """The version that each model has when it is built now, by unique id."""
    health, tables = read_tables(instance, domain)
    return build.compute_versions(
        graph,
        code_version=project.code_version,
        tables=tables,
        health=digest_of(*(_lasting(source) for source in health)),
    )


def published_history(place: ProjectContext, domain: Domain) -> Path | None:
    """The file of the domain's history in the published set."""
    published = run_directory.published_directory(place.home, domain.name)
    if published is None or domain.history is None:
        return None
    file = published / MARTS / f"{domain.history}.parquet"
    return file if file.exists() else None


def built_models(
    instance: dg.DagsterInstance, domain: Domain, graph: Graph
) -> dict[str, ModelBuild]:
    """The last record of each model of the graph that was ever built, by unique id."""
    by_name = model_records(instance, domain, graph)
    return {
        unique_id: by_name[model.name]
        for unique_id, model in graph.models.items()
        if model.name in by_name
    }


def model_records(
    instance: dg.DagsterInstance, domain: Domain, graph: Graph
) -> dict[str, ModelBuild]:
    """The last record of each model that was ever built, by the model's name."""
    wanted = [asset_keys.model_key(domain.name, model.name) for model in graph.models.values()]
    return {record.model: record for record in latest_of(instance, wanted, ModelBuild).values()}


def _lasting(source: SourceHealth) -> str:
    """What of a source's standing outlives a contact; times of contact would rebuild daily."""
    return source.model_dump_json(exclude={"fetched_at", "last_good_at"})

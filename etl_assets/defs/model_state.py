"""The state of a domain's tables and models in the event log, and whether the models are current.

Plans read this too, so dbt is not imported here; building models is `etl_assets.defs.marts`.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession
from etl_assets.defs.materialize import combined_version, digest_texts
from etl_assets.marts import build
from etl_assets.marts.graph import Graph
from etl_assets.marts.source_status import SourceHealth, summarize_health
from etl_assets.model.records import ModelBuild
from etl_assets.model.run_manifest import MARTS
from etl_assets.storage.hashing import hash_file


def read_tables(session: DomainSession) -> tuple[list[SourceHealth], dict[str, str]]:
    """Return the health of each source, and the version of each table by name."""
    states = session.read_sources()
    health: list[SourceHealth] = []
    versions: dict[str, str] = {}
    for source in session.domain.sources.values():
        state = states[source.name]
        tables = [state.tables[key] for key in sorted(state.tables, key=lambda key: key or "")]
        health.append(summarize_health(source, list(state.fetches.values()), tables))
        versions[source.name] = combined_version([t.table.sha256 for t in tables] or [""])
    return health, versions


def current_versions(
    session: DomainSession, graph: Graph, *, as_of: datetime | None = None
) -> dict[str, str]:
    """Return the version that each model would have if it were built now, by unique id.

    Without `as_of` no time has passed since the last build.
    """
    health, tables = read_tables(session)
    last = last_moments(session)
    moment = last.moment_at(as_of or last.as_of) if last else None
    # Times of contact change daily, and would rebuild the models with them.
    lasting = [s.model_dump_json(exclude={"fetched_at", "last_good_at"}) for s in health]
    return build.compute_versions(
        graph,
        code_version=session.dbt.code_version,
        tables=tables,
        health=digest_texts(*lasting),
        moment=moment,
    )


def last_moments(session: DomainSession) -> ModelBuild | None:
    """Return the last record of the domain's model of moments, or None if there is none."""
    name = session.domain.moments
    if name is None:
        return None
    key = asset_keys.model_key(session.domain.name, name)
    return session.event_log.latest_record(key, ModelBuild)


def published_history(session: DomainSession) -> Path | None:
    """Return the file of the domain's history in the published set, or None."""
    published, history = session.published_directory(), session.domain.history
    if published is None or history is None:
        return None
    file = published / MARTS / f"{history}.parquet"
    return file if file.exists() else None


def built_models(session: DomainSession, graph: Graph) -> dict[str, ModelBuild]:
    """Return the last record of each model that was ever built, by unique id."""
    by_name = model_records(session, graph)
    return {
        unique_id: by_name[model.name]
        for unique_id, model in graph.models.items()
        if model.name in by_name
    }


def model_records(session: DomainSession, graph: Graph) -> dict[str, ModelBuild]:
    """Return the last record of each model that was ever built, by the model's name."""
    keys = [asset_keys.model_key(session.domain.name, m.name) for m in graph.models.values()]
    records = session.event_log.latest_records(keys, ModelBuild)
    return {record.model: record for record in records.values()}


def last_built_at(session: DomainSession) -> datetime | None:
    """Return the logical time of the newest build, or None if nothing was ever built."""
    graph = Graph.from_manifest(session.dbt.manifest)
    records = built_models(session, graph).values()
    return max((record.as_of for record in records), default=None)


def unpublishable_models(session: DomainSession) -> list[str]:
    """Return the models that were built from other code, tables or history than the current."""
    graph = Graph.from_manifest(session.dbt.manifest)
    history = published_history(session)
    return build.find_unpublishable_models(
        graph,
        current_versions(session, graph),
        built_models(session, graph),
        history_model=session.domain.history,
        history_sha256=hash_file(history) if history else None,
    )

"""The state of a domain's tables and models in the event log, and whether the models are current.

Plans read this too, so dbt is not imported here; building models is `etl_assets.defs.models.build`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession
from etl_assets.defs.materialize import combined_version, digest_texts
from etl_assets.marts import build, dbt
from etl_assets.marts.graph import Graph
from etl_assets.marts.source_status import SourceHealth, summarize_health
from etl_assets.model.errors import HomeError
from etl_assets.model.records import ModelBuild, PublishedLink, PublishedSet
from etl_assets.model.run_log import Kind
from etl_assets.model.run_manifest import MARTS
from etl_assets.model.run_options import Stage
from etl_assets.publish import chain
from etl_assets.storage.hashing import has_sha256, hash_file
from etl_assets.storage.signatures import Signatures, open_signatures

RESTORE_ADVICE = (
    "`etl restore {domain}` publishes the newest complete set again, "
    "`etl run {domain} --new-history --why TEXT` begins a new history"
)


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
    home, name, history = session.home, session.domain.name, session.domain.history
    head = chain.read_head(home, name)
    sha256 = head.history_sha256
    if history is None or sha256 is None:
        return None
    if head.link:
        file = home.outputs(name) / head.link.directory / MARTS / f"{history}.parquet"
        if has_sha256(file, sha256):
            return file
    return _find_intact_history(session, history, sha256)


def _find_intact_history(session: DomainSession, history: str, sha256: str) -> Path:
    """Return the rows of a damaged history from an earlier run, or from the last build."""
    home, name = session.home, session.domain.name
    if file := chain.find_mart(home, name, history, sha256):
        return file
    model = Graph.from_manifest(session.dbt.manifest).find(history)
    if model and dbt.is_warehouse_complete(home, name):
        target = home.build_inputs(name) / "restored"
        target.mkdir(parents=True, exist_ok=True)
        file = session.dbt.export({history: model.key}, target)[history]
        if has_sha256(file, sha256):
            return file
    raise HomeError(
        f"{home.latest(name)}/{MARTS}/{history}.parquet: expected the published history with "
        f"SHA-256 {sha256}, found it neither there, nor in {home.relative(home.manifests)}, nor in "
        f"earlier runs, nor in the warehouse; {RESTORE_ADVICE.format(domain=name)}"
    )


def recorded_set(session: DomainSession) -> PublishedSet | None:
    """Return the published set that the event log has, or None."""
    return session.event_log.latest_record(asset_keys.published_key(session.domain), PublishedSet)


def repair_before_step(session: DomainSession) -> None:
    """Repair the published set at the start of a step that Dagster's pages launched.

    A command does this before it launches a run, and holds the lock until the run ends.
    """
    if not session.project.holds_lock:
        for problem in repair_published_set(session):
            session.say(f"{session.domain.name}: repaired: {problem}", Kind.ROLLBACK)


def repair_published_set(session: DomainSession) -> list[str]:
    """Make the published set what was recorded last, and return what was repaired.

    Raises HomeError if the history is lost, or all that is left of a set is its record.
    """
    complete_publication(session)
    home, domain, record = session.home, session.domain, recorded_set(session)
    link = newest_link(session, record)
    with open_signatures(home.signatures(domain.name)) as signatures:
        repaired = chain.repair(home, domain.name, domain.history, link, signatures)
    head = chain.read_head(home, domain.name)
    if record and head.link is None and head.new_history is None:
        raise HomeError(
            f"{home.outputs(domain.name)}: expected the published set of {record.directory}, found "
            f"no published set; {RESTORE_ADVICE.format(domain=domain.name)}"
        )
    published_history(session)
    return repaired


def complete_publication(session: DomainSession) -> None:
    """Let `latest` follow a set whose process was killed after it was recorded as published."""
    name = session.domain.name
    link = session.project.locks.read_head(name)
    directory = chain.complete_publication(session.home, name, link) if link else None
    if directory:
        text = f"{name}: repaired: {directory.name} was recorded as published, readers see it now"
        session.say(text, Kind.ROLLBACK, stage=Stage.PUBLISH.value)


def newest_link(session: DomainSession, record: PublishedSet | None) -> PublishedLink | None:
    """Return the newest link that a database has: that of the locks, or that of the event log."""
    links = [session.project.locks.read_head(session.domain.name), record and record.link]
    return max((link for link in links if link), key=lambda link: link.sequence, default=None)


def is_warehouse_current(session: DomainSession, signatures: Signatures) -> bool:
    """Return True if the warehouse is complete, and is the file that the last build wrote."""
    home, name = session.home, session.domain.name
    # Of an older version, or if the event log was lost, nothing says what it must be.
    sha256 = last_warehouse_sha256(session)
    return (
        sha256 is not None
        and dbt.is_warehouse_complete(home, name)
        and signatures.has_digest(home.warehouse(name), sha256)
    )


def last_warehouse_sha256(session: DomainSession) -> str | None:
    """Return the SHA-256 of the warehouse after the last build, or None if it is not recorded."""
    record = _last_build(session)
    return record.warehouse_sha256 if record else None


def is_full_build_due(session: DomainSession, as_of: datetime) -> bool:
    """Return True if the models were last built whole longer ago than the domain declares."""
    spec, record = session.domain.build, _last_build(session)
    if spec is None or record is None or record.full_build_at is None:
        return False
    return as_of - record.full_build_at >= timedelta(days=spec.full_after_days)


def _last_build(session: DomainSession) -> ModelBuild | None:
    """Return a record of the last step that built models."""
    graph = Graph.from_manifest(session.dbt.manifest)
    models = graph.models.values()
    keys = [asset_keys.model_key(session.domain.name, model.name) for model in models]
    return session.event_log.newest_record(keys, ModelBuild)


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

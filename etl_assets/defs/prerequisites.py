"""Whether what a stage starts from stands, asked before a run that begins in the middle.

What is not up to date is no obstacle, for it is taken as it stands. Only marts that do not belong
to the tables that stand are not published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import SourceState, read_sources
from etl_assets.defs.model_state import built_models, published_history, versions_of
from etl_assets.marts import build, dbt
from etl_assets.marts.graph import Graph
from etl_assets.model.errors import UsageError
from etl_assets.model.run_options import SOURCE_STAGES, Stage, StageRange
from etl_assets.storage.hashing import hash_file

LACKING = {
    Stage.RAW: "nothing was fetched yet",
    Stage.VALIDATED: "the newest file is not validated",
    Stage.TABLE: "no table stands",
}


def waits(place: ProjectContext, source: Source) -> bool:
    """Whether a source asks from a table that does not stand yet: its turn comes after that."""
    table = source.for_each.table if source.for_each else None
    return table is not None and not place.home.table_file(source.domain, table, None).exists()


def told_waiting(source: Source) -> str:
    table = source.for_each.table if source.for_each else ""
    return f"{source.full_name}: waits for the table {table}, whose rows it asks for"


def require(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    domain: Domain,
    sources: Sequence[Source],
    stages: StageRange,
) -> None:
    """Raise UsageError with all that a run over `stages` lacks, and the commands that make it."""
    if stages.contacts_remotes:
        return
    states = read_sources(instance, domain.sources.values())
    lacking: dict[Stage, list[Source]] = {}
    for source, first in _first_stages(place, domain, sources, stages):
        if stage := _lacking(place, states[source.name], first):
            lacking.setdefault(stage, []).append(source)
    faults = [_told_lacking(domain, stage, found) for stage, found in lacking.items()]
    if stages.first is Stage.PUBLISH and not faults:
        faults += _unfit(instance, place, domain)
    if faults:
        raise UsageError(f"{stages}: expected what it starts from, found:\n" + "\n".join(faults))


def built_at(
    instance: dg.DagsterInstance, place: ProjectContext, domain: Domain
) -> datetime | None:
    """The logical time of the newest build; None where nothing was ever built."""
    graph = Graph.from_manifest(place.dbt(domain).manifest)
    records = built_models(instance, domain, graph).values()
    return max((record.as_of for record in records), default=None)


def unfit_models(instance: dg.DagsterInstance, place: ProjectContext, domain: Domain) -> list[str]:
    """Models that were not built from the code, the tables and the history that stand."""
    project = place.dbt(domain)
    graph = Graph.from_manifest(project.manifest)
    history = published_history(place, domain)
    return build.find_unpublishable_models(
        graph,
        versions_of(instance, domain, project, graph),
        built_models(instance, domain, graph),
        history_model=domain.history,
        history_sha256=hash_file(history) if history else None,
    )


def _first_stages(
    place: ProjectContext, domain: Domain, sources: Sequence[Source], stages: StageRange
) -> Iterator[tuple[Source, Stage]]:
    """The stage at which each source begins; those that are not chosen give models their table."""
    needs_all = stages.publishes or Stage.MARTS in stages
    for source in domain.sources.values():
        if source in sources and stages.first in SOURCE_STAGES:
            if needs_all or not waits(place, source):
                yield source, stages.first
        elif needs_all:
            yield source, Stage.MARTS


def _lacking(place: ProjectContext, state: SourceState, first: Stage) -> Stage | None:
    """The first stage before `first` that has not made what it should; None where all stands."""
    lacks = {
        Stage.RAW: not state.fetches,
        Stage.VALIDATED: bool(state.fetches.keys() - state.validated.keys()),
        Stage.TABLE: _lacks_table(place, state),
    }
    return next(
        (stage for stage in StageRange(last=first) if lacks.get(stage) and stage != first), None
    )


def _told_lacking(domain: Domain, stage: Stage, sources: Sequence[Source]) -> str:
    names = ", ".join(str(source.full_name) for source in sources)
    chosen = "".join(f" --source {source.name}" for source in sources)
    if len(sources) == len(domain.sources):
        chosen = ""
    return f"{names}: {LACKING[stage]}; `etl run {domain.name} --stage {stage}{chosen}` first"


def _lacks_table(place: ProjectContext, state: SourceState) -> bool:
    tables = state.tables.values()
    is_gone = any(not (place.home.root / made.table.path).exists() for made in tables)
    return bool(state.fetches.keys() - state.tables.keys()) or is_gone


def _unfit(instance: dg.DagsterInstance, place: ProjectContext, domain: Domain) -> Iterator[str]:
    """Models that were not built from the tables and the history that stand."""
    command = f"`etl run {domain.name} --stage {Stage.MARTS}` first"
    if not dbt.is_warehouse_complete(place.home, domain.name):
        yield f"{domain.name}: nothing was built yet, or a build was cut off; {command}"
        return
    if unfit := unfit_models(instance, place, domain):
        yield f"{', '.join(unfit)}: built from other code, tables or history than stand; {command}"

"""Check before a run what it needs: folders that can be written, free space, existing inputs.

Inputs of a run that begins after the raw stage need not be current, as such a run uses what there
is. Only marts that were built from other tables than the current ones are not published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.event_log import SourceState
from etl_assets.defs.models.state import unpublishable_models
from etl_assets.defs.plan import Plan, waits_for_table
from etl_assets.marts import dbt
from etl_assets.model.errors import HomeError, UsageError
from etl_assets.model.run_options import SOURCE_STAGES, Stage, StageRange
from etl_assets.operations.health_checks import machine
from etl_assets.operations.health_checks.result import Level
from etl_assets.storage import disk

MISSING_INPUT = {
    Stage.RAW: "nothing was fetched yet",
    Stage.VALIDATED: "the newest file is not validated",
    Stage.TABLE: "there is no table",
}


def require_folders(session: DomainSession) -> None:
    """Raise HomeError with every folder that the run writes and that cannot be written."""
    settings, domain = session.project.settings, session.domain
    findings = machine.check_folders(session.home, settings.dagster_home, {domain.name: domain})
    if faults := [str(finding) for finding in findings if finding.level is Level.ERROR]:
        raise HomeError("\n".join(faults))


def require_space(session: DomainSession, plan: Plan) -> None:
    """Raise HomeError unless twice the files that are to be fetched fit on the disk.

    Beside a raw file there are its table and what is made of it.
    """
    size_bytes = 0
    for part in plan.moved:
        probe = plan.probes.get(part)
        validators = probe.validators if probe else None
        size_bytes += (validators.size_bytes if validators else None) or 0
    needed, free = 2 * size_bytes, disk.free_bytes(session.home.raw)
    if free < needed:
        raise HomeError(
            f"{session.home.root}: expected {needed:,} free bytes, twice the size of the files to "
            f"fetch, found {free:,}; free some space (`etl prune`), or limit the run by --source"
        )


def require_inputs(session: DomainSession, sources: Sequence[Source], stages: StageRange) -> None:
    """Raise UsageError with all inputs that a run over `stages` lacks, and what makes them."""
    if stages.contacts_remotes:
        return
    domain = session.domain
    states = session.read_sources()
    missing: dict[Stage, list[Source]] = {}
    for source, first in _first_stages(session.project, domain, sources, stages):
        if stage := _missing_stage(session.project, states[source.name], first):
            missing.setdefault(stage, []).append(source)
    faults = []
    for stage, without in missing.items():
        names = ", ".join(str(source.full_name) for source in without)
        options = "".join(f" --source {source.name}" for source in without)
        if len(without) == len(domain.sources):
            options = ""
        command = f"`etl run {domain.name} --stage {stage}{options}` first"
        faults.append(f"{names}: {MISSING_INPUT[stage]}; {command}")
    if stages.first is Stage.PUBLISH and not faults:
        faults += _unpublishable(session)
    if faults:
        raise UsageError(f"{stages}: expected what it starts from, found:\n" + "\n".join(faults))


def _first_stages(
    project: ProjectContext, domain: Domain, sources: Sequence[Source], stages: StageRange
) -> Iterator[tuple[Source, Stage]]:
    """Yield the stage at which each source begins; models read the tables of the others too."""
    needs_all_tables = stages.publishes or Stage.MARTS in stages
    for source in domain.sources.values():
        if source in sources and stages.first in SOURCE_STAGES:
            if needs_all_tables or not waits_for_table(project, source):
                yield source, stages.first
        elif needs_all_tables:
            yield source, Stage.MARTS


def _missing_stage(project: ProjectContext, state: SourceState, first: Stage) -> Stage | None:
    """Return the first stage before `first` that has not made its output, or None."""
    tables = state.tables.values()
    is_table_gone = any(not (project.home.root / made.table.path).exists() for made in tables)
    is_missing = {
        Stage.RAW: not state.fetches,
        Stage.VALIDATED: bool(state.fetches.keys() - state.validated.keys()),
        Stage.TABLE: bool(state.fetches.keys() - state.tables.keys()) or is_table_gone,
    }
    for stage in StageRange(last=first):
        if stage != first and is_missing.get(stage):
            return stage
    return None


def _unpublishable(session: DomainSession) -> Iterator[str]:
    """Yield why the marts cannot be published as they are."""
    name = session.domain.name
    command = f"`etl run {name} --stage {Stage.MARTS}` first"
    if not dbt.is_warehouse_complete(session.home, name):
        yield f"{name}: nothing was built yet, or a build was cut off; {command}"
    elif models := unpublishable_models(session):
        yield f"{', '.join(models)}: built from other code, tables or history; {command}"

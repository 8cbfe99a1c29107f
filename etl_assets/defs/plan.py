"""What a run would do: which files have moved, which outputs no longer stand, what is below them.

Shared by `etl run` and the sensors. Questions to remotes are `fetch.probe`, what follows from the
answers `fetch.decide`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Files, Source
from etl_assets.defs import asset_keys, prerequisites
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import SourceState, latest, read_sources
from etl_assets.defs.fetch_plan import all_parts, asked_of, jobs_of, probes_of, unrecognized_files
from etl_assets.defs.row_request_plan import decisions_of
from etl_assets.defs.source_health import read_tables
from etl_assets.defs.specs import file_partitions
from etl_assets.marts import dbt
from etl_assets.model.errors import UsageError
from etl_assets.model.records import (
    MIXED,
    Decision,
    FetchResult,
    Part,
    Probe,
    PublishedSet,
    Reason,
    TableResult,
    ValidationResult,
)
from etl_assets.model.run_manifest import MARTS
from etl_assets.model.run_options import ALL_STAGES, DEFAULT_OPTIONS, RunOptions, Stage, StageRange
from etl_assets.publish import run_directory
from etl_assets.storage.hashing import hash_file
from etl_assets.tables import tabulate

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
OLDER_MODELS = "some of what is published is older than its tables or its code"
OTHER_FILE = "its table was made from another file"


@dataclass(frozen=True)
class Plan:
    """The parts to fetch, the parts whose table no longer stands, and whether the rest is stale."""

    decisions: Sequence[Decision] = ()
    probes: Mapping[Part, Probe] = field(default_factory=dict)
    stale: Mapping[Part, str] = field(default_factory=dict)
    rest: str = ""
    strangers: Sequence[str] = ()
    order: Sequence[str] = ()
    """Partitions of file sets in Dagster's order, those that it does not know yet at the end."""
    stages: StageRange = ALL_STAGES
    waiting: Sequence[str] = ()

    def within(self, start: str, end: str) -> Plan:
        """The plan for the partitions `start` to `end` alone; UsageError where there is none."""
        decisions = [d for d in self.decisions if start <= (d.part.partition or "") <= end]
        if not decisions:
            known = sorted(d.part.partition or "" for d in self.decisions)
            raise UsageError(
                f"no partition from {start} to {end}; there are {known[0]} to {known[-1]}"
            )
        return replace(
            self,
            decisions=decisions,
            stale={p: why for p, why in self.stale.items() if start <= (p.partition or "") <= end},
        )

    @property
    def moved(self) -> list[Part]:
        return [decision.part for decision in self.decisions if decision.fetch]

    @property
    def needs_run(self) -> bool:
        return bool(self.moved or self.stale or self.rest)

    @property
    def range_tags(self) -> dict[str, str]:
        """One range over every partition concerned; the unmoved ones inside it short-circuit."""
        return range_tags([*self.moved, *self.stale], self.order)

    def register(self, instance: dg.DagsterInstance, domain: Domain) -> None:
        """Let Dagster know the partitions of files that are new."""
        if self.order:
            name = str(file_partitions(domain.name).name)
            instance.add_dynamic_partitions(name, list(self.order))

    def select(self, graph: BaseAssetGraph[Any], domain: Domain) -> list[dg.AssetKey]:
        """What moved and all below it, of the stages that take part, and what is judged by that.

        A step that makes several assets makes them together.
        """
        moved, stale = {p.source for p in self.moved}, {p.source for p in self.stale}
        roots: set[dg.AssetKey] = set()
        for source in domain.sources.values():
            if source.full_name in moved:
                roots.add(asset_keys.raw_key(source))
            elif source.full_name in stale:
                is_judged = Stage.VALIDATED in self.stages
                roots.add(
                    asset_keys.validated_key(source) if is_judged else asset_keys.table_key(source)
                )
        chosen = roots if self.stages.is_single else _below(graph, roots)
        chosen = chosen | _judged_by(graph, chosen)
        chosen = chosen | (_rest(graph, domain) if self.rest else set())
        return sorted(key for key in chosen if asset_keys.stage_of(domain, key) in self.stages)

    def observe(self, instance: dg.DagsterInstance, domain: Domain) -> None:
        """Record each contact that fetches nothing; a fetch leaves its own event."""
        kept = replace(self, decisions=[d for d in self.decisions if not d.fetch])
        for observation in kept.observations(domain):
            instance.report_runless_asset_event(observation)

    def observations(self, domain: Domain) -> list[dg.AssetObservation]:
        """What each remote said, as events of the raw assets."""
        return [
            dg.AssetObservation(
                asset_keys.raw_key(domain.sources[decision.part.source.name]),
                partition=decision.part.partition,
                metadata=_seen(decision, self.probes[decision.part]),
            )
            for decision in self.decisions
            if decision.part in self.probes
        ]

    def lines(self) -> list[str]:
        return [*map(str, self.decisions), *self._other()]

    def _other(self) -> list[str]:
        stale = [f"{part}: {why}" for part, why in self.stale.items()]
        unasked = [] if self.stages.contacts_remotes else [f"{self.stages}: no remote is asked"]
        rest = [self.rest] if self.rest else []
        return [*unasked, *stale, *rest, *self.strangers, *self.waiting]

    def news(self) -> list[str]:
        """The same without what is up to date, which is only counted."""
        told = [str(d) for d in self.decisions if d.fetch or d.reason is Reason.PINNED]
        others = Counter(d.reason for d in self.decisions if str(d) not in told)
        held, count = others.pop(Reason.HELD, 0), len(self.decisions)
        kept = (
            [f"{others.total()} of {count} files are up to date"]
            if self.stages.contacts_remotes
            else []
        )
        spared = [f"{held} of {count} files are held and not asked for"] if held else []
        return [*told, *kept, *spared, *self._other()]

    def as_dict(self) -> dict[str, Any]:
        return {
            "decisions": [decision.model_dump(mode="json") for decision in self.decisions],
            "stale": {str(part): why for part, why in self.stale.items()},
            "rest": self.rest,
            "strangers": list(self.strangers),
            "waiting": list(self.waiting),
            "stages": [stage.value for stage in self.stages],
        }


def range_tags(parts: Sequence[Part], order: Sequence[str] = ()) -> dict[str, str]:
    """The tags that make a run one over the partitions from the first to the last of `parts`.

    They are ordered as they read, unless `order` says otherwise.
    """
    found = sorted({part.partition for part in parts if part.partition})
    if order:
        found.sort(key=list(order).index)
    return {RANGE_START: found[0], RANGE_END: found[-1]} if found else {}


def file_order(
    instance: dg.DagsterInstance, domain: Domain, parts: Sequence[Part]
) -> Sequence[str]:
    """The partitions of the domain's file sets: those that Dagster knows, then the new ones."""
    sets = {s.full_name for s in domain.sources.values() if isinstance(s.partitions, Files)}
    if not sets:
        return ()
    known = instance.get_dynamic_partitions(str(file_partitions(domain.name).name))
    found = sorted({p.partition for p in parts if p.source in sets and p.partition})
    return [*known, *(partition for partition in found if partition not in known)]


def make_plan(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    domain: Domain,
    sources: Sequence[Source],
    *,
    now: datetime,
    options: RunOptions = DEFAULT_OPTIONS,
) -> Plan:
    """Ask every remote at once and compare with what stands.

    Where changes are accepted, a file that was refused as a table is one to take. A run that begins
    below the raw files asks nothing: what is above is taken as it stands.
    """
    if not options.stages.contacts_remotes:
        return _resumed(instance, place, domain, sources, options)
    waiting = (
        [] if options.stages.publishes else [s for s in sources if prerequisites.waits(place, s)]
    )
    sources = [source for source in sources if source not in waiting]
    states = read_sources(instance, sources)
    wanted = [
        (source, part)
        for source in sources
        for part in all_parts(place.resolver, source, now, known=states[source.name].fetches)
    ]
    decisions, probes = _decided(place, states, wanted, now, options)
    moved = {decision.part for decision in decisions if decision.fetch}
    unmoved = [(source, part) for source, part in wanted if part not in moved]
    return Plan(
        decisions,
        probes,
        _stale(place, states, unmoved, options),
        _stale_rest(instance, place, domain) if options.stages.publishes else "",
        strangers=[
            told for source in sources for told in unrecognized_files(place.resolver, source)
        ],
        order=file_order(instance, domain, [part for _, part in wanted]),
        stages=options.stages,
        waiting=[prerequisites.told_waiting(source) for source in waiting],
    )


def _decided(
    place: ProjectContext,
    states: Mapping[str, SourceState],
    wanted: Sequence[tuple[Source, Part]],
    now: datetime,
    options: RunOptions,
) -> tuple[list[Decision], Mapping[Part, Probe]]:
    """What is to become of each part, and the answers of the remotes that were asked."""
    asked = asked_of(place, states, wanted, skip_existing=options.skip_existing)
    probes = probes_of(place, asked.files, now=now, max_retries=options.max_retries)
    jobs = jobs_of(place, states, asked.files, probes, force=options.force_refresh, now=now)
    decisions = [job.decision for job in (*asked.held, *jobs)]
    decisions += decisions_of(place, states, asked.rows, force=options.force_refresh, now=now)
    return decisions, probes


def _resumed(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    domain: Domain,
    sources: Sequence[Source],
    options: RunOptions,
) -> Plan:
    """The plan of a run over what was ever fetched."""
    states = read_sources(instance, sources)
    parts = [
        (source, source.part(partition))
        for source in sources
        for partition in states[source.name].parts
    ]
    has_rest = options.stages.publishes or Stage.MARTS in options.stages
    return Plan(
        stale=_stale(place, states, parts, options),
        rest=_stale_rest(instance, place, domain) if has_rest else "",
        order=file_order(instance, domain, [part for _, part in parts]),
        stages=options.stages,
    )


def _stale(
    place: ProjectContext,
    states: Mapping[str, SourceState],
    parts: Sequence[tuple[Source, Part]],
    options: RunOptions,
) -> dict[Part, str]:
    """The parts whose table no longer stands, each with the reason."""
    found = {}
    for source, part in parts:
        state = states[source.name]
        why = _why_accepted(state, part) if options.accept_changes else ""
        if why := why or next(_why_stale(place, source, state, part, options.stages), ""):
            found[part] = why
    return found if {Stage.VALIDATED, Stage.TABLE} & set(options.stages) else {}


def _why_accepted(state: SourceState, part: Part) -> str:
    table = state.tables.get(part.partition)
    return "its refused file is accepted" if table and table.fault else ""


def _why_stale(
    place: ProjectContext, source: Source, state: SourceState, part: Part, stretch: StageRange
) -> Iterator[str]:
    """Why a part does not stand as far as the stages go; nothing where it was never fetched."""
    fetch = state.fetches.get(part.partition)
    valid, table = state.validated.get(part.partition), state.tables.get(part.partition)
    if fetch is None:
        return
    if Stage.TABLE in stretch:
        yield from _why_no_table(place, source, valid, table)
    if Stage.VALIDATED in stretch and not _is_judged(fetch, valid):
        yield "its newest file is not validated" if table is None else OTHER_FILE


def _why_no_table(
    place: ProjectContext, source: Source, valid: ValidationResult | None, table: TableResult | None
) -> Iterator[str]:
    """Why the table is not that of the file that was validated."""
    if valid is None or table is None:
        yield "no table was made of it yet"
        return
    if not (place.home.root / table.table.path).exists():
        yield "its table is missing"
    if table.table.code_version != tabulate.code_version(source):
        yield "its table was made by other code"
    used = valid.file.sha256 if valid.file else ""
    if used not in {table.table.source_sha256, table.refused_sha256}:
        yield OTHER_FILE


def _is_judged(fetch: FetchResult, valid: ValidationResult | None) -> bool:
    """Whether the verdict that stands is on the newest download."""
    if valid is None:
        return False
    raw = fetch.file.sha256 if fetch.file else ""
    is_released = fetch.file and fetch.file.verdict and fetch.file.verdict.accepted
    return raw in {
        valid.file.sha256 if valid.file else "",
        valid.verdict.sha256 if valid.verdict and not is_released else "",
    }


def _stale_rest(instance: dg.DagsterInstance, place: ProjectContext, domain: Domain) -> str:
    """Why models and documents are looked at though no table moved; empty where they stand."""
    record = latest(instance, asset_keys.published_key(domain), PublishedSet)
    published = run_directory.published_directory(place.home, domain.name)
    if record is None or published is None:
        no_record = "the event log does not know what is published"
        return no_record if published else "nothing is published yet"
    if record.code_version != place.code_version(domain):
        is_mixed = record.code_version == MIXED
        return OLDER_MODELS if is_mixed else "the code or a declaration changed"
    if not dbt.is_warehouse_complete(place.home, domain.name):
        return "the last build was cut off, or its warehouse is damaged"
    if record.tables != read_tables(instance, domain)[1]:
        return "what is published was made from other tables"
    found = {p.stem: hash_file(p) for p in (published / MARTS).glob("*.parquet")}
    if found != record.marts:
        return "what is published is not what was recorded"
    return ""


def _below(graph: BaseAssetGraph[Any], roots: AbstractSet[dg.AssetKey]) -> set[dg.AssetKey]:
    """The roots with everything below them."""
    if not roots:
        return set()
    below = dg.AssetSelection.assets(*roots).downstream().required_multi_asset_neighbors()
    return set(below.resolve(graph))


def _judged_by(graph: BaseAssetGraph[Any], chosen: AbstractSet[dg.AssetKey]) -> set[dg.AssetKey]:
    """The assets with a check that reads one of the chosen too: its verdict may be another now."""
    return {
        check.asset_key
        for check in graph.asset_check_keys
        if not chosen.isdisjoint(graph.get(check).parent_entity_keys)
    }


def _rest(graph: BaseAssetGraph[Any], domain: Domain) -> set[dg.AssetKey]:
    """The domain's models, seeds too, and documents."""
    whole = dg.AssetSelection.groups(domain.name).resolve(graph)
    of_sources = {
        key(source)
        for source in domain.sources.values()
        for key in (asset_keys.raw_key, asset_keys.validated_key, asset_keys.table_key)
    }
    return set(whole) - of_sources


def _seen(decision: Decision, probe: Probe) -> dict[str, Any]:
    known = probe.validators
    shown = {
        "reason": decision.reason.value,
        "probed_at": probe.probed_at.isoformat(),
        "fault": probe.fault,
        "etag": known.etag if known else None,
        "size_bytes": known.size_bytes if known else None,
        "last_modified": known.last_modified.isoformat() if known and known.last_modified else None,
    }
    return {name: value for name, value in shown.items() if value is not None}

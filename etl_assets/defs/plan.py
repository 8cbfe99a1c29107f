"""What a run would do: which files moved, which outputs are not current, what is below them.

Shared by `etl run` and the sensors. Probing and deciding is `etl_assets.defs.fetch_plan`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Files, Source
from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.event_log import PROBED_AT, SourceState
from etl_assets.defs.fetch_plan import open_fetcher, parts_of_sources, unrecognized_files
from etl_assets.defs.models.state import (
    is_full_build_due,
    is_warehouse_current,
    last_moments,
    read_tables,
)
from etl_assets.marts import dbt
from etl_assets.model.errors import HomeError, UsageError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    MIXED,
    Decision,
    FetchResult,
    Part,
    Probe,
    PublishedSet,
    RawFile,
    Reason,
    TableResult,
    ValidationResult,
)
from etl_assets.model.run_log import Kind, LogLine
from etl_assets.model.run_manifest import MANIFEST_FILE
from etl_assets.model.run_options import ALL_STAGES, DEFAULT_OPTIONS, RunOptions, Stage, StageRange
from etl_assets.publish import chain, openpgp, run_directory, set_index
from etl_assets.storage.signatures import Signatures, open_signatures
from etl_assets.tables import tabulate

if TYPE_CHECKING:
    # `resolve_asset_graph` is public, but the type that it returns has no public name.
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
OLDER_MODELS = "some of what is published is older than its tables or its code"
NEWS_WITHOUT_FETCH = frozenset({Reason.PINNED, Reason.OFF})
NOT_AS_RECORDED = "what is published is not what was recorded"
OTHER_FILE = "its table was made from another file"


@dataclass(frozen=True)
class Plan:
    """The partitions to fetch, those whose table is not current, and whether models are stale."""

    decisions: Sequence[Decision] = ()
    probes: Mapping[Part, Probe] = field(default_factory=dict)
    stale: Mapping[Part, str] = field(default_factory=dict)
    rest: str = ""
    """Why models and documents are made although no table moved; empty if they are current."""
    unrecognized: Sequence[str] = ()
    file_order: Sequence[str] = ()
    """Partitions of file sets in Dagster's order, the new ones at the end."""
    stages: StageRange = ALL_STAGES
    waiting: Sequence[str] = ()

    def within(self, start: str, end: str) -> Plan:
        """Return the plan for the partitions `start` to `end`; UsageError if there are none."""
        require_partitions([d.part.partition or "" for d in self.decisions], start, end)
        decisions = [d for d in self.decisions if start <= (d.part.partition or "") <= end]
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
        """Return the tags of one range over every partition concerned; none without partitions.

        The unmoved partitions inside the range do no work. All partitions of a domain are of one
        kind: years, or files in Dagster's order.
        """
        parts = [*self.moved, *self.stale]
        partitions = sorted({part.partition for part in parts if part.partition})
        if self.file_order:
            partitions.sort(key=list(self.file_order).index)
        return {RANGE_START: partitions[0], RANGE_END: partitions[-1]} if partitions else {}

    def add_new_files(self, session: DomainSession) -> None:
        """Add the partitions of new files to Dagster."""
        name = asset_keys.file_partitions_name(session.domain.name)
        session.event_log.add_dynamic_partitions(name, self.file_order)

    def select(self, graph: BaseAssetGraph[Any], domain: Domain) -> list[dg.AssetKey]:
        """Return what moved, everything below it, and what is checked against it.

        Only assets of the plan's stages are selected. A step that makes several assets at once is
        selected as a whole.
        """
        moved_sources = {part.source for part in self.moved}
        stale_sources = {part.source for part in self.stale}
        selected: set[dg.AssetKey] = set()
        for source in domain.sources.values():
            if source.full_name in moved_sources:
                selected.add(asset_keys.raw_key(source))
            elif source.full_name in stale_sources and Stage.VALIDATED in self.stages:
                selected.add(asset_keys.validated_key(source))
            elif source.full_name in stale_sources:
                selected.add(asset_keys.table_key(source))
        if not self.stages.is_single:
            selected = _with_downstream(graph, selected)
        selected |= _checked_against(graph, selected)
        if self.rest:
            selected |= _models_and_documents(graph, domain)
        return sorted(key for key in selected if asset_keys.stage_of(domain, key) in self.stages)

    def observe(self, session: DomainSession) -> None:
        """Record each answer that leads to no fetch and is news; a fetch records itself.

        Such events belong to no run, and Dagster cannot delete them: one for every probe of a file
        that is up to date would be all that a home consists of.
        """
        unmoved = [d for d in self.decisions if not d.fetch and d.reason is not Reason.UP_TO_DATE]
        for observation in replace(self, decisions=unmoved).observations(session.domain):
            last = session.event_log.last_observation(observation.asset_key, observation.partition)
            if last is None or _answer(last) != _answer(observation):
                session.event_log.report(observation)

    def observations(self, domain: Domain) -> list[dg.AssetObservation]:
        """Return what each remote answered, as events of the raw assets."""
        return [
            dg.AssetObservation(
                asset_keys.raw_key(domain.sources[decision.part.source.name]),
                partition=decision.part.partition,
                metadata=_probe_metadata(decision, self.probes[decision.part]),
            )
            for decision in self.decisions
            if decision.part in self.probes
        ]

    def lines(self) -> list[str]:
        return [*map(str, self.decisions), *self._other_lines()]

    def news(self) -> list[str]:
        """Return the same lines without what is up to date, which is only counted."""
        news = [d for d in self.decisions if d.fetch or d.reason in NEWS_WITHOUT_FETCH]
        lines: list[str] = [_decision_line(decision) for decision in news]
        reasons = Counter(d.reason for d in self.decisions if str(d) not in lines)
        skipped, count = reasons.pop(Reason.ALREADY_STORED, 0), len(self.decisions)
        unpublished = reasons.pop(Reason.NOT_YET_PUBLISHED, 0)  # there is no file to be up to date
        if self.stages.contacts_remotes:
            lines.append(f"{reasons.total()} of {count} files are up to date")
        if unpublished:
            lines.append(f"{unpublished} of {count} files are not yet published")
        if skipped:
            lines.append(f"{skipped} of {count} files are stored and were not probed")
        return [*lines, *self._other_lines()]

    def as_dict(self) -> dict[str, Any]:
        return {
            "decisions": [decision.model_dump(mode="json") for decision in self.decisions],
            "stale": {str(part): why for part, why in self.stale.items()},
            "rest": self.rest,
            "strangers": list(self.unrecognized),
            "waiting": list(self.waiting),
            "stages": [stage.value for stage in self.stages],
        }

    def _other_lines(self) -> list[str]:
        lines: list[str] = []
        if not self.stages.contacts_remotes:
            lines.append(f"{self.stages}: no remote is probed")
        lines += [_stale_line(part, why) for part, why in self.stale.items()]
        if self.rest:
            lines.append(self.rest)
        return [*lines, *self.unrecognized, *self.waiting]


def _stale_line(part: Part, why: str) -> LogLine:
    return LogLine(
        f"{part}: {why}",
        domain=part.source.domain,
        source=str(part),
        stage=Stage.TABLE.value,
        decision="tabulate",
        reason=why,
    )


def _decision_line(decision: Decision) -> LogLine:
    return LogLine(
        str(decision),
        Kind.WARNING if decision.reason is Reason.PROBE_FAILED else Kind.PROGRESS,
        domain=decision.part.source.domain,
        source=str(decision.part),
        stage=Stage.RAW.value,
        decision="fetch" if decision.fetch else "keep",
        reason=f"{decision.reason.value} {decision.detail}".strip(),
    )


def require_partitions(partitions: Sequence[str], start: str, end: str) -> None:
    """Raise UsageError if none of the partitions is from `start` to `end`."""
    if not any(start <= partition <= end for partition in partitions):
        first, last = min(partitions), max(partitions)
        raise UsageError(f"no partition from {start} to {end}; there are {first} to {last}")


def tags_of_all_partitions(session: DomainSession, now: datetime) -> dict[str, str]:
    """Return the tags of a run over every partition, and add new files to Dagster."""
    sources, states = session.domain.sources.values(), session.read_sources()
    parts = [part for _, part in parts_of_sources(session.project, sources, states, now)]
    plan = Plan(stale=dict.fromkeys(parts, ""), file_order=file_order(session, parts))
    plan.add_new_files(session)
    return plan.range_tags


def file_order(session: DomainSession, parts: Sequence[Part]) -> Sequence[str]:
    """Return the partitions of the domain's file sets: those that Dagster has, then new ones."""
    sources = session.domain.sources.values()
    file_sets = {s.full_name for s in sources if isinstance(s.partitions, Files)}
    if not file_sets:
        return ()
    existing = session.event_log.dynamic_partitions(
        asset_keys.file_partitions_name(session.domain.name)
    )
    current = sorted({p.partition for p in parts if p.source in file_sets and p.partition})
    return [*existing, *(partition for partition in current if partition not in existing)]


def make_plan(
    session: DomainSession,
    sources: Sequence[Source],
    *,
    now: datetime,
    options: RunOptions = DEFAULT_OPTIONS,
) -> Plan:
    """Probe every remote concurrently and compare the answers with what is stored.

    With `accept_changes`, a file that was refused as a table counts as moved. A run that begins
    after the raw stage probes nothing, and uses the files that were fetched before.
    """
    project = session.project
    if not options.stages.contacts_remotes:
        return _plan_without_probes(session, sources, options, now)
    # A run that publishes makes the table first, in an earlier wave.
    waiting: list[Source] = []
    if not options.stages.publishes:
        waiting = [source for source in sources if waits_for_table(project, source)]
    sources = [source for source in sources if source not in waiting]
    states = session.event_log.read_sources(sources)
    parts = parts_of_sources(project, sources, states, now)
    # A file with another name may be the one that the operator looks for.
    unrecognized: list[str] = []
    for source in sources:
        unrecognized += unrecognized_files(project, source)
    with _verified_signatures(session) as signatures:
        with open_fetcher(project, now=now, signatures=signatures) as fetcher:
            fetch_plan = fetcher.plan(states, parts, options)
        moved_parts = {decision.part for decision in fetch_plan.decisions if decision.fetch}
        unmoved = [(source, part) for source, part in parts if part not in moved_parts]
        stale = _stale_tables(session, states, unmoved, options, signatures)
        rest = ""
        if options.stages.publishes:
            rest = _why_models_stale(
                session, options, now, signatures, has_new_files=bool(moved_parts)
            )
    return Plan(
        fetch_plan.decisions,
        fetch_plan.probes,
        stale,
        rest,
        unrecognized=unrecognized,
        file_order=file_order(session, [part for _, part in parts]),
        stages=options.stages,
        waiting=[waiting_message(source) for source in waiting],
    )


def _plan_without_probes(
    session: DomainSession, sources: Sequence[Source], options: RunOptions, now: datetime
) -> Plan:
    """Return the plan over the partitions that were ever fetched."""
    states = session.event_log.read_sources(sources)
    parts: list[tuple[Source, Part]] = []
    for source in sources:
        partitions = states[source.name].partitions
        parts += [(source, source.part(key)) for key in partitions]
    with _verified_signatures(session) as signatures:
        stale = _stale_tables(session, states, parts, options, signatures)
        rest = ""
        if options.stages.publishes or Stage.MARTS in options.stages:
            rest = _why_models_stale(session, options, now, signatures, has_new_files=False)
    return Plan(
        stale=stale,
        rest=rest,
        file_order=file_order(session, [part for _, part in parts]),
        stages=options.stages,
    )


@contextmanager
def _verified_signatures(session: DomainSession) -> Iterator[Signatures]:
    """Give the signatures of the domain's files, of which the oldest were hashed again."""
    with open_signatures(session.home.signatures(session.domain.name)) as signatures:
        signatures.hash_oldest(session.domain.retention.rehash_megabytes << 20)
        yield signatures


def waits_for_table(project: ProjectContext, source: Source) -> bool:
    """Return True if the table that a source's requests come from does not exist yet."""
    if source.for_each is None:
        return False
    return not project.home.table_file(source.domain, source.for_each.table, None).exists()


def waiting_message(source: Source) -> str:
    table = source.for_each.table if source.for_each else ""
    return f"{source.full_name}: waits for the table {table}, whose rows it asks for"


def _stale_tables(
    session: DomainSession,
    states: Mapping[str, SourceState],
    parts: Sequence[tuple[Source, Part]],
    options: RunOptions,
    signatures: Signatures,
) -> dict[Part, str]:
    """Return the partitions whose table is not current, each with the reason."""
    if not {Stage.VALIDATED, Stage.TABLE} & set(options.stages):
        return {}
    stale = {}
    for source, part in parts:
        state = states[source.name]
        table = state.tables.get(part.partition)
        if options.accept_changes and table and table.fault:
            stale[part] = "its refused file is accepted"
        elif why := (
            _why_table_stale(source, state, part, options.stages)
            or _why_table_differs(session.home, table, options.stages, signatures)
        ):
            stale[part] = why
    return stale


def _why_table_differs(
    home: Home, result: TableResult | None, stages: StageRange, signatures: Signatures
) -> str:
    """Return which file of a table is not what was written, and how; empty if none is."""
    if result is None or Stage.TABLE not in stages:
        return ""
    for path, sha256 in result.table.files.items():
        what = "table" if path == result.table.path else "file of rejects"
        if not (home.root / path).exists():
            return f"its {what} is missing"
        if not signatures.has_digest(home.root / path, sha256):
            return f"its {what} is not what was written"
    return ""


def _why_table_stale(source: Source, state: SourceState, part: Part, stages: StageRange) -> str:
    """Return why a partition is not current as far as the stages go; empty if it is."""
    fetch = state.fetches.get(part.partition)
    validation, table = state.validated.get(part.partition), state.tables.get(part.partition)
    if fetch is None:
        return ""
    if Stage.TABLE in stages and (why := _why_not_tabulated(source, validation, table)):
        return why
    if Stage.VALIDATED in stages and not _is_validated(fetch, validation):
        return "its newest file is not validated" if table is None else OTHER_FILE
    return ""


def _why_not_tabulated(
    source: Source,
    validation: ValidationResult | None,
    table: TableResult | None,
) -> str:
    """Return why the table is not that of the validated file; empty if it is."""
    if validation is None or table is None:
        return "no table was made of it yet"
    if table.table.code_version != tabulate.code_version(source):
        return "its table was made by other code"
    if _sha256(validation.file) in {table.table.source_sha256, table.refused_sha256}:
        return ""
    return OTHER_FILE


def _is_validated(fetch: FetchResult, validation: ValidationResult | None) -> bool:
    """Return True if the last verdict is on the newest download."""
    if validation is None:
        return False
    file, verdict = fetch.file, validation.verdict
    if _sha256(file) == _sha256(validation.file):
        return True
    # A file that the operator released from quarantine has a refusal, which counts no more.
    is_released = file is not None and file.verdict is not None and bool(file.verdict.accepted)
    if verdict is None or is_released:
        return file is None
    return _sha256(file) == verdict.sha256


def _sha256(file: RawFile | None) -> str:
    return file.sha256 if file else ""


def _why_models_stale(
    session: DomainSession,
    options: RunOptions,
    now: datetime,
    signatures: Signatures,
    *,
    has_new_files: bool,
) -> str:
    """Return why models and documents are made that no new file asks for; else empty."""
    if options.full:
        return "every model is built whole, as requested"
    if chain.read_head(session.home, session.domain.name).new_history:
        return "the operator decided to begin a new history"
    if why := _why_published_set_differs(session, signatures):
        return why
    gate_key = asset_keys.gate_key(session.domain)
    gate = session.event_log.latest_checks([gate_key]).get(gate_key)
    if gate and not gate.passed:
        return "the gate refused the last candidate, and judges it again"
    as_of = options.as_of or now
    # Without a new file a build would only repeat the last one.
    if has_new_files and is_full_build_due(session, as_of):
        return "every model is built whole from time to time, to compare it"
    return _why_moments_pass(session, as_of)


def _why_moments_pass(session: DomainSession, as_of: datetime) -> str:
    moments = last_moments(session)
    if moments and moments.next_moment and moments.next_moment <= as_of:
        return f"{moments.next_moment.isoformat()} has passed, at which a decision changes"
    return ""


def _why_published_set_differs(session: DomainSession, signatures: Signatures) -> str:
    """Return how the published set differs from what the event log records; else empty."""
    domain = session.domain
    record = session.event_log.latest_record(asset_keys.published_key(domain), PublishedSet)
    published = session.published_directory()
    if published is None:
        return "nothing is published yet" if record is None else "the published set is gone"
    if record is None:
        return "the event log does not know what is published"
    if record.code_version != session.code_version:
        is_mixed = record.code_version == MIXED
        return OLDER_MODELS if is_mixed else "the code or a declaration changed"
    warehouse = session.home.warehouse(domain.name)
    # The published set names the warehouse too, which saves reading dbt's manifest.
    is_same = signatures.has_digest(warehouse, record.warehouse_sha256)
    is_same &= dbt.is_warehouse_complete(session.home, domain.name)
    if not is_same and not is_warehouse_current(session, signatures):
        return "the last build was cut off, or the warehouse is not what it wrote"
    if record.tables != read_tables(session)[1]:
        return "what is published was made from other tables"
    return _why_published_files_differ(session, published, record, signatures)


def _why_published_files_differ(
    session: DomainSession, published: Path, record: PublishedSet, signatures: Signatures
) -> str:
    """Return how the files differ, by their bytes; anybody can edit or remove them."""
    manifest_file = published / MANIFEST_FILE
    key = session.project.signing_key
    if record.signing_key != (key.fingerprint if key else None):
        return "the set is not signed with the key of the settings"
    if key and not openpgp.has_signed_sums(published, key):
        return f"{NOT_AS_RECORDED}: {run_directory.SUMS_SIGNATURE}"
    if record.link is None or not signatures.has_digest(manifest_file, record.link.manifest_sha256):
        return f"{NOT_AS_RECORDED}: {MANIFEST_FILE}"
    try:
        files = set_index.read_index(published, run_directory.read_manifest(published))
        sums = run_directory.read_sums(published)
    except HomeError as error:
        return f"{NOT_AS_RECORDED}: {error}"
    # The sums are of the report too; those of the other files must be those of the index.
    digests = sums | {file.file: file.sha256 for file in files}
    altered = [
        name for name in digests if not signatures.has_digest(published / name, digests[name])
    ]
    if digests != sums:
        altered.append(run_directory.SUMS_FILE)
    if altered:
        return f"{NOT_AS_RECORDED}: {altered[0]}, {len(altered):,} of {len(digests):,} files"
    return ""


def _with_downstream(
    graph: BaseAssetGraph[Any], keys: AbstractSet[dg.AssetKey]
) -> set[dg.AssetKey]:
    if not keys:
        return set()
    # A step that may not be subset fails if the run selects a part of its assets.
    below = dg.AssetSelection.assets(*keys).downstream().required_multi_asset_neighbors()
    return set(below.resolve(graph))


def _checked_against(
    graph: BaseAssetGraph[Any], keys: AbstractSet[dg.AssetKey]
) -> set[dg.AssetKey]:
    """Return the assets with a check that reads one of `keys` too: its result may change."""
    return {
        check.asset_key
        for check in graph.asset_check_keys
        if not keys.isdisjoint(graph.get(check).parent_entity_keys)
    }


def _models_and_documents(graph: BaseAssetGraph[Any], domain: Domain) -> set[dg.AssetKey]:
    """Return the domain's models, seeds included, and its published assets."""
    keys = dg.AssetSelection.key_prefixes([domain.name]).resolve(graph)
    later = {Stage.MARTS, Stage.PUBLISH}
    return {key for key in keys if asset_keys.stage_of(domain, key) in later}


def _answer(observation: dg.AssetObservation) -> dict[str, Any]:
    """Return what a probe found, without its time."""
    entries = {name: value.value for name, value in observation.metadata.items()}
    return {name: value for name, value in entries.items() if name != PROBED_AT}


def _probe_metadata(decision: Decision, probe: Probe) -> dict[str, Any]:
    entries: dict[str, Any] = {
        "reason": decision.reason.value,
        PROBED_AT: probe.probed_at.isoformat(),
        "fault": probe.fault,
    }
    if remote := probe.validators:
        entries["etag"] = remote.etag
        entries["size_bytes"] = remote.size_bytes
        entries["last_modified"] = (
            remote.last_modified.isoformat() if remote.last_modified else None
        )
    return {name: value for name, value in entries.items() if value is not None}

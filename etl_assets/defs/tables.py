"""The table assets: of each source, the rows that hold under its contract.

A file that cannot become a table leaves the last table standing; reading rows is `tables.tabulate`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import fetch_order
from etl_assets.declarations.source import Files, Source
from etl_assets.defs import asset_keys, partial_runs, run_context, specs
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.domain_lock import domain_lock
from etl_assets.defs.event_log import SourceState, read_sources
from etl_assets.defs.materialize import CheckFailure, PartOutcome, digest_of, parts_of, results
from etl_assets.defs.preview import preview
from etl_assets.fetch import raw_store
from etl_assets.model.errors import ContentError
from etl_assets.model.records import OperatorDecision, Part, RawFile, Table, TableResult
from etl_assets.storage.user import current_user
from etl_assets.tables import tabulate
from etl_assets.tables.tabulate import ShrinkOverride

CHECK = "contract"
ACCEPTED = "--accept-changes"


class TablesConfig(dg.Config):
    """What a person may say to this step at launch."""

    accept_changes: bool = False


def build_tables(domain: Domain, place: ProjectContext, wave: int = 0) -> dg.AssetsDefinition:
    """One step that reads the domain's validated files under their contracts."""
    sources = fetch_order(domain.sources)[wave]

    @dg.multi_asset(
        hooks={run_context.failure_hook(place, domain), partial_runs.success_hook(place, domain)},
        name=asset_keys.step_name(domain, "tables", wave),
        specs=[specs.table_spec(domain, s, tabulate.code_version(s)) for s in sources],
        check_specs=[_check_spec(source) for source in sources],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    @domain_lock(place, domain)
    def tables(
        context: dg.AssetExecutionContext, config: TablesConfig, duckdb: DuckDBResource
    ) -> Iterator[Any]:
        lacking: list[str] = []
        states = read_sources(context.instance, sources)
        for source in sources:
            if asset_keys.table_key(source) not in context.selected_asset_keys:
                continue
            outcomes = _tabulate_source(
                context, place, source, states[source.name], accept=config.accept_changes
            )
            shown = _previews(duckdb, place, source, outcomes)
            beside = [
                _complaint(source, record)
                for partition, record in states[source.name].tables.items()
                if partition not in outcomes
            ]
            yield from results(context, asset_keys.table_key(source), CHECK, shown, beside=beside)
            lacking += _lacking(source, states[source.name], outcomes)
        if lacking:
            raise dg.Failure(
                f"required and no table was ever made: {', '.join(lacking)}", allow_retries=False
            )

    return tables


def _check_spec(source: Source) -> dg.AssetCheckSpec:
    return specs.check_spec(
        CHECK,
        asset_keys.table_key(source),
        "The newest file's rows hold under the contract: at most "
        f"{source.contract.max_rejected_pct:g} % rejected, and it did not shrink.",
    )


def _tabulate_source(
    context: dg.AssetExecutionContext,
    place: ProjectContext,
    source: Source,
    state: SourceState,
    *,
    accept: bool,
) -> dict[str | None, PartOutcome]:
    outcomes = {}
    for partition in parts_of(context, source, state.fetches):
        part = source.part(partition)
        outcomes[partition] = _tabulate(place, source, part, state, accept=accept)
        place.say(f"{part}: {_told(outcomes[partition])}")
    return outcomes


def _previews(
    duckdb: DuckDBResource,
    place: ProjectContext,
    source: Source,
    outcomes: Mapping[str | None, PartOutcome],
) -> Mapping[str | None, PartOutcome]:
    """The same with a few rows to look at; parts of one table would all look alike."""
    if source.partitions is not None:
        return outcomes
    file = place.home.table_file(source.domain, source.name, None)
    return {
        part: replace(outcome, people={**outcome.people, "preview": preview(duckdb, file)})
        for part, outcome in outcomes.items()
    }


def _tabulate(
    place: ProjectContext, source: Source, part: Part, state: SourceState, *, accept: bool
) -> PartOutcome:
    validated, last = state.validated.get(part.partition), state.tables.get(part.partition)
    version = tabulate.code_version(source)
    file = validated.file if validated else None
    if last and _stands(place, last, file, version) and not (accept and last.fault):
        return outcome_of(source, _without_old_fault(last, file), reused=True)
    if file is None:
        table = tabulate.empty_table(place.home, source, part, code_version=version)
        return outcome_of(source, TableResult(part=part, table=table), reused=False)
    decision = OperatorDecision(
        sha256=file.sha256, by=current_user(), why=ACCEPTED, at=datetime.now(UTC)
    )
    fetch = state.fetches.get(part.partition)
    override = ShrinkOverride(source, fetch, last, file, decision=decision if accept else None)
    try:
        table = tabulate.tabulate(
            place.home,
            source,
            part,
            raw_store.stored_path(place.home, file),
            file.sha256,
            code_version=version,
            previous=override.previous,
            accept_shrink=override.may_shrink,
        )
    except ContentError as error:
        table, fault = _standing_table(place, source, part, last), f"{error}{override.advice}"
        record = TableResult(part=part, table=table, fault=fault, refused_sha256=file.sha256)
    else:
        dated = table.content_at or file.last_modified
        record = TableResult(part=part, table=table.model_copy(update={"content_at": dated}))
    return outcome_of(source, override.add_to(record), reused=False)


def _stands(place: ProjectContext, last: TableResult, file: RawFile | None, version: str) -> bool:
    """Whether the last table was made from this file by this code, and is still there."""
    wanted = file.sha256 if file else ""
    tried = {last.table.source_sha256, last.refused_sha256}
    present = (place.home.root / last.table.path).exists()
    return wanted in tried and last.table.code_version == version and present


def _without_old_fault(last: TableResult, file: RawFile | None) -> TableResult:
    """A refusal counts while its file is the newest; it is over when the table's own is back."""
    if file is None or file.sha256 != last.table.source_sha256:
        return last
    return last.model_copy(update={"fault": None, "refused_sha256": None})


def _standing_table(
    place: ProjectContext, source: Source, part: Part, last: TableResult | None
) -> Table:
    """The last table; one without rows where there is none."""
    if last is not None and (place.home.root / last.table.path).exists():
        return last.table
    version = tabulate.code_version(source)
    return tabulate.empty_table(place.home, source, part, code_version=version)


def outcome_of(source: Source, record: TableResult, *, reused: bool) -> PartOutcome:
    """How the materialization of one part looks, and what its check has to say."""
    table = record.table
    accepted = [str(ruling) for ruling in record.accepted]
    return PartOutcome(
        record=record,
        version=digest_of(table.sha256),
        reused=reused,
        people={
            "dagster/row_count": table.rows,
            "path": table.path,
            "sha256": table.sha256,
            "records": table.records,
            "rejected": table.rejected,
            "duplicates": table.duplicates,
            "rejects": dg.MetadataValue.json(table.rejects_by_rule)
            if table.rejects_by_rule
            else None,
            "rejects_path": table.rejects_path,
            "unknown_fields": ", ".join(table.unknown_fields) or None,
            "unknown_values": dg.MetadataValue.json(table.unknown_values)
            if table.unknown_values
            else None,
            "accepted_changes": dg.MetadataValue.json(accepted) if accepted else None,
        },
        complaint=_complaint(source, record),
    )


def _complaint(source: Source, record: TableResult) -> CheckFailure | None:
    table = record.table
    if record.fault:
        stands = "the last table stands" if table.source_sha256 else "no table was ever made of it"
        return CheckFailure(f"{record.part}: {record.fault}; {stands}")
    warned = []
    if table.rejected:
        rules = ", ".join(f"{count} by {rule}" for rule, count in table.rejects_by_rule.items())
        warned.append(f"{table.rejected} of {table.records} records rejected ({rules})")
    if table.duplicates:
        wanted = "newer" if source.contract.duplicates == "keep_newest" else "later"
        warned.append(f"{table.duplicates} rows set aside for a {wanted} one of the same key")
    if table.unknown_fields and source.contract.unknown_fields == "evolve":
        warned.append(f"unknown fields: {', '.join(table.unknown_fields)}")
    warned += [
        f"{sum(values.values())} values of {column} are not among the known ones: "
        + ", ".join(f"{value!r} ({count})" for value, count in values.items())
        for column, values in table.unknown_values.items()
    ]
    if not warned:
        return None
    told = [f"{record.part}: {'; '.join(warned)}", *table.first_rejects]
    if table.first_rejects and (more := table.rejected - len(table.first_rejects)):
        told.append(f"and {more:,} more")
    return CheckFailure("\n".join(told), dg.AssetCheckSeverity.WARN)


def _lacking(
    source: Source, state: SourceState, outcomes: Mapping[str | None, PartOutcome]
) -> list[str]:
    """A required source whose first file was refused has no table worth reading.

    A set of files has one where any of its files has.
    """
    made = {part: o.record for part, o in outcomes.items() if isinstance(o.record, TableResult)}
    held = [record.table.source_sha256 for record in {**state.tables, **made}.values()]
    if not source.required or (isinstance(source.partitions, Files) and any(held)):
        return []
    return [
        f"{record.part}: {record.fault or 'no file'}"
        for record in made.values()
        if not record.table.source_sha256
    ]


def _told(outcome: PartOutcome) -> str:
    record = outcome.record
    table: Table = record.table if isinstance(record, TableResult) else None  # type: ignore[assignment]
    return f"{table.rows:,} rows" + (f", {table.rejected:,} rejected" if table.rejected else "")

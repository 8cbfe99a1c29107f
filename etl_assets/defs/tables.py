"""The table assets: of each source, the rows that satisfy its contract.

If a file cannot become a table, the last table is kept; reading rows is `etl_assets.tables`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import fetch_order
from etl_assets.declarations.source import Files, Source
from etl_assets.defs import asset_keys, specs
from etl_assets.defs.context import ProjectContext, domain_lock, run_options, takes_options
from etl_assets.defs.event_log import EventLog, SourceState
from etl_assets.defs.finish_run import run_hooks
from etl_assets.defs.materialize import (
    CheckFailure,
    PartOutcome,
    SourceCheck,
    check_specs,
    digest_texts,
    evaluate_check,
    materializations,
    selected_partitions,
)
from etl_assets.defs.pages.columns import table_lineage
from etl_assets.defs.specs import preview
from etl_assets.fetch import raw_store
from etl_assets.model.errors import ContentError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    FetchResult,
    OperatorDecision,
    Part,
    RawFile,
    Table,
    TableResult,
)
from etl_assets.model.run_log import LogLine
from etl_assets.model.run_options import Stage
from etl_assets.storage.signatures import Signatures
from etl_assets.storage.user import current_user
from etl_assets.tables import tabulate
from etl_assets.tables.tabulate import ShrinkOverride

ACCEPT_OPTION = "--accept-changes"
SHOWN_VALUES = 3  # of those that are not read as they are, in the progress; the check shows more


@takes_options(Stage.TABLE)
class TablesConfig(dg.Config):
    """The options of `etl run` that this step takes."""


def build_tables(domain: Domain, project: ProjectContext, wave: int = 0) -> dg.AssetsDefinition:
    """Return the step that reads the domain's validated files under their contracts."""
    sources = fetch_order(domain.sources)[wave]
    checks: list[dg.AssetCheckSpec] = []
    for source in sources:
        checks += check_specs(source, asset_keys.table_key(source), CHECKS)

    @dg.multi_asset(
        hooks=run_hooks(project, domain),
        name=asset_keys.step_name(domain, "tables", wave),
        specs=[
            specs.table_spec(domain, s, tabulate.code_version(s), project.settings.domains_dir)
            for s in sources
        ],
        check_specs=checks,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    @domain_lock(project, domain, Stage.TABLE)
    def tables(
        context: dg.AssetExecutionContext, config: TablesConfig, duckdb: DuckDBResource
    ) -> Iterator[Any]:
        options = run_options(config)
        missing: list[str] = []
        done = 0
        project.advance("tables", 0, len(sources))
        states = EventLog(context.instance).read_sources(sources)
        signatures = Signatures.load(project.home.signatures(domain.name))
        for source in sources:
            key, state = asset_keys.table_key(source), states[source.name]
            if key not in context.selected_asset_keys:
                continue
            outcomes = {}
            for partition in selected_partitions(context, source, state.fetches):
                part = source.part(partition)
                outcome = _tabulate(
                    project, source, part, state, signatures, accept=options.accept_changes
                )
                for line in _table_lines(part, outcome.record.table):
                    project.say(line)
                outcomes[partition] = outcome
            done += 1
            project.advance("tables", done, len(sources))
            shared = table_lineage(source)
            # The partitions of one table would all show the same rows.
            if source.partitions is None:
                file = project.home.table_file(source.domain, source.name, None)
                shared["preview"] = preview(duckdb, file)
            records = {partition: outcome.record for partition, outcome in outcomes.items()}
            own_missing = _missing_tables(source, state, records)
            yield from materializations(
                context, key, outcomes, failed=own_missing.keys(), shared=shared
            )
            others = {key: table for key, table in state.tables.items() if key not in records}
            for check in CHECKS:
                yield evaluate_check(source, key, check, {**records, **others}, state.fetches)
            missing += own_missing.values()
        if missing:
            raise dg.Failure(
                f"required, and there never was a table: {', '.join(missing)}",
                allow_retries=False,
            )

    return tables


def table_outcome(record: TableResult, *, reused: bool) -> PartOutcome[TableResult]:
    """Return what the materialization of one partition records."""
    table = record.table
    metadata: dict[str, Any] = {
        "dagster/row_count": table.rows,
        "path": table.path,
        "sha256": table.sha256,
        "records": table.records,
        "rejected": table.rejected,
        "duplicates": table.duplicates,
    }
    if table.rejects_by_rule:
        metadata["rejects"] = dg.MetadataValue.json(table.rejects_by_rule)
    metadata["rejects_path"] = table.rejects_path
    metadata["unknown_fields"] = ", ".join(table.unknown_fields) or None
    if table.unknown_values:
        metadata["unknown_values"] = dg.MetadataValue.json(table.unknown_values)
    if table.refused_values:
        metadata["refused_values"] = dg.MetadataValue.json(table.refused_values)
    if record.accepted:
        metadata["accepted_changes"] = dg.MetadataValue.json([*map(str, record.accepted)])
    return PartOutcome(
        record=record, version=digest_texts(table.sha256), reused=reused, metadata=metadata
    )


def _tabulate(
    project: ProjectContext,
    source: Source,
    part: Part,
    state: SourceState,
    signatures: Signatures,
    *,
    accept: bool,
) -> PartOutcome[TableResult]:
    validation, last = state.validated.get(part.partition), state.tables.get(part.partition)
    version = tabulate.code_version(source)
    file = validation.file if validation else None
    # The refused file is read again, although the last table is current.
    is_refusal_accepted = accept and last is not None and bool(last.fault)
    if last and _was_read(last, file, version) and not is_refusal_accepted:
        stored_table = _find_stored(project.home, last.table, signatures)
        if stored_table:
            record = last.model_copy(update={"table": stored_table})
            return table_outcome(_without_outdated_fault(record, file), reused=True)
    if file is None:
        table = tabulate.empty_table(project.home, source, part, code_version=version)
        return table_outcome(TableResult(part=part, table=table), reused=False)
    decision = None
    if accept:
        decision = OperatorDecision(
            sha256=file.sha256, by=current_user(), why=ACCEPT_OPTION, at=datetime.now(UTC)
        )
    fetch = state.fetches.get(part.partition)
    override = ShrinkOverride(source, fetch, last, file, decision=decision)
    try:
        table = tabulate.tabulate(
            project.home,
            source,
            part,
            raw_store.stored_path(project.home, file, signatures),
            file.sha256,
            code_version=version,
            previous=override.previous,
            accept_shrink=override.may_shrink,
        )
    except ContentError as error:
        record = TableResult(
            part=part,
            table=_last_table(project.home, source, part, last, signatures),
            fault=f"{error}{override.advice}",
            refused_sha256=file.sha256,
        )
    else:
        # Few files state their own date.
        content_at = table.content_at or file.last_modified
        record = TableResult(part=part, table=table.model_copy(update={"content_at": content_at}))
    return table_outcome(override.add_to(record), reused=False)


def _was_read(last: TableResult, file: RawFile | None, version: str) -> bool:
    """Return True if this code has read this file."""
    sha256 = file.sha256 if file else ""
    was_read = sha256 in {last.table.source_sha256, last.refused_sha256}
    return was_read and last.table.code_version == version


def _find_stored(home: Home, table: Table, signatures: Signatures) -> Table | None:
    """Return the table if its files are what was written; None if it has to be made again.

    Rejects that are lost together with the raw file are left out: the rows are complete.
    """
    damaged = [
        path
        for path, sha256 in table.files.items()
        if not signatures.has_digest(home.root / path, sha256)
    ]
    if not damaged:
        return table
    if table.path in damaged or raw_store.is_intact(home, table.source_sha256):
        return None
    return table.model_copy(update={"rejects_path": None, "rejects_sha256": None})


def _without_outdated_fault(last: TableResult, file: RawFile | None) -> TableResult:
    """Drop the refusal of a newer file once the table's own file is the newest again."""
    if file is None or file.sha256 != last.table.source_sha256:
        return last
    return last.model_copy(update={"fault": None, "refused_sha256": None})


def _last_table(
    home: Home, source: Source, part: Part, last: TableResult | None, signatures: Signatures
) -> Table:
    """Return the last table, made again if it is damaged, or one without rows if there is none."""
    stored_table = _find_stored(home, last.table, signatures) if last else None
    if stored_table:
        return stored_table
    version = tabulate.code_version(source)
    if last and raw_store.is_intact(home, last.table.source_sha256):
        sha256 = last.table.source_sha256
        with suppress(ContentError):  # other code may refuse the file
            table = tabulate.tabulate(
                home, source, part, home.raw_file(sha256), sha256, code_version=version
            )
            content_at = table.content_at or last.table.content_at
            return table.model_copy(update={"content_at": content_at})
    return tabulate.empty_table(home, source, part, code_version=version)


def _missing_tables(
    source: Source, state: SourceState, records: Mapping[str | None, TableResult]
) -> dict[str | None, str]:
    """Return the partitions of a required source whose first file was refused, each with the fault.

    A file set needs one table only.
    """
    current = {**state.tables, **records}.values()
    has_table = any(record.table.source_sha256 for record in current)
    if not source.required or (isinstance(source.partitions, Files) and has_table):
        return {}
    return {
        partition: f"{record.part}: {record.fault or 'no file'}"
        for partition, record in records.items()
        if not record.table.source_sha256
    }


def _contract_failure(
    source: Source, record: TableResult, _: FetchResult | None
) -> CheckFailure | None:
    table = record.table
    if record.fault:
        kept = "the last table is kept" if table.source_sha256 else "there is no earlier table"
        return CheckFailure(f"{record.part}: {record.fault}; {kept}")
    warnings = []
    if table.rejected:
        rules = ", ".join(f"{count} by {rule}" for rule, count in table.rejects_by_rule.items())
        warnings.append(f"{table.rejected} of {table.records} records rejected ({rules})")
    if table.duplicates:
        other = "newer" if source.contract.duplicates == "keep_newest" else "later"
        warnings.append(f"{table.duplicates} rows set aside for a {other} one of the same key")
    if table.unknown_fields and source.contract.unknown_fields == "evolve":
        warnings.append(f"unknown fields: {', '.join(table.unknown_fields)}")
    for column, counts in table.unknown_values.items():
        values = ", ".join(f"{value!r} ({count})" for value, count in counts.items())
        total = sum(counts.values())
        warnings.append(f"{total} values of {column} are not among the declared ones: {values}")
    for column, count in table.refused_values.items():
        warnings.append(f"values of {column} that are changed or discarded on reading: {count}")
    if table.lost_columns:
        warnings.append(
            f"expected the optional columns that had values before, found no"
            f" {', no '.join(table.lost_columns)}: every row is read without; restore the column,"
            " or remove it from the contract if it is gone for good"
        )
    if not warnings:
        return None
    refused = sum(table.refused_values.values())
    lines = [
        f"{record.part}: {'; '.join(warnings)}",
        *_first_lines(table.first_rejects, table.rejected, "more"),
        *_first_lines(table.first_duplicates, table.duplicates, "more of these rows"),
        *_first_lines(table.first_refused_values, refused, "more of these values"),
    ]
    return CheckFailure("\n".join(lines), dg.AssetCheckSeverity.WARN)


def _first_lines(lines: list[str], total: int, others: str) -> list[str]:
    more = total - len(lines)
    return [*lines, f"and {more:,} {others}"] if lines and more else lines


CHECKS: Sequence[SourceCheck[TableResult]] = (
    SourceCheck(
        "contract",
        lambda source: (
            "The newest file's rows satisfy the contract: at most "
            f"{source.contract.max_rejected_pct:g} %, or {source.contract.max_rejected_rows:,}, of"
            " them rejected, and it did not shrink. If not, the last table is kept: look at the"
            f" file, and accept it by `etl run {source.domain} --accept-changes`."
        ),
        _contract_failure,
    ),
)


def _table_lines(part: Part, table: Table) -> Iterator[LogLine]:
    """The number of rows, then the first rejects and the first values that are not read as is."""
    rejected = f", {table.rejected:,} rejected" if table.rejected else ""
    place = {"domain": part.source.domain, "source": str(part), "stage": Stage.TABLE.value}
    yield LogLine(
        f"{part}: {table.rows:,} rows{rejected}",
        decision="tabulated",
        rows=table.rows,
        rejected=table.rejected,
        **place,
    )
    shown_values = table.first_refused_values[:SHOWN_VALUES]
    for line in (*table.first_rejects, *shown_values):
        yield LogLine(f"  {line}", decision="rejected", reason=line, **place)
    refused = sum(table.refused_values.values())
    more = table.rejected - len(table.first_rejects) + refused - len(shown_values)
    if more and (table.first_rejects or shown_values):
        yield LogLine(f"  and {more:,} more", **place)

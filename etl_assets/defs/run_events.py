"""The manifest of a run from the event log: what it made, which checks it evaluated, its sources.

What is published and the next actions are added in `etl_assets.defs.finish_run`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession, Run
from etl_assets.defs.event_log import SourceState
from etl_assets.defs.materialize import ROWS, read_record
from etl_assets.model.errors import HomeError
from etl_assets.model.records import (
    FetchResult,
    FetchStatus,
    RawFile,
    RunStatus,
    SourceName,
    TableResult,
    ValidationResult,
)
from etl_assets.model.run_manifest import (
    AcceptedChange,
    FailingRows,
    RunAsset,
    RunCheck,
    RunManifest,
    RunPhase,
    RunSource,
)
from etl_assets.publish import run_directory

PHASE_ENDS = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}
CLOCK_MARGIN = timedelta(minutes=15)  # clocks of hosts may differ by 5
NAMED_PARTITIONS = 3  # of one source in a note; of more, only the first is named


def manifest_from_events(
    session: DomainSession,
    run: Run,
    *,
    status: RunStatus,
    published: bool,
    note: str,
    earlier_checks: Iterable[RunCheck] = (),
) -> RunManifest:
    """Return the manifest of a run as far as the event log knows it.

    `earlier_checks` count unless this run evaluated the same check.
    """
    now = datetime.now(UTC)
    entries = session.event_log.run_events(run.run_id)
    return RunManifest(
        run_id=run.run_id,
        domain=session.domain.name,
        status=status,
        published=published,
        as_of=run.as_of,
        started_at=run.started_at,
        finished_at=now,
        code_version=session.code_version,
        note=note,
        mirror=session.project.mirror_kind,
        sources=run_sources(session),
        assets=run_assets(session.domain, entries),
        checks=run_checks(session.domain, entries, earlier_checks),
        phases=run_phases(entries, now),
        accepted_changes=accepted_changes(session.domain, entries, run.started_at),
    )


def run_sources(session: DomainSession) -> list[RunSource]:
    """Return each partition of each source as the event log last recorded it."""
    states = session.read_sources()
    contacts = last_contacts(session, states)
    sources = []
    for name, state in states.items():
        for partition in state.partitions:
            fetch, table = state.fetches[partition], state.tables.get(partition)
            file = _used_file(fetch, state.validated.get(partition), table)
            sources.append(_run_source(fetch, file, table, contacts.get(name)))
    return sources


def last_contacts(session: DomainSession, states: Mapping[str, SourceState]) -> dict[str, datetime]:
    """Return when each source's remote last answered, by source name.

    A probe of a file that is up to date leaves no event: its time is in this process, and then in
    the manifest of its run.
    """
    last_run = _last_run(session)
    # The last run has the earlier ones; hosts and their clocks may differ.
    since = last_run.started_at - CLOCK_MARGIN if last_run else None
    contacts = session.event_log.last_contacts(session.domain.sources.values(), states, since=since)
    times = [
        (part.source.name, probe.probed_at)
        for part, probe in session.project.probes.items()
        if probe.fault is None
    ]
    if last_run:
        times += [(u.source.name, u.contacted_at) for u in last_run.sources if u.contacted_at]
    for name, at in times:
        contacts[name] = max(contacts.get(name, at), at)
    return contacts


def _last_run(session: DomainSession) -> RunManifest | None:
    """Return the manifest of the last run; None if it is damaged, which `etl health` reports."""
    directory = next(run_directory.list_runs(session.home, session.domain.name), None)
    try:
        return run_directory.read_manifest(directory) if directory else None
    except HomeError:
        return None


def status_of(sources: Iterable[RunSource]) -> RunStatus:
    """Return success if every source was served, else partial_success."""
    is_served = all(source.status.is_served for source in sources)
    return RunStatus.SUCCESS if is_served else RunStatus.PARTIAL_SUCCESS


def note_of(sources: Iterable[RunSource]) -> str:
    """Return one line about the sources that were not served; empty if all were.

    Many partitions of a source with the same status are counted, and only the first is named.
    """
    alike: dict[tuple[SourceName, FetchStatus], list[RunSource]] = {}
    for source in sources:
        if not source.status.is_served:
            alike.setdefault((source.source, source.status), []).append(source)
    texts = []
    for partitions in alike.values():
        first = partitions[0]
        if len(partitions) <= NAMED_PARTITIONS:
            texts += [f"{part.name}: {_fault(part)}" for part in partitions]
        else:
            count = f"{len(partitions)} parts, first {first.partition}"
            texts.append(f"{first.source}: {count}: {_fault(first)}")
    return "; ".join(texts)


def run_assets(domain: Domain, entries: Iterable[dg.EventLogEntry]) -> list[RunAsset]:
    assets = []
    for entry in entries:
        event = entry.asset_materialization
        if event is None or not _is_of_domain(event.asset_key, domain):
            continue
        reused = event.metadata.get("reused")
        if event.partition is not None and reused is None:
            # Dagster materializes an asset for every partition of the run's range; those of other
            # file sets carry no metadata.
            continue
        assets.append(
            RunAsset(
                key=asset_keys.name_of(event.asset_key),
                partition=event.partition,
                outcome="reused" if reused and reused.value else "made",
                data_version=(event.tags or {}).get("dagster/data_version", ""),
            )
        )
    return sorted(assets, key=lambda asset: (asset.key, asset.partition or ""))


def accepted_changes(
    domain: Domain, entries: Iterable[dg.EventLogEntry], since: datetime
) -> list[AcceptedChange]:
    """Return the shrunken files that the operator accepted in this run."""
    tables = {asset_keys.table_key(source) for source in domain.sources.values()}
    changes: list[AcceptedChange] = []
    for entry in entries:
        event = entry.asset_materialization
        if event is None or event.asset_key not in tables:
            continue
        if table := read_record(event, TableResult):
            changes += [
                AcceptedChange(what=str(table.part), sha256=decision.sha256)
                for decision in table.accepted
                if decision.at >= since
            ]
    return changes


def run_checks(
    domain: Domain, entries: Iterable[dg.EventLogEntry], earlier: Iterable[RunCheck]
) -> list[RunCheck]:
    checks = {(check.asset, check.name): check for check in earlier}
    for entry in entries:
        event = entry.dagster_event
        if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        evaluation = event.asset_check_evaluation_data
        if _is_of_domain(evaluation.asset_key, domain):
            check = run_check(evaluation)
            checks[check.asset, check.name] = check
    return [check for _, check in sorted(checks.items())]


def run_check(evaluation: dg.AssetCheckEvaluation) -> RunCheck:
    return RunCheck(
        asset=asset_keys.name_of(evaluation.asset_key),
        name=evaluation.check_name,
        passed=evaluation.passed,
        severity="warn" if evaluation.severity is dg.AssetCheckSeverity.WARN else "error",
        description=evaluation.description or "",
        rows=_failing_rows(evaluation),
        failures=_failures(evaluation),
    )


def _failing_rows(evaluation: dg.AssetCheckEvaluation) -> FailingRows | None:
    value = evaluation.metadata.get(ROWS)
    if not isinstance(value, dg.TableMetadataValue) or value.schema is None:
        return None
    columns = [column.name for column in value.schema.columns]
    rows = [[str(record.data[name]) for name in columns] for record in value.records]
    return FailingRows(columns=columns, rows=rows)


def _failures(evaluation: dg.AssetCheckEvaluation) -> int | None:
    value = evaluation.metadata.get("failures")
    return value.value if isinstance(value, dg.IntMetadataValue) else None


def run_phases(entries: Iterable[dg.EventLogEntry], now: datetime) -> list[RunPhase]:
    """Return the duration of each step; of one that still runs, up to now."""
    started: dict[str, float] = {}
    ended: dict[str, float] = {}
    for entry in entries:
        event = entry.dagster_event
        if event is None or event.step_key is None:
            continue
        if event.event_type == dg.DagsterEventType.STEP_START:
            started[event.step_key] = entry.timestamp
        elif event.event_type in PHASE_ENDS:
            ended[event.step_key] = entry.timestamp
    return [
        RunPhase(name=step, seconds=max(0.0, ended.get(step, now.timestamp()) - start))
        for step, start in started.items()
    ]


def _is_of_domain(key: dg.AssetKey | None, domain: Domain) -> bool:
    return key is not None and key.path[0] == domain.name


def _fault(source: RunSource) -> str:
    return f"{source.status} ({source.fault})" if source.fault else str(source.status)


def _run_source(
    fetch: FetchResult,
    file: RawFile | None,
    table: TableResult | None,
    contacted_at: datetime | None,
) -> RunSource:
    source = RunSource(
        source=fetch.part.source,
        partition=fetch.part.partition,
        status=fetch.status,
        contacted_at=contacted_at,
        fault=fetch.fault or None,
        pin=fetch.pin,
    )
    if file:
        source = source.model_copy(
            update={
                "etag": file.etag,
                "last_modified": file.last_modified,
                "url": file.url,
                "fetched_at": file.fetched_at,
                "contacted_at": contacted_at or file.fetched_at,
            }
        )
    if table:
        source = source.model_copy(
            update={
                "sha256": table.table.source_sha256 or None,
                "content_at": table.table.content_at,
                "rows": table.table.rows,
                "rejected": table.table.rejected,
                "rejects_by_rule": table.table.rejects_by_rule,
            }
        )
    if table and table.fault:
        # A file without a table is as good as none: the last good one is used, as in an outage.
        source = source.model_copy(
            update={
                "status": FetchStatus.OUTAGE,
                "fault": "; ".join(filter(None, [fetch.fault, table.fault])),
                "refused_sha256": table.refused_sha256,
            }
        )
    return source


def _used_file(
    fetch: FetchResult, validation: ValidationResult | None, table: TableResult | None
) -> RawFile | None:
    """Return the newest file, unless the current table was made of the validated one before it."""
    newest, validated = fetch.file, validation.file if validation else None
    table_sha256 = table.table.source_sha256 if table else None
    is_table_older = newest is not None and newest.sha256 != table_sha256
    if is_table_older and validated and validated.sha256 == table_sha256:
        return validated
    return newest

"""One run: its logical time and directory, and the manifest that the event log gives of it.

Time and directory are tags of the Dagster run, so that every step of it finds the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys, notify
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import contacts, read_sources
from etl_assets.defs.run_events import accepted_in, assets_in, checks_in, phases_in
from etl_assets.model.errors import EtlError, HomeError
from etl_assets.model.records import (
    FetchResult,
    FetchStatus,
    QuarantinedFile,
    RawFile,
    RunStatus,
    SourceName,
    TableResult,
    ValidationResult,
)
from etl_assets.model.run_manifest import (
    MANIFEST_FILE,
    MARTS,
    RunCheck,
    RunManifest,
    RunSource,
)
from etl_assets.publish import documents, run_directory
from etl_assets.report import gather, next_actions
from etl_assets.validate import quarantine

AS_OF_TAG = "etl/as_of"
TICK = timedelta(microseconds=1)
PARTS_TOLD = 3  # of one source, one by one; more of them by their number


@dataclass(frozen=True, slots=True)
class Run:
    """A run of one domain."""

    run_id: str
    as_of: datetime
    started_at: datetime
    directory: Path


def directory_tag(domain: Domain) -> str:
    return f"etl/directory/{domain.name}"


def current(
    instance: dg.DagsterInstance, run_id: str, place: ProjectContext, domain: Domain
) -> Run:
    """The run as its tags tell; the first step that asks makes its directory."""
    stored = instance.get_run_record_by_id(run_id)
    if stored is None:
        raise KeyError(run_id)
    tags = stored.dagster_run.tags
    started_at = (
        datetime.fromtimestamp(stored.start_time, UTC) if stored.start_time else datetime.now(UTC)
    )
    name = tags.get(directory_tag(domain))
    if name is None:
        name = run_directory.create(place.home, domain.name, started_at).name
        instance.add_run_tags(run_id, {directory_tag(domain): name})
        tags = {AS_OF_TAG: _after_the_last(place, domain, started_at).isoformat(), **tags}
        instance.add_run_tags(run_id, {AS_OF_TAG: tags[AS_OF_TAG]})
    as_of = tags.get(AS_OF_TAG)
    return Run(
        run_id=run_id,
        as_of=datetime.fromisoformat(as_of) if as_of else started_at,
        started_at=started_at,
        directory=place.home.outputs(domain.name) / name,
    )


def _after_the_last(place: ProjectContext, domain: Domain, started_at: datetime) -> datetime:
    """The run's logical time: its start, or just after the published set where that is later."""
    published = run_directory.published_directory(place.home, domain.name)
    last = run_directory.read_manifest(published).as_of if published else started_at - TICK
    return max(started_at, last + TICK)


def refuse_overtaken(place: ProjectContext, domain: Domain, run: Run) -> None:
    """Fails a run that was launched beside another one, which has published meanwhile."""
    published = run_directory.published_directory(place.home, domain.name)
    if published is None or published == run.directory:
        return
    last = run_directory.read_manifest(published).as_of
    if run.as_of <= last:
        raise dg.Failure(
            f"expected a candidate later than the published set, {published.name} as of"
            f" {last.isoformat()}, found one as of {run.as_of.isoformat()}; run again",
            allow_retries=False,
        )


def manifest(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    domain: Domain,
    run: Run,
    *,
    status: RunStatus,
    published: bool,
    note: str = "",
    standing: Iterable[RunCheck] = (),
) -> RunManifest:
    """What the event log says of this run, so far; what it published is not known to it.

    Of the `standing` verdicts those count that this run did not give anew.
    """
    now = datetime.now(UTC)
    records = [entry.event_log_entry for entry in instance.get_records_for_run(run.run_id).records]
    told = RunManifest(
        run_id=run.run_id,
        domain=domain.name,
        status=status,
        published=published,
        as_of=run.as_of,
        started_at=run.started_at,
        finished_at=now,
        code_version=place.code_version(domain),
        note=note,
        sources=sources_of(instance, domain),
        assets=assets_in(domain, records),
        checks=checks_in(domain, records, standing),
        phases=phases_in(records, now),
        accepted_changes=accepted_in(domain, records, run.started_at),
    )
    return told.with_result()


def advised(
    place: ProjectContext, domain: Domain, told: RunManifest, directory: Path
) -> RunManifest:
    """The manifest with what it asks of a person."""
    actions = next_actions.list_next_actions(
        told,
        list(_set_aside(place, domain, since=told.started_at)),
        gate=asset_keys.name_of(asset_keys.published_key(domain)),
        directory=place.home.relative(directory),
    )
    return told.model_copy(update={"next_actions": actions})


def _set_aside(
    place: ProjectContext, domain: Domain, *, since: datetime
) -> Iterator[QuarantinedFile]:
    for source in domain.sources.values():
        try:
            found = quarantine.list_quarantined(place.home, source)
        except HomeError:  # `etl quarantine list` names the damaged reason; the run goes on
            continue
        yield from (record for record in found if record.quarantined_at >= since)


def failure_hook(place: ProjectContext, domain: Domain) -> dg.HookDefinition:
    """Leaves the manifest of a run that one of its steps ended, launched from wherever."""

    @dg.failure_hook(name=f"{domain.name}_leave_manifest")
    def leave_manifest(context: dg.HookContext) -> None:
        run = current(context.instance, context.run_id, place, domain)
        leave_failed(context.instance, place, domain, run, _cause(context.op_exception))
        _notify(context.instance, place, domain, run)

    return leave_manifest


def success_hook(place: ProjectContext, domain: Domain) -> dg.HookDefinition:
    """Tells of a run that has published, launched from wherever."""

    @dg.success_hook(name=f"{domain.name}_tell")
    def tell(context: dg.HookContext) -> None:
        run = current(context.instance, context.run_id, place, domain)
        _notify(context.instance, place, domain, run)

    return tell


def _notify(instance: dg.DagsterInstance, place: ProjectContext, domain: Domain, run: Run) -> None:
    notify.notify_run(
        instance, place, domain, run_directory.read_manifest(run.directory), directory=run.directory
    )


def leave_failed(
    instance: dg.DagsterInstance, place: ProjectContext, domain: Domain, run: Run, note: str
) -> None:
    """Write the manifest and report of a failed run, unless a step has written them already."""
    if not (run.directory / MANIFEST_FILE).exists():
        leave_unpublished(instance, place, domain, run, status=RunStatus.FAILED, note=note)


def leave_unpublished(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    domain: Domain,
    run: Run,
    *,
    status: RunStatus,
    note: str,
) -> None:
    """Write the manifest and report of a run that has not published."""
    told = manifest(instance, place, domain, run, status=status, published=False, note=note)
    told = advised(place, domain, told, run.directory)
    gather.write_report(domain, told, run.directory / MARTS, run.directory)
    run_directory.write_manifest(run.directory, told)


def repeat(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    domain: Domain,
    *,
    as_of: datetime | None,
    started_at: datetime,
) -> RunManifest:
    """A run in which nothing moved: the published files, linked, without a Dagster run."""
    published = run_directory.published_directory(place.home, domain.name)
    if published is None:
        raise HomeError(f"{place.home.latest(domain.name)}: expected the published set, found none")
    before = run_directory.read_manifest(published)
    directory = run_directory.create(place.home, domain.name, started_at)
    own = {MANIFEST_FILE, run_directory.SUMS_FILE, *gather.FILES}
    run_directory.link_unchanged(
        published,
        directory,
        [file for file in run_directory.list_files(published) if file not in own],
    )
    sources = sources_of(instance, domain)
    again = before.model_copy(
        update={
            "run_id": directory.name,
            "status": status_of(sources),
            "as_of": as_of or started_at,
            "started_at": started_at,
            "finished_at": datetime.now(UTC),
            "note": note_of(sources) or "nothing moved",
            "sources": sources,
            "assets": [a.model_copy(update={"outcome": "reused"}) for a in before.assets],
            "phases": [],
            "accepted_changes": [],
        }
    )
    again = again.with_result()
    again = advised(place, domain, again, directory)
    gather.write_report(domain, again, directory / MARTS, directory)
    documents.publish_candidate(place.home, directory, again)
    notify.notify_run(instance, place, domain, again, directory=directory)
    return again


def _cause(error: BaseException | None) -> str:
    """What went wrong, without Dagster's wrapping."""
    if isinstance(error, dg.Failure):
        return error.description or "a step failed"
    while error is not None and error.__cause__ is not None and not isinstance(error, EtlError):
        error = error.__cause__
    return str(error) if isinstance(error, EtlError) else f"{type(error).__name__}: {error}"


def sources_of(instance: dg.DagsterInstance, domain: Domain) -> list[RunSource]:
    """Each part of each source as the event log last saw it."""
    states = read_sources(instance, domain.sources.values())
    contacted = contacts(instance, domain.sources.values(), states)
    return [
        _source(
            state.fetches[part],
            state.validated.get(part),
            state.tables.get(part),
            contacted.get(name),
        )
        for name, state in states.items()
        for part in state.parts
    ]


def status_of(sources: Iterable[RunSource]) -> RunStatus:
    """Success where every source is fresh; partial where one was served from an earlier file."""
    return (
        RunStatus.SUCCESS
        if all(source.status.is_served for source in sources)
        else RunStatus.PARTIAL_SUCCESS
    )


def note_of(sources: Iterable[RunSource]) -> str:
    """What a person should know of the sources, in one line; empty where all is well.

    Many parts of a source that share a status are told by the first of them.
    """
    unserved = [source for source in sources if not source.status.is_served]
    alike: dict[tuple[SourceName, FetchStatus], list[RunSource]] = {}
    for source in unserved:
        alike.setdefault((source.source, source.status), []).append(source)
    return "; ".join(told for parts in alike.values() for told in _told_of(parts))


def _told_of(parts: list[RunSource]) -> Iterator[str]:
    if len(parts) <= PARTS_TOLD:
        yield from (f"{part.name}: {_fault_of(part)}" for part in parts)
    else:
        first = parts[0]
        yield f"{first.source}: {len(parts)} parts, first {first.partition}: {_fault_of(first)}"


def _fault_of(part: RunSource) -> str:
    return f"{part.status} ({part.fault})" if part.fault else str(part.status)


def _source(
    fetch: FetchResult,
    valid: ValidationResult | None,
    table: TableResult | None,
    contacted_at: datetime | None,
) -> RunSource:
    file = _file_of(fetch, valid, table)
    refused = table.fault if table else None
    return RunSource(
        source=fetch.part.source,
        partition=fetch.part.partition,
        status=FetchStatus.OUTAGE if refused else fetch.status,
        sha256=(table.table.source_sha256 or None) if table else None,
        etag=file.etag if file else None,
        last_modified=file.last_modified if file else None,
        url=file.url if file else None,
        fetched_at=file.fetched_at if file else None,
        contacted_at=contacted_at or (file.fetched_at if file else None),
        content_at=table.table.content_at if table else None,
        rows=table.table.rows if table else None,
        rejected=table.table.rejected if table else None,
        rejects_by_rule=table.table.rejects_by_rule if table else {},
        fault="; ".join(fault for fault in (fetch.fault, refused) if fault) or None,
        refused_sha256=table.refused_sha256 if table and refused else None,
    )


def _file_of(
    fetch: FetchResult, valid: ValidationResult | None, table: TableResult | None
) -> RawFile | None:
    """The newest file, unless the table that stands is known to be of the one before."""
    newest, before = fetch.file, valid.file if valid else None
    used = table.table.source_sha256 if table else None
    is_ahead = newest is not None and newest.sha256 != used
    return before if is_ahead and before and before.sha256 == used else newest

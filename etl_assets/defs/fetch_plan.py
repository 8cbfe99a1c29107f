"""Questions to remotes on behalf of a launch: parts, probes, decisions.

Gathers what the stages need from the event log and the store; it decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from etl_assets.declarations.source import Files, Source, Years
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import SourceState
from etl_assets.fetch import decide, download, probe, raw_store
from etl_assets.fetch.file_set import list_files, sort_partitions
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.records import Part, Probe, StoredState


def all_parts(
    resolver: LocationResolver, source: Source, now: datetime, *, known: Iterable[str | None] = ()
) -> list[Part]:
    """Every part that a source has at a moment; the newest one last.

    `known` are the parts of a file set that were ever fetched: one that has vanished is asked for.
    """
    return [source.part(partition) for partition in _partitions(resolver, source, now, known)]


def unrecognized_files(resolver: LocationResolver, source: Source) -> list[str]:
    """What lies in a file set's folder and is left alone, each as a sentence."""
    declared = source.partitions
    return (
        list_files(source, declared, resolver).misnamed_files if isinstance(declared, Files) else []
    )


def _partitions(
    resolver: LocationResolver, source: Source, now: datetime, known: Iterable[str | None]
) -> Sequence[str | None]:
    match source.partitions:
        case None:
            return [None]
        case Years(start=start):
            return [str(year) for year in range(start, now.year + 1)]
        case Files() as declared:
            found = list_files(source, declared, resolver).partitions
            return sort_partitions([*found, *(key for key in known if key)])


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of a launch by how they are come by: held already, a file, rows of a table."""

    held: Sequence[download.FetchJob]
    files: Sequence[tuple[Source, Part]]
    rows: Sequence[Source]


def asked_of(
    place: ProjectContext,
    states: Mapping[str, SourceState],
    wanted: Sequence[tuple[Source, Part]],
    *,
    skip_existing: bool,
) -> Asked:
    """Who is to be asked for what; of what is held nobody, where that is to be skipped."""
    held = _held(place, states, wanted) if skip_existing else []
    spared = {job.part for job in held}
    asked = [(source, part) for source, part in wanted if part not in spared]
    files = [(source, part) for source, part in asked if source.for_each is None]
    return Asked(held, files, [source for source, _ in asked if source.for_each is not None])


def _held(
    place: ProjectContext, states: Mapping[str, SourceState], wanted: Sequence[tuple[Source, Part]]
) -> list[download.FetchJob]:
    """The parts of which a file is held, each with the decision not to ask for it."""
    found = []
    for source, part in wanted:
        last = states[source.name].fetches.get(part.partition)
        stored = (
            raw_store.stored_state(place.home, last.file)
            if last and last.file
            else StoredState.MISSING
        )
        if decision := decide.decide_without_probe(part, last, stored=stored):
            found.append(download.FetchJob(source, part, decision, last_result=last))
    return found


def probes_of(
    place: ProjectContext,
    wanted: Sequence[tuple[Source, Part]],
    *,
    now: datetime,
    max_retries: int | None = None,
) -> dict[Part, Probe]:
    """A probe of each part; those that the launching process has made are not asked again."""
    known = {part: place.probes[part] for _, part in wanted if part in place.probes}
    asked = [(s.with_retries(max_retries), part) for s, part in wanted if part not in known]
    with place.client() as client:
        return known | probe.probe_all(asked, client=client, resolver=place.resolver, now=now)


def jobs_of(
    place: ProjectContext,
    states: Mapping[str, SourceState],
    wanted: Sequence[tuple[Source, Part]],
    probes: Mapping[Part, Probe],
    *,
    force: bool,
    now: datetime,
) -> list[download.FetchJob]:
    """What is known of each part and what is decided on it."""
    found = []
    for source, part in wanted:
        last = states[source.name].fetches.get(part.partition)
        file = last.file if last else None
        decision = decide.decide(
            source,
            part,
            probes[part],
            last,
            stored=raw_store.stored_state(place.home, file) if file else StoredState.MISSING,
            force=force,
            code_version=download.CODE_VERSION,
            now=now,
            is_newest=part.partition == str(now.year),
        )
        found.append(download.FetchJob(source, part, decision, probes[part], last))
    return found

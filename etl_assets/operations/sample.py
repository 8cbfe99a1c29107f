"""Where the first records of a source are read from: the file that is held, or one fetched for it.

Nothing of it is recorded; a file that is fetched lies in a scratch home and goes away with it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import dagster as dg

from etl_assets.declarations.source import Source
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import read_sources
from etl_assets.defs.fetch_plan import all_parts
from etl_assets.fetch import download
from etl_assets.fetch.file_set import NO_FILE
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.model.errors import NotFoundError, NotPublishedError, UsageError
from etl_assets.model.home import Home
from etl_assets.model.records import Decision, FetchResult, Part, RawFile, Reason
from etl_assets.tables.sample import SampleResult, read_sample


def first_records(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    source: Source,
    partition: str | None,
    *,
    rows: int,
    now: datetime,
) -> SampleResult:
    """As the declaration reads them; without a partition, those of the newest one that is held."""
    fetches = read_sources(instance, [source])[source.name].fetches
    part = _part(place, source, partition, fetches, now)
    fetch = fetches.get(part.partition)
    file = fetch.file if fetch else None
    if file and (path := place.home.root / file.path).exists():
        return read_sample(source, part, path, rows=rows, shown=file.path, file=file)
    if source.for_each:
        raise NotFoundError(
            f"{part}: expected the file that is made of the answers, found none;"
            f" `etl run {source.domain} --source {source.name}` asks for them"
        )
    target = place.resolver.resolve(source.location, part.partition).file
    if target.path is None:
        return _fetched(place, source, part, rows=rows, now=now)
    if part.partition == NO_FILE:
        raise NotPublishedError(f"{source.full_name}: no file of the set in {target.path.parent}")
    if not target.path.is_file():
        raise NotPublishedError(f"{part}: expected a file at {target}, found none")
    return read_sample(source, part, target.path, rows=rows, shown=str(target.path))


def _part(
    place: ProjectContext,
    source: Source,
    partition: str | None,
    fetches: Mapping[str | None, FetchResult],
    now: datetime,
) -> Part:
    if source.partitions is None and partition is not None:
        raise UsageError(f"{source.full_name} has no partitions, found {partition!r}")
    known = all_parts(place.resolver, source, now, known=fetches)
    held = [part for part in known if (f := fetches.get(part.partition)) and f.file]
    if partition is None:
        return (held or known)[-1]
    found = next((part for part in known if part.partition == partition), None)
    if found is None:
        names = ", ".join(str(part.partition) for part in known)
        raise UsageError(f"no partition {partition!r} of {source.full_name}; there are: {names}")
    return found


def _fetched(
    place: ProjectContext, source: Source, part: Part, *, rows: int, now: datetime
) -> SampleResult:
    place.say(f"{part}: fetched for this once, as no file of it is held")
    place.home.scratch.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="head.", dir=place.home.scratch) as folder,
        place.client() as client,
    ):
        desk = download.FetchContext(
            client=client,
            resolver=place.resolver,
            home=Home(Path(folder)),
            now=now,
            progress=place.progress,
        )
        wanted = Decision(part=part, fetch=True, reason=Reason.NO_RECORD)
        file: RawFile = download.download(
            download.FetchJob(source, part, wanted), desk, TransferStats()
        )
        path = desk.home.root / file.path
        return read_sample(source, part, path, rows=rows, shown=file.url, file=file)

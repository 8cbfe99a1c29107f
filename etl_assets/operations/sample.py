"""Where the first records of a source are read from: the file that is held, or one fetched for it.

Nothing of it is recorded; a file that is fetched lies in a scratch home and goes away with it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from etl_assets.declarations.source import Source
from etl_assets.defs.context import ProjectContext, ProjectSession
from etl_assets.defs.fetch_plan import all_parts, open_fetcher
from etl_assets.fetch.file_set import NO_FILE
from etl_assets.model.errors import NotFoundError, NotPublishedError, UsageError
from etl_assets.model.home import Home
from etl_assets.model.records import FetchResult, Part
from etl_assets.tables.sample import SampleResult, read_sample


def first_records(
    session: ProjectSession,
    source: Source,
    partition: str | None,
    *,
    rows: int,
    now: datetime,
) -> SampleResult:
    """As the declaration reads them; without a partition, those of the newest one that is held."""
    event_log, project = session.event_log, session.project
    fetches = event_log.read_sources([source])[source.name].fetches
    part = _part(project, source, partition, fetches, now)
    fetch = fetches.get(part.partition)
    file = fetch.file if fetch else None
    if file and (path := project.home.root / file.path).exists():
        return read_sample(source, part, path, rows=rows, shown=file.path, file=file)
    if source.for_each:
        raise NotFoundError(
            f"{part}: expected the file that is made of the answers, found none;"
            f" `etl run {source.domain} --source {source.name}` asks for them"
        )
    target = project.resolver.resolve(source.location, part.partition).file
    if target.path is None:
        return _fetched(project, source, part, rows=rows, now=now)
    if part.partition == NO_FILE:
        raise NotPublishedError(f"{source.full_name}: no file of the set in {target.path.parent}")
    if not target.path.is_file():
        raise NotPublishedError(f"{part}: expected a file at {target}, found none")
    return read_sample(source, part, target.path, rows=rows, shown=str(target.path))


def _part(
    project: ProjectContext,
    source: Source,
    partition: str | None,
    fetches: Mapping[str | None, FetchResult],
    now: datetime,
) -> Part:
    if source.partitions is None and partition is not None:
        raise UsageError(f"{source.full_name} has no partitions, found {partition!r}")
    known = all_parts(project.resolver, source, now, known_partitions=fetches)
    held = [part for part in known if (f := fetches.get(part.partition)) and f.file]
    if partition is None:
        return (held or known)[-1]
    found = next((part for part in known if part.partition == partition), None)
    if found is None:
        names = ", ".join(str(part.partition) for part in known)
        raise UsageError(f"no partition {partition!r} of {source.full_name}; there are: {names}")
    return found


def _fetched(
    project: ProjectContext, source: Source, part: Part, *, rows: int, now: datetime
) -> SampleResult:
    project.echo(f"{part}: fetched for this once, as no file of it is held")
    project.home.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="head.", dir=project.home.scratch) as folder:
        home = Home(Path(folder))
        with open_fetcher(project, now=now, home=home, validated=False) as fetcher:
            file = fetcher.download(source, part)
        path = home.root / file.path
        return read_sample(source, part, path, rows=rows, shown=file.url, file=file)

"""Find the file whose first records `etl sample` prints: stored, local, or fetched for this once.

Nothing is recorded, and a fetched file is not kept. Reading it is `etl_assets.tables.sample`.
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
from etl_assets.fetch.network_guard import redact_path
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
    """Return the first records under the declaration; by default, of the newest stored partition.

    Raises UsageError for an unknown partition, NotFoundError or NotPublishedError if there is no
    file.
    """
    project = session.project
    fetches = session.event_log.read_sources([source])[source.name].fetches
    part = _select_part(project, source, partition, fetches, now)
    fetch = fetches.get(part.partition)
    file = fetch.file if fetch else None
    if file and (path := project.home.root / file.path).exists():
        return read_sample(source, part, path, rows=rows, shown=file.path, file=file)
    if source.for_each:
        raise NotFoundError(
            f"{part}: expected the file of collected answers, found none;"
            f" `etl run {source.domain} --source {source.name}` requests them"
        )
    target = project.resolver.resolve(source.location, part.partition).file
    if target.path is None:
        return _fetch_and_read(project, source, part, rows=rows, now=now)
    if part.partition == NO_FILE:
        raise NotPublishedError(f"{source.full_name}: no file of the set in {target.path.parent}")
    if not target.path.is_file():
        raise NotPublishedError(f"{part}: expected a file at {target}, found none")
    return read_sample(source, part, target.path, rows=rows, shown=redact_path(str(target.path)))


def _select_part(
    project: ProjectContext,
    source: Source,
    partition: str | None,
    fetches: Mapping[str | None, FetchResult],
    now: datetime,
) -> Part:
    """Return the named part; without a name, the newest one that is stored, or just the newest."""
    if source.partitions is None and partition is not None:
        raise UsageError(f"{source.full_name} has no partitions, found {partition!r}")
    parts = all_parts(project.resolver, source, now, known_partitions=fetches)
    if partition is not None:
        for part in parts:
            if part.partition == partition:
                return part
        names = ", ".join(str(part.partition) for part in parts)
        raise UsageError(f"no partition {partition!r} of {source.full_name}; there are: {names}")
    stored = {name for name, fetch in fetches.items() if fetch.file}
    stored_parts = [part for part in parts if part.partition in stored]
    return (stored_parts or parts)[-1]


def _fetch_and_read(
    project: ProjectContext, source: Source, part: Part, *, rows: int, now: datetime
) -> SampleResult:
    project.say(f"{part}: fetched for this sample only, because no file of it is stored")
    project.home.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="head.", dir=project.home.scratch) as folder:
        home = Home(Path(folder))
        with open_fetcher(project, now=now, home=home, validated=False) as fetcher:
            file = fetcher.download(source, part)
        path = home.root / file.path
        return read_sample(source, part, path, rows=rows, shown=file.url, file=file)

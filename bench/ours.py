"""One source through our own tabulate stage, from the mirror to parquet, as a run does it.

Only the calls belong here; timing them is `bench.child`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from etl_assets.declarations.load import load
from etl_assets.declarations.names import find_source
from etl_assets.declarations.source import Files, Source, Years
from etl_assets.fetch.file_set import list_files
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.home import Home
from etl_assets.model.records import Part
from etl_assets.settings import PACKAGE
from etl_assets.tables.tabulate import tabulate
from etl_assets.validate.validate import validate

SHA256 = "0" * 64


def table(name: str, mirror: Path, target: Path, *, last: int | None = None) -> int:
    """Tabulate every part of a source, or the `last` ones; returns the number of rows."""
    source = find_source(load(PACKAGE / "domains"), name)
    files = _files(source, mirror, target)[-last if last else 0 :]
    return sum(
        tabulate(Home(target), source, part, file, SHA256, code_version="bench").rows
        for part, file in files
    )


def tables(domain: str, mirror: Path, target: Path) -> int:
    """Validate and tabulate every file of a domain; returns the number of rows."""
    rows = 0
    for source in load(PACKAGE / "domains")[domain].sources.values():
        for part, file in _files(source, mirror, target):
            verdict = validate(source, part, file, sha256=SHA256)
            if not verdict.ok:
                raise ValueError(str(verdict))
            rows += tabulate(Home(target), source, part, file, SHA256, code_version="bench").rows
    return rows


def _files(source: Source, mirror: Path, target: Path) -> list[tuple[Part, Path]]:
    """The parts with a file in the mirror, the largest last."""
    resolver = LocationResolver(target, str(mirror))
    files = []
    for partition in _partitions(source, resolver):
        file = resolver.resolve(source.location, partition).file.path
        if file is not None and file.is_file():
            files.append((source.part(partition), file))
    return sorted(files, key=lambda pair: pair[1].stat().st_size)


def _partitions(source: Source, resolver: LocationResolver) -> Iterable[str | None]:
    match source.partitions:
        case None:
            return [None]
        case Years(start=start):
            return map(str, range(start, 2100))
        case Files() as declared:
            return list_files(source, declared, resolver).partitions

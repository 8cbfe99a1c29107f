"""One source through our own tabulate stage, from the mirror to parquet, as a run does it.

Only the calls belong here; timing them is `bench.child`.
"""

from __future__ import annotations

from pathlib import Path

from etl_assets.io.declarations import load
from etl_assets.io.locate import Places
from etl_assets.model.declaration import Source
from etl_assets.model.home import Home
from etl_assets.model.records import Part
from etl_assets.settings import PACKAGE
from etl_assets.stages.tabulate import tabulate

SHA256 = "0" * 64


def table(name: str, mirror: Path, target: Path, *, last: int | None = None) -> int:
    """Every part of the source, or only the `last` ones; returns the number of rows."""
    domain, _, source_name = name.partition(".")
    source = load(PACKAGE / "domains")[domain].sources[source_name]
    files = _files(source, mirror, target)[-last if last else 0 :]
    return sum(
        tabulate(Home(target), source, part, file, SHA256, code_version="bench").rows
        for part, file in files
    )


def _files(source: Source, mirror: Path, target: Path) -> list[tuple[Part, Path]]:
    """The parts whose file the mirror has, the largest last."""
    years = range(source.partitions.start, 2100) if source.partitions else [None]
    found = []
    for year in years:
        partition = None if year is None else str(year)
        file = Places(target, str(mirror)).of(source.location, partition).file.path
        if file is not None and file.is_file():
            found.append((Part(source=source.full_name, partition=partition), file))
    return sorted(found, key=lambda pair: pair[1].stat().st_size)

"""The real dumps, value for value as a plain reading of the same files gives them."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from etl_assets.declarations.load import load
from etl_assets.declarations.source import Source
from etl_assets.model.home import Home
from etl_assets.model.records import Part
from etl_assets.tables.tabulate import tabulate

HOST = "downloads.spansh.co.uk"


def read(mirror: Path, name: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(
        gzip.decompress((mirror / HOST / f"{name}.json.gz").read_bytes())
    )
    return records


def source(repo_root: Path, name: str) -> Source:
    return load(repo_root / "etl_assets" / "domains")["galaxy"].sources[name]


def rows(home: Home, declared: Source, mirror: Path) -> list[dict[str, Any]]:
    """The table, without whence each row came."""
    file = mirror / HOST / str(declared.location.url).rpartition("/")[2]
    part = Part(source=declared.full_name)
    table = tabulate(home, declared, part, file, "0" * 64, code_version="1")
    assert (table.rejected, table.duplicates, table.unknown_values) == (0, 0, {})
    found: list[dict[str, Any]] = pq.read_table(home.root / table.path).to_pylist()
    return [{n: v for n, v in row.items() if not n.startswith("source_")} for row in found]


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_systems_are_as_a_plain_reading_gives_them(
    home: Home, mirror: Path, repo_root: Path
) -> None:
    plain = [
        {
            "id64": s["id64"],
            "name": s["name"],
            **s["coords"],
            "main_star": s.get("mainStar"),
            "needs_permit": s.get("needsPermit"),
            "updated_at": time(s["updateTime"]),
        }
        for s in read(mirror, "systems_1day")
    ]

    assert rows(home, source(repo_root, "systems"), mirror) == plain


@pytest.mark.parametrize(
    ("name", "file"), [("bodies", "galaxy_1day"), ("populated_bodies", "galaxy_populated")]
)
def test_bodies_are_as_a_plain_reading_gives_them(
    home: Home, mirror: Path, repo_root: Path, name: str, file: str
) -> None:
    declared = source(repo_root, name)
    own = {c.name: c.origin or c.name for c in declared.contract.columns}
    plain = [
        {column: body.get(field) for column, field in own.items()}
        | {
            "system_id64": system["id64"],
            "system_name": system["name"],
            "updated_at": time(body["updateTime"]),
        }
        for system in read(mirror, file)
        for body in system["bodies"]
    ]

    assert rows(home, declared, mirror) == plain


def test_stations_are_as_a_plain_reading_gives_them(
    home: Home, mirror: Path, repo_root: Path
) -> None:
    declared = source(repo_root, "stations")
    own = {c.name: c.origin or c.name for c in declared.contract.columns}
    plain = []
    for system in read(mirror, "galaxy_stations"):
        found = [(None, station) for station in system["stations"]]
        found += [(body, station) for body in system["bodies"] for station in body["stations"]]
        for body, station in found:
            pads = station.get("landingPads") or {}
            row = {column: station.get(field) for column, field in own.items()}
            row |= {f"system_{axis}": value for axis, value in system["coords"].items()}
            row |= {f"{size}_pads": pads.get(size) for size in ("large", "medium", "small")}
            row |= {"system_id64": system["id64"], "system_name": system["name"]}
            row |= {"body_id": body["bodyId"], "body_name": body["name"]} if body else {}
            plain.append(row | {"updated_at": time(station["updateTime"])})

    assert rows(home, declared, mirror) == plain

"""The tables of the real dumps against the same files read by json, value for value."""

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


def read_dump(mirror: Path, name: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(
        gzip.decompress((mirror / HOST / f"{name}.json.gz").read_bytes())
    )
    return records


def source(repo_root: Path, name: str) -> Source:
    return load(repo_root / "etl_assets" / "domains")["galaxy"].sources[name]


def read_table(home: Home, declared: Source, mirror: Path) -> list[dict[str, Any]]:
    """Tabulates the dump of a source; returns the rows without the columns of their origin."""
    file = mirror / HOST / str(declared.location.url).rpartition("/")[2]
    part = Part(source=declared.full_name)
    table = tabulate(home, declared, part, file, "0" * 64, code_version="1")
    assert (table.rejected, table.duplicates, table.unknown_values) == (0, 0, {})
    frame = pq.read_table(home.root / table.path)
    names = [name for name in frame.column_names if not name.startswith("source_")]
    rows: list[dict[str, Any]] = frame.select(names).to_pylist()
    return rows


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_systems_have_the_values_of_the_dump(home: Home, mirror: Path, repo_root: Path) -> None:
    expected = [
        {
            "id64": s["id64"],
            "name": s["name"],
            **s["coords"],
            "main_star": s.get("mainStar"),
            "needs_permit": s.get("needsPermit"),
            "updated_at": time(s["updateTime"]),
        }
        for s in read_dump(mirror, "systems_1day")
    ]

    assert read_table(home, source(repo_root, "systems"), mirror) == expected


@pytest.mark.parametrize(
    ("name", "file"), [("bodies", "galaxy_1day"), ("populated_bodies", "galaxy_populated")]
)
def test_bodies_have_the_values_of_the_dump(
    home: Home, mirror: Path, repo_root: Path, name: str, file: str
) -> None:
    declared = source(repo_root, name)
    fields = {c.name: c.origin or c.name for c in declared.contract.columns}
    expected = []
    for system in read_dump(mirror, file):
        for body in system["bodies"]:
            row = {column: body.get(field) for column, field in fields.items()}
            row |= {"system_id64": system["id64"], "system_name": system["name"]}
            expected.append(row | {"updated_at": time(body["updateTime"])})

    assert read_table(home, declared, mirror) == expected


def test_stations_have_the_values_of_the_dump(home: Home, mirror: Path, repo_root: Path) -> None:
    declared = source(repo_root, "stations")
    fields = {c.name: c.origin or c.name for c in declared.contract.columns}
    expected = []
    for system in read_dump(mirror, "galaxy_stations"):
        stations = [(None, station) for station in system["stations"]]
        for body in system["bodies"]:
            stations += [(body, station) for station in body["stations"]]
        for body, station in stations:
            pads = station.get("landingPads") or {}
            row = {column: station.get(field) for column, field in fields.items()}
            row |= {f"system_{axis}": value for axis, value in system["coords"].items()}
            row |= {f"{size}_pads": pads.get(size) for size in ("large", "medium", "small")}
            row |= {"system_id64": system["id64"], "system_name": system["name"]}
            row |= {"body_id": body["bodyId"], "body_name": body["name"]} if body else {}
            expected.append(row | {"updated_at": time(station["updateTime"])})

    assert read_table(home, declared, mirror) == expected

"""The published set of the real exits against the same file read in plain Python."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Transit

pytestmark = [pytest.mark.long, pytest.mark.ci]

CODES = {"CC9": "PAYA LEBAR", "DT18": "TELOK AYER", "DT4": "HUME", "NE18": "PUNGGOL COAST"}
CODES |= {"CC30": "KEPPEL", "CC31": "CANTONMENT", "CC32": "PRINCE EDWARD ROAD"}


@pytest.fixture(scope="module")
def features(mirror: Path) -> list[dict[str, Any]]:
    path = mirror / "data.gov.sg" / "LTAMRTStationExitGEOJSON.geojson"
    features: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["features"]
    return features


def name_of(feature: dict[str, Any]) -> str:
    name = feature["properties"]["STATION_NA"]
    return CODES.get(name, re.sub(r" (MRT|LRT) STATION$", "", name))


def position(row: dict[str, Any]) -> tuple[float, float]:
    return row["longitude_degrees"], row["latitude_degrees"]


def test_exactly_the_stations_of_the_file_are_published(
    real: Transit, features: list[dict[str, Any]]
) -> None:
    names = {row["display_name"].upper() for row in real.rows("mart_stations")}

    assert names == {name_of(feature) for feature in features}
    assert len(names) == 185


@pytest.mark.parametrize(
    ("name", "station_id"),
    [
        ("MARINA SOUTH", "TE21"),
        ("MARINA SOUTH PIER", "NS28"),
        ("TAMPINES", "EW2"),
        ("TAMPINES EAST", "DT33"),
        ("TAMPINES WEST", "DT31"),
    ],
)
def test_names_that_contain_each_other_are_different_stations(
    real: Transit, name: str, station_id: str
) -> None:
    stations = real.rows_by("mart_stations", "station_id")

    assert stations[station_id]["official_name"] == f"{name} MRT STATION"


def test_exactly_the_exits_of_the_file_are_published_with_their_position(
    real: Transit, features: list[dict[str, Any]]
) -> None:
    names = {row["station_id"]: row["display_name"].upper() for row in real.rows("mart_stations")}

    exits = Counter((names[row["station_id"]], position(row)) for row in real.rows("mart_exits"))

    expected = ((name_of(f), tuple(f["geometry"]["coordinates"][:2])) for f in features)
    assert exits == Counter(expected)
    assert exits.total() == 613


def test_the_exits_of_both_parts_of_bukit_panjang_are_published(real: Transit) -> None:
    exits = [e["exit_id"] for e in real.rows("mart_exits") if e["station_id"] == "DT1"]

    assert exits[:4] == ["LRT-A", "LRT-B", "LRT-C", "LRT-D"]
    assert exits[4:] == ["MRT-A", "MRT-A-2", "MRT-A-3", "MRT-B"]


def test_every_exit_is_in_bounds(real: Transit) -> None:
    positions = [position(row) for row in real.rows("mart_exits")]

    assert all(103 <= longitude <= 105 and 1 <= latitude <= 2 for longitude, latitude in positions)


def test_edges_connect_consecutive_codes_of_a_line(real: Transit) -> None:
    codes = [row["code"] for row in real.rows("mart_station_codes")]
    edges = [row for row in real.rows("mart_transit_edges") if not row["is_declared"]]

    by_prefix: dict[str, list[int]] = {}
    for code in codes:
        prefix, number = re.fullmatch(r"([A-Z]+)(\d*)", code).groups()  # type: ignore[union-attr]
        by_prefix.setdefault(prefix, []).append(int(number or 0))
    expected = set()
    for prefix, numbers in by_prefix.items():
        expected |= {(f"{prefix}{a or ''}", f"{prefix}{b}") for a, b in pairwise(sorted(numbers))}
    assert {(edge["from_code"], edge["to_code"]) for edge in edges} == expected


@pytest.mark.parametrize(
    ("line", "ends"),
    [
        ("NSL", "NS1 NS28"),
        ("EWL", "EW1 EW33"),
        ("CGL", "CG CG2"),
        ("NEL", "NE1 NE18"),
        ("CCL", "CC1 CC4"),
        ("DTL", "DT1 DT35"),
        ("TEL", "TE1 TE29"),
        ("BPL", "BP1 BP6"),
        ("SKL", "STC STC"),
        ("PGL", "PTC PTC"),
    ],
)
def test_a_line_can_be_travelled_in_the_order_of_its_edges(
    real: Transit, line: str, ends: str
) -> None:
    edges = [edge for edge in real.rows("mart_transit_edges") if edge["line_code"] == line]

    route = sorted(edges, key=lambda edge: edge["edge_order"])

    assert f"{route[0]['from_code']} {route[-1]['to_code']}" == ends
    pairs = pairwise(route)
    assert all(one["to_code"] == other["from_code"] for one, other in pairs)


def test_lines_of_an_interchange_are_in_the_order_of_its_codes(real: Transit) -> None:
    stations = real.rows_by("mart_stations", "station_id")

    assert stations["NS27"]["mrt_codes"] == ["NS27", "CC33", "TE20"]
    assert stations["NS27"]["lines"] == ["NSL", "CCL", "TEL"]
    assert stations["CC34"]["official_name"] == "BAYFRONT MRT STATION"


def test_all_stations_are_connected(real: Transit) -> None:
    neighbours: dict[str, set[str]] = {}
    for edge in real.rows("mart_transit_edges"):
        neighbours.setdefault(edge["from_station_id"], set()).add(edge["to_station_id"])
        neighbours.setdefault(edge["to_station_id"], set()).add(edge["from_station_id"])
    seen, waiting = set[str](), ["NS1"]
    while waiting:
        station = waiting.pop()
        waiting += neighbours[station] - seen
        seen.add(station)

    assert len(seen) == 185


def test_codes_are_those_of_wikipedia(real: Transit, mirror: Path) -> None:
    lists = mirror / "station-lists"
    wikipedia_names = {}
    for file in ("wikipedia-mrt.json", "wikipedia-lrt.json"):
        for entry in json.loads((lists / file).read_text(encoding="utf-8")):
            wikipedia_names |= dict.fromkeys(entry["codes"], entry["name"])

    names = {row["code"]: row["display_name"] for row in real.rows("mart_station_codes")}

    assert {code: name for code, name in wikipedia_names.items() if names.get(code) != name} == {
        "BP14": "Ten Mile Junction",  # closed in 2019
        "CE1": "Bayfront",  # CC34 since the Circle Line was completed in July 2026
        "CE2": "Marina Bay",  # CC33 since the same day
    }

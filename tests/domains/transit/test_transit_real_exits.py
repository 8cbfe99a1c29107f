"""The real exits, read a second time with plain Python and compared with what is published."""

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
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["features"]
    return found


def name_of(feature: dict[str, Any]) -> str:
    served = feature["properties"]["STATION_NA"]
    return CODES.get(served, re.sub(r" (MRT|LRT) STATION$", "", served))


def place(row: dict[str, Any]) -> tuple[float, float]:
    return row["longitude_degrees"], row["latitude_degrees"]


def test_all_stations_of_the_file_are_there_and_no_other(
    real: Transit, features: list[dict[str, Any]]
) -> None:
    found = {row["display_name"].upper() for row in real.rows("mart_stations")}

    assert found == {name_of(feature) for feature in features}
    assert len(found) == 185


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
def test_names_that_contain_each_other_are_stations_of_their_own(
    real: Transit, name: str, station_id: str
) -> None:
    stations = real.by("mart_stations", "station_id")

    assert stations[station_id]["official_name"] == f"{name} MRT STATION"


def test_every_exit_is_published_where_it_is_and_none_is_made_up(
    real: Transit, features: list[dict[str, Any]]
) -> None:
    names = {row["station_id"]: row["display_name"].upper() for row in real.rows("mart_stations")}

    found = Counter((names[row["station_id"]], place(row)) for row in real.rows("mart_exits"))

    told = ((name_of(f), tuple(f["geometry"]["coordinates"][:2])) for f in features)
    assert found == Counter(told)
    assert found.total() == 613


def test_all_exits_of_both_parts_of_bukit_panjang_are_there(real: Transit) -> None:
    found = [e["exit_id"] for e in real.rows("mart_exits") if e["station_id"] == "DT1"]

    assert found[:4] == ["LRT-A", "LRT-B", "LRT-C", "LRT-D"]
    assert found[4:] == ["MRT-A", "MRT-A-2", "MRT-A-3", "MRT-B"]


def test_every_exit_lies_in_bounds(real: Transit) -> None:
    places = [place(row) for row in real.rows("mart_exits")]

    assert all(103 <= longitude <= 105 and 1 <= latitude <= 2 for longitude, latitude in places)


def test_edges_join_the_next_code_of_the_line(real: Transit) -> None:
    codes = [row["code"] for row in real.rows("mart_station_codes")]
    edges = [row for row in real.rows("mart_transit_edges") if not row["is_declared"]]

    by_prefix: dict[str, list[int]] = {}
    for code in codes:
        prefix, number = re.fullmatch(r"([A-Z]+)(\d*)", code).groups()  # type: ignore[union-attr]
        by_prefix.setdefault(prefix, []).append(int(number or 0))
    expected = {
        (f"{prefix}{a or ''}", f"{prefix}{b}")
        for prefix, numbers in by_prefix.items()
        for a, b in zip(sorted(numbers), sorted(numbers)[1:], strict=False)
    }
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

    way = sorted(edges, key=lambda edge: edge["edge_order"])

    assert f"{way[0]['from_code']} {way[-1]['to_code']}" == ends
    pairs = pairwise(way)
    assert all(one["to_code"] == other["from_code"] for one, other in pairs)


def test_lines_of_an_interchange_stand_in_the_order_of_its_codes(real: Transit) -> None:
    stations = real.by("mart_stations", "station_id")

    assert stations["NS27"]["mrt_codes"] == ["NS27", "CC33", "TE20"]
    assert stations["NS27"]["lines"] == ["NSL", "CCL", "TEL"]
    assert stations["CC34"]["official_name"] == "BAYFRONT MRT STATION"


def test_the_network_hangs_together_through_its_interchanges(real: Transit) -> None:
    ways: dict[str, set[str]] = {}
    for edge in real.rows("mart_transit_edges"):
        ways.setdefault(edge["from_station_id"], set()).add(edge["to_station_id"])
        ways.setdefault(edge["to_station_id"], set()).add(edge["from_station_id"])
    seen, waiting = set[str](), ["NS1"]
    while waiting:
        station = waiting.pop()
        waiting += ways[station] - seen
        seen.add(station)

    assert len(seen) == 185


def test_codes_are_those_that_others_have_compiled(real: Transit, mirror: Path) -> None:
    lists = mirror / "station-lists"
    known = {
        code: entry["name"]
        for file in ("wikipedia-mrt.json", "wikipedia-lrt.json")
        for entry in json.loads((lists / file).read_text(encoding="utf-8"))
        for code in entry["codes"]
    }

    found = {row["code"]: row["display_name"] for row in real.rows("mart_station_codes")}

    assert {code: name for code, name in known.items() if found.get(code) != name} == {
        "BP14": "Ten Mile Junction",  # closed in 2019
        "CE1": "Bayfront",  # CC34 since the Circle Line is a whole one, in July 2026
        "CE2": "Marina Bay",  # CC33 since then
    }

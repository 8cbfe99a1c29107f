"""A run of the sample: its stations, exits and lines, and the checks of the gate on them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.raw_fields import raw_fields

from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_defs
from etl_assets.model.records import RunStatus

if TYPE_CHECKING:
    from conftest import Rows, Transit

HTML = "<center><table><tr><th colspan='2'><em>Attributes</em></th></tr>{rows}</table></center>"


def exits_of(transit: Transit, station_id: str) -> list[str]:
    return [e["exit_id"] for e in transit.rows("mart_exits") if e["station_id"] == station_id]


def without(name: str) -> Any:
    return lambda features: [f for f in features if f["properties"]["STATION_NA"] != name]


def stations_without_digest(transit: Transit) -> Rows:
    """Returns the stations without the digest of the file that they were read from."""
    return [{**row, "evidence": row["evidence"]["exits"]} for row in transit.rows("mart_stations")]


def as_html(feature: dict[str, Any]) -> dict[str, Any]:
    rows = "".join(f"<tr><th>{k}</th><td>{v}</td></tr>" for k, v in feature["properties"].items())
    properties = {"Name": "kml_1", "Description": HTML.format(rows=rows)}
    return {**feature, "properties": properties}


def test_a_name_that_contains_another_is_a_different_station(first_transit: Transit) -> None:
    stations = first_transit.rows_by("mart_stations", "official_name")

    assert stations["MILLPOND SOUTH MRT STATION"]["station_id"] == "AB2"
    assert stations["MILLPOND SOUTH PIER MRT STATION"]["station_id"] == "AB3"
    assert {"LINDEN MRT STATION", "LINDEN EAST MRT STATION"} <= stations.keys()


def test_exits_of_both_modes_are_kept_although_their_letters_repeat(first_transit: Transit) -> None:
    exits = exits_of(first_transit, "CD4")

    assert exits == ["LRT-A", "LRT-B", "MRT-A", "MRT-A-2", "MRT-B"]


def test_a_code_in_place_of_a_name_is_the_station_with_that_code(first_transit: Transit) -> None:
    stations = first_transit.rows_by("mart_stations", "station_id")

    assert exits_of(first_transit, "AB5") == ["MRT-1", "MRT-2", "MRT-A"]
    assert stations["LP3"]["official_name"] == "SANDBAR LRT STATION"


def test_exactly_the_exits_of_the_source_are_published(first_transit: Transit) -> None:
    rows = sorted(row["source_row"] for row in first_transit.rows("mart_exits"))

    assert rows == list(range(1, 22))


def test_edges_follow_the_codes_and_line_links_close_loops(first_transit: Transit) -> None:
    edges = [
        (e["line_code"], e["from_code"], e["to_code"])
        for e in first_transit.rows("mart_transit_edges")
    ]

    assert edges[:4] == [("ABL", f"AB{n}", f"AB{n + 1}") for n in range(1, 5)]
    assert edges[-3:] == [("LPL", "LP1", "LP2"), ("LPL", "LP2", "LP3"), ("LPL", "LP3", "LP1")]


def test_interchanges_have_several_lines(first_transit: Transit) -> None:
    lines = {row["station_id"]: row["lines"] for row in first_transit.rows("mart_interchanges")}

    assert lines == {"AB4": ["ABL", "CDL"], "CD4": ["CDL", "LPL"]}


def test_the_asset_keys_are_unchanged(first_transit: Transit) -> None:
    graph = build_defs(
        ProjectContext(first_transit.settings, {first_transit.name: first_transit.domain})
    ).resolve_asset_graph()
    expected = (Path(__file__).parent / "asset_keys.txt").read_text(encoding="utf-8")

    keys = sorted(key.to_user_string() for key in graph.get_all_asset_keys())

    assert [key for key in keys if key.startswith("transit/")] == expected.split()


@pytest.mark.long
def test_a_lost_station_fails_the_gate_by_its_name(transit: Transit) -> None:
    before = transit.latest
    transit.change_features(without("MILLPOND SOUTH MRT STATION"))

    manifest = transit.run()

    assert (manifest.status, manifest.published) == (RunStatus.FAILED, False)
    assert "missing  Millpond South" in manifest.note
    assert re.search(r"station names +expected 10 +counted 9", manifest.note)
    assert transit.latest == before


@pytest.mark.long
def test_a_wrong_count_fails_the_gate_with_the_actual_count(transit: Transit) -> None:
    counts = transit.settings.dbt_dir / "seeds" / transit.name / "expected_counts.csv"
    counts.write_text("measure,expected\nstation names,11\nlines,4\n", encoding="utf-8")

    manifest = transit.run()

    assert not manifest.published
    assert re.search(r"station names +expected 11 +counted 10", manifest.note)
    assert re.search(r"lines +expected 4 +counted 3 +ABL CDL LPL", manifest.note)
    assert "stations_are_the_known_ones" not in manifest.note


@pytest.mark.long
def test_an_unknown_station_fails_the_gate_by_its_name(transit: Transit) -> None:
    def add_station(features: Rows) -> Rows:
        properties = {**features[0]["properties"], "STATION_NA": "LINDEN WEST MRT STATION"}
        return [*features, {**features[0], "properties": properties}]

    transit.change_features(add_station)

    manifest = transit.run()

    assert not manifest.published
    assert "unknown  LINDEN WEST" in manifest.note
    assert re.search(r"station names +expected 10 +counted 11", manifest.note)


@pytest.mark.long
def test_attributes_in_an_html_table_make_the_same_network(transit: Transit) -> None:
    before = stations_without_digest(transit)
    transit.change_features(lambda features: [as_html(feature) for feature in features])

    manifest = transit.run()

    assert manifest.status is RunStatus.SUCCESS
    assert stations_without_digest(transit) == before


@pytest.mark.parametrize(
    ("mart", "column", "fields"),
    [
        pytest.param(
            "mart_stations",
            "longitude_degrees",
            {"station_exits_raw: geometry.longitude"},
            id="a mean",
        ),
        pytest.param(
            "mart_stations",
            "page_title",
            {"station_pages_raw: answers[].answer.query.pages[].title"},
            id="a field of an answer",
        ),
        pytest.param(
            "mart_stations",
            "accessibility_notes",
            # The lists of a station are joined in the order of the requested names.
            {
                "station_answers_raw: answers[].answer.accessibility_notes",
                "station_answers_raw: answers[].key.station_name",
            },
            id="an ordered list",
        ),
    ],
)
def test_a_column_is_followed_to_the_answers(
    first_transit: Transit, mart: str, column: str, fields: set[str]
) -> None:
    assert raw_fields(first_transit, mart, column) == fields

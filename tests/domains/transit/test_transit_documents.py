"""The documents: their JSON Schemas and their content."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

from etl_assets.publish import run_directory, set_index

if TYPE_CHECKING:
    from conftest import Transit

DOCUMENTS = {
    "stations.json": "stations.schema.json",
    "mrt_transit_graph.json": "mrt_transit_graph.schema.json",
}


def document(transit: Transit, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((transit.latest / name).read_text(encoding="utf-8"))
    return content


def schema_errors(transit: Transit, name: str) -> list[str]:
    folder = transit.settings.domains_dir / transit.domain.name
    schema = json.loads((folder / DOCUMENTS[name]).read_text(encoding="utf-8"))
    errors = jsonschema_rs.validator_for(schema).iter_errors(document(transit, name))
    return [str(error) for error in errors]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_matches_its_schema(first_transit: Transit, name: str) -> None:
    assert schema_errors(first_transit, name) == []


@pytest.mark.long
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_of_the_real_network_matches_its_schema(real: Transit, name: str) -> None:
    assert schema_errors(real, name) == []


def test_the_manifest_has_the_true_size_and_digest(first_transit: Transit) -> None:
    latest = first_transit.latest
    manifest = run_directory.read_manifest(latest)

    for written in set_index.read_index(latest, manifest):
        data = (latest / written.file).read_bytes()
        assert (written.size_bytes, written.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_stations_have_all_their_exits(first_transit: Transit) -> None:
    stations = {s["station_id"]: s for s in document(first_transit, "stations.json")["stations"]}

    exits = [e["exit_id"] for e in stations["CD4"]["exits"]]
    assert exits == ["LRT-A", "LRT-B", "MRT-A", "MRT-A-2", "MRT-B"]
    assert stations["CD4"]["data_quality"]["source"] == "official"
    assert sum(len(station["exits"]) for station in stations.values()) == 21


def test_the_stations_have_metadata_of_the_whole_document(first_transit: Transit) -> None:
    metadata = document(first_transit, "stations.json")["metadata"]

    assert metadata == {
        "version": "2",
        "source": "LTA MRT Station Exit",
        "data_version": "2026-03-01",
        "total_stations": 10,
        "total_exits": 21,
        "enriched_stations": 0,
        "skipped_stations": 7,
    }


def test_a_document_attributes_the_sources_with_content(first_transit: Transit) -> None:
    attributions = document(first_transit, "stations.json")["attributions"]

    assert not any("language model" in text for text in attributions)  # disabled without its key
    assert [text.partition(". Licence")[0] for text in attributions] == [
        "Contains information from LTA MRT Station Exit accessed from data.gov.sg",
        "Singapore MRT Lines Wiki on Fandom, its editors",
        "Contains information from OneMap accessed from the Singapore Land Authority",
    ]


def test_the_graph_has_nodes_edges_lines_and_interchanges(first_transit: Transit) -> None:
    graph = document(first_transit, "mrt_transit_graph.json")

    nodes = {node["station_id"] for node in graph["nodes"]}
    ends = {edge["from"] for edge in graph["edges"]} | {edge["to"] for edge in graph["edges"]}
    assert ends == nodes
    assert [i["station_id"] for i in graph["interchanges"]] == ["AB4", "CD4"]
    assert {"code": "LPL", "name": "Hillcrest Loop", "mode": "lrt", "color": "#6b7a85"} in graph[
        "lines"
    ]
    red = [(e["from_code"], e["to_code"]) for e in graph["edges"] if e["line"] == "ABL"]
    assert red == [("AB1", "AB2"), ("AB2", "AB3"), ("AB3", "AB4"), ("AB4", "AB5")]


def test_no_document_contains_a_repr(first_transit: Transit) -> None:
    texts = [(first_transit.latest / name).read_text(encoding="utf-8") for name in DOCUMENTS]

    assert all("official_name='" not in text for text in texts)


def test_the_report_shows_the_map_and_the_lines(first_transit: Transit) -> None:
    page = (first_transit.latest / "run_report.html").read_text(encoding="utf-8")

    assert page.count('<svg class="map"') == 1
    assert page.count('<svg class="strips"') == 3
    assert (
        page.count("<circle") == 10 + 5 + 4 + 4
    )  # stations on the map, then the stops of each line

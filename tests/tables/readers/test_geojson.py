"""Features of a GeoJSON collection, in both shapes in which their properties come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.table_declarations import column, contract

from etl_assets.declarations.formats import GeoJsonFormat
from etl_assets.model.errors import ContentError
from etl_assets.tables.readers.batch import Batch
from etl_assets.tables.readers.geojson import read

GATES = contract(
    column("name", **{"from": "properties.NAME"}),
    column("gate", **{"from": "properties.GATE"}),
    column("lon", "float64", **{"from": "geometry.longitude"}),
    column("lat", "float64", **{"from": "geometry.latitude"}),
    unknown_fields="evolve",
)
TABLE = (
    "<center><table><tr><th colspan='2' align='center'><em>Attributes</em></th></tr>"
    "<tr bgcolor='#E3E3F3'> <th>NAME</th> <td>ELM &amp; OAK</td> </tr>"
    "<tr bgcolor=''> <th>GATE</th> <td>Gate 1</td> </tr></table></center>"
)


def feature(properties: Any, coordinates: Any = (1.5, 2.5), kind: str = "Point") -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gates.geojson"


def batch_of(file: Path, *features: Any) -> Batch:
    document = {"type": "FeatureCollection", "name": "gates", "features": features}
    file.write_text(json.dumps(document), encoding="utf-8")
    (batch,) = read(file, GeoJsonFormat(name="geojson"), GATES)
    return batch


def test_properties_and_the_point_are_columns(file: Path) -> None:
    batch = batch_of(file, feature({"NAME": "ELM", "GATE": "A"}), feature({"NAME": "OAK"}))

    assert batch.columns["name"] == ["ELM", "OAK"]
    assert batch.columns["gate"] == ["A", None]
    assert (batch.columns["lon"], batch.columns["lat"]) == ([1.5, 1.5], [2.5, 2.5])


def test_properties_in_a_table_of_html_are_the_same_columns(file: Path) -> None:
    kml = feature({"Name": "kml_1", "Description": TABLE}, (1.5, 2.5, 0.0))

    batch = batch_of(file, kml)

    assert (batch.columns["name"], batch.columns["gate"]) == (["ELM & OAK"], ["Gate 1"])
    assert (batch.columns["lon"], batch.columns["lat"]) == ([1.5], [2.5])


def test_a_description_without_a_table_is_a_property(file: Path) -> None:
    batch = batch_of(file, feature({"NAME": "ELM", "Description": "by the <b>old</b> elm"}))

    assert batch.columns["name"] == ["ELM"]
    assert batch.unknown_fields == {"Description"}


@pytest.mark.parametrize(
    ("kind", "coordinates"),
    [
        pytest.param("LineString", [[1.0, 2.0], [3.0, 4.0]], id="line"),
        pytest.param("Point", [1.0], id="half a position"),
        pytest.param("Point", None, id="no position"),
    ],
)
def test_what_is_no_point_has_no_place(file: Path, kind: str, coordinates: Any) -> None:
    batch = batch_of(file, feature({"NAME": "ELM"}, coordinates, kind))

    assert (batch.columns["lon"], batch.columns["lat"]) == ([None], [None])


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("gate", id="text"),
        pytest.param({"properties": "ELM"}, id="properties are text"),
        pytest.param({"geometry": [1.0, 2.0]}, id="geometry is a list"),
    ],
)
def test_a_feature_that_is_none_costs_no_other(file: Path, bad: Any) -> None:
    batch = batch_of(file, feature({"NAME": "ELM"}), bad, feature({"NAME": "OAK"}))

    assert batch.columns["name"] == ["ELM", "OAK"]
    assert list(batch.ordinals) == [1, 3]
    assert [reject.where.split(",")[0] for reject in batch.rejects] == ["feature 2"]


@pytest.mark.fault("json-twice")
@pytest.mark.parametrize(
    "properties",
    [
        pytest.param({"Description": TABLE.replace("GATE", "NAME")}, id="in the table"),
        pytest.param({"NAME": "ASH", "Description": TABLE}, id="beside the table"),
    ],
)
def test_a_property_twice_in_a_table_of_html_rejects_its_feature(
    file: Path, properties: dict[str, str]
) -> None:
    batch = batch_of(file, feature({"NAME": "OAK"}), feature(properties))

    assert batch.columns["name"] == ["OAK"]
    (reject,) = batch.rejects
    assert (reject.where, reject.actual) == ("feature 2, properties", "NAME more than once")


@pytest.mark.fault("json-twice")
@pytest.mark.parametrize("member", ['"features": []', '"type": "Feature"'])
def test_a_member_of_the_collection_twice_is_refused(file: Path, member: str) -> None:
    file.write_text(f'{{{member}, "type": "FeatureCollection", "features": []}}', encoding="utf-8")

    with pytest.raises(ContentError, match="each field once"):
        list(read(file, GeoJsonFormat(name="geojson"), GATES))


def test_the_members_of_a_collection_may_have_any_order(file: Path) -> None:
    features = json.dumps([feature({"NAME": "ELM"})] * 12_000)
    file.write_text(f'{{"features": {features}, "x": [1], "type": "FeatureCollection"}}')

    batches = list(read(file, GeoJsonFormat(name="geojson"), GATES))

    assert [len(batch.ordinals) for batch in batches] == [5_000, 5_000, 2_000]
    assert batches[-1].ordinals[-1] == 12_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"type": "Feature", "features": []}', id="one feature"),
        pytest.param('{"type": "FeatureCollection"}', id="no features"),
        pytest.param('{"type": "FeatureCollection", "features": {}}', id="features in an object"),
        pytest.param("[1]", id="a list"),
    ],
)
def test_another_document_is_refused(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")

    with pytest.raises(ContentError, match="expected a FeatureCollection with features"):
        list(read(file, GeoJsonFormat(name="geojson"), GATES))

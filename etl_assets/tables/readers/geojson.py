"""GeoJSON (RFC 7946): one row for each feature of a collection, its properties and its point.

A column takes `properties.<name>`, `id`, `geometry.type`, `geometry.longitude` or
`geometry.latitude`. Lines and areas are not read: their rows have no longitude and latitude.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import GeoJsonFormat
from etl_assets.declarations.json_path import Step
from etl_assets.model.errors import ContentError
from etl_assets.model.records import Reject
from etl_assets.tables.readers.batch import (
    DECODE_ERRORS,
    ROWS_PER_BATCH,
    Batch,
    record_reject,
    row_text,
    value_json,
)
from etl_assets.tables.readers.json_records import ColumnExtractor, Leaf, wrong_kind
from etl_assets.tables.readers.raw_bytes import read_document

COLLECTION = "FeatureCollection"
DESCRIPTION = "Description"
POSITION_LENGTH = 2  # longitude and latitude; a third number is a height (RFC 7946, 3.1.1)


def read(path: Path, _form: GeoJsonFormat, contract: Contract) -> Iterator[Batch]:
    """The declared fields of every feature; raises ContentError for another kind of document."""
    extractor = ColumnExtractor([[Step("items")]], contract)
    declared = {(c.origin or c.name).removeprefix("properties.") for c in contract.columns}
    features = _features(read_document(path))
    # A collection without features gives one empty batch.
    for first in range(0, max(len(features), 1), ROWS_PER_BATCH):
        items: list[Leaf | Reject] = []
        property_names = set[str]()
        for number, raw in enumerate(features[first : first + ROWS_PER_BATCH], start=first + 1):
            item = _feature(f"feature {number}", bytes(raw))
            items.append(item)
            if isinstance(item, Leaf):
                property_names.update(item.records[0]["properties"])
        batch = extractor.batch(items, first)
        yield replace(batch, unknown_fields=frozenset(property_names - declared))


def _features(data: bytes) -> list[msgspec.Raw]:
    expected = f"a {COLLECTION} with features"
    try:
        document = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        kind = msgspec.json.decode(document.get("type", b"null"))
        features = msgspec.json.decode(document.get("features", b"null"), type=list[msgspec.Raw])
    except DECODE_ERRORS as error:
        actual = f"{row_text(data)[:80]!r} ({error})"
        raise ContentError.of("", expected, actual) from error
    if kind != COLLECTION:
        raise ContentError.of("", expected, f"type {value_json(kind)}")
    return features


def _feature(where: str, data: bytes) -> Leaf | Reject:
    try:
        value = msgspec.json.decode(data)
    except DECODE_ERRORS as error:
        return record_reject(where, "JSON", str(error), row_text(data))
    if not isinstance(value, dict):
        return wrong_kind(where, "an object", value)
    properties, geometry = value.get("properties") or {}, value.get("geometry") or {}
    for name, member in (("properties", properties), ("geometry", geometry)):
        if not isinstance(member, dict):
            return wrong_kind(f"{where}, {name}", "an object", member)
    record = {
        "id": value.get("id"),
        "properties": _expand_description(properties),
        "geometry": _point(geometry),
    }
    return Leaf(records=(record,))


def _expand_description(properties: dict[str, Any]) -> dict[str, Any]:
    """The properties, with those of an HTML table in `Description` in place of its text."""
    # Features converted from KML keep all their properties in such a table.
    text = properties.get(DESCRIPTION)
    if not isinstance(text, str) or "<th" not in text:
        return properties
    table = _Table()
    table.feed(text)
    table.close()
    if not table.pairs:
        return properties
    other = {name: value for name, value in properties.items() if name != DESCRIPTION}
    return other | table.pairs


def _point(geometry: dict[str, Any]) -> dict[str, Any]:
    longitude, latitude = None, None
    position = geometry.get("coordinates")
    is_position = isinstance(position, list) and len(position) >= POSITION_LENGTH
    if position and is_position and geometry.get("type") == "Point":
        longitude, latitude = position[:POSITION_LENGTH]
    return {"type": geometry.get("type"), "longitude": longitude, "latitude": latitude}


class _Table(HTMLParser):
    """The rows of a table with one heading and one cell, as pairs."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pairs: dict[str, str] = {}
        self._row: dict[str, list[str]] = {}
        self._cell = ""

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self._row = {}
        elif tag in {"th", "td"}:
            self._cell = tag
            self._row.setdefault(tag, []).append("")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self._row[self._cell][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == self._cell:
            self._cell = ""
        headings, cells = self._row.get("th", []), self._row.get("td", [])
        if tag == "tr" and len(headings) == len(cells) == 1:
            self.pairs[headings[0].strip()] = cells[0].strip()

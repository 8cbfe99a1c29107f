"""GeoJSON (RFC 7946): one row for each feature of a collection, its properties and its point.

A column takes `properties.<name>`, `id`, `geometry.type`, `geometry.longitude` or
`geometry.latitude`. Lines and areas are not read: their rows have no longitude and latitude.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import GeoJsonFormat
from etl_assets.declarations.json_path import Step
from etl_assets.declarations.source import MAX_RECORD_BYTES
from etl_assets.model.errors import ContentError
from etl_assets.model.records import Reject
from etl_assets.tables.readers import json_keys
from etl_assets.tables.readers.batch import (
    DECODE_ERRORS,
    ROWS_PER_BATCH,
    Batch,
    record_reject,
    row_json,
    row_text,
    value_json,
)
from etl_assets.tables.readers.json_records import ColumnExtractor, Leaf, wrong_kind
from etl_assets.tables.readers.json_stream import JsonStream
from etl_assets.tables.readers.raw_bytes import read_chunks

COLLECTION = "FeatureCollection"
EXPECTED = f"a {COLLECTION} with features"
DESCRIPTION = "Description"
POSITION_LENGTH = 2  # longitude and latitude; a third number is a height (RFC 7946, 3.1.1)


def read(
    path: Path,
    _form: GeoJsonFormat,
    contract: Contract,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Batch]:
    """The declared fields of every feature; raises ContentError for another kind of document."""
    extractor = ColumnExtractor([[Step("items")]], contract)
    declared = {(c.origin or c.name).removeprefix("properties.") for c in contract.columns}
    features = _features(JsonStream(read_chunks(path), max_record_bytes))
    records = 0
    while True:
        items = list(islice(features, ROWS_PER_BATCH))
        if records and not items:
            return
        property_names = set[str]()
        for item in items:
            if isinstance(item, Leaf):
                property_names.update(item.records[0]["properties"])
        batch = extractor.batch(items, records)
        yield replace(batch, unknown_fields=frozenset(property_names - declared))
        records += len(items)


def _features(stream: JsonStream) -> Iterator[Leaf | Reject]:
    if stream.next_byte() != b"{":
        raise stream.error(EXPECTED, f"text that begins {stream.excerpt()}")
    kind: object = None
    members = set[str]()
    for key in stream.entries():
        if key in {"type", "features"} & members:
            raise stream.error("each field once", f"{key} more than once")
        if key == "features" and stream.next_byte() == b"[":
            yield from _items(stream)
        elif key == "type":
            kind = _decode_kind(stream)
        else:
            yield from stream.pass_over(key)
            continue
        members.add(str(key))
    stream.end()
    if kind != COLLECTION or "features" not in members:
        raise ContentError.of("", EXPECTED, f"type {value_json(kind)}")


def _items(stream: JsonStream) -> Iterator[Leaf | Reject]:
    for number in stream.items():
        where = f"feature {number}"
        text = stream.read()
        yield _feature(where, text) if text else stream.reject_oversize(where)


def _decode_kind(stream: JsonStream) -> object:
    try:
        return msgspec.json.decode(stream.read() or b"null")
    except DECODE_ERRORS as error:
        raise stream.error(EXPECTED, str(error)) from error


def _feature(where: str, data: bytes) -> Leaf | Reject:
    try:
        value = json_keys.decode(data)
    except DECODE_ERRORS as error:
        return record_reject(where, "JSON", str(error), row_text(data))
    if not isinstance(value, dict):
        return wrong_kind(where, "an object", value)
    properties, geometry = value.get("properties") or {}, value.get("geometry") or {}
    for name, member in (("properties", properties), ("geometry", geometry)):
        if not isinstance(member, dict):
            return wrong_kind(f"{where}, {name}", "an object", member)
    table = _description_table(properties)
    if repeated := table.repeated | (table.pairs.keys() & properties.keys()):
        actual = f"{', '.join(sorted(repeated))} more than once"
        return record_reject(f"{where}, properties", "each field once", actual, row_json(value))
    if table.pairs:
        other = {name: item for name, item in properties.items() if name != DESCRIPTION}
        properties = other | table.pairs
    record = {"id": value.get("id"), "properties": properties, "geometry": _point(geometry)}
    return Leaf(records=(record,))


def _description_table(properties: dict[str, Any]) -> _Table:
    """The properties in an HTML table in `Description`, which take the place of its text."""
    # Features converted from KML keep all their properties in such a table.
    table = _Table()
    text = properties.get(DESCRIPTION)
    if isinstance(text, str) and "<th" in text:
        table.feed(text)
        table.close()
    return table


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
        self.repeated = set[str]()
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
            heading = headings[0].strip()
            if heading in self.pairs:
                self.repeated.add(heading)
            self.pairs[heading] = cells[0].strip()

"""GeoJSON (RFC 7946): one row per feature of a collection, its properties and where its point is.

A column takes `properties.<name>`, `id`, `geometry.type`, `geometry.longitude` or
`geometry.latitude`. Features that were converted from KML keep their properties as a table of HTML
inside `Description`; they are read from there. What is no point has no longitude and latitude:
lines and areas are not read here.
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

MAX_DOCUMENT_BYTES = 1 << 30
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
COLLECTION = "FeatureCollection"
DESCRIPTION = "Description"
POSITION = 2  # longitude and latitude; a third number is a height


def read(path: Path, _form: GeoJsonFormat, contract: Contract) -> Iterator[Batch]:
    """The declared fields of every feature; raises ContentError for another kind of document."""
    shape = ColumnExtractor([[Step("items")]], contract)
    known = {(c.origin or c.name).removeprefix("properties.") for c in contract.columns}
    features = _features(read_document(path, MAX_DOCUMENT_BYTES).removeprefix(BYTE_ORDER_MARK))
    for first in range(0, max(len(features), 1), ROWS_PER_BATCH):
        raws = enumerate(features[first : first + ROWS_PER_BATCH], start=first + 1)
        found = [_feature(f"feature {number}", bytes(raw)) for number, raw in raws]
        batch = shape.batch(found, first)
        yield replace(batch, unknown_fields=_unknown(found, known))


def _features(data: bytes) -> list[msgspec.Raw]:
    expected = f"a {COLLECTION} with features"
    try:
        document = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        kind = msgspec.json.decode(document.get("type", b"null"))
        features = msgspec.json.decode(document.get("features", b"null"), type=list[msgspec.Raw])
    except DECODE_ERRORS as error:
        found = f"{row_text(data)[:80]!r} ({error})"
        raise ContentError.of("", expected, found) from error
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
        "properties": _described(properties),
        "geometry": _placed(geometry),
    }
    return Leaf(records=(record,))


def _described(properties: dict[str, Any]) -> dict[str, Any]:
    """The properties; where a table of HTML holds them, those of the table."""
    text = properties.get(DESCRIPTION)
    if not isinstance(text, str) or "<th" not in text:
        return properties
    table = _Table()
    table.feed(text)
    table.close()
    rest = {name: value for name, value in properties.items() if name != DESCRIPTION}
    return {**rest, **table.pairs} if table.pairs else properties


def _placed(geometry: dict[str, Any]) -> dict[str, Any]:
    position = geometry.get("coordinates")
    is_position = isinstance(position, list) and len(position) >= POSITION
    is_point = geometry.get("type") == "Point" and is_position
    longitude, latitude = position[:POSITION] if is_point else (None, None)  # type: ignore[index]  # a list here
    return {"type": geometry.get("type"), "longitude": longitude, "latitude": latitude}


def _unknown(found: list[Leaf | Reject], known: set[str]) -> frozenset[str]:
    names = set[str]()
    for item in found:
        if isinstance(item, Leaf):
            names |= item.records[0]["properties"].keys()
    return frozenset(names - known)


class _Table(HTMLParser):
    """The rows of a table that have one heading and one cell, as pairs."""

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

"""A JSON document (RFC 8259): every record at the end of the declared paths.

A document that is no larger than a record may be is decoded in memory, any other one is read by
`json_large`. Following paths and taking columns is done by `json_records`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import JsonFormat
from etl_assets.declarations.json_path import Step, row_paths
from etl_assets.declarations.source import MAX_RECORD_BYTES
from etl_assets.model.errors import ContentError, DeclarationError, Problem
from etl_assets.model.records import Reject
from etl_assets.tables.readers import json_keys
from etl_assets.tables.readers.batch import (
    DECODE_ERRORS,
    ROWS_PER_BATCH,
    Batch,
    record_reject,
    row_text,
    value_json,
)
from etl_assets.tables.readers.json_large import LargeDocument
from etl_assets.tables.readers.json_records import ColumnExtractor, Leaf, walk
from etl_assets.tables.readers.json_stream import JsonStream
from etl_assets.tables.readers.raw_bytes import read_chunks, read_small

T = TypeVar("T")


def read(
    path: Path, form: JsonFormat, contract: Contract, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Batch]:
    """The declared fields of every record at the end of the format's paths."""
    data = read_small(path, max_record_bytes)
    paths = row_paths(form)
    extractor = ColumnExtractor(paths, contract)
    items: list[Leaf | Reject] = []
    records = 0
    for number, steps in enumerate(paths):
        if all(step.kind == "field" for step in steps):
            declared = ".".join(step.name for step in steps)
            problem = Problem("format, rows", "a path into a map or a list", declared)
            raise DeclarationError([problem])
        split = None if data is None else _try_split(data, steps)
        if split is None:
            chunks = read_chunks(path) if data is None else iter([data])
            stream = JsonStream(chunks, max_record_bytes)
            large = LargeDocument(stream, extractor.records_read(number))
            walked = large.walk(steps, Leaf(path=number))
        else:
            walked = _walk_entries(*split, steps, Leaf(path=number))
        for item in walked:
            items.append(item)
            if len(items) == ROWS_PER_BATCH:
                yield extractor.batch(items, records)
                records += len(items)
                items = []
    yield extractor.batch(items, records)


def _walk_entries(
    entries: Iterator[tuple[str, msgspec.Raw]],
    steps_below: list[Step],
    steps: list[Step],
    leaf: Leaf,
) -> Iterator[Leaf | Reject]:
    # Each entry below the outermost map or list is decoded by itself: a broken one is a reject,
    # and the values of one entry only are in memory.
    step = steps[-len(steps_below) - 1]
    for key, raw in entries:
        text = bytes(raw)
        place = f"[{key}]" if step.kind == "items" else key
        try:
            value = json_keys.decode(text)
        except DECODE_ERRORS as error:
            yield record_reject(place, "JSON", str(error), row_text(text))
            continue
        child = leaf.item(value) if step.kind == "items" else leaf.entry(step.name, key, value)
        yield from walk(value, steps_below, child, place)


def _try_split(
    data: bytes, steps: list[Step]
) -> tuple[Iterator[tuple[str, msgspec.Raw]], list[Step]] | None:
    """As `_split`; None also if an entry is nested too deeply to be passed over by msgspec."""
    try:
        return _split(data, steps)
    except RecursionError:
        return None


def _split(
    data: bytes, steps: list[Step]
) -> tuple[Iterator[tuple[str, msgspec.Raw]], list[Step]] | None:
    """The undecoded entries of the first map or list on the path, and the steps below it.

    None if a key above them may be repeated: msgspec keeps the last of them only.
    """
    location = ""
    for depth, step in enumerate(steps):
        if step.kind == "items":
            items = _decode(data, list[msgspec.Raw], f"a list{location}")
            return ((str(n), raw) for n, raw in enumerate(items, start=1)), steps[depth + 1 :]
        expected = f"an object{location}"
        if step.kind == "field":
            expected += f" with {step.name!r}"
        fields = _decode(data, dict[str, msgspec.Raw], expected)
        if not json_keys.has_at_most(len(fields), data, b"".join(fields.values())):
            return None
        if step.kind == "entries":
            return iter(fields.items()), steps[depth + 1 :]
        if step.name not in fields:
            raise ContentError.of("", expected, value_json(list(fields)))
        data, location = bytes(fields[step.name]), f" at {step.name!r}"
    return None


def _decode(data: bytes, kind: type[T], expected: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeError) as error:
        actual = f"{row_text(data)[:80]!r} ({error})"
        raise ContentError.of("", expected, actual) from error

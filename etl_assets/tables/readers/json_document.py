"""A JSON document (RFC 8259) in memory: every record at the end of the declared paths.

Following paths and taking columns is done by `json_records`; a list that does not fit into memory
is read by `json_array`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import JsonFormat
from etl_assets.declarations.json_path import Step, row_paths
from etl_assets.model.errors import ContentError, DeclarationError, Problem
from etl_assets.model.records import Reject
from etl_assets.tables.readers.batch import (
    DECODE_ERRORS,
    ROWS_PER_BATCH,
    Batch,
    record_reject,
    row_text,
    value_json,
)
from etl_assets.tables.readers.json_records import ColumnExtractor, Leaf, RepeatedKeys, walk
from etl_assets.tables.readers.raw_bytes import read_document

# What every key ends with. A text that begins with a colon matches too.
KEY_END = re.compile(rb'"\s*:')

T = TypeVar("T")


def read(path: Path, form: JsonFormat, contract: Contract) -> Iterator[Batch]:
    """The declared fields of every record at the end of the format's paths."""
    data = read_document(path)
    paths = row_paths(form)
    extractor = ColumnExtractor(paths, contract)
    items: list[Leaf | Reject] = []
    records = 0
    for number, steps in enumerate(paths):
        for item in _walk_document(data, steps, Leaf(path=number)):
            items.append(item)
            if len(items) == ROWS_PER_BATCH:
                yield extractor.batch(items, records)
                records += len(items)
                items = []
    yield extractor.batch(items, records)


def _walk_document(data: bytes, steps: list[Step], leaf: Leaf) -> Iterator[Leaf | Reject]:
    # Each entry below the outermost map or list is decoded by itself: a broken one is a reject,
    # and the values of one entry only are in memory.
    split = _split(data, steps)
    if split is None:
        yield from walk(_decode_with_repeated_keys(data), steps, leaf, "")
        return
    entries, steps_below = split
    step = steps[-len(steps_below) - 1]
    for key, raw in entries:
        place = f"[{key}]" if step.kind == "items" else key
        try:
            value = _decode_entry(bytes(raw))
        except (*DECODE_ERRORS, ValueError) as error:
            yield record_reject(place, "JSON", str(error), row_text(bytes(raw)))
            continue
        child = leaf.item(value) if step.kind == "items" else leaf.entry(step.name, key, value)
        yield from walk(value, steps_below, child, place)


def _split(
    data: bytes, steps: list[Step]
) -> tuple[Iterator[tuple[str, msgspec.Raw]], list[Step]] | None:
    """The undecoded entries of the first map or list on the path, and the steps below it.

    None if a key above them is repeated: msgspec keeps the last of them only.
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
        if _count_keys(data) != len(fields) + sum(map(_count_keys, fields.values())):
            return None
        if step.kind == "entries":
            return iter(fields.items()), steps[depth + 1 :]
        if step.name not in fields:
            raise ContentError.of("", expected, value_json(list(fields)))
        data, location = bytes(fields[step.name]), f" at {step.name!r}"
    path = ".".join(step.name for step in steps)
    raise DeclarationError([Problem("format, rows", "a path into a map or a list", path)])


def _decode(data: bytes, kind: type[T], expected: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except DECODE_ERRORS as error:
        actual = f"{row_text(data)[:80]!r} ({error})"
        raise ContentError.of("", expected, actual) from error


def _decode_entry(text: bytes) -> object:
    value = msgspec.json.decode(text)
    if _count_keys(text) == _count_decoded_keys(value):
        return value
    return _decode_pairs(text)


def _decode_with_repeated_keys(data: bytes) -> object:
    try:
        return _decode_pairs(data)
    except (ValueError, RecursionError) as error:
        raise ContentError.of("", "a JSON document", str(error)) from error


def _decode_pairs(text: bytes) -> object:
    # Only `json` reports every pair of an object, at four times the cost of msgspec.
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | RepeatedKeys:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else RepeatedKeys(pairs)


def _count_keys(text: bytes | msgspec.Raw) -> int:
    """The number of keys in a JSON text, or more: texts that begin with a colon count too."""
    return len(KEY_END.findall(text))


def _count_decoded_keys(value: object) -> int:
    if isinstance(value, dict):
        children = [child for child in value.values() if isinstance(child, dict | list)]
        return len(value) + sum(map(_count_decoded_keys, children))
    if isinstance(value, list):
        return sum(_count_decoded_keys(item) for item in value if isinstance(item, dict | list))
    return 0

"""A JSON document (RFC 8259) held in memory: every record at the end of the declared paths.

Each entry of the outermost map or list is decoded by itself, so that a bad one costs no other. Keys
that an object has twice are both walked. Documents larger than `MAX_DOCUMENT_BYTES` want a reader
that streams; walking and columns are `json_records`.
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

MAX_DOCUMENT_BYTES = 1 << 30
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Every key ends so. A text that begins with a colon looks the same, which costs a second look.
KEY_END = re.compile(rb'"\s*:')

T = TypeVar("T")


def read(path: Path, form: JsonFormat, contract: Contract) -> Iterator[Batch]:
    """The declared fields of every record at the end of the format's paths."""
    data = read_document(path, MAX_DOCUMENT_BYTES).removeprefix(BYTE_ORDER_MARK)
    paths = row_paths(form)
    shape = ColumnExtractor(paths, contract)
    found: list[Leaf | Reject] = []
    records = 0
    for number, steps in enumerate(paths):
        for item in _document(data, steps, Leaf(path=number)):
            found.append(item)
            if len(found) == ROWS_PER_BATCH:
                yield shape.batch(found, records)
                records += len(found)
                found = []
    yield shape.batch(found, records)


def _document(data: bytes, steps: list[Step], way: Leaf) -> Iterator[Leaf | Reject]:
    """Each entry below the first map or list is decoded by itself: a bad one costs no other."""
    split = _split(data, steps)
    if split is None:
        yield from walk(_whole_with_repeats(data), steps, way, "")
        return
    entries, below = split
    is_map = steps[-len(below) - 1].kind == "entries"
    for key, raw in entries:
        place = key if is_map else f"[{key}]"
        try:
            value = _decode_entry(bytes(raw))
        except (*DECODE_ERRORS, ValueError) as error:
            yield record_reject(place, "JSON", str(error), row_text(bytes(raw)))
        else:
            yield from walk(value, below, way.below(value, *([key] if is_map else ())), place)


def _split(
    data: bytes, steps: list[Step]
) -> tuple[Iterator[tuple[str, msgspec.Raw]], list[Step]] | None:
    """What the first map or list holds, and the steps below; None where a key repeats above."""
    way = ""
    for depth, step in enumerate(steps):
        if step.kind == "items":
            items = _decode(data, list[msgspec.Raw], f"a list{way}")
            return ((str(n), raw) for n, raw in enumerate(items, start=1)), steps[depth + 1 :]
        expected = f"an object{way}" + (f" with {step.name!r}" if step.kind == "field" else "")
        fields = _decode(data, dict[str, msgspec.Raw], expected)
        if _count_keys(data) != len(fields) + sum(map(_count_keys, fields.values())):
            return None
        if step.kind == "entries":
            return iter(fields.items()), steps[depth + 1 :]
        if step.name not in fields:
            raise ContentError.of("", expected, value_json(list(fields)))
        data, way = bytes(fields[step.name]), f" at {step.name!r}"
    found = ".".join(step.name for step in steps)
    raise DeclarationError([Problem("format, rows", "a path into a map or a list", found)])


def _decode(data: bytes, kind: type[T], expected: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except DECODE_ERRORS as error:
        found = f"{row_text(data)[:80]!r} ({error})"
        raise ContentError.of("", expected, found) from error


def _decode_entry(text: bytes) -> object:
    value = msgspec.json.decode(text)
    return value if _count_keys(text) == _keys_in(value) else _with_repeats(text)


def _with_repeats(text: bytes) -> object:
    """The value with every key, at four times the cost."""
    return json.loads(text, object_pairs_hook=_object)


def _whole_with_repeats(data: bytes) -> object:
    try:
        return _with_repeats(data)
    except (ValueError, RecursionError) as error:
        raise ContentError.of("", "a JSON document", str(error)) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | RepeatedKeys:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else RepeatedKeys(pairs)


def _count_keys(text: bytes | msgspec.Raw) -> int:
    """At least as many as there are keys: a text that begins with a colon looks like one."""
    return len(KEY_END.findall(text))


def _keys_in(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_keys_in(v) for v in value.values() if isinstance(v, dict | list))
    return (
        sum(_keys_in(v) for v in value if isinstance(v, dict | list))
        if isinstance(value, list)
        else 0
    )

"""A JSON document (RFC 8259) held in memory: walks the declared path and yields the records there.

What is not where the path says is one reject, named by its place. Keys that an object has twice are
both walked. Documents larger than `MAX_DOCUMENT_BYTES` want a reader that streams.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from etl_assets.io.readers.batch import (
    ROWS_PER_BATCH,
    UNDECODABLE,
    Batch,
    as_json,
    as_read,
    named,
    unreadable,
)
from etl_assets.io.readers.stored import whole
from etl_assets.model.declaration import Contract, JsonFormat
from etl_assets.model.errors import ContentError, DeclarationError, Problem
from etl_assets.model.records import Reject

MAX_DOCUMENT_BYTES = 1 << 30
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Every key ends so. A text that begins with a colon looks the same, which costs a second look.
KEY_END = re.compile(rb'"\s*:')
KINDS = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: into a field, over a map's entries, or over a list's items."""

    kind: Literal["field", "entries", "items"]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A record and the map keys above it."""

    keys: tuple[str, ...]
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Repeated:
    """An object that has a key more than once."""

    pairs: list[tuple[str, Any]]


def read(path: Path, form: JsonFormat, contract: Contract) -> Iterator[Batch]:
    """The declared fields of every record at the end of the format's path."""
    data = whole(path, MAX_DOCUMENT_BYTES).removeprefix(BYTE_ORDER_MARK)
    steps = parse_path(form.rows)
    shape = _Shape(steps, contract)
    found: list[Leaf | Reject] = []
    records = 0
    for item in _document(data, steps):
        found.append(item)
        if len(found) == ROWS_PER_BATCH:
            yield shape.batch(found, records)
            records += len(found)
            found = []
    yield shape.batch(found, records)


def parse_path(rows: str) -> list[Step]:
    """The steps of a path such as `{package}.{id}.releases.{release}` or `vulnerabilities[]`."""
    steps = []
    for segment in rows.split("."):
        name = segment.rstrip("[]")
        if name.startswith("{"):
            steps.append(Step("entries", name.strip("{}")))
        elif name:
            steps.append(Step("field", name))
        steps += [Step("items")] * segment.count("[]")
    return steps if rows else [Step("items")]


class _Shape:
    """How the columns of a contract lie in records."""

    def __init__(self, steps: list[Step], contract: Contract) -> None:
        keys = [step.name for step in steps if step.kind == "entries"]
        self._keys = {c.name: keys.index(c.name) for c in contract.columns if c.name in keys}
        self._paths = {
            column.name: (column.origin or column.name).split(".")
            for column in contract.columns
            if column.name not in keys
        }
        self._nested = [path for path in self._paths.values() if len(path) > 1]
        self._known = {path[0] for path in self._paths.values()}
        self._notes_unknown = contract.unknown_fields != "discard_value"

    def batch(self, found: list[Leaf | Reject], before: int) -> Batch:
        """The columns of what was found, of which the first is record number `before` + 1."""
        leaves, ordinals, rejects = [], [], []
        for ordinal, item in enumerate(found, start=before + 1):
            checked = self._checked(item, ordinal) if self._nested else item
            if isinstance(checked, Reject):
                rejects.append(checked)
            else:
                leaves.append(checked)
                ordinals.append(ordinal)
        records = [leaf.record for leaf in leaves]
        columns = {name: [leaf.keys[i] for leaf in leaves] for name, i in self._keys.items()}
        columns |= {name: _values(records, path) for name, path in self._paths.items()}
        unknown = set().union(*records) - self._known if self._notes_unknown else set()
        return Batch(columns, ordinals, len(found), rejects, frozenset(unknown))

    def _checked(self, item: Leaf | Reject, ordinal: int) -> Leaf | Reject:
        """A reject where the way to a column leads through something that is no object."""
        if isinstance(item, Leaf):
            for path in self._nested:
                if broken := _broken_way(item.record, path):
                    place, value = broken
                    where = f"record {ordinal}, {place}"
                    return unreadable(where, "an object", _kind(value), as_json(item.record))
        return item


def _broken_way(record: dict[str, Any], path: list[str]) -> tuple[str, object] | None:
    for depth, name in enumerate(path[:-1], start=1):
        value = record.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            return ".".join(path[:depth]), value
        record = value
    return None


def _values(records: list[dict[str, Any]], path: list[str]) -> list[Any]:
    for name in path[:-1]:
        records = [record.get(name) or {} for record in records]
    return [record.get(path[-1]) for record in records]


def _document(data: bytes, steps: list[Step]) -> Iterator[Leaf | Reject]:
    """Each entry below the first map or list is decoded by itself: a bad one costs no other."""
    split = _split(data, steps)
    if split is None:
        yield from _walk(_whole_with_repeats(data), steps, (), "")
        return
    entries, below = split
    is_map = steps[-len(below) - 1].kind == "entries"
    for key, raw in entries:
        place = key if is_map else f"[{key}]"
        try:
            value = _decode_entry(bytes(raw))
        except (*UNDECODABLE, ValueError) as error:
            yield unreadable(place, "JSON", str(error), as_read(bytes(raw)))
        else:
            yield from _walk(value, below, (key,) if is_map else (), place)


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
            raise ContentError.of("", expected, named(list(fields)))
        data, way = bytes(fields[step.name]), f" at {step.name!r}"
    found = ".".join(step.name for step in steps)
    raise DeclarationError([Problem("format, rows", "a path into a map or a list", found)])


def _walk(
    value: object, steps: list[Step], keys: tuple[str, ...], place: str
) -> Iterator[Leaf | Reject]:
    """The records below a value, in the document's order."""
    if isinstance(value, Repeated) and (not steps or steps[0].kind == "field"):
        counts = Counter(key for key, _ in value.pairs)
        twice = sorted(key for key, count in counts.items() if count > 1)
        yield unreadable(place, "each key once", ", ".join(twice), as_json(value.pairs))
    elif not steps:
        yield (
            Leaf(keys, value) if isinstance(value, dict) else _misplaced(place, "an object", value)
        )
    elif steps[0].kind == "items":
        yield from _walk_items(value, steps[1:], keys, place)
    elif not isinstance(value, dict | Repeated):
        yield _misplaced(place, "an object", value)
    elif steps[0].kind == "entries":
        for key, entry in value.items() if isinstance(value, dict) else value.pairs:
            yield from _walk(entry, steps[1:], (*keys, key), f"{place}.{key}".lstrip("."))
    elif isinstance(value, dict):
        name = steps[0].name
        yield from _walk(value.get(name), steps[1:], keys, f"{place}.{name}".lstrip("."))


def _walk_items(
    value: object, steps: list[Step], keys: tuple[str, ...], place: str
) -> Iterator[Leaf | Reject]:
    if not isinstance(value, list):
        yield _misplaced(place, "a list", value)
        return
    for number, item in enumerate(value, start=1):
        yield from _walk(item, steps, keys, f"{place}[{number}]")


def _misplaced(place: str, expected: str, value: object) -> Reject:
    return unreadable(place, expected, _kind(value), as_json(value))


def _kind(value: object) -> str:
    return KINDS.get(type(value), "a number")


def _decode(data: bytes, kind: type[T], expected: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except UNDECODABLE as error:
        found = f"{error}; it begins {as_read(data)[:80]!r}"
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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Repeated:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else Repeated(pairs)


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

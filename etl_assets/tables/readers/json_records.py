"""Records below a JSON value that is in memory: walks a declared path and takes the columns there.

What is not where the path says is one reject, named by its place. Where the value comes from is the
readers' of one kind of file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from etl_assets.declarations.contract import Column, Contract
from etl_assets.declarations.json_path import Origin, Step, column_origin
from etl_assets.model.records import Reject
from etl_assets.tables.readers.batch import Batch, record_reject, row_json

KINDS = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A record, the map keys above it and the records that its path passes, itself the last."""

    keys: tuple[str, ...] = ()
    records: tuple[Any, ...] = ()
    path: int = 0  # which of the format's paths led here

    def below(self, record: object, *keys: str) -> Leaf:
        return Leaf((*self.keys, *keys), (*self.records, record), self.path)


@dataclass(frozen=True, slots=True)
class RepeatedKeys:
    """An object that has a key more than once."""

    pairs: list[tuple[str, Any]]


class ColumnExtractor:
    """How the columns of a contract lie in the records at the end of the paths."""

    def __init__(self, paths: Sequence[list[Step]], contract: Contract) -> None:
        keys = {step.name for steps in paths for step in steps if step.kind == "entries"}
        self._keys = {c.name: [_place_of(c, s) for s in paths] for c in contract.columns}
        self._keys = {name: places for name, places in self._keys.items() if name in keys}
        self._origins = {
            column.name: [column_origin(column, steps) for steps in paths]
            for column in contract.columns
            if column.name not in keys
        }
        ways = [(n, o) for found in self._origins.values() for n, o in enumerate(found) if o]
        self._nested = [(n, o) for n, o in ways if len(o.names) > 1 or o.record != -1]
        self._known = {origin.names[0] for _, origin in ways if origin.record == -1}
        self._notes_unknown = contract.unknown_fields != "discard_value"

    def batch(
        self, found: Sequence[Leaf | Reject], before: int, lines: Sequence[int] = ()
    ) -> Batch:
        """The columns of what was found, of which the first is record number `before` + 1."""
        leaves, ordinals, rejects = list[Leaf](), list[int](), list[Reject]()
        at = list[int]()
        for place, item in enumerate(found):
            where = f"line {lines[place]}" if lines else f"record {before + place + 1}"
            checked = self._checked(item, where) if self._nested else item
            if isinstance(checked, Reject):
                rejects.append(checked)
                continue
            leaves.append(checked)
            ordinals.append(before + place + 1)
            at += lines[place : place + 1]
        columns = {
            name: [None if (n := places[leaf.path]) is None else leaf.keys[n] for leaf in leaves]
            for name, places in self._keys.items()
        }
        columns |= {name: _values(leaves, origins) for name, origins in self._origins.items()}
        unknown = self._unknown(leaves) if self._notes_unknown else frozenset()
        return Batch(columns, ordinals, len(found), rejects, unknown, at or None)

    def _unknown(self, leaves: list[Leaf]) -> frozenset[str]:
        return frozenset(set[str]().union(*(leaf.records[-1] for leaf in leaves)) - self._known)

    def _checked(self, item: Leaf | Reject, where: str) -> Leaf | Reject:
        """A reject where the way to a column leads through something that is no object."""
        if isinstance(item, Reject):
            return item
        for path, origin in self._nested:
            if path != item.path:
                continue
            if broken := _broken_way(item.records[origin.record], origin.names):
                place, value = broken
                row = row_json(item.records[-1])
                return record_reject(f"{where}, {place}", "an object", json_kind(value), row)
        return item


def _place_of(column: Column, steps: list[Step]) -> int | None:
    """Which of a path's map keys the column takes."""
    keys = [step.name for step in steps if step.kind == "entries"]
    return keys.index(column.name) if column.name in keys else None


def _broken_way(record: object, names: tuple[str, ...]) -> tuple[str, object] | None:
    if not isinstance(record, dict):
        return f"the record that holds {names[0]}", record
    for depth, name in enumerate(names[:-1], start=1):
        value = record.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            return ".".join(names[:depth]), value
        record = value
    return None


def _values(leaves: list[Leaf], origins: list[Origin | None]) -> list[Any]:
    if len(origins) > 1:
        return [_value(leaf, origins[leaf.path]) for leaf in leaves]
    if (origin := origins[0]) is None:
        return [None] * len(leaves)
    records = [leaf.records[origin.record] for leaf in leaves]
    for name in origin.names[:-1]:
        records = [record.get(name) or {} for record in records]
    return [record.get(origin.names[-1]) for record in records]


def _value(leaf: Leaf, origin: Origin | None) -> object:
    if origin is None:
        return None
    value = leaf.records[origin.record]
    for name in origin.names:
        value = None if value is None else value.get(name)
    return value


def walk(value: object, steps: list[Step], way: Leaf, place: str) -> Iterator[Leaf | Reject]:
    """The records below a value, in the document's order; `way` is how it was come to."""
    if isinstance(value, RepeatedKeys) and (not steps or steps[0].kind == "field"):
        counts = Counter(key for key, _ in value.pairs)
        twice = sorted(key for key, count in counts.items() if count > 1)
        yield record_reject(place, "each key once", ", ".join(twice), row_json(value.pairs))
    elif not steps:
        yield way if isinstance(value, dict) else wrong_kind(place, "an object", value)
    elif steps[0].kind == "items":
        yield from _walk_items(value, steps[1:], way, place)
    elif not isinstance(value, dict | RepeatedKeys):
        yield wrong_kind(place, "an object", value)
    elif steps[0].kind == "entries":
        for key, entry in value.items() if isinstance(value, dict) else value.pairs:
            deeper = f"{place}.{key}".lstrip(".")
            yield from walk(entry, steps[1:], way.below(entry, key), deeper)
    elif isinstance(value, dict):
        name = steps[0].name
        if value.get(name) is None and steps[1:2] == [Step("items")]:
            return  # a list that a record leaves out is one of no records
        yield from walk(value.get(name), steps[1:], way, f"{place}.{name}".lstrip("."))


def _walk_items(value: object, steps: list[Step], way: Leaf, place: str) -> Iterator[Leaf | Reject]:
    if not isinstance(value, list):
        yield wrong_kind(place, "a list", value)
        return
    for number, item in enumerate(value, start=1):
        yield from walk(item, steps, way.below(item), f"{place}[{number}]")


def wrong_kind(place: str, expected: str, value: object) -> Reject:
    return record_reject(place, expected, json_kind(value), row_json(value))


def json_kind(value: object) -> str:
    return KINDS.get(type(value), "a number")

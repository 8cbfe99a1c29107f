"""Records below a decoded JSON value: follow a declared path and take the columns of each record.

A value that is not where the path leads becomes a reject with its place. Decoding documents is done
by `json_document`, `json_array` and `geojson`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.json_path import Origin, Step, column_origin
from etl_assets.model.records import Reject
from etl_assets.tables.readers.batch import Batch, Refusal, record_reject, row_json, value_json
from etl_assets.tables.readers.json_keys import RepeatedKeys

NO_FIELDS: dict[str, Any] = {}
JSON_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "a boolean",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """The record at the end of a path, with the map keys and the records that the path passes.

    `keys` are by the column that takes them. `records` are the outermost first, and the last is the
    record itself. `path` is the index of the format's path that led here. `reject` says what is in
    place of a record that is no object, or rejects the record (`is_rejected`).
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    records: tuple[Any, ...] = ()
    path: int = 0
    reject: Reject | None = None
    is_rejected: bool = False

    def item(self, record: object) -> Leaf:
        """The leaf of an item of the list at this one."""
        return Leaf(self.keys, (*self.records, record), self.path)

    def entry(self, column: str, key: str, record: object) -> Leaf:
        """The leaf of an entry of the map at this one."""
        return Leaf({column: key, **self.keys}, (*self.records, record), self.path)

    def without_fields(self, reject: Reject) -> Leaf:
        """The leaf with a record without fields in place of its own."""
        return Leaf(self.keys, (*self.records[:-1], NO_FIELDS), self.path, reject)

    def rejected(self, reject: Reject) -> Leaf:
        """The leaf of a record that is rejected; its keys say which rows are rejected with it."""
        return Leaf(self.keys, self.records, self.path, reject, is_rejected=True)

    def readable(self, depth: int) -> Leaf:
        """The leaf with so many records, of which those that are no objects have no fields."""
        missing = (NO_FIELDS,) * (depth - len(self.records))
        return Leaf(self.keys, (*map(_readable_fields, self.records), *missing), self.path)


class ColumnExtractor:
    """Takes the columns of a contract from the records at the end of the paths."""

    def __init__(self, paths: Sequence[list[Step]], contract: Contract) -> None:
        self._paths = paths
        map_keys = set[str]()
        for steps in paths:
            map_keys.update(step.name for step in steps if step.kind == "entries")
        self._key_columns: list[str] = []
        # For each other column its origin on each of the paths.
        self._origins: dict[str, list[Origin | None]] = {}
        for column in contract.columns:
            if column.name in map_keys:
                self._key_columns.append(column.name)
            else:
                self._origins[column.name] = [column_origin(column, steps) for steps in paths]

        self._nested: list[tuple[int, Origin, str | None]] = []  # and the column, if it may be null
        self._declared_fields: set[str] = set()
        kept = {column.name for column in contract.columns if contract.keeps_row(column)}
        self._value_columns = [
            _find_value_column(self._origins, n, kept) for n in range(len(paths))
        ]
        for name, origins in self._origins.items():
            for path, origin in enumerate(origins):
                if origin is None:
                    continue
                if len(origin.names) > 1 or origin.record != -1:
                    self._nested.append((path, origin, name if name in kept else None))
                if origin.record == -1:
                    self._declared_fields.add(origin.names[0])
        self._reports_unknown = contract.unknown_fields != "discard_value"
        self._rejects_together = bool(contract.reject_together)
        self._depths = [sum(step.yields_records for step in steps) for steps in paths]

    def records_read(self, path: int) -> frozenset[int]:
        """The indexes of those records on a path, the outermost being 0, that columns are from."""
        depth = self._depths[path]
        origins = [origins[path] for origins in self._origins.values()]
        return frozenset(origin.record % depth for origin in origins if origin)

    def batch(
        self, items: Sequence[Leaf | Reject], before: int, lines: Sequence[int] = ()
    ) -> Batch:
        """The columns of these items; the first one is record number `before` + 1 of the file."""
        leaves, ordinals, rejects = list[Leaf](), list[int](), list[Reject]()
        leaf_lines, refusals = list[int](), list[Refusal]()
        rejected_rows = dict[int, Reject]()
        for index, item in enumerate(items):
            where = f"line {lines[index]}" if lines else f"record {before + index + 1}"
            if isinstance(item, Reject):
                rejects.append(item)
                continue
            leaf = item
            if self._nested or item.reject:
                refused, reject = self._check_leaf(item, where)
                if reject and not self._rejects_together:
                    rejects.append(reject)
                    continue
                if reject:
                    rejected_rows[len(leaves)] = reject
                    leaf = item.readable(self._depths[item.path])
                refusals += [Refusal(len(leaves), *refusal) for refusal in refused]
            leaves.append(leaf)
            ordinals.append(before + index + 1)
            leaf_lines += lines[index : index + 1]

        columns: dict[str, list[Any]] = {}
        for name in self._key_columns:
            columns[name] = [leaf.keys.get(name) for leaf in leaves]
        for name, origins in self._origins.items():
            columns[name] = _values(leaves, origins)
        unknown_fields = set[str]()
        if self._reports_unknown:
            unknown_fields.update(*(leaf.records[-1] for leaf in leaves))
            unknown_fields -= self._declared_fields
        return Batch(
            columns,
            ordinals,
            len(items),
            rejects,
            frozenset(unknown_fields),
            leaf_lines or None,
            refusals=refusals,
            rejected_rows=rejected_rows,
        )

    def _check_leaf(
        self, leaf: Leaf, where: str
    ) -> tuple[list[tuple[str, str, str]], Reject | None]:
        """The columns whose values are lost, and what is in their place; or a reject."""
        if not leaf.reject:
            return self._check_nested(leaf, where)
        column = self._value_columns[leaf.path]
        if column is None or leaf.is_rejected:
            return [], leaf.reject
        refused, reject = self._check_nested(leaf, where)
        return [(column, leaf.reject.expected, leaf.reject.row), *refused], reject

    def _check_nested(
        self, leaf: Leaf, where: str
    ) -> tuple[list[tuple[str, str, str]], Reject | None]:
        """The columns to which the way leads through a value without fields, and what is there.

        A reject instead if such a column needs its value, or if the value has a field twice.
        """
        refused = []
        for path, origin, column in self._nested:
            if path != leaf.path:
                continue
            if obstacle := _obstacle(leaf.records[origin.record], origin.names):
                place, value = obstacle
                if column is None or isinstance(value, RepeatedKeys):
                    row = row_json(leaf.records[-1])
                    place = f"{where}, {place}"
                    return [], record_reject(place, "an object", json_kind(value), row)
                refused.append((column, f"an object at {place}", value_json(value)))
        return refused, None


def _find_value_column(
    origins: Mapping[str, list[Origin | None]], path: int, kept: Container[str]
) -> str | None:
    """The first column that a record itself has, if no row is rejected for such a column.

    The row of a value that is no object then has its key and nulls: an entry of a map that is lost
    could be the one that contradicts the others.
    """
    names = [n for n, by_path in origins.items() if (o := by_path[path]) and o.record == -1]
    return names[0] if names and all(name in kept for name in names) else None


def _obstacle(record: object, names: tuple[str, ...]) -> tuple[str, object] | None:
    """The place and value of the first step that has no fields; a null one is no obstacle."""
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
    # With one path all leaves share the origin, and a column is taken step by step: one call of
    # `_value` for each leaf would cost more than the lookups in it.
    records = [leaf.records[origin.record] for leaf in leaves]
    *names_above, name = origin.names
    if origin.record != -1:
        records = list(map(_fields, records))
    for name_above in names_above:
        records = [_fields(record.get(name_above)) for record in records]
    return [record.get(name) for record in records]


def _value(leaf: Leaf, origin: Origin | None) -> object:
    if origin is None:
        return None
    value = leaf.records[origin.record]
    for name in origin.names:
        value = _fields(value).get(name)
    return value


def _readable_fields(value: object) -> dict[str, Any]:
    """The fields of an object, the last of repeated ones; none of another value."""
    return dict(value.pairs) if isinstance(value, RepeatedKeys) else _fields(value)


def _fields(value: object) -> dict[str, Any]:
    """The fields of an object; none of another value, which is refused or rejected elsewhere."""
    return value if isinstance(value, dict) else NO_FIELDS


def walk(value: object, steps: list[Step], leaf: Leaf, place: str) -> Iterator[Leaf]:
    """The records below a value, in the document's order.

    `leaf` has the keys and records above the value, `place` is the value's place in messages.
    """
    if isinstance(value, RepeatedKeys) and (not steps or steps[0].kind == "field"):
        reject = record_reject(place, "each field once", str(value), row_json(value.pairs))
        yield leaf.rejected(reject)
    elif not steps:
        if isinstance(value, dict):
            yield leaf
            return
        reject = wrong_kind(place, "an object", value)
        is_own_record = leaf.records and leaf.records[-1] is value
        yield leaf.without_fields(reject) if is_own_record else leaf.rejected(reject)
    elif steps[0].kind == "items":
        yield from _walk_items(value, steps[1:], leaf, place)
    elif not isinstance(value, dict | RepeatedKeys):
        yield leaf.rejected(wrong_kind(place, "an object", value))
    elif steps[0].kind == "entries":
        # Repeated keys of a map are entries like others; the contract decides about their rows.
        entries = value.items() if isinstance(value, dict) else value.pairs
        for key, entry in entries:
            yield from walk(
                entry,
                steps[1:],
                leaf.entry(steps[0].name, key, entry),
                f"{place}.{key}".lstrip("."),
            )
    elif isinstance(value, dict):
        name = steps[0].name
        if value.get(name) is None and steps[1:2] == [Step("items")]:
            return  # a record without the list has no records in it
        yield from walk(value.get(name), steps[1:], leaf, f"{place}.{name}".lstrip("."))


def _walk_items(value: object, steps: list[Step], leaf: Leaf, place: str) -> Iterator[Leaf]:
    if not isinstance(value, list):
        yield leaf.rejected(wrong_kind(place, "a list", value))
        return
    for number, item in enumerate(value, start=1):
        yield from walk(item, steps, leaf.item(item), f"{place}[{number}]")


def wrong_kind(place: str, expected: str, value: object) -> Reject:
    """The reject of a value of another JSON type than expected."""
    return record_reject(place, expected, json_kind(value), row_json(value))


def json_kind(value: object) -> str:
    """The JSON type of a value, with its article."""
    if isinstance(value, RepeatedKeys):
        return f"an object with {value}"
    return JSON_KINDS.get(type(value), "a number")

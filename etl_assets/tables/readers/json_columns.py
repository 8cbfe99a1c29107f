"""The flat columns of a JSON array, decoded many elements at a time while all values are plain.

Nothing is rejected here: a window with another value is reported, and `json_array` reads its
records again with `json_elements`, which gives the same values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from etl_assets.declarations.contract import ColumnType, Contract
from etl_assets.declarations.json_path import Step, column_origin
from etl_assets.tables.arrow_types import TYPES
from etl_assets.tables.readers.batch import DECODE_ERRORS
from etl_assets.tables.readers.json_elements import decode_raw_list
from etl_assets.tables.readers.raw_bytes import BYTE_ORDER_MARK, read_chunks

ROWS_AT_ONCE = 20_000
# Decoded at once. The records of a window stay in the processor's cache: windows of 4 MB take a
# quarter more time.
WINDOW_BYTES = 1 << 18
MAX_WINDOW_BYTES = 1 << 20  # a longer record is read by itself
TOP_LEVEL = [Step("items")]
# Between two objects, of the array or of a list within an element.
BETWEEN_OBJECTS = re.compile(rb"\}(?=[ \t\r\n]*,[ \t\r\n]*\{)")
WHITESPACE = b" \t\r\n"
CLOSING_BRACKET = ord("]")
MAX_LOOK_BACK_BYTES = 1 << 14
MAX_ENDS_TRIED = 8

FieldNames = tuple[str, ...]
Columns = dict[str, pa.Array]
Getter = Callable[[Any], Any]
Decode = Callable[[memoryview], list[Any]]
# The number of elements, and their records or None if one is not of the declared types.
DecodedWindow = tuple[int, list[Any] | None]

# Times remain texts: the contract casts them by the column.
JSON_TYPES: dict[ColumnType, tuple[type, pa.DataType]] = {
    "string": (str, TYPES["string"]),
    "date": (str, TYPES["string"]),
    "timestamp": (str, TYPES["string"]),
    "int64": (int, TYPES["int64"]),
    "uint64": (int, TYPES["uint64"]),
    "float64": (float, TYPES["float64"]),
    "boolean": (bool, TYPES["boolean"]),
}


class FastPathError(Exception):
    """The rest of the file must be read by elements; the records already yielded are valid."""


def flat_fields(contract: Contract, paths: Sequence[list[Step]]) -> dict[str, FieldNames] | None:
    """Returns the field names that lead to each column; None if a column needs more than that."""
    if list(paths) != [TOP_LEVEL] or contract.unknown_fields != "discard_value":
        return None
    fields: dict[str, FieldNames] = {}
    types: dict[FieldNames, type] = {}
    for column in contract.columns:
        origin = column_origin(column, TOP_LEVEL)
        if origin is None or column.type not in JSON_TYPES:
            return None
        fields[column.name] = origin.names
        json_type = JSON_TYPES[column.type][0]
        if types.setdefault(origin.names, json_type) is not json_type:
            return None
    for names in types:
        # A field cannot be decoded both as a value and as an object with fields.
        if any(names[:depth] in types for depth in range(1, len(names))):
            return None
    return fields


def read_columns(
    path: Path, contract: Contract, fields: dict[str, FieldNames] | None
) -> Iterator[tuple[int, Columns | None]]:
    """Yields numbers of records with their columns, or None if some value is not plain.

    Raises FastPathError if `fields` is None, or if the file is not an array of objects so far.
    """
    if fields is None:
        raise FastPathError
    types = {column.name: column.type for column in contract.columns}
    tree = _field_tree(fields, types)
    getters = {name: _getters(tree, names) for name, names in fields.items()}
    decode = msgspec.json.Decoder(list[_record_type(tree)]).decode  # type: ignore[misc]  # made here
    parts, rows = list[Columns](), 0
    for count, records in _decode_windows(path, decode):
        columns = records and _to_columns(records, types, getters)
        if columns:
            parts.append(columns)
            rows += count
        if rows and (columns is None or rows >= ROWS_AT_ONCE):
            yield rows, _concatenate(parts)
            parts, rows = [], 0
        if columns is None:
            yield count, None
    if rows:
        yield rows, _concatenate(parts)


def _field_tree(fields: dict[str, FieldNames], types: dict[str, ColumnType]) -> dict[str, Any]:
    """The declared fields by name, nested, with the types of their values."""
    tree: dict[str, Any] = {}
    for column, names in fields.items():
        branch = tree
        for name in names[:-1]:
            branch = branch.setdefault(name, {})
        branch[names[-1]] = JSON_TYPES[types[column]][0]
    return tree


def _record_type(tree: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made here
    # Decoding 300,000 star systems as structs takes 0.15 s, as typed dicts 0.27 s, with all fields
    # 0.38 s. The attributes are a0, a1, ... as a field's name need not be a Python identifier.
    names = {f"a{index}": name for index, name in enumerate(tree)}
    fields = []
    for attribute, field in zip(names, tree.values(), strict=True):
        value_type = _record_type(field) if isinstance(field, dict) else field
        fields.append((attribute, value_type | None, None))
    # Records form no cycles. With the garbage collector tracking them it takes 0.23 s.
    return msgspec.defstruct("Record", fields, rename=names, gc=False)


def _getters(tree: dict[str, Any], names: FieldNames) -> tuple[Getter, ...]:
    """The getters of the attributes that lead to a field, one for each step."""
    getters = []
    branch: Any = tree
    for name in names:
        getters.append(_getter(list(branch).index(name)))
        branch = branch[name]
    return tuple(getters)


@cache  # the same step must have the same getter: see `_to_columns`
def _getter(index: int) -> Getter:
    return attrgetter(f"a{index}")


def _decode_windows(path: Path, decode: Decode) -> Iterator[DecodedWindow]:
    window = _Window(path)
    window.open()
    size, is_first = WINDOW_BYTES, True
    while window.fill(size):
        for end in _possible_ends(window.text):
            if decoded := _decode_until(window.text, end, decode):
                yield decoded
                window.drop_until(end)
                size, is_first = WINDOW_BYTES, False
                break
        else:
            if size >= MAX_WINDOW_BYTES:
                raise FastPathError
            size *= 2
    if decoded := _decode_until(window.text, window.closing_bracket(), decode):
        yield decoded
    elif not is_first or window.text.strip(b"[]" + WHITESPACE):
        raise FastPathError


def _decode_until(text: bytearray, end: int, decode: Decode) -> DecodedWindow | None:
    """The elements up to a position; None if they are not complete elements."""
    # A bracket takes the place of the next byte while the window is decoded. A copy of the window
    # with a bracket at its end would cost more than decoding the bracket.
    next_byte, text[end] = text[end], CLOSING_BRACKET
    try:
        elements = memoryview(text)[: end + 1]
        with suppress(*DECODE_ERRORS):
            records = decode(elements)
            return (len(records), records) if records else None
        with suppress(*DECODE_ERRORS):  # complete elements of another shape than declared
            count = len(decode_raw_list(elements))
            return (count, None) if count else None
        return None
    finally:
        text[end] = next_byte


def _possible_ends(text: bytearray) -> Iterator[int]:
    """Positions where an element may end, the likeliest first: with a line, or between objects."""
    end = max(text.rfind(b",\n"), text.rfind(b",\r\n", -MAX_LOOK_BACK_BYTES))
    if end > 0:
        yield end
    start = max(0, len(text) - MAX_LOOK_BACK_BYTES)
    ends = [match.end() for match in BETWEEN_OBJECTS.finditer(text, start)]
    yield from reversed(ends[-MAX_ENDS_TRIED:])


class _Window:
    """A part of the file: an opening bracket, then elements of which the last may be incomplete."""

    def __init__(self, path: Path) -> None:
        self._chunks = read_chunks(path)
        self.text = bytearray()

    def open(self) -> None:
        """Read up to the bracket that opens the array; raises FastPathError for anything else."""
        self.fill(WINDOW_BYTES)
        self.text = self.text.removeprefix(BYTE_ORDER_MARK).lstrip(WHITESPACE)
        if not self.text.startswith(b"["):
            raise FastPathError

    def fill(self, size: int) -> bool:
        """Read on up to a size; returns False if the file ends before."""
        while len(self.text) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self.text += chunk
        return True

    def drop_until(self, end: int) -> None:
        """Remove the elements up to a position, and the comma after them."""
        self.text[1 : self.text.index(b",", end) + 1] = b""

    def closing_bracket(self) -> int:
        """The position of the last byte, which must be the array's closing bracket."""
        end = len(self.text.rstrip(WHITESPACE)) - 1
        if not self.text.endswith(b"]", 0, end + 1):
            raise FastPathError
        return end


def _to_columns(
    records: list[Any],
    types: dict[str, ColumnType],
    getters: Mapping[str, tuple[Getter, ...]],
) -> Columns | None:
    """The columns in their types; None if an integer does not fit into its type.

    A number too large for a float fails earlier, when it is decoded.
    """
    # Columns of one nested object share its list of records, found by the getters that lead to it.
    values: dict[tuple[Getter, ...], list[Any]] = {(): records}
    for path in getters.values():
        for depth in range(1, len(path) + 1):
            if path[:depth] not in values:
                values[path[:depth]] = _map_getter(path[depth - 1], values[path[: depth - 1]])
    try:
        return {
            name: pa.array(values[path], JSON_TYPES[types[name]][1])
            for name, path in getters.items()
        }
    except (pa.ArrowException, OverflowError):
        return None


def _map_getter(getter: Getter, records: list[Any]) -> list[Any]:
    """One attribute of each record; None for a record that is missing."""
    try:
        return list(map(getter, records))
    except AttributeError:
        # Testing every record for None is slower, and few columns need it.
        return [None if record is None else getter(record) for record in records]


def _concatenate(parts: list[Columns]) -> Columns:
    columns = {}
    for name in parts[0]:
        columns[name] = pa.concat_arrays([part[name] for part in parts])
    return columns

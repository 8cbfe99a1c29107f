"""The flat columns of a JSON array, decoded many elements at a time while all values are plain.

Nothing is rejected here: a window with another value, or with a field that may occur twice in its
object, is reported, and `json_array` reads its records again with `json_elements`, which gives the
same values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args

import msgspec
import pyarrow as pa

from etl_assets.declarations.contract import ColumnType, Contract
from etl_assets.declarations.json_path import Step, column_origin
from etl_assets.tables.arrow_types import TYPES
from etl_assets.tables.readers.batch import DECODE_ERRORS
from etl_assets.tables.readers.json_elements import decode_raw_list
from etl_assets.tables.readers.json_structs import StructDecoder
from etl_assets.tables.readers.raw_bytes import BYTE_ORDER_MARK, MAX_CHUNK_BYTES, read_chunks

ROWS_AT_ONCE = 20_000
# Decoded at once. The records of a window stay in the processor's cache: windows of 4 MB take a
# quarter more time.
WINDOW_BYTES = 1 << 18
MAX_WINDOW_BYTES = 1 << 20  # a longer record is read by itself
LARGEST_WINDOW_BYTES = MAX_WINDOW_BYTES + MAX_CHUNK_BYTES
TOP_LEVEL = [Step("items")]
# Between two objects, of the array or of a list within an element.
BETWEEN_OBJECTS = re.compile(rb"\}(?=[ \t\r\n]*,[ \t\r\n]*\{)")
WHITESPACE = b" \t\r\n"
CLOSING_BRACKET = ord("]")
MAX_LOOK_BACK_BYTES = 1 << 14
MAX_ENDS_TRIED = 8

FieldNames = tuple[str, ...]
Columns = dict[str, pa.Array]
# The number of elements, and their columns or None if one is not of the declared types or may have
# a field twice.
DecodedWindow = tuple[int, Columns | None]

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
    decoder = _ColumnDecoder(fields, types)
    parts, rows = list[Columns](), 0
    for count, columns in _decode_windows(path, decoder):
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


class _ColumnDecoder:
    """Decodes the elements of a list into the declared columns."""

    def __init__(self, fields: dict[str, FieldNames], types: dict[str, ColumnType]) -> None:
        struct = _struct({names: JSON_TYPES[types[column]][0] for column, names in fields.items()})
        # Decoding 300,000 star systems as structs takes 0.11 s, with all fields as structs 0.13 s,
        # as typed dicts 0.2 s, as dicts 0.3 s.
        self._decoder = StructDecoder(struct, learns_texts=True)
        self._paths = [_attribute(struct, names) for names in fields.values()]
        take = attrgetter(*self._paths)  # of one path only it takes no tuple
        self._take = take if len(self._paths) > 1 else lambda record: (take(record),)
        self._row_type = pa.struct([(name, JSON_TYPES[types[name]][1]) for name in fields])

    def decode(self, text: memoryview) -> DecodedWindow | None:
        """The elements, or None if the text is no list of complete elements, or an empty one."""
        elements = self._decoder.decode_list(text)
        if elements is None:
            try:
                count = len(decode_raw_list(text))
            except DECODE_ERRORS:
                return None
            elements = self._decoder.decode_list(text) if self._decoder.learn(text) else None
            if elements is None:
                return (count, None) if count else None
        return (len(elements), self._to_columns(elements)) if elements else None

    def _to_columns(self, records: list[Any]) -> Columns | None:
        """The columns in their types; None if an integer does not fit into its type.

        A number too large for a float fails earlier, when it is decoded.
        """
        try:
            rows = list(map(self._take, records))
        except AttributeError:  # an object on the way to a column is missing or null
            rows = [tuple(_value(record, path) for path in self._paths) for record in records]
        try:
            columns = pa.array(rows, self._row_type).flatten()
        except (pa.ArrowException, OverflowError):
            return None
        return dict(zip(self._row_type.names, columns, strict=True))


def _struct(types: dict[FieldNames, type]) -> Any:  # noqa: ANN401 - a type made here
    """The struct of objects with values of these types at these paths of field names."""
    fields, renamed = [], {}
    for number, name in enumerate(dict.fromkeys(names[0] for names in types)):
        below = {names[1:]: kind for names, kind in types.items() if names[0] == name}
        kind = below[()] if () in below else _struct(below)
        fields.append((f"a{number}", kind | None, None))
        renamed[f"a{number}"] = name
    return msgspec.defstruct("Record", fields, rename=renamed)


def _attribute(struct: Any, names: FieldNames) -> str:  # noqa: ANN401 - a type made here
    """The attribute of the value at a path of field names, with a dot between two steps."""
    attributes = []
    for name in names:
        fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        attributes.append(fields[name].name)
        struct = get_args(fields[name].type)[0]
    return ".".join(attributes)


def _value(record: object, path: str) -> object:
    for attribute in path.split("."):
        record = getattr(record, attribute, None)
    return record


def _decode_windows(path: Path, decoder: _ColumnDecoder) -> Iterator[DecodedWindow]:
    window = _Window(path)
    window.open()
    size, is_first = WINDOW_BYTES, True
    while window.fill(size):
        for end in _possible_ends(window.text):
            if decoded := _decode_until(window.text, end, decoder):
                yield decoded
                window.drop_until(end)
                size, is_first = WINDOW_BYTES, False
                break
        else:
            if size >= MAX_WINDOW_BYTES:
                raise FastPathError
            size *= 2
    if decoded := _decode_until(window.text, window.closing_bracket(), decoder):
        yield decoded
    elif not is_first or window.text.strip(b"[]" + WHITESPACE):
        raise FastPathError


def _decode_until(text: bytearray, end: int, decoder: _ColumnDecoder) -> DecodedWindow | None:
    """The elements up to a position; None if they are not complete elements."""
    # A bracket takes the place of the next byte while the window is decoded. A copy of the window
    # with a bracket at its end would cost more than decoding the bracket.
    next_byte, text[end] = text[end], CLOSING_BRACKET
    try:
        return decoder.decode(memoryview(text)[: end + 1])
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


def _concatenate(parts: list[Columns]) -> Columns:
    columns = {}
    for name in parts[0]:
        columns[name] = pa.concat_arrays([part[name] for part in parts])
    return columns

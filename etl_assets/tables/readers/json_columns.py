"""The flat columns of a JSON array, by many elements at once, where all values are plain.

A fast way that never decides: what is not plain is told as such, and the caller reads those records
again element by element. Both ways give the same values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from etl_assets.tables.readers.json_elements import BYTE_ORDER_MARK, PACKED
from etl_assets.tables.readers.raw_bytes import read_chunks

ROWS_AT_ONCE = 20_000
WINDOW_BYTES = 1 << 18  # decoded at once: few enough that the records stay in the processor's cache
MAX_WINDOW_BYTES = 1 << 20  # a longer record is read element by element
TOP_LEVEL = [Step("items")]
# Where one object ends and the next begins, be it of the array or of a list within an element.
BETWEEN = re.compile(rb"\}(?=[ \t\r\n]*,[ \t\r\n]*\{)")
SPACES = b" \t\r\n"
CLOSING = ord("]")
LOOKED_BACK_BYTES = 1 << 14
PLACES_TRIED = 8

Names = tuple[str, ...]
Plain = dict[str, pa.Array]
Getter = Callable[[Any], Any]
Decode = Callable[[memoryview], list[Any]]
Taken = tuple[int, list[Any] | None]

# Times stay texts, which the contract's own cast reads.
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
    """The fast way ends here; the records already yielded stand."""


def flat_fields(contract: Contract, paths: Sequence[list[Step]]) -> dict[str, Names] | None:
    """Column -> the fields that lead to it; None where a contract is not flat enough."""
    if list(paths) != [TOP_LEVEL] or contract.unknown_fields != "discard_value":
        return None
    ways, types = {}, dict[Names, type]()
    for column in contract.columns:
        origin = column_origin(column, TOP_LEVEL)
        if origin is None or column.type not in JSON_TYPES:
            return None
        ways[column.name] = origin.names
        wanted = JSON_TYPES[column.type][0]
        if types.setdefault(origin.names, wanted) is not wanted:
            return None
    nested = {names[:depth] for names in types for depth in range(1, len(names))}
    return None if nested & types.keys() else ways


def read_columns(
    path: Path, contract: Contract, ways: dict[str, Names] | None
) -> Iterator[tuple[int, Plain | None]]:
    """Row counts with the columns of so many records, None where they are not plain.

    Raises NotTaken where the file is no array of objects, or is none any further.
    """
    if ways is None:
        raise FastPathError
    kinds = {column.name: column.type for column in contract.columns}
    tree = _tree(ways, kinds)
    leading = {name: _getters(tree, names) for name, names in ways.items()}
    gathered, rows = list[Plain](), 0
    decode = msgspec.json.Decoder(_list_of(tree)).decode
    for count, records in _decoded(path, decode):
        columns = records and _columns(records, kinds, leading)
        if columns:
            gathered.append(columns)
            rows += count
        if rows and (columns is None or rows >= ROWS_AT_ONCE):
            yield rows, _together(gathered)
            gathered, rows = [], 0
        if columns is None:
            yield count, None
    if rows:
        yield rows, _together(gathered)


def _tree(ways: dict[str, Names], kinds: dict[str, ColumnType]) -> dict[str, Any]:
    """The declared fields by name; what is none of them is neither decoded nor kept."""
    tree: dict[str, Any] = {}
    for column, names in ways.items():
        branch = tree
        for name in names[:-1]:
            branch = branch.setdefault(name, {})
        branch[names[-1]] = JSON_TYPES[kinds[column]][0]
    return tree


def _list_of(tree: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made here
    return list[_record(tree)]  # type: ignore[misc]  # made here


def _record(tree: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made here
    """A type of attributes a0, a1, ... as a field's name need be no word of Python's."""
    names = {f"a{place}": name for place, name in enumerate(tree)}
    types = [_record(branch) if isinstance(branch, dict) else branch for branch in tree.values()]
    fields = [(name, kind | None, None) for name, kind in zip(names, types, strict=True)]
    return msgspec.defstruct("Record", fields, rename=names, gc=False)


def _getters(tree: dict[str, Any], names: Names) -> tuple[Getter, ...]:
    """What takes the attribute of each step to a field; the same step has the same getter."""
    getters = []
    for name in names:
        getters.append(_getter(list(tree).index(name)))
        tree = tree[name] if isinstance(tree[name], dict) else {}
    return tuple(getters)


@cache
def _getter(place: int) -> Getter:
    return attrgetter(f"a{place}")


def _decoded(path: Path, decode: Decode) -> Iterator[Taken]:
    """Counts of elements with their records, None where one is not of the declared shape."""
    window = _Window(path)
    window.open()
    size, is_first = WINDOW_BYTES, True
    while window.fill(size):
        tried = ((end, _taken(window.text, end, decode)) for end in _ends(window.text))
        end, taken = next((found for found in tried if found[1]), (0, None))
        if taken:
            yield taken
            window.leave(end)
            size, is_first = WINDOW_BYTES, False
        elif size < MAX_WINDOW_BYTES:
            size *= 2
        else:
            raise FastPathError
    if taken := _taken(window.text, window.last(), decode):
        yield taken
    elif not is_first or window.text.strip(b"[]" + SPACES):
        raise FastPathError


def _taken(text: bytearray, end: int, decode: Decode) -> Taken | None:
    """How many elements the text is up to there, and their records; None where it is no such."""
    # A bracket stands in for what follows them, so that no window is copied to be decoded.
    follows, text[end] = text[end], CLOSING
    try:
        for attempt in (decode, PACKED):
            try:
                records = attempt(memoryview(text)[: end + 1])
            except DECODE_ERRORS:
                continue
            return (len(records), records if attempt is decode else None) if records else None
        return None
    finally:
        text[end] = follows


def _ends(text: bytearray) -> Iterator[int]:
    """Where whole elements may end, the likeliest first: with a line, or between two objects."""
    end = max(text.rfind(b",\n"), text.rfind(b",\r\n", -LOOKED_BACK_BYTES))
    if end > 0:
        yield end
    looked_back = max(0, len(text) - LOOKED_BACK_BYTES)
    places = [found.end() for found in BETWEEN.finditer(text, looked_back)]
    yield from reversed(places[-PLACES_TRIED:])


class _Window:
    """What is held of the file: an opening bracket, and the elements to come, cut off anywhere."""

    def __init__(self, path: Path) -> None:
        self._chunks = read_chunks(path)
        self.text = bytearray()

    def open(self) -> None:
        """Stand at the bracket that opens the array."""
        self.fill(WINDOW_BYTES)
        self.text = self.text.removeprefix(BYTE_ORDER_MARK).lstrip(SPACES)
        if not self.text.startswith(b"["):
            raise FastPathError

    def fill(self, size: int) -> bool:
        """Hold so many bytes; False where the file ends before."""
        while len(self.text) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self.text += chunk
        return True

    def leave(self, end: int) -> None:
        """Go on behind the comma that follows the elements up to there."""
        self.text[1 : self.text.index(b",", end) + 1] = b""

    def last(self) -> int:
        """Where the bracket stands that closes the array."""
        end = len(self.text.rstrip(SPACES)) - 1
        if not self.text.endswith(b"]", 0, end + 1):
            raise FastPathError
        return end


def _columns(
    records: list[Any],
    kinds: dict[str, ColumnType],
    leading: Mapping[str, tuple[Getter, ...]],
) -> Plain | None:
    """The columns in their types; None where a whole number is beyond its bits.

    A number beyond all floats is refused when it is decoded.
    """
    values: dict[tuple[Getter, ...], list[Any]] = {(): records}
    for getters in leading.values():
        for depth, getter in enumerate(getters):
            if getters[: depth + 1] not in values:
                values[getters[: depth + 1]] = _of_each(values[getters[:depth]], getter)
    try:
        return {
            name: pa.array(values[getters], JSON_TYPES[kinds[name]][1])
            for name, getters in leading.items()
        }
    except (pa.ArrowException, OverflowError):
        return None


def _of_each(records: list[Any], getter: Getter) -> list[Any]:
    """One attribute of each record; None too where the record itself is left out."""
    try:
        return list(map(getter, records))
    except AttributeError:
        return [record if record is None else getter(record) for record in records]


def _together(gathered: list[Plain]) -> Plain:
    return {name: pa.concat_arrays([part[name] for part in gathered]) for name in gathered[0]}

"""Declared types in Arrow: the schema of a table, and casting values to a type.

A column is cast at once if Arrow takes every value of it, and else value by value; the result is
the same. The other rules of a column are in `tables.contract_check`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.declarations.contract import ColumnType, Contract
from etl_assets.model.records import SOURCE_SHA256

SOURCE_ROW = "source_row"
INSTANT = pa.timestamp("us", tz="UTC")
TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "float64": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": INSTANT,
    "list[string]": pa.list_(pa.string()),
}
TYPE_DESCRIPTIONS: dict[ColumnType, str] = {
    "string": "a text",
    "int64": "a whole number of 64 bits, as a float below 2^53",
    "uint64": "a whole number of 64 bits, not negative, as a float below 2^53",
    "float64": "a finite number",
    "boolean": "true or false",
    "date": "a date, YYYY-MM-DD",
    "timestamp": "a time, YYYY-MM-DDThh:mm:ss with or without zone",
    "list[string]": "a list of texts",
}
INTEGER_TYPES = frozenset({"int64", "uint64"})
INTEGER = re.compile(r"[+-]?[0-9]+")
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIMESTAMP = re.compile(
    DATE.pattern
    + r"([T ][0-9]{2}(:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
ZONED = r"[T ].*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
UTC_ENDINGS = ("Z", "+00", "+00:00")
# Arrow's calendar is wider than Python's. A day less leaves room for the conversion to UTC.
FIRST_DATE, LAST_DATE = date(1, 1, 2), date(9999, 12, 30)
FIRST_TIME = datetime.combine(FIRST_DATE, time.min, UTC)
LAST_TIME = datetime.combine(LAST_DATE, time.min, UTC)
INT64_RANGE = (-(2**63), 2**63 - 1)
UINT64_RANGE = (0, 2**64 - 1)
# Beyond it, neighbouring integers share one float: 2**53 + 1 is read as 2**53.
MAX_EXACT_FLOAT = 2**53 - 1


def table_schema(contract: Contract) -> pa.Schema:
    """The declared columns with description and unit, then the file and record of each row."""
    provenance = [
        pa.field(SOURCE_SHA256, pa.string(), metadata={"description": "SHA-256 of the raw file"}),
        pa.field(
            SOURCE_ROW, pa.int64(), metadata={"description": "the record's place in the file"}
        ),
    ]
    fields = []
    for column in contract.columns:
        metadata = {"description": column.description}
        if column.unit:
            metadata["unit"] = column.unit
        fields.append(pa.field(column.name, TYPES[column.type], metadata=metadata))
    return pa.schema([*fields, *provenance])


def cast_values(
    values: list[Any] | pa.Array, kind: ColumnType, *, are_floats: bool = False
) -> tuple[pa.Array, list[int]]:
    """Returns the values in the type, and the positions of those that do not fit (null there).

    An array of another type than the declared one contains texts. With `are_floats` the file stores
    every number as a float, whatever the type of the values: an integer is accepted up to 2^53.
    """
    if isinstance(values, pa.Array) and values.type == TYPES[kind]:
        return values, []
    try:
        array = _cast_at_once(values, kind)
    except (pa.ArrowException, UnicodeError, OverflowError):
        array = None
    if are_floats and kind in INTEGER_TYPES and array is not None:
        array = array if _all(_is_exact_float(array)) else None
    if array is not None:
        return array, []
    items = values.to_pylist() if isinstance(values, pa.Array) else values
    return _cast_each(items, kind, are_floats=are_floats)


def _cast_at_once(values: list[Any] | pa.Array, kind: ColumnType) -> pa.Array | None:
    """None if the values are not all of one plain type, or some are out of bounds."""
    if isinstance(values, pa.Array):
        return _cast_texts(values, kind)
    value_types = set(map(type, values)) - {type(None)}
    if kind == "list[string]":
        return pa.array(values, TYPES[kind]) if _are_lists_of_texts(values, value_types) else None
    if value_types <= NATIVE_TYPES[kind]:
        return _within_bounds(pa.array(values, TYPES[kind]), kind)
    return _cast_texts(pa.array(values, pa.string()), kind) if value_types == {str} else None


def _are_lists_of_texts(values: list[Any], value_types: set[type]) -> bool:
    if not value_types <= {list}:
        return False
    return all(set(map(type, texts)) <= {str} for texts in values if texts)


def _cast_texts(texts: pa.Array, kind: ColumnType) -> pa.Array | None:
    if kind == "timestamp":
        texts = _add_missing_zone(texts)
    # Arrow also reads hexadecimal integers, which are none in a feed.
    if kind in INTEGER_TYPES and not _all(pc.match_substring_regex(texts, "^-?[0-9]+$")):
        return None
    return _within_bounds(pc.cast(texts, TYPES[kind]), kind)


def _add_missing_zone(texts: pa.Array) -> pa.Array:
    """Timestamps as texts, where one without a zone is in UTC."""
    # Most files write one zone throughout: one cheap look instead of the regular expression.
    if any(_all(pc.ends_with(texts, zone)) for zone in UTC_ENDINGS):
        return texts
    is_date = pc.equal(pc.binary_length(texts), len("YYYY-MM-DD"))
    zone = pc.if_else(pc.match_substring_regex(texts, ZONED), "", "Z")
    ending = pc.if_else(is_date, "T00:00:00Z", zone)
    return pc.binary_join_element_wise(texts, ending, "")


def _within_bounds(array: pa.Array, kind: ColumnType) -> pa.Array | None:
    if kind == "float64":
        return array if _all(pc.is_finite(array)) else None
    if kind == "date":
        first, last = pa.scalar(FIRST_DATE, TYPES[kind]), pa.scalar(LAST_DATE, TYPES[kind])
    elif kind == "timestamp":
        first, last = pa.scalar(FIRST_TIME, TYPES[kind]), pa.scalar(LAST_TIME, TYPES[kind])
    else:
        return array
    is_within = pc.and_(pc.greater_equal(array, first), pc.less_equal(array, last))
    return array if _all(is_within) else None


def _is_exact_float(integers: pa.Array) -> pa.Array:
    at_most = pc.less_equal(integers, pa.scalar(MAX_EXACT_FLOAT, integers.type))
    if pa.types.is_unsigned_integer(integers.type):
        return at_most
    at_least = pc.greater_equal(integers, pa.scalar(-MAX_EXACT_FLOAT, integers.type))
    return pc.and_(at_least, at_most)


def _all(mask: pa.Array) -> bool:
    # None for an array without values, of which nothing is wrong
    return pc.all(mask).as_py() is not False


def _cast_each(
    values: list[Any], kind: ColumnType, *, are_floats: bool
) -> tuple[pa.Array, list[int]]:
    parse = PARSERS[kind]
    if are_floats and kind in INTEGER_TYPES:
        parse = partial(_parse_exact_float, parse)
    parsed: list[Any] = []
    misfits: list[int] = []
    for position, value in enumerate(values):
        try:
            parsed.append(None if value is None else parse(value))
        except (ValueError, OverflowError, TypeError, KeyError):
            parsed.append(None)
            misfits.append(position)
    return pa.array(parsed, TYPES[kind]), misfits


def _parse_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # a lone surrogate is no text that Parquet can store
    return value


def _parse_texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise TypeError
    return [_parse_text(text) for text in value]


def _parse_integer(value: object, bounds: tuple[int, int]) -> int:
    if isinstance(value, str) and INTEGER.fullmatch(value):
        number = int(value)
    elif isinstance(value, float):
        if not value.is_integer():
            raise ValueError
        if abs(value) > MAX_EXACT_FLOAT:
            raise OverflowError
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise TypeError
    if not bounds[0] <= number <= bounds[1]:
        raise OverflowError
    return number


def _parse_exact_float(parse: Callable[[object], int], value: object) -> int:
    number = parse(value)
    if abs(number) > MAX_EXACT_FLOAT:
        raise OverflowError
    return number


def _parse_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    if isinstance(value, str) and not DECIMAL.fullmatch(value):
        raise ValueError  # float() also reads `1_000`, `nan` and surrounding spaces
    number = float(value)
    if not math.isfinite(number):
        raise OverflowError
    return number


def _parse_boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
    raise TypeError


def _parse_date(value: object) -> date:
    if isinstance(value, str) and DATE.fullmatch(value):
        return date.fromisoformat(value)
    if isinstance(value, datetime) and (value.tzinfo, value.time()) == (None, time.min):
        return value.date()
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise TypeError


def _parse_timestamp(value: object) -> datetime:
    if isinstance(value, str) and TIMESTAMP.fullmatch(value):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time.min, UTC)
    raise TypeError


# Python types that Arrow casts as the parsers below do. It would also take a datetime for a date
# and drop its time of day.
NATIVE_TYPES: dict[ColumnType, set[type]] = {
    "string": {str},
    "int64": {int},
    "uint64": {int},
    "float64": {int, float},
    "boolean": {bool},
    "date": {date},
    "timestamp": set(),
    "list[string]": {list},
}
PARSERS: dict[ColumnType, Callable[[Any], Any]] = {
    "string": _parse_text,
    "int64": lambda value: _parse_integer(value, INT64_RANGE),
    "uint64": lambda value: _parse_integer(value, UINT64_RANGE),
    "float64": _parse_float,
    "boolean": _parse_boolean,
    "date": _parse_date,
    "timestamp": _parse_timestamp,
    "list[string]": _parse_texts,
}

"""Declared types in Arrow: the schema of a table, and values cast to a type or named as misfits.

Whole columns are cast at once; only a column with a value that Arrow does not take is cast value by
value. Both ways agree on every value. What a value must say beyond its type is
`tables.contract_check`'s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.declarations.contract import Column, ColumnType, Contract

SOURCE_SHA256 = "source_sha256"
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
    "int64": "a whole number of 64 bits",
    "uint64": "a whole number of 64 bits, not negative",
    "float64": "a finite number",
    "boolean": "true or false",
    "date": "a date, YYYY-MM-DD",
    "timestamp": "a time, YYYY-MM-DDThh:mm:ss with or without zone",
    "list[string]": "a list of texts",
}
WHOLE = re.compile(r"[+-]?[0-9]+")
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME = re.compile(
    DAY.pattern
    + r"([T ][0-9]{2}(:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
ZONED = r"[T ].*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
UTC_ENDINGS = ("Z", "+00", "+00:00")
# Arrow's calendar is wider than Python's; a day's margin leaves room for a zone.
FIRST_DAY, LAST_DAY = date(1, 1, 2), date(9999, 12, 30)
FIRST_TIME, LAST_TIME = (datetime.combine(d, time.min, UTC) for d in (FIRST_DAY, LAST_DAY))
INT64_RANGE = (-(2**63), 2**63 - 1)
UINT64_RANGE = (0, 2**64 - 1)


def table_schema(contract: Contract) -> pa.Schema:
    """The declared columns with description and unit, then whence each row came."""
    provenance = [
        pa.field(SOURCE_SHA256, pa.string(), metadata={"description": "SHA-256 of the raw file"}),
        pa.field(
            SOURCE_ROW, pa.int64(), metadata={"description": "the record's place in the file"}
        ),
    ]
    return pa.schema([*(_field(column) for column in contract.columns), *provenance])


def _field(column: Column) -> pa.Field:
    metadata = {"description": column.description} | ({"unit": column.unit} if column.unit else {})
    return pa.field(column.name, TYPES[column.type], metadata=metadata)


def cast_values(values: list[Any] | pa.Array, kind: ColumnType) -> tuple[pa.Array, list[int]]:
    """The values in the type's array, and the places of those that do not fit (null there).

    An array of another type than the declared one holds texts.
    """
    if isinstance(values, pa.Array) and values.type == TYPES[kind]:
        return values, []
    try:
        whole = _cast_at_once(values, kind)
    except (pa.ArrowException, UnicodeError, OverflowError):
        whole = None
    if whole is not None:
        return whole, []
    return _cast_each(values.to_pylist() if isinstance(values, pa.Array) else values, kind)


def _cast_at_once(values: list[Any] | pa.Array, kind: ColumnType) -> pa.Array | None:
    """None where the values are not all of one plain kind, or some are out of bounds."""
    if isinstance(values, pa.Array):
        return _cast_texts(values, kind)
    seen = set(map(type, values)) - {type(None)}
    if kind == "list[string]":
        flat = (
            {type(text) for texts in values if texts for text in texts}
            if seen <= {list}
            else {list}
        )
        return pa.array(values, TYPES[kind]) if flat <= {str} else None
    if seen <= NATIVE[kind]:
        return _bounded(pa.array(values, TYPES[kind]), kind)
    return _cast_texts(pa.array(values, pa.string()), kind) if seen == {str} else None


def _cast_texts(texts: pa.Array, kind: ColumnType) -> pa.Array | None:
    if kind == "timestamp":
        texts = _with_zone(texts)
    if kind in ("int64", "uint64") and not _all(pc.match_substring_regex(texts, "^-?[0-9]+$")):
        return None
    return _bounded(pc.cast(texts, TYPES[kind]), kind)


def _with_zone(texts: pa.Array) -> pa.Array:
    if any(_all(pc.ends_with(texts, zone)) for zone in UTC_ENDINGS):
        return texts  # one look for most files, in place of four
    days = pc.equal(pc.binary_length(texts), len("YYYY-MM-DD"))
    clock = pc.if_else(pc.match_substring_regex(texts, ZONED), "", "Z")
    ending = pc.if_else(days, "T00:00:00Z", clock)
    return pc.binary_join_element_wise(texts, ending, "")


def _bounded(array: pa.Array, kind: ColumnType) -> pa.Array | None:
    if kind == "float64":
        return array if _all(pc.is_finite(array)) else None
    if kind in ("date", "timestamp"):
        low, high = (FIRST_DAY, LAST_DAY) if kind == "date" else (FIRST_TIME, LAST_TIME)
        ends = (pa.scalar(low, TYPES[kind]), pa.scalar(high, TYPES[kind]))
        within = pc.and_(pc.greater_equal(array, ends[0]), pc.less_equal(array, ends[1]))
        return array if _all(within) else None
    return array


def _all(mask: pa.Array) -> bool:
    return pc.all(mask).as_py() is not False


def _cast_each(values: list[Any], kind: ColumnType) -> tuple[pa.Array, list[int]]:
    parse, fitting, misfits = PARSERS[kind], [], []
    for place, value in enumerate(values):
        try:
            fitting.append(None if value is None else parse(value))
        except (ValueError, OverflowError, TypeError, KeyError):
            fitting.append(None)
            misfits.append(place)
    return pa.array(fitting, TYPES[kind]), misfits


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()
    return value


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise TypeError
    return [_text(text) for text in value]


def _whole(value: object, bounds: tuple[int, int]) -> int:
    if isinstance(value, str) and WHOLE.fullmatch(value):
        number = int(value)
    elif isinstance(value, float) and not value.is_integer():
        raise ValueError
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = int(value)
    else:
        raise TypeError
    if not bounds[0] <= number <= bounds[1]:
        raise OverflowError
    return number


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    if isinstance(value, str) and not DECIMAL.fullmatch(value):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise OverflowError
    return number


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
    raise TypeError


def _day(value: object) -> date:
    if isinstance(value, str) and DAY.fullmatch(value):
        return date.fromisoformat(value)
    if isinstance(value, datetime) and (value.tzinfo, value.time()) == (None, time.min):
        return value.date()
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise TypeError


def _time(value: object) -> datetime:
    if isinstance(value, str) and TIME.fullmatch(value):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time.min, UTC)
    raise TypeError


NATIVE: dict[ColumnType, set[type]] = {
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
    "string": _text,
    "int64": lambda value: _whole(value, INT64_RANGE),
    "uint64": lambda value: _whole(value, UINT64_RANGE),
    "float64": _number,
    "boolean": _boolean,
    "date": _day,
    "timestamp": _time,
    "list[string]": _texts,
}

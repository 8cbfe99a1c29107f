"""Values cast to declared types, at once or one by one, with the same result."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.table_declarations import column, contract

from etl_assets.declarations.contract import ColumnType
from etl_assets.tables.arrow_types import TYPES, cast_values, table_schema

JAN_2 = datetime(2024, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        pytest.param("string", "", "", id="empty text"),
        pytest.param("int64", 7, 7, id="whole"),
        pytest.param("int64", "-007", -7, id="whole in text"),
        pytest.param("int64", "+7", 7, id="plus"),
        pytest.param("int64", 7.0, 7, id="whole float"),
        pytest.param("int64", -0.0, 0, id="negative zero"),
        pytest.param("int64", 2.0**53 - 1, 2**53 - 1, id="greatest exact float"),
        pytest.param("int64", 1.0 - 2**53, 1 - 2**53, id="least exact float"),
        pytest.param("uint64", str(2**53 + 1), 2**53 + 1, id="digits beyond the exact floats"),
        pytest.param("uint64", 2**64 - 1, 2**64 - 1, id="greatest uint64"),
        pytest.param("float64", 7, 7.0, id="whole for a float"),
        pytest.param("float64", ".5", 0.5, id="decimal in text"),
        pytest.param("float64", "1e-3", 0.001, id="exponent"),
        pytest.param("boolean", "TRUE", True, id="true in text"),
        pytest.param("boolean", "0", False, id="zero in text"),
        pytest.param("date", "2024-01-02", JAN_2.date(), id="date"),
        pytest.param("date", JAN_2.replace(tzinfo=None), JAN_2.date(), id="midnight"),
        pytest.param("timestamp", "2024-01-02", JAN_2, id="day"),
        pytest.param("timestamp", "2024-01-02T00:00:00", JAN_2, id="no zone"),
        pytest.param("timestamp", "2024-01-02T02:00:00+02:00", JAN_2, id="zone"),
        pytest.param("timestamp", "2024-01-02 00:00Z", JAN_2, id="blank for T"),
        pytest.param(
            "timestamp",
            "2024-01-02T00:00:00.1234567Z",
            JAN_2.replace(microsecond=123456),
            id="7 digits",
        ),
        pytest.param("timestamp", JAN_2.date(), JAN_2, id="native date"),
        pytest.param("list[string]", ["a", ""], ["a", ""], id="list"),
        pytest.param("list[string]", [], [], id="empty list"),
    ],
)
@pytest.mark.parametrize("beside", [[], [object()]], ids=["at once", "one by one"])
def test_a_value_that_fits_is_cast(
    kind: ColumnType, value: object, expected: object, beside: list[object]
) -> None:
    array, misfits = cast_values([value, None, *beside], kind)

    assert array.to_pylist()[:2] == [expected, None]
    assert array.type == TYPES[kind]
    assert misfits == [2][: len(beside)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param("string", 1, id="number for a text"),
        pytest.param("string", {}, id="object for a text"),
        pytest.param("string", "\ud800", id="no Unicode"),
        pytest.param("int64", True, id="boolean for a number"),
        pytest.param("int64", 1.5, id="fraction"),
        pytest.param("int64", float("inf"), id="infinite whole"),
        pytest.param("int64", 9007199254740992.0, id="float that may be two integers"),
        pytest.param("int64", -9007199254740993.0, id="negative float that may be two integers"),
        pytest.param("uint64", 1.8e19, id="float within 64 bits"),
        pytest.param("uint64", 1e300, id="float beyond 64 bits"),
        pytest.param("int64", "9007199254740993.0", id="float in text"),
        pytest.param("int64", "1.8e19", id="exponent for a whole number"),
        pytest.param("int64", 2**63, id="too great"),
        pytest.param("int64", "1" * 5_000, id="endless digits"),
        pytest.param("int64", "0x10", id="hexadecimal"),
        pytest.param("int64", "1_000", id="underscore"),
        pytest.param("int64", " 1", id="blank"),
        pytest.param("int64", "\u0661", id="other digits"),
        pytest.param("uint64", -1, id="negative"),
        pytest.param("float64", "nan", id="NaN in text"),
        pytest.param("float64", float("nan"), id="NaN"),
        pytest.param("float64", "1e999", id="infinite"),
        pytest.param("float64", 10**400, id="too great for a float"),
        pytest.param("float64", "1,5", id="comma"),
        pytest.param("float64", "", id="empty text for a number"),
        pytest.param("boolean", 1, id="number for a boolean"),
        pytest.param("boolean", "yes", id="yes"),
        pytest.param("date", "2024-02-30", id="no such day"),
        pytest.param("date", "20240102", id="basic form"),
        pytest.param("date", "2024-01-02T03:04:05Z", id="time for a date"),
        pytest.param("date", "0000-01-01", id="year zero"),
        pytest.param("timestamp", "2024-01-02T25:00:00Z", id="no such hour"),
        pytest.param("timestamp", "yesterday", id="word"),
        pytest.param("timestamp", "0001-01-01T00:00:00+01:00", id="before all time"),
        pytest.param("timestamp", 1704153600, id="seconds"),
        pytest.param("list[string]", "ab", id="text for a list"),
        pytest.param("list[string]", ["a", None], id="null in a list"),
        pytest.param("list[string]", ["a", 1], id="number in a list"),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_left_null(kind: ColumnType, value: object) -> None:
    array, misfits = cast_values([value], kind)

    assert misfits == [0]
    assert array.to_pylist() == [None]


@pytest.mark.fault("inexact-integer")
@pytest.mark.parametrize("kind", ["int64", "uint64"])
@pytest.mark.parametrize("beside", [[], ["x"]], ids=["at once", "one by one"])
def test_digits_from_a_format_of_floats_are_exact_below_2_to_53(
    kind: ColumnType, beside: list[str]
) -> None:
    texts = ["9007199254740991", "9007199254740992", "18000000000000000000", None, *beside]

    array, misfits = cast_values(texts, kind, are_floats=True)
    columnar, columnar_misfits = cast_values(pa.array(texts, pa.string()), kind, are_floats=True)

    assert array.to_pylist()[:4] == [2**53 - 1, None, None, None]
    assert misfits == [1, 2, 4][: 2 + len(beside)]
    assert (columnar, columnar_misfits) == (array, misfits)


def test_a_negative_integer_from_a_format_of_floats_has_the_same_bound() -> None:
    array, misfits = cast_values(
        ["-9007199254740991", "-9007199254740992"], "int64", are_floats=True
    )

    assert (array.to_pylist(), misfits) == ([1 - 2**53, None], [1])


DIGITS = st.from_regex(r"[0-9]{1,3}", fullmatch=True)
LIKE_A_TIME = st.from_regex(
    r"(000[01]|2024|9999)-(0[0-3]|1[0-3])-[0-3][0-9]"
    r"([T ][0-2][0-9](:?[0-6][0-9]){0,2}(\.[0-9]{1,9})?(Z|z|[+-][0-2][0-9](:?[0-6][0-9])?)?)?",
    fullmatch=True,
)
VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=5),
    "int64": st.integers() | st.floats() | st.from_regex(r"[+-]?(0x)?[0-9]{0,20}", fullmatch=True),
    "uint64": st.integers() | st.floats() | DIGITS,
    "float64": st.floats()
    | st.integers()
    | st.from_regex(r"[+-]?[0-9.eEinfa_ ]{0,6}", fullmatch=True),
    "boolean": st.booleans() | st.sampled_from(["true", "False", "tRUE", "1", "0", "t", "no", ""]),
    "date": LIKE_A_TIME | st.dates(),
    "timestamp": LIKE_A_TIME,
    "list[string]": st.lists(st.text(max_size=3) | st.none(), max_size=3),
}


@given(data=st.data(), kind=st.sampled_from(sorted(TYPES)))
def test_a_value_is_cast_alike_whatever_stands_beside_it(
    data: st.DataObject, kind: ColumnType
) -> None:
    value = data.draw(VALUES[kind])

    alone, misfits = cast_values([value], kind)
    beside, misfits_beside = cast_values([value, object()], kind)

    assert alone.to_pylist() == beside.to_pylist()[:1]
    assert misfits_beside == [*misfits, 1]


def test_a_schema_holds_the_columns_in_order_and_whence_a_row_came() -> None:
    declaration = contract("name", column("weight", "float64"), column("picked_at", "timestamp"))

    schema = table_schema(declaration)

    assert [(field.name, str(field.type)) for field in schema] == [
        ("name", "string"),
        ("weight", "double"),
        ("picked_at", "timestamp[us, tz=UTC]"),
        ("source_sha256", "string"),
        ("source_row", "int64"),
    ]
    assert schema.field("weight").metadata == {b"description": b"the weight", b"unit": b"1"}


def test_dates_of_any_kind_are_days() -> None:
    array, _ = cast_values([date(2024, 1, 2), "2024-01-03"], "date")

    assert array.type == pa.date32()
    assert array.to_pylist() == [date(2024, 1, 2), date(2024, 1, 3)]

"""Integers of each text format: exact, or rejected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.table_declarations import column, contract

from etl_assets.declarations.formats import (
    CsvFormat,
    Format,
    GeoJsonFormat,
    JsonArrayFormat,
    JsonFormat,
)
from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.readers import registry


def as_object(number: str) -> str:
    return f'{{"name": "pear", "seeds": {number}}}'


def as_features(numbers: list[str]) -> str:
    features = [f'{{"properties": {as_object(number)}}}' for number in numbers]
    return f'{{"type": "FeatureCollection", "features": [{", ".join(features)}]}}'


def as_list(numbers: list[str]) -> str:
    return "[\n" + ",\n".join(map(as_object, numbers)) + "\n]"


FORMATS: dict[str, tuple[Format, str, Callable[[list[str]], str]]] = {
    "document": (JsonFormat(name="json"), "seeds", as_list),
    "map": (
        JsonFormat(name="json", rows="{tree}"),
        "seeds",
        lambda numbers: (
            f'{{"oak": {", ".join(map(as_object, numbers[:1]))}, '
            + ", ".join(f'"{n}": {as_object(number)}' for n, number in enumerate(numbers[1:]))
            + "}"
        ),
    ),
    "array": (JsonArrayFormat(name="json_array"), "seeds", as_list),
    "array of lists": (
        JsonArrayFormat(name="json_array", rows="[].fruits[]"),
        "seeds",
        lambda numbers: f'[{{"fruits": {as_list(numbers)}}}]',
    ),
    "geojson": (GeoJsonFormat(name="geojson"), "properties.seeds", as_features),
    "csv": (
        CsvFormat(name="csv"),
        "seeds",
        lambda numbers: "\n".join(["seeds", *(number.strip('"') for number in numbers)]),
    ),
}


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(tmp_path: Path, name: str, numbers: list[str], kind: str) -> tuple[list[Any], list[str]]:
    """The integers of the valid rows, and the rules that others break."""
    form, origin, write = FORMATS[name]
    declaration = contract(column("n", kind, **{"from": origin}))
    path = tmp_path / "file"
    path.write_text(write(numbers), encoding="utf-8")
    values, rules = list[Any](), list[str]()
    for batch in registry.read(path, form, declaration):
        checked = ContractChecker(declaration).check(batch)
        values += checked.rows.column("n").to_pylist()
        rules += [reject.rule for reject in checked.rejects]
    return values, rules


@pytest.mark.fault("inexact-integer")
@pytest.mark.parametrize("kind", ["int64", "uint64"])
@pytest.mark.parametrize(
    "number",
    [
        "9007199254740993.0",
        "9007199254740992.0",
        "9.007199254740993e15",
        "-9007199254740993.0",
        "1.8e19",
        "1e300",
        '"9007199254740993.0"',
        "2.5",
        "18446744073709551616",
        "9" * 30,
    ],
)
def test_a_number_that_is_not_exact_rejects_its_row(
    tmp_path: Path, name: str, number: str, kind: str
) -> None:
    values, rules = read(tmp_path, name, ["1", number, "3"], kind)

    assert (values, rules) == ([1, 3], ["type"])


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("int64", 2**53 + 1),
        ("int64", -(2**63)),
        ("int64", 2**63 - 1),
        ("uint64", 2**64 - 1),
    ],
)
def test_digits_are_exact_to_the_bounds_of_their_type(
    tmp_path: Path, name: str, number: int, kind: str
) -> None:
    values, rules = read(tmp_path, name, ["1", str(number)], kind)

    assert (values, rules) == ([1, number], [])


@pytest.mark.parametrize(
    ("number", "value"), [("2.0", 2), ("-0.0", 0), ("9007199254740991.0", 2**53 - 1), ("1e2", 100)]
)
def test_a_whole_float_below_2_to_53_is_an_integer_of_json(
    tmp_path: Path, name: str, number: str, value: int
) -> None:
    values, rules = read(tmp_path, name, ["1", number], "int64")

    assert (values, rules) == (([1], ["type"]) if name == "csv" else ([1, value], []))

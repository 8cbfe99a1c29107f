"""Workbooks, read as the registry reads them.

`fruits.xlsb` has the same cells as FRUITS in its sheet Sheet1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.table_declarations import column, contract, source
from support.workbooks import xlsx

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import ExcelFormat
from etl_assets.model.errors import ContentError
from etl_assets.model.records import Reject
from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.readers import registry
from etl_assets.validate.validate import inspect_content

XLSB = Path(__file__).parent / "fruits.xlsb"
FRUITS = [
    ["code", "name", "picked", "weight", "pieces"],
    ["10043", "Apple", "2025-01-31", "0.30000000000000004", "12"],
    ["", "", "", "", ""],
    ["'00123", "N/A", "", "2", "7"],
]
HELD = contract(
    "code",
    column("name", case="upper"),
    column("picked", "date"),
    column("weight", "float64"),
    column("pieces", "int64"),
    null_words=["", "n/a"],
)


def read(
    tmp_path: Path, cells: list[list[str]], declaration: Contract = HELD, *, kind: str = "xlsx"
) -> tuple[list[dict[str, Any]], list[Reject]]:
    path = tmp_path / "raw"
    path.write_bytes(xlsx({"Sheet1": cells}) if kind == "xlsx" else XLSB.read_bytes())
    (batch,) = registry.read(path, ExcelFormat(name="excel", sheet="Sheet1"), declaration)
    checked = ContractChecker(declaration).check(batch)
    return checked.rows.to_pylist(), checked.rejects


@pytest.mark.parametrize("kind", ["xlsx", "xlsb"])
def test_codes_days_and_measures_come_as_they_are_meant(tmp_path: Path, kind: str) -> None:
    rows, rejects = read(tmp_path, FRUITS, kind=kind)

    assert rejects == []
    assert [[str(value) for value in row.values()] for row in rows] == [
        ["10043", "APPLE", "2025-01-31", "0.30000000000000004", "12"],
        ["00123", "None", "None", "2.0", "7"],
    ]


@pytest.mark.parametrize(
    ("place", "text", "column"),
    [
        (2, "next week", "picked"),
        (2, "20250131", "picked"),
        (3, "1,5", "weight"),
        (4, "1,200", "pieces"),
        (4, "12.5", "pieces"),
    ],
    ids=["a day in words", "a day in digits", "a decimal comma", "thousands", "half a piece"],
)
def test_a_cell_that_is_not_of_its_type_rejects_its_row_by_sheet_and_row(
    tmp_path: Path, place: int, text: str, column: str
) -> None:
    bad = [*FRUITS[1][:place], text, *FRUITS[1][place + 1 :]]

    rows, (reject,) = read(tmp_path, [*FRUITS, bad])

    assert len(rows) == 2
    assert (reject.where, reject.column) == ("sheet Sheet1, row 5", column)


@pytest.mark.fault("inexact-integer")
@pytest.mark.parametrize(
    "number", ["9007199254740993", "-9007199254740993", "18000000000000000000"]
)
def test_a_number_that_a_float_cannot_tell_from_its_neighbour_rejects_its_row(
    tmp_path: Path, number: str
) -> None:
    rows, (reject,) = read(tmp_path, [*FRUITS, ["1", "Pear", "2025-01-31", "1", number]])

    assert len(rows) == 2
    assert (reject.where, reject.column, reject.rule) == ("sheet Sheet1, row 5", "pieces", "type")
    assert "as a float below 2^53" in reject.expected


def test_rows_above_the_header_may_be_blank(tmp_path: Path) -> None:
    bad = ["1", "Pear", "never", "1", "1"]

    _, (reject,) = read(tmp_path, [[], [], *FRUITS, bad])

    assert reject.where == "sheet Sheet1, row 7"


def test_a_row_of_blank_cells_is_no_row(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, [*FRUITS, [" ", "", "\u00a0", " ", ""]])

    assert len(rows) == 2
    assert rejects == []


def test_a_missing_and_a_repeated_column_are_named_together(tmp_path: Path) -> None:
    cells = [["code", "name", "name", "picked", "weight"], ["1", "a", "b", "2025-01-31", "1"]]

    with pytest.raises(ContentError, match=r"Sheet1, row 1: .*a header with name, pieces once"):
        read(tmp_path, cells)


def test_a_sheet_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    path.write_bytes(xlsx({"Plan": FRUITS, "Notes": FRUITS}))
    form = ExcelFormat(name="excel", sheet="Sheet1")

    with pytest.raises(ContentError, match="a sheet named Sheet1, found Plan, Notes"):
        list(registry.read(path, form, HELD))


def test_a_column_nobody_declared_is_an_unknown_field(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    path.write_bytes(xlsx({"Sheet1": [[*row, "x"] for row in FRUITS]}))

    (batch,) = registry.read(path, ExcelFormat(name="excel", sheet="Sheet1"), HELD)

    assert batch.unknown_fields == {"x"}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 a password", "an old or encrypted Office file"),
        (b"code,name\n1,a\n", "expected zip, found text"),
    ],
    ids=["under a password", "a table of text"],
)
def test_what_is_no_workbook_is_told_by_what_it_is(tmp_path: Path, data: bytes, fault: str) -> None:
    (tmp_path / "raw").write_bytes(data)

    with pytest.raises(ContentError, match=fault):
        inspect_content(source(HELD, {"name": "excel", "sheet": "Sheet1"}), tmp_path / "raw")


def test_a_workbook_of_either_kind_is_found_to_be_one(tmp_path: Path) -> None:
    kinds = {}
    for kind in ("xlsx", "xlsb"):
        data = xlsx({"Sheet1": FRUITS}) if kind == "xlsx" else XLSB.read_bytes()
        (tmp_path / kind).write_bytes(data)
        content = inspect_content(
            source(HELD, {"name": "excel", "sheet": "Sheet1"}), tmp_path / kind
        )
        kinds[kind] = content.kind

    assert kinds == {"xlsx": "xlsx", "xlsb": "xlsb"}

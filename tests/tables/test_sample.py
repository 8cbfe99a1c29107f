"""The first records of a file as its declaration reads them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.table_declarations import column, contract, source

from etl_assets.model.records import Part
from etl_assets.tables.sample import SampleResult, read_sample

FRUIT = Part(source="orchard.fruits")
BEYOND_ALL_DISKS = 1 << 40


def read(path: Path, form: dict[str, Any], *, rows: int = 2, **rules: Any) -> SampleResult:
    declared = contract(
        "name", column("weight", "int64", minimum=1), column("picked", "date"), **rules
    )
    return read_sample(source(declared, form), FRUIT, path, rows=rows, shown=path.name)


def csv(folder: Path, *lines: str) -> Path:
    path = folder / "fruits.csv"
    path.write_text("\n".join(["name,weight,picked", *lines, ""]), encoding="utf-8")
    return path


def test_rows_are_typed_and_counted(tmp_path: Path) -> None:
    result = read(csv(tmp_path, "pear,12,2026-03-01", "quince,,", "apple,3,"), {"name": "csv"})

    assert [row.values for row in result.rows] == [
        {"name": "pear", "weight": 12, "picked": "2026-03-01"},
        {"name": "quince", "weight": None, "picked": None},
    ]
    assert (result.records, result.valid_rows, result.rejected) == (3, 3, 0)
    assert result.is_complete
    dumped = result.model_dump()
    assert (dumped["held"], dumped["refused"], dumped["is_whole"]) == (3, 0, True)


def test_rejects_are_shown_with_their_reason(tmp_path: Path) -> None:
    path = csv(tmp_path, "pear,heavy,", "quince,0,", "apple,3,", "plum,x,")

    result = read(path, {"name": "csv"}, rows=2)

    assert [(reject.where, reject.rule) for reject in result.rejects] == [
        ("line 2", "type"),
        ("line 3", "minimum"),
    ]
    assert (result.valid_rows, result.rejected) == (1, 3)
    expected = "a whole number of 64 bits, as a float below 2^53 (int64)"
    assert f"rejected: line 2, weight: expected {expected}" in str(result.lines())


def test_undeclared_fields_and_values_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "fruits.json"
    path.write_text('[{"name": "pear", "colour": "green"}]', encoding="utf-8")
    declared = contract(column("name", known_values=["apple"]), unknown_fields="evolve")

    result = read_sample(
        source(declared, {"name": "json_array"}), FRUIT, path, rows=1, shown="fruits.json"
    )

    assert result.unknown_fields == ["colour"]
    assert result.unknown_values == {"name": {"pear": 1}}
    assert "fields without a column: colour" in result.lines()


def test_a_file_of_another_format_is_a_fault_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "fruits.json"
    path.write_text("<html>please log in</html>", encoding="utf-8")

    result = read(path, {"name": "json"})

    assert result.rows == []
    assert result.fault
    assert result.lines()[-1].startswith("the rest of the file is unreadable: ")


@pytest.mark.parametrize(
    ("form", "record", "start"),
    [
        ("csv", "pear-{n},{n},2026-03-01\n", "name,weight,picked\n"),
        ("json_array", '{{"name": "pear-{n}", "weight": {n}}},\n', "[\n"),
    ],
    ids=["csv", "json_array"],
)
def test_of_a_huge_file_only_the_head_is_read(
    tmp_path: Path, form: str, record: str, start: str
) -> None:
    path = tmp_path / "fruits"
    path.write_text(start + "".join(record.format(n=n) for n in range(1, 40_001)), "utf-8")
    os.truncate(path, BEYOND_ALL_DISKS)  # a hole: it takes no room, and reading it all would hang

    result = read(path, {"name": form}, rows=1)

    assert result.rows[0].values["name"] == "pear-1"
    assert not result.is_complete
    assert result.records <= 40_000

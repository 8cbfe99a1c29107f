"""The first records of a file as its declaration reads them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.table_declarations import column, contract, source

from etl_assets.model.records import Part
from etl_assets.tables.sample import read_sample
from etl_assets.tables.sample_result import SampleResult

FRUIT = Part(source="orchard.fruits")
BEYOND_ALL_DISKS = 1 << 40


def read(path: Path, form: dict[str, Any], *, rows: int = 2, **rules: Any) -> SampleResult:
    held = contract("name", column("weight", "int64", minimum=1), column("picked", "date"), **rules)
    return read_sample(source(held, form), FRUIT, path, rows=rows, shown=path.name)


def csv(folder: Path, *lines: str) -> Path:
    path = folder / "fruits.csv"
    path.write_text("\n".join(["name,weight,picked", *lines, ""]), encoding="utf-8")
    return path


def test_rows_are_typed_and_counted(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "pear,12,2026-03-01", "quince,,", "apple,3,"), {"name": "csv"})

    assert [row.values for row in found.rows] == [
        {"name": "pear", "weight": 12, "picked": "2026-03-01"},
        {"name": "quince", "weight": None, "picked": None},
    ]
    assert (found.records, found.held, found.refused, found.is_whole) == (3, 3, 0, True)


def test_what_is_refused_is_shown_with_its_reason(tmp_path: Path) -> None:
    path = csv(tmp_path, "pear,heavy,", "quince,0,", "apple,3,", "plum,x,")

    found = read(path, {"name": "csv"}, rows=2)

    assert [(reject.where, reject.rule) for reject in found.rejects] == [
        ("line 2", "type"),
        ("line 3", "minimum"),
    ]
    assert (found.held, found.refused) == (1, 3)
    assert "refused: line 2, weight: expected a whole number of 64 bits (int64)" in str(
        found.lines()
    )


def test_fields_and_values_that_nobody_declared_are_told(tmp_path: Path) -> None:
    path = tmp_path / "fruits.json"
    path.write_text('[{"name": "pear", "colour": "green"}]', encoding="utf-8")
    held = contract(column("name", known_values=["apple"]), unknown_fields="evolve")

    found = read_sample(
        source(held, {"name": "json_array"}), FRUIT, path, rows=1, shown="fruits.json"
    )

    assert found.unknown_fields == ["colour"]
    assert found.unknown_values == {"name": {"pear": 1}}
    assert "fields that no column names: colour" in found.lines()


def test_a_file_of_another_format_is_a_fault_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "fruits.json"
    path.write_text("<html>please log in</html>", encoding="utf-8")

    found = read(path, {"name": "json"})

    assert found.rows == []
    assert found.fault
    assert found.lines()[-1].startswith("no more could be read: ")


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

    found = read(path, {"name": form}, rows=1)

    assert found.rows[0].values["name"] == "pear-1"
    assert not found.is_whole
    assert found.records <= 40_000

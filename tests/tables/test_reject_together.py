"""Rows that are one statement count whole or not at all (`reject_together`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.table_declarations import column, contract, source

from etl_assets.declarations.contract import Contract
from etl_assets.model.errors import ContentError
from etl_assets.model.home import Home
from etl_assets.model.records import Part, Table
from etl_assets.tables.tabulate import tabulate

pytestmark = pytest.mark.fault("half-statement")

COLUMNS = [
    column("tree", required=True),
    column("year", required=True, pattern=r"\d{4}"),
    column("branch", required=True, case="lower", pattern=r"\S+"),
    column("fruits", "int64"),
]
KEY = ["tree", "year", "branch"]
HARVEST = contract(*COLUMNS, key=KEY, reject_together=["tree", "year"], max_rejected_pct=20)
MAP = {"name": "json", "rows": "{tree}.{year}.branches.{branch}"}
CSV = {"name": "csv"}
GOOD = '"2024": {"branches": {"low": {"fruits": 1}, "top": {"fruits": 2}}}'


def tabulated(
    home: Home, tmp_path: Path, data: str, form: dict[str, Any], declared: Contract, **limits: Any
) -> Table:
    raw = tmp_path / "raw"
    raw.write_text(data, encoding="utf-8")
    fields = {"limits": limits} if limits else {}
    part = Part(source="orchard.fruits")
    return tabulate(home, source(declared, form, **fields), part, raw, "a" * 64, code_version="1")


def statements(home: Home, table: Table) -> dict[tuple[str, str], int]:
    """The number of rows of each statement that counts."""
    counts = dict[tuple[str, str], int]()
    for row in pq.read_table(home.root / table.path).to_pylist():
        group = row["tree"], row["year"]
        counts[group] = counts.get(group, 0) + 1
    return counts


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param('"low": {"fruits": 1, "fruits": 2}', id="field twice"),
        pytest.param('"low": {"x": 1, "x": 2}', id="field without a column twice"),
        pytest.param('"low": {"fruits": 1}, "low": {"fruits": 2}', id="branch twice"),
        pytest.param('"low": {"fruits": 1}, "LOW": {"fruits": 2}', id="branch in two cases"),
        pytest.param('"low": {"fruits": 1}, " low\\u200b": {}', id="branch with blanks"),
        pytest.param('"": {"fruits": 1}', id="branch without a name"),
        pytest.param('" \\t": {"fruits": 1}', id="branch of blanks"),
        pytest.param('"low": {"fruits": 1.5}', id="invalid value"),
        pytest.param('"low": []', id="no object"),
        pytest.param('"low": {}}, "branches": {"low": {}', id="list of branches twice"),
    ],
)
@pytest.mark.parametrize("limit", [1 << 20, 900], ids=["small document", "large document"])
def test_a_faulty_entry_takes_out_its_whole_statement(
    home: Home, tmp_path: Path, odd: str, limit: int
) -> None:
    oak = f'"2024": {{"branches": {{"top": {{"fruits": 9}}, {odd}}}}}, {GOOD.replace("2024", "25")}'
    oak = oak.replace('"25"', '"2025"')
    others = ", ".join(f'"elm{n}": {{{GOOD}}}' for n in range(20))
    data = f'{{"oak": {{{oak}}}, {others}}}'

    table = tabulated(home, tmp_path, data, MAP, HARVEST, max_record_bytes=limit)

    found = statements(home, table)
    assert ("oak", "2024") not in found
    assert found == {("oak", "2025"): 2} | {(f"elm{n}", "2024"): 2 for n in range(20)}
    assert table.records == table.rows + table.rejected
    assert table.rejects_by_rule.get("reject_together", 0) == table.rejected - 1


@pytest.mark.parametrize("order", [1, -1], ids=["first half first", "second half first"])
def test_a_statement_in_two_places_is_one(home: Home, tmp_path: Path, order: int) -> None:
    """An object may have a key twice: the rows of both entries are rejected together."""
    halves = ['"oak": {"2024": {"branches": {"low": {"fruits": 1, "fruits": 2}}}}']
    halves.append(f'"oak": {{{GOOD}}}')
    others = [f'"elm{n}": {{{GOOD}}}' for n in range(20)]

    table = tabulated(home, tmp_path, f"{{{', '.join(halves[::order] + others)}}}", MAP, HARVEST)

    assert statements(home, table) == {(f"elm{n}", "2024"): 2 for n in range(20)}


@pytest.mark.parametrize(
    ("odd", "rejected"),
    [
        pytest.param("oak,2024,low,many\n", 2, id="invalid value"),
        pytest.param("oak,2024,top,7\n", 2, id="key twice"),
        pytest.param("oak,2024, ,7\n", 2, id="missing value"),
        pytest.param("oak,24,low,7\n", 1, id="another statement"),
    ],
)
def test_rows_of_a_table_are_rejected_together_too(
    home: Home, tmp_path: Path, odd: str, rejected: int
) -> None:
    others = "".join(f"elm{n},2024,top,1\n" for n in range(20))
    data = f"tree,year,branch,fruits\noak,2024,top,9\n{others}{odd}"

    table = tabulated(home, tmp_path, data, CSV, HARVEST)

    assert (("oak", "2024") in statements(home, table)) == (rejected == 1)
    assert table.rejected == rejected


def test_a_list_of_records_is_rejected_together_too(home: Home, tmp_path: Path) -> None:
    declared = HARVEST.model_copy(update={"reject_together": ["tree"]})
    records = [{"tree": f"elm{n}", "year": "2024", "branch": "top", "fruits": 1} for n in range(20)]
    odd = '{"tree": "oak", "year": "2024", "branch": "low", "fruits": 1, "fruits": 2}'
    records.append({"tree": "oak", "year": "2023", "branch": "top", "fruits": 1})

    table = tabulated(
        home, tmp_path, f"[{odd}, {json.dumps(records)[1:]}", {"name": "json_array"}, declared
    )

    assert ("oak", "2023") not in statements(home, table)
    assert table.rejected == 2


def test_rows_without_a_fault_are_no_reason_to_refuse_the_file(home: Home, tmp_path: Path) -> None:
    """One faulty row of 13 is below the limit of 20 %, the statement of 10 rows is above it."""
    oak = "".join(f"oak,2024,b{n},1\n" for n in range(9))
    data = f"tree,year,branch,fruits\n{oak}oak,2024,low,many\nelm,2024,top,1\nelm,2024,low,1\n"

    table = tabulated(home, tmp_path, f"{data}elm,2024,mid,1\n", CSV, HARVEST)

    assert (table.rows, table.rejected) == (3, 10)


def test_a_file_without_any_whole_statement_is_refused(home: Home, tmp_path: Path) -> None:
    data = "tree,year,branch,fruits\noak,2024,top,1\noak,2024,low,many\n"

    with pytest.raises(ContentError, match="and not all"):
        tabulated(home, tmp_path, data, CSV, HARVEST)

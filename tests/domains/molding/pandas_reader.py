"""Reads the factory's workbooks by pandas, openpyxl and pyxlsb, as a reference for tests.

A script for an environment with these packages. Its arguments are the factory's schema of its
tables and the folder of its workbooks. It prints all tables as JSON, with days as ISO dates.
"""

from __future__ import annotations

import json
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

NULL_TEXTS = {"", "nan", "null", "none", "n/a", "na", "nat"}


def rows_of(folder: Path, table: dict[str, Any]) -> list[dict[str, Any]]:
    path = folder / Path(table["path"].partition("mock_database/")[2])
    files = [path]
    if "name_start" in table:
        files = sorted(path.glob(f"{table['name_start']}*{table.get('extension')}"))
    rows = []
    for file in files:
        rows += read_sheet(file, table)
    return rows


def read_sheet(file: Path, table: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of the table's sheet with the factory's names and types."""
    frame = pd.read_excel(
        file,
        sheet_name=table.get("sheet_name", 0),
        engine="pyxlsb" if file.suffix == ".xlsb" else "openpyxl",
        dtype=object,
        keep_default_na=False,
    )
    frame = frame.rename(columns=lambda name: name.replace("Resine", "Resin"))
    columns = []
    for name, kind in table["dtypes"].items():
        columns.append([value(cell, kind) for cell in frame[name]])
    return [dict(zip(table["dtypes"], row, strict=True)) for row in zip(*columns, strict=True)]


def value(cell: Any, kind: str) -> Any:
    if cell is None or pd.isna(cell) or str(cell).strip().lower() in NULL_TEXTS:
        return None
    if kind == "datetime64[ns]":
        is_serial = isinstance(cell, int | float)
        day = pd.Timestamp("1899-12-30") + timedelta(days=cell) if is_serial else pd.Timestamp(cell)
        return day.date().isoformat()
    if kind == "Int64":
        return int(cell)
    if kind == "Float64":
        return float(cell)
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


warnings.simplefilter("ignore")
schema = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
tables = schema["dynamicDB"] | schema["staticDB"]
json.dump({name: rows_of(Path(sys.argv[2]), table) for name, table in tables.items()}, sys.stdout)

"""Reads workbooks plainly, with pandas, openpyxl and pyxlsb, in an environment that has them.

Arguments: the factory's schema of its tables and the folder of its workbooks. Prints the rows of
every table as one JSON object; a day is its ISO date.
"""

from __future__ import annotations

import json
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

NOTHING = {"", "nan", "null", "none", "n/a", "na", "nat"}


def rows_of(folder: Path, table: dict[str, Any]) -> list[dict[str, Any]]:
    place = folder / Path(table["path"].partition("mock_database/")[2])
    named = f"{table.get('name_start')}*{table.get('extension')}"
    files = sorted(place.glob(named)) if "name_start" in table else [place]
    return [row for file in files for row in read_plainly(file, table)]


def read_plainly(file: Path, table: dict[str, Any]) -> list[dict[str, Any]]:
    """A workbook's sheet with the factory's own names and types."""
    frame = pd.read_excel(
        file,
        sheet_name=table.get("sheet_name", 0),
        engine="pyxlsb" if file.suffix == ".xlsb" else "openpyxl",
        dtype=object,
        keep_default_na=False,
    )
    frame = frame.rename(columns=lambda name: name.replace("Resine", "Resin"))
    columns = [
        [value(cell, kind) for cell in frame[name]] for name, kind in table["dtypes"].items()
    ]
    return [dict(zip(table["dtypes"], row, strict=True)) for row in zip(*columns, strict=True)]


def value(cell: Any, kind: str) -> Any:
    if cell is None or pd.isna(cell) or str(cell).strip().lower() in NOTHING:
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
found = {name: rows_of(Path(sys.argv[2]), table) for name, table in tables.items()}
json.dump(found, sys.stdout)

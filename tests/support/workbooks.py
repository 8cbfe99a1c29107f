"""Writes small workbooks from tables of text, and reads them back.

It writes xlsx only, as no library writes xlsb: the tests of that format read the committed file
`tests/tables/readers/fruits.xlsb` and the samples.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import fastexcel
import pyarrow as pa
from openpyxl import Workbook

Cells = Sequence[Sequence[str]]

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def xlsx(sheets: Mapping[str, Cells]) -> bytes:
    """A workbook in which ISO dates are dates, numbers are numbers, and `'123` is a text."""
    book = Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row_number, row in enumerate(rows, start=1):
            for column_number, text in enumerate(row, start=1):
                if not text:
                    continue
                cell = sheet.cell(row_number, column_number)
                if DATE.fullmatch(text):
                    cell.value = date.fromisoformat(text)
                elif NUMBER.fullmatch(text):
                    cell.value = float(text)
                    cell._value = text  # openpyxl writes 16 digits, a float64 may need 17
                else:
                    cell.value = text.removeprefix("'")
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def read_cells(file: Path, sheet: str) -> list[list[str]]:
    """The cells of a sheet as text, in xlsx or xlsb."""
    cells = fastexcel.read_excel(file).load_sheet(
        sheet, header_row=None, skip_rows=0, dtypes="string"
    )
    columns = pa.record_batch(cells).to_pydict().values()
    return [
        [(text or "").removesuffix(" 00:00:00") for text in row]
        for row in zip(*columns, strict=True)
    ]

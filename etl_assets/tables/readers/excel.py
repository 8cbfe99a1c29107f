"""One sheet of an Excel workbook, xlsx (ISO 29500) or xlsb ([MS-XLSB]), a record per row.

Rows without any value are no records. Whether the file is a workbook at all is checked by
`etl_assets.validate`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from functools import reduce
from pathlib import Path
from typing import Literal

import fastexcel
import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import ExcelFormat
from etl_assets.model.errors import ContentError
from etl_assets.tables.readers.batch import Batch, row_json

# Excel counts days from 1899-12-30, and 1900 as a leap year: a serial number below 61, the first
# of March 1900, is one day off.
EPOCH = date(1899, 12, 30)
FIRST_SERIAL, LAST_SERIAL = 61, 2_958_465  # the last is 9999-12-31
SERIAL = re.compile(r"[0-9]{2,7}(\.[0-9]+)?")
NUMBER = r"^[+-]?[0-9.]+([eE][+-]?[0-9]+)?$"
MIDNIGHT = r"[ T]00:00:00(\.0+)?$"
DATE_TYPES = frozenset({"date", "timestamp"})

CellType = Literal["string", "float"]


def read(path: Path, form: ExcelFormat, contract: Contract) -> Iterator[Batch]:
    """The declared columns of the sheet in one batch; its header is the first row with a value.

    Every cell is read as text, so that a code keeps its digits and zeros; the contract casts it.
    The value of a formula is its last result. Raises ContentError if the sheet, or a declared
    column in its header, does not exist.
    """
    types = {column.name: column.type for column in contract.columns}
    texts, numbers = _read_cells(path, form, has_numbers="float64" in types.values())
    rows = _rows_with_values(texts)
    header = [(column[rows[0]].as_py() or "").strip() for column in texts] if rows else []
    origins = {column.name: column.origin or column.name for column in contract.columns}
    if unfit := [name for name in origins.values() if header.count(name) != 1]:
        where = f"sheet {form.sheet}"
        if rows:
            where += f", row {rows[0] + 1}"
        expected = f"a header with {', '.join(unfit)} once each"
        raise ContentError.of(where, expected, row_json(header)[:400])

    records = pa.array(rows[1:], pa.int64())
    columns = {}
    for name, origin in origins.items():
        cells = numbers if types[name] == "float64" else texts
        values = cells[header.index(origin)].take(records)
        columns[name] = _format_dates(values) if types[name] in DATE_TYPES else values
    yield Batch(
        columns=columns,
        ordinals=range(1, len(rows)),
        records=len(rows) - 1,
        unknown_fields=frozenset(header) - {"", *origins.values()},
        lines=[row + 1 for row in rows[1:]],
        line_label=f"sheet {form.sheet}, row",
    )


def _read_cells(
    path: Path, form: ExcelFormat, *, has_numbers: bool
) -> tuple[list[pa.Array], list[pa.Array]]:
    """The columns of the sheet from its first row on: as texts, and with numbers in full.

    A number as text is rounded as Excel shows it, which is right for a code and not for a
    measurement. So the sheet is read a second time, as numbers, if the contract has any.
    """
    try:
        book = fastexcel.read_excel(path)
        texts = _load_sheet(book, form, "string")
        numbers = _load_sheet(book, form, "float") if has_numbers else texts
    except fastexcel.SheetNotFoundError as error:
        sheets = ", ".join(book.sheet_names)
        raise ContentError.of("sheets", f"a sheet named {form.sheet}", sheets) from error
    except fastexcel.FastExcelError as error:
        message = " ".join(str(error).split())[:400]
        raise ContentError.of("", "a workbook that can be read", message) from error
    return texts, list(map(_replace_numbers, texts, numbers))


def _load_sheet(
    book: fastexcel.ExcelReader, form: ExcelFormat, cell_type: CellType
) -> list[pa.Array]:
    # By default fastexcel takes the first row for a header and skips empty rows before it, and the
    # row numbers in messages would be wrong.
    sheet = book.load_sheet(form.sheet, header_row=None, skip_rows=0, dtypes=cell_type)
    return [column.cast(pa.string()) for column in pa.record_batch(sheet).columns]


def _replace_numbers(texts: pa.Array, numbers: pa.Array) -> pa.Array:
    """The texts, with those that are numbers in full."""
    is_number = pc.fill_null(pc.match_substring_regex(texts, NUMBER), fill_value=False)
    return pc.if_else(is_number, pc.coalesce(numbers, texts), texts)


def _rows_with_values(cells: list[pa.Array]) -> list[int]:
    if not cells:
        return []
    has_value = [
        pc.not_equal(pc.utf8_trim_whitespace(pc.coalesce(column, pa.scalar(""))), "")
        for column in cells
    ]
    rows: list[int] = pc.indices_nonzero(reduce(pc.or_, has_value)).to_pylist()
    return rows


def _format_dates(texts: pa.Array) -> pa.Array:
    """Texts with serial numbers as dates, and times at midnight as their date."""
    dates = pc.replace_substring_regex(texts, MIDNIGHT, "")
    if not pc.any(pc.match_substring_regex(dates, f"^{SERIAL.pattern}$")).as_py():
        return dates
    # A column of dates repeats few of them.
    formatted = {text: _serial_to_date(text) for text in dates.unique().to_pylist() if text}
    return pa.array([formatted.get(text, text) for text in dates.to_pylist()], pa.string())


def _serial_to_date(text: str) -> str:
    """The date, and time if any, of a serial number; any other text as it is."""
    if not SERIAL.fullmatch(text) or not FIRST_SERIAL <= float(text) <= LAST_SERIAL:
        return text
    moment = timedelta(days=float(text))
    day = (EPOCH + timedelta(days=moment.days)).isoformat()
    clock = timedelta(seconds=moment.seconds)
    return f"{day} {clock!s:0>8}" if clock else day

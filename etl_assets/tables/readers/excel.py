"""One sheet of an Excel workbook, xlsx (ISO 29500) or xlsb ([MS-XLSB]), a record per row.

Rows without any value are no records. A cell with an error, or with a formula that was saved
without its value, is not empty: it is a fault of its row in a declared column, and ignored in
another one. Whether the file is a workbook at all is checked by `etl_assets.validate`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import reduce
from pathlib import Path
from typing import Literal, TypeAlias

import fastexcel
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.declarations.contract import Column, Contract
from etl_assets.declarations.formats import ExcelFormat
from etl_assets.model.display_text import list_some
from etl_assets.model.errors import ContentError
from etl_assets.tables.readers import opc
from etl_assets.tables.readers.batch import (
    BLANKS,
    VALUE_CHARACTERS,
    Batch,
    find_in_header,
    row_json,
)
from etl_assets.tables.readers.spreadsheetml import NO_VALUE, Area, Cell, SheetFacts

# Excel counts days from 1899-12-30, and 1900 as a leap year: a serial number below 61, the first
# of March 1900, is one day off. The other date system counts from 1904-01-01 (ISO 29500-1,
# 18.17.4.1).
EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - a workbook knows no zone
DAY_MILLISECONDS = 86_400_000
DAYS_TO_1904 = 1462
FIRST_SERIAL, LAST_SERIAL = 61, 2_958_465  # the last is 9999-12-31
SERIAL = re.compile(r"[0-9]{1,7}(\.[0-9]+)?")
NUMBER = r"^[+-]?[0-9.]+([eE][+-]?[0-9]+)?$"
MIDNIGHT = r"[ T]00:00:00(\.0+)?$"
DATE_OUT_OF_RANGE = re.compile(r"got 'DateTime\(ExcelDateTime \{ value: ([^,]+)")
HEADER_CHARACTERS = 400  # of a header in a message
SHOWN_FAULTS = 5
MAX_COLUMNS = 16_384  # in Excel
MAX_CELLS = 1 << 26  # 2 GB; `spreadsheetml` and `biff12` measure no sheet that surely has fewer
DATE_TYPES = frozenset({"date", "timestamp"})

PANIC = "PanicException"  # its class cannot be imported

CellType = Literal["string", "float"]
Columns: TypeAlias = dict[int, pa.Array]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The cells of a sheet by column, each from the first row on, and what else the sheet says.

    `filled_rows` are those with a text that is not blank. The first one is the header; it is -1 if
    there is none. Rows and columns count from 0.
    """

    name: str
    texts: Columns
    numbers: Columns
    faults: Mapping[Cell, str]
    facts: SheetFacts
    is_1904: bool
    filled_rows: Integers
    header_row: int

    def header_texts(self) -> dict[int, str]:
        if self.header_row < 0:
            return {}
        cells = {place: column[self.header_row].as_py() for place, column in self.texts.items()}
        return {place: (text or "").strip(BLANKS) for place, text in cells.items()}

    def header_faults(self) -> dict[int, str]:
        return {c.column: fault for c, fault in self.faults.items() if c.row == self.header_row}


@dataclass(frozen=True, slots=True)
class _Field:
    """The values of a declared column, one for each record, and its faults by record, from 0."""

    values: pa.Array
    faults: Mapping[int, str]


def read(path: Path, form: ExcelFormat, contract: Contract) -> Iterator[Batch]:
    """The declared columns of the sheet in one batch; its header is the first row with a value.

    Every cell is read as text, so that a code keeps its digits and zeros; the contract casts it.
    The value of a formula is its last result. Raises ContentError if the sheet, or a declared
    column in its header, does not exist.
    """
    has_numbers = any(column.type == "float64" for column in contract.columns)
    sheet = _read_sheet(path, form, has_numbers=has_numbers)
    places = _find_columns(sheet, contract)
    faults = _find_faults(sheet, frozenset(places.values()))
    rows = _record_rows(sheet, faults)
    fields = {
        column.name: _read_field(sheet, column, places[column.name], rows, faults)
        for column in contract.columns
        if column.name in places
    }
    header = {*sheet.header_texts().values(), *sheet.header_faults().values()}
    yield Batch(
        columns={name: field.values for name, field in fields.items()},
        ordinals=range(1, len(rows) + 1),
        records=len(rows),
        unknown_fields=frozenset(header)
        - {"", *(sheet.header_texts()[place] for place in places.values())},
        lines=(rows + 1).tolist(),
        line_label=f"sheet {form.sheet}, row",
        faults={name: field.faults for name, field in fields.items() if field.faults},
        numbers_are_floats=True,
    )


def _read_sheet(path: Path, form: ExcelFormat, *, has_numbers: bool) -> _Sheet:
    sheet = opc.read_sheet(path, form.sheet)
    _require_size(form.sheet, sheet.facts)
    try:
        texts, numbers, faults = _read_cells(path, form, sheet, has_numbers=has_numbers)
    except BaseException as error:
        # A panic of fastexcel, as for a date before all calendars, is no Exception in Python.
        if not isinstance(error, fastexcel.FastExcelError) and type(error).__name__ != PANIC:
            raise
        message = " ".join(str(error).split())[:400]
        raise ContentError.of("", "a workbook that can be read", message) from error
    filled_rows = _rows_with_values(texts.values())
    return _Sheet(
        name=form.sheet,
        texts=texts,
        numbers=numbers,
        faults={**faults, **sheet.facts.faults},
        facts=sheet.facts,
        is_1904=sheet.is_1904,
        filled_rows=filled_rows,
        header_row=int(filled_rows[0]) if len(filled_rows) else -1,
    )


def _require_size(name: str, facts: SheetFacts) -> None:
    """Raise ContentError if fastexcel would need too much memory, which ends the process.

    It allocates all cells up to the last row and column: 512 GB for one value in the last cell.
    """
    rows, columns = facts.last_row + 1, facts.last_column + 1
    if columns > MAX_COLUMNS or rows * columns > MAX_CELLS:
        expected = f"at most {MAX_COLUMNS:,} columns and {MAX_CELLS:,} cells up to the last value"
        raise ContentError.of(f"sheet {name}", expected, f"{rows:,} rows, {columns:,} columns")


def _read_cells(
    path: Path, form: ExcelFormat, sheet: opc.Sheet, *, has_numbers: bool
) -> tuple[Columns, Columns, dict[Cell, str]]:
    """The columns of the sheet as texts, and with numbers in full, and the cells without a text.

    fastexcel refuses a workbook with an error of a name that it does not know, such as
    #GETTING_DATA. Such a workbook is read without its errors.
    """
    try:
        return _load_cells(path, form, has_numbers=has_numbers)
    except fastexcel.FastExcelError:
        if not sheet.facts.error_values:
            raise
        copy = opc.without_error_values(path, sheet)
        return _load_cells(copy, form, has_numbers=has_numbers)


def _load_cells(
    book: Path | bytes, form: ExcelFormat, *, has_numbers: bool
) -> tuple[Columns, Columns, dict[Cell, str]]:
    """A number as text is rounded as Excel shows it.

    That is right for a code and not for a measurement. So the sheet is read a second time, as
    numbers, if the contract has any.
    """
    reader = fastexcel.read_excel(book)
    sheet = _load_sheet(reader, form, "string")
    places = [column.absolute_index for column in sheet.selected_columns]
    cells, errors = sheet.to_arrow_with_errors()
    texts = _columns_by_place(cells, places)
    faults = {}
    for error in errors.errors if errors else ():
        row, column = error.position
        faults[Cell(row, places[column])] = _describe_fault(error.detail)
    if not has_numbers:
        return texts, texts, faults
    numbers = _columns_by_place(pa.record_batch(_load_sheet(reader, form, "float")), places)
    full = {place: _replace_numbers(column, numbers[place]) for place, column in texts.items()}
    return texts, full, faults


def _load_sheet(
    book: fastexcel.ExcelReader, form: ExcelFormat, cell_type: CellType
) -> fastexcel.ExcelSheet:
    # By default fastexcel takes the first row for a header and skips empty rows before it, and the
    # row numbers in messages would be wrong. It always skips empty columns on the left.
    return book.load_sheet(form.sheet, header_row=None, skip_rows=0, dtypes=cell_type)


def _columns_by_place(cells: pa.RecordBatch, places: list[int]) -> Columns:
    columns = [column.cast(pa.string()) for column in cells.columns]
    return dict(zip(places, columns, strict=True))


def _describe_fault(detail: str) -> str:
    """What a cell has, from the message of fastexcel: a date out of range, if not an error."""
    number = DATE_OUT_OF_RANGE.search(detail)
    return f"the number {number[1]} as a date" if number else detail[:VALUE_CHARACTERS]


def _replace_numbers(texts: pa.Array, numbers: pa.Array) -> pa.Array:
    """The texts, with those that are numbers in full."""
    is_number = pc.fill_null(pc.match_substring_regex(texts, NUMBER), fill_value=False)
    return pc.if_else(is_number, pc.coalesce(numbers, texts), texts)


def _rows_with_values(columns: Collection[pa.Array]) -> Integers:
    if not columns:
        return np.empty(0, np.int64)
    has_value = [
        pc.not_equal(pc.utf8_trim_whitespace(pc.coalesce(column, pa.scalar(""))), "")
        for column in columns
    ]
    return np.flatnonzero(reduce(pc.or_, has_value).to_numpy(zero_copy_only=False))


def _find_columns(sheet: _Sheet, contract: Contract) -> dict[str, int]:
    """The place of each declared column. Raises ContentError unless the header has each once."""
    header = sheet.header_texts()
    positions, unfit = find_in_header(contract, [*header.values()])
    if unfit:
        where = f"sheet {sheet.name}"
        if sheet.header_row >= 0:
            where += f", row {sheet.header_row + 1}"
        expected = f"a header with {', '.join(unfit)} once each"
        raise ContentError.of(where, expected, _describe_header(sheet))
    places = [*header]
    return {name: places[position] for name, position in positions.items()}


def _describe_header(sheet: _Sheet) -> str:
    """The cells of the header, and the faults above it, where another header may have been."""
    cells = sorted({**sheet.header_texts(), **sheet.header_faults()}.items())
    text = row_json([text for _, text in cells])[:HEADER_CHARACTERS]
    faults = sorted(sheet.faults.items())
    above = [fault for cell, fault in faults if cell.row < sheet.header_row or sheet.header_row < 0]
    if above:
        text += f", and above it {list_some(above, most=SHOWN_FAULTS)}"
    return text


def _find_faults(sheet: _Sheet, places: frozenset[int]) -> dict[Cell, str]:
    """The faults below the header in these columns."""
    faults = {
        cell: fault
        for cell, fault in sheet.faults.items()
        if cell.column in places and cell.row > sheet.header_row
    }
    # Of an array formula only the first cell has the formula.
    for place in sorted(places) if sheet.facts.array_formulas else ():
        areas = [a for a in sheet.facts.array_formulas if a.first_column <= place <= a.last_column]
        empty_rows = np.flatnonzero(sheet.texts[place].is_null())
        for row in empty_rows[_first_rows(empty_rows, areas) > sheet.header_row].tolist():
            faults.setdefault(Cell(row, place), NO_VALUE)
    return faults


def _record_rows(sheet: _Sheet, faults: Mapping[Cell, str]) -> Integers:
    """The rows below the header with a value or a fault."""
    rows = sheet.filled_rows[1:]
    if faults:
        return np.union1d(rows, np.array([cell.row for cell in faults], np.int64))
    return rows


def _read_field(
    sheet: _Sheet, column: Column, place: int, rows: Integers, faults: Mapping[Cell, str]
) -> _Field:
    """A declared column in the rows of the records."""
    if column.merged == "fill":
        # The first cell of a merged area has its value. One that begins in the header is a name.
        areas = [
            area
            for area in sheet.facts.merged_areas
            if area.first_column == place and area.first_row > sheet.header_row
        ]
        first_rows = _first_rows(rows, areas)
        rows = np.where(first_rows < 0, rows, first_rows)
    cells = (sheet.numbers if column.type == "float64" else sheet.texts)[place]
    # The last rows may have faults and no values.
    values = cells.take(pa.array(rows, mask=rows >= len(cells)))
    if column.type in DATE_TYPES:
        values = _format_dates(values, is_1904=sheet.is_1904)
    faults_by_row = {cell.row: fault for cell, fault in faults.items() if cell.column == place}
    records = np.flatnonzero(np.isin(rows, list(faults_by_row))).tolist()
    return _Field(values, {record: faults_by_row[rows[record]] for record in records})


def _first_rows(rows: Integers, areas: list[Area]) -> Integers:
    """The first row of the area around each row, or -1 if there is none."""
    if not areas:
        return np.full(len(rows), -1)
    first, last = np.array([(area.first_row, area.last_row) for area in sorted(areas)]).T
    nearest = np.searchsorted(first, rows, side="right") - 1  # the last one that begins before
    return np.where((nearest >= 0) & (rows <= last[nearest]), first[nearest], -1)


def _format_dates(texts: pa.Array, *, is_1904: bool) -> pa.Array:
    """Texts with serial numbers as dates, and times at midnight as their date."""
    dates = pc.replace_substring_regex(texts, MIDNIGHT, "")
    if not pc.any(pc.match_substring_regex(dates, f"^{SERIAL.pattern}$")).as_py():
        return dates
    # A column of dates repeats few of them.
    formatted = {
        text: _serial_to_date(text, is_1904=is_1904) for text in dates.unique().to_pylist() if text
    }
    return pa.array([formatted.get(text, text) for text in dates.to_pylist()], pa.string())


def _serial_to_date(text: str, *, is_1904: bool) -> str:
    """The date, and time if any, of a serial number; any other text as it is."""
    if not SERIAL.fullmatch(text):
        return text
    days = float(text) + (DAYS_TO_1904 if is_1904 else 0)
    if not FIRST_SERIAL <= days <= LAST_SERIAL:
        return text
    # As in Excel, a time is exact to the millisecond.
    moment = EPOCH + timedelta(milliseconds=round(days * DAY_MILLISECONDS))
    if moment.time() == time.min:
        return moment.date().isoformat()
    return moment.isoformat(" ", "milliseconds" if moment.microsecond else "seconds")

"""One sheet of an Excel workbook, xlsx (ISO 29500) or xlsb ([MS-XLSB]), one row per row below it.

Every cell is read as text, so that a code stays what it says and the contract casts or rejects it;
a formula is its last value. Rows without any value are no records. Whether the file is a workbook
at all is `etl_assets.validate.validate`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import fastexcel
import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import ExcelFormat
from etl_assets.model.errors import ContentError
from etl_assets.tables.readers.batch import Batch, row_json

EPOCH = date(1899, 12, 30)
# Excel takes 1900 for a leap year: below this a serial is a day more than it says.
FIRST_SERIAL, LAST_SERIAL = 61, 2_958_465
SERIAL = re.compile(r"[0-9]{2,7}(\.[0-9]+)?")
NUMBER = r"^[+-]?[0-9.]+([eE][+-]?[0-9]+)?$"
DType = Literal["string", "float"]
MIDNIGHT = r"[ T]00:00:00(\.0+)?$"
DATED = frozenset({"date", "timestamp"})


def read(path: Path, form: ExcelFormat, contract: Contract) -> Iterator[Batch]:
    """The declared columns of the sheet in one batch; its header is the first row that has cells.

    Raises ContentError where the sheet, or a declared column in its header, is not there.
    """
    cells, measured = _cells(path, form, _measures(contract))
    rows = _filled(cells)
    header = [_named(column[rows[0]]) for column in cells] if rows else []
    wanted = {column.name: column.origin or column.name for column in contract.columns}
    if unfit := [name for name in wanted.values() if header.count(name) != 1]:
        where = f"sheet {form.sheet}, row {rows[0] + 1}" if rows else f"sheet {form.sheet}"
        expected = f"a header with {', '.join(unfit)} once each"
        raise ContentError.of(where, expected, row_json(header)[:400])
    chosen = pa.array(rows[1:], pa.int64())
    dated = {column.name for column in contract.columns if column.type in DATED}
    columns = {
        name: _days(values) if name in dated else values
        for name, origin in wanted.items()
        for read in [measured if name in _measures(contract) else cells]
        for values in [read[header.index(origin)].take(chosen)]
    }
    yield Batch(
        columns=columns,
        ordinals=range(1, len(rows)),
        records=len(rows) - 1,
        unknown_fields=frozenset(header) - {"", *wanted.values()},
        lines=[row + 1 for row in rows[1:]],
        line_word=f"sheet {form.sheet}, row",
    )


def _measures(contract: Contract) -> frozenset[str]:
    return frozenset(column.name for column in contract.columns if column.type == "float64")


def _cells(
    path: Path, form: ExcelFormat, measures: frozenset[str]
) -> tuple[list[pa.Array], list[pa.Array]]:
    """The sheet's columns as texts, from its first row on, and again for measures.

    As a text a number is rounded as Excel shows it, which is right for a code. A measure keeps
    every digit, so its column is read as numbers as well.
    """
    try:
        book = fastexcel.read_excel(path)
        texts = _loaded(book, form, "string")
        numbers = _loaded(book, form, "float") if measures else texts
    except fastexcel.SheetNotFoundError as error:
        found = ", ".join(book.sheet_names)
        raise ContentError.of("sheets", f"a sheet named {form.sheet}", found) from error
    except fastexcel.FastExcelError as error:
        raise ContentError.of("", "a workbook that can be read", _in_short(error)) from error
    return texts, [_exact(text, number) for text, number in zip(texts, numbers, strict=True)]


def _loaded(book: fastexcel.ExcelReader, form: ExcelFormat, kind: DType) -> list[pa.Array]:
    sheet = book.load_sheet(form.sheet, header_row=None, skip_rows=0, dtypes=kind)
    return [column.cast(pa.string()) for column in pa.record_batch(sheet).columns]


def _exact(texts: pa.Array, numbers: pa.Array) -> pa.Array:
    """The number where the text is one; what is no number stays as it is, to be judged."""
    is_number = pc.fill_null(pc.match_substring_regex(texts, NUMBER), fill_value=False)
    return pc.if_else(is_number, pc.coalesce(numbers, texts), texts)


def _filled(cells: list[pa.Array]) -> list[int]:
    """The rows that hold anything."""
    found = None
    for column in cells:
        has = pc.and_(pc.is_valid(column), pc.not_equal(pc.coalesce(column, pa.scalar("")), ""))
        found = has if found is None else pc.or_(found, has)
    rows: list[int] = [] if found is None else pc.indices_nonzero(found).to_pylist()
    return rows


def _named(cell: pa.StringScalar) -> str:
    return (cell.as_py() or "").strip()


def _days(texts: pa.Array) -> pa.Array:
    """Dates as texts: a serial number counts days, and a time at midnight is its day."""
    plain = pc.replace_substring_regex(texts, MIDNIGHT, "")
    if not pc.any(pc.match_substring_regex(plain, f"^{SERIAL.pattern}$")).as_py():
        return plain
    told = {text: _day(text) for text in plain.unique().to_pylist() if text is not None}
    return pa.array([told.get(text) for text in plain.to_pylist()], pa.string())


def _day(text: str) -> str:
    """The day that a serial counts to; any other text as it is, for the contract to judge."""
    if not SERIAL.fullmatch(text) or not FIRST_SERIAL <= float(text) <= LAST_SERIAL:
        return text
    moment = timedelta(days=float(text))
    day = (EPOCH + timedelta(days=moment.days)).isoformat()
    clock = timedelta(seconds=moment.seconds)
    return f"{day} {clock!s:0>8}" if clock else day


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:400]

"""Writes small workbooks from tables, as xlsx or xlsb, and reads them back.

`xlsx` takes tables of text and leaves the file to openpyxl. `workbook` writes the parts itself: no
library writes xlsb, or the errors and formulas that other programs save.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, TypeAlias
from xml.sax.saxutils import escape, quoteattr

import fastexcel
import pyarrow as pa
from openpyxl import Workbook
from openpyxl.utils import get_column_letter, range_boundaries

Cells = Sequence[Sequence[str]]

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class Error:
    """A cell with an error."""

    name: str


@dataclass(frozen=True)
class Serial:
    """A number that is shown as a date."""

    number: float


@dataclass(frozen=True)
class Formula:
    """A formula with its stored value; None if there is none, which xlsb does not know.

    In xlsx, `attributes` and `text` are those of the element; `empty` is how a missing value is
    written, as nothing at all or as an element without content.
    """

    value: str | float | bool | Error | None = None
    text: str = "A1"
    attributes: str = ""
    empty: str = ""


CellValue: TypeAlias = str | float | bool | Error | Serial | Formula | None
Table: TypeAlias = Sequence[Sequence[CellValue]]
Kind = Literal["xlsx", "xlsb"]
# [MS-XLSB] 2.5.97.2
ERROR_CODES = {
    "#NULL!": 0x00,
    "#DIV/0!": 0x07,
    "#VALUE!": 0x0F,
    "#REF!": 0x17,
    "#NAME?": 0x1D,
    "#NUM!": 0x24,
    "#N/A": 0x2A,
    "#GETTING_DATA": 0x2B,
}
DATE_STYLE, DATE_FORMAT = 1, 14
RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


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


def workbook(
    kind: Kind,
    sheets: Mapping[str, Table],
    *,
    merged: Sequence[str] = (),
    is_1904: bool = False,
) -> bytes:
    """A workbook with these cells; `merged` has the merged areas of each sheet, such as `A2:A4`."""
    write = _xlsx_parts if kind == "xlsx" else _xlsb_parts
    extension = "xml" if kind == "xlsx" else "bin"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "_rels/.rels", _relationships("officeDocument", [f"xl/workbook.{extension}"])
        )
        sheet_parts = [f"worksheets/sheet{n}.{extension}" for n in range(1, len(sheets) + 1)]
        archive.writestr(
            f"xl/_rels/workbook.{extension}.rels", _relationships("worksheet", sheet_parts)
        )
        for name, part in write(sheets, merged, is_1904=is_1904):
            archive.writestr(name, part)
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


def _relationships(kind: str, targets: Sequence[str]) -> str:
    entries = "".join(
        f'<Relationship Id="rId{n}" Type="{RELATIONSHIPS}/{kind}" Target="{target}"/>'
        for n, target in enumerate(targets, start=1)
    )
    namespace = "http://schemas.openxmlformats.org/package/2006/relationships"
    return f'<Relationships xmlns="{namespace}">{entries}</Relationships>'


def _xlsx_parts(
    sheets: Mapping[str, Table], merged: Sequence[str], *, is_1904: bool
) -> Iterator[tuple[str, str]]:
    entries = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="rId{n}"/>'
        for n, name in enumerate(sheets, start=1)
    )
    properties = f'<workbookPr date1904="{int(is_1904)}"/>'
    namespaces = f'xmlns="{MAIN}" xmlns:r="{RELATIONSHIPS}"'
    book = f"{properties}<sheets>{entries}</sheets>"
    yield "xl/workbook.xml", f"<workbook {namespaces}>{book}</workbook>"
    styles = f'<xf numFmtId="0"/><xf numFmtId="{DATE_FORMAT}"/>'
    yield "xl/styles.xml", f'<styleSheet xmlns="{MAIN}"><cellXfs>{styles}</cellXfs></styleSheet>'
    areas = "".join(f'<mergeCell ref="{area}"/>' for area in merged)
    for n, rows in enumerate(sheets.values(), start=1):
        data = "".join(_xlsx_row(number, row) for number, row in enumerate(rows, start=1))
        yield (
            f"xl/worksheets/sheet{n}.xml",
            f'<worksheet xmlns="{MAIN}"><sheetData>{data}</sheetData>'
            + (f"<mergeCells>{areas}</mergeCells>" if areas else "")
            + "</worksheet>",
        )


def _xlsx_row(number: int, row: Sequence[CellValue]) -> str:
    cells = "".join(
        _xlsx_cell(f"{get_column_letter(place)}{number}", value)
        for place, value in enumerate(row, start=1)
    )
    return f'<row r="{number}">{cells}</row>'


def _xlsx_cell(reference: str, value: CellValue) -> str:
    formula = ""
    if isinstance(value, Formula):
        formula = f"<f{value.attributes}>{escape(value.text)}</f>"
        if value.value is None:
            return f'<c r="{reference}">{formula}{value.empty}</c>'
        value = value.value
    match value:
        case None:
            return ""
        case bool():
            kind, content = ' t="b"', f"<v>{int(value)}</v>"
        case Error():
            kind, content = ' t="e"', f"<v>{value.name}</v>"
        case Serial():
            kind, content = f' s="{DATE_STYLE}"', f"<v>{value.number!r}</v>"
        case str() if formula:
            kind, content = ' t="str"', f"<v>{escape(value)}</v>"
        case str():
            kind, content = ' t="inlineStr"', f"<is><t>{escape(value)}</t></is>"
        case _:
            kind, content = "", f"<v>{value!r}</v>"
    return f'<c r="{reference}"{kind}>{formula}{content}</c>'


def _xlsb_parts(
    sheets: Mapping[str, Table], merged: Sequence[str], *, is_1904: bool
) -> Iterator[tuple[str, bytes | str]]:
    entries = b"".join(
        _record(156, struct.pack("<II", 0, n) + _wide_text(f"rId{n}") + _wide_text(name))
        for n, name in enumerate(sheets, start=1)
    )
    properties = _record(153, struct.pack("<III", int(is_1904), 0, 0))
    yield (
        "xl/workbook.bin",
        _record(131) + properties + _record(143) + entries + _record(144) + _record(132),
    )
    styles = b"".join(_record(47, struct.pack("<HH12x", 0, code)) for code in (0, DATE_FORMAT))
    yield "xl/styles.bin", _record(617, struct.pack("<I", 2)) + styles + _record(618)
    for n, rows in enumerate(sheets.values(), start=1):
        data = b"".join(_xlsb_row(number, row) for number, row in enumerate(rows))
        yield (
            f"xl/worksheets/sheet{n}.bin",
            _record(129)
            + _record(148, struct.pack("<IIII", 0, len(rows), 0, 100))
            + _record(145)
            + data
            + _record(146)
            + b"".join(map(_xlsb_merged, merged))
            + _record(130),
        )


def _xlsb_row(number: int, row: Sequence[CellValue]) -> bytes:
    cells = b"".join(_xlsb_cell(place, value) for place, value in enumerate(row))
    return _record(0, struct.pack("<I13x", number)) + cells


def _xlsb_cell(place: int, value: CellValue) -> bytes:
    is_formula = isinstance(value, Formula)
    end = struct.pack("<HII", 0, 0, 0) if is_formula else b""  # a formula without tokens
    if isinstance(value, Formula):
        value = value.value
    style = DATE_STYLE if isinstance(value, Serial) else 0
    match value:
        case None:
            kinds, content = (1, 1), b""
        case bool():
            kinds, content = (4, 10), struct.pack("<B", value)
        case Error():
            kinds, content = (3, 11), struct.pack("<B", ERROR_CODES[value.name])
        case str():
            kinds, content = (6, 8), _wide_text(value)
        case int() if not is_formula:
            kinds, content = (2, 2), struct.pack("<I", value << 2 | 2)
        case _:
            number = value.number if isinstance(value, Serial) else value
            kinds, content = (5, 9), struct.pack("<d", number)
    return _record(kinds[is_formula], struct.pack("<II", place, style) + content + end)


def _xlsb_merged(area: str) -> bytes:
    left, top, right, bottom = (number - 1 for number in range_boundaries(area))
    return _record(176, struct.pack("<IIII", top, bottom, left, right))


def _record(kind: int, body: bytes = b"") -> bytes:
    """A record of [MS-XLSB] 2.1.4: its number and its length, seven bits in a byte."""
    return _varint(kind) + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def _wide_text(text: str) -> bytes:
    data = text.encode("utf-16-le")
    return struct.pack("<I", len(data) // 2) + data

"""The parts of an xlsb workbook ([MS-XLSB]), without the values of its cells.

Every formula in this format has a value, of which an error is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

from etl_assets.model.errors import ContentError
from etl_assets.tables.readers.spreadsheetml import Area, Cell, SheetFacts, WorkbookFacts

BLOCK_BYTES = 1 << 18
MAX_RECORD_BYTES = 16 << 20  # the longest ones are texts, of at most 32,767 characters in a cell
# The numbers of records, [MS-XLSB] 2.3.2.
ROW, CELL_ERROR, FORMULA_ERROR, MERGED_AREA = 0, 3, 11, 176
WORKBOOK_PROPERTIES, SHEET = 153, 156
ERROR_CODE = 8  # follows the column and the style of a cell
# [MS-XLSB] 2.5.97.2, BErr
ERRORS = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
}
# Most records of a sheet are cells with nothing (1), a number (2, 5), true or false (4), or a
# shared text (7). They have a fixed length, so that a run of them is skipped at once. With these
# columns, a sheet of the most rows fits into MAX_CELLS.
EMPTY_CELL = rb"\x01\x08.{8}"
VALUE_CELL = (
    rb"(?:[\x02\x07]\x0c[\0-\x3f]\0\0\0.{8}|\x04\x09[\0-\x3f]\0\0\0.{5}"
    rb"|\x05\x10[\0-\x3f]\0\0\0.{12})"
)
EMPTY_CELLS = re.compile(rb"(?s:%b)++" % EMPTY_CELL)
VALUE_CELLS = re.compile(rb"(?s)%b(?:%b|%b)*+" % (VALUE_CELL, VALUE_CELL, EMPTY_CELL))
VALUE_CELLS_SKIPPED = -1  # in place of the number of a record
CELLS_WITH_VALUE = range(2, 12)
HEADER = re.compile(rb"(?s)([\x80-\xff].|[\x00-\x7f])([\x80-\xff]{0,3}[\x00-\x7f]|[\x80-\xff]{4})")


class _Record(NamedTuple):
    """A record, and the bytes of the part that it takes."""

    kind: int
    body: bytes
    start: int
    end: int


def read_workbook(part: IO[bytes]) -> WorkbookFacts:
    is_1904 = False
    sheets: dict[str, str] = {}
    for record in _records(part):
        if record.kind == WORKBOOK_PROPERTIES:
            is_1904 = bool(_integer(record.body, 0) & 1)
        elif record.kind == SHEET:
            relationship, end = _wide_text(record.body, 8)
            sheets[_wide_text(record.body, end)[0]] = relationship
    return WorkbookFacts(is_1904, sheets)


def read_sheet(open_part: Callable[[], IO[bytes]]) -> SheetFacts:
    """Returns the facts of a worksheet, of which array formulas are none."""
    facts = SheetFacts()
    row = 0
    with open_part() as part:
        for record in _records(part):
            if record.kind == ROW:
                row = _integer(record.body, 0)
            elif record.kind == VALUE_CELLS_SKIPPED:
                facts.last_row = max(facts.last_row, row)
            elif record.kind in CELLS_WITH_VALUE:
                _add_cell(facts, record, row)
            elif record.kind == MERGED_AREA:
                area = Area(*(_integer(record.body, place) for place in range(0, 16, 4)))
                facts.merged_areas.append(area)
    return facts


def _add_cell(facts: SheetFacts, record: _Record, row: int) -> None:
    column = _integer(record.body, 0)
    facts.last_row = max(facts.last_row, row)
    facts.last_column = max(facts.last_column, column)
    if record.kind in {CELL_ERROR, FORMULA_ERROR}:
        code = int.from_bytes(record.body[ERROR_CODE : ERROR_CODE + 1], "little")
        name = ERRORS.get(code, f"an error of the unknown code {code}")
        facts.faults[Cell(row, column)] = name
        facts.error_values.append((record.start, record.end))


def _records(part: IO[bytes]) -> Iterator[_Record]:
    """Yields the records of a part, and runs of plain cells as one without a body."""
    data, position, offset = b"", 0, 0
    while block := part.read(BLOCK_BYTES):
        offset += position
        data, position = data[position:] + block, 0
        while header := HEADER.match(data, position):
            if cells := EMPTY_CELLS.match(data, position) or VALUE_CELLS.match(data, position):
                if cells.re is VALUE_CELLS:
                    start, end = offset + position, offset + cells.end()
                    yield _Record(VALUE_CELLS_SKIPPED, b"", start, end)
                position = cells.end()
                continue
            end = header.end() + _number(header[2])
            if end - position > MAX_RECORD_BYTES:
                found = f"a record of {end - position:,} bytes"
                raise ContentError.of("", "a workbook that can be read", found)
            if end > len(data):
                break
            body = data[header.end() : end]
            yield _Record(_number(header[1]), body, offset + position, offset + end)
            position = end
    if position < len(data):
        raise ContentError.of("", "a workbook that can be read", "a record that is cut off")


def _number(digits: bytes) -> int:
    """A number of seven bits in each byte, the lowest first ([MS-XLSB] 2.1.4)."""
    return sum((digit & 0x7F) << (7 * place) for place, digit in enumerate(digits))


def _integer(body: bytes, position: int) -> int:
    return int.from_bytes(body[position : position + 4], "little")


def _wide_text(body: bytes, position: int) -> tuple[str, int]:
    """The text of two bytes a character that begins at a position, and where it ends."""
    start = position + 4
    length = _integer(body, position)
    end = start if length == 0xFFFFFFFF else start + 2 * length  # which means that there is none
    return body[start:end].decode("utf-16-le"), end

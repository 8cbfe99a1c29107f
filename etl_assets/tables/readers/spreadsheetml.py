"""The parts of an xlsx workbook (SpreadsheetML, ISO 29500-1), without the values of its cells.

The values are read by fastexcel, for which an error and a formula without a value are empty cells.
The same parts in their binary form are read by `etl_assets.tables.readers.biff12`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO, NamedTuple
from xml.parsers import expat

from etl_assets.model.errors import ContentError

BLOCK_BYTES = 1 << 18
MAX_ROW_BYTES = 64 << 20  # a row without end is left to the parser, which keeps no text
NO_VALUE = "a formula without a stored value"
UNNAMED_ERROR = "an error without a name"
ERROR_CHARACTERS = 40  # of an error's name, of which the longest known one has 13
# What has to be in the bytes of a row with an error, an array formula or a merged area. Looking for
# bytes takes a tenth of the time of a regular expression.
MARKS = (
    *(b'"e"', b"'e'", b'"array"', b"'array'", b'"dataTable"', b"'dataTable'"),
    b"mergeCell",
)
FORMULA_MARKS = (b"<f", b":f")
# A formula that is not followed by a value. Neither texts nor attributes contain `<`.
FORMULA_WITHOUT_VALUE = re.compile(
    rb"<(?:[^\s<>/:]+:)?f[\s/>]"
    rb"(?![^<]*(?:</(?:[^\s<>/:]+:)?f\s*>\s*)?<(?:[^\s<>/:]+:)?v(?:\s[^<>]*)?>[^<])"
)
# A cell behind column AZ. With fewer columns, a sheet of the most rows fits into MAX_CELLS.
FAR_CELL = re.compile(rb"""r\s*=\s*["'](?:[B-Zb-z][A-Za-z]|[A-Za-z]{3})[0-9]""")
REFERENCE = re.compile(r"\$?([A-Za-z]{1,3})\$?([0-9]{1,7})")
AREA_FORMULAS = frozenset({"array", "dataTable"})
# ISO 29500-1, 18.2.28: date1904 is an xsd:boolean.
TRUE = frozenset({"1", "true"})


class Cell(NamedTuple):
    """The position of a cell, from 0."""

    row: int
    column: int


class Area(NamedTuple):
    """A rectangle of cells, both ends included, from 0."""

    first_row: int
    last_row: int
    first_column: int
    last_column: int


@dataclass(slots=True)
class SheetFacts:
    """What a sheet says beside the values of its cells.

    `faults` has what a cell has in place of a value: the name of an error, or NO_VALUE. A cell of
    an area in `array_formulas` that has no value is a formula without a stored value too.
    `error_values` are the bytes of the part without which the errors are empty cells. `last_row`
    and `last_column` are those of cells with a value, or -1 in a sheet of few columns.
    """

    faults: dict[Cell, str] = field(default_factory=dict)
    array_formulas: list[Area] = field(default_factory=list)
    merged_areas: list[Area] = field(default_factory=list)
    error_values: list[tuple[int, int]] = field(default_factory=list)
    last_row: int = -1
    last_column: int = -1


class Relationship(NamedTuple):
    """A link of a part to another one (ISO 29500-2, 6.5)."""

    id: str
    type: str
    target: str


@dataclass(frozen=True, slots=True)
class WorkbookFacts:
    """Whether dates count from 1904, and the relationship's id of each sheet by its name."""

    is_1904: bool
    sheets: dict[str, str]


def read_relationships(part: IO[bytes]) -> list[Relationship]:
    relationships = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if _local_name(tag) == "Relationship":
            values = (attributes.get(name, "") for name in ("Id", "Type", "Target"))
            relationships.append(Relationship(*values))

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    _parse(parser, part)
    return relationships


def read_workbook(part: IO[bytes]) -> WorkbookFacts:
    is_1904 = False
    sheets: dict[str, str] = {}

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal is_1904
        match _local_name(tag):
            case "workbookPr":
                is_1904 = attributes.get("date1904") in TRUE
            case "sheet":
                local = {_local_name(name): value for name, value in attributes.items()}
                sheets[local.get("name", "")] = local.get("id", "")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    _parse(parser, part)
    return WorkbookFacts(is_1904, sheets)


def read_sheet(open_part: Callable[[], IO[bytes]]) -> SheetFacts:
    """Returns the facts of a worksheet.

    Parsing takes five times as long as reading the values. So a sheet is searched first, and parsed
    only if a cell may be faulty or far away.
    """
    with open_part() as part:
        if _has_values_only(part):
            return SheetFacts()
    with open_part() as part:
        return _SheetParser().parse(part)


def _has_values_only(part: IO[bytes], block_bytes: int = BLOCK_BYTES) -> bool:
    """True if no cell is faulty or far away; False also if that is not certain."""
    rest = b""
    while block := part.read(block_bytes):
        rows, end, rest = (rest + block).rpartition(b"row>")
        if _needs_parser(rows + end) or len(rest) > MAX_ROW_BYTES:
            return False
    return not _needs_parser(rest)


def _needs_parser(rows: bytes) -> bool:
    if any(mark in rows for mark in MARKS) or FAR_CELL.search(rows):
        return True
    has_formulas = any(mark in rows for mark in FORMULA_MARKS)
    return has_formulas and FORMULA_WITHOUT_VALUE.search(rows) is not None


class _SheetParser:
    """Collects the facts of a sheet from the events of its XML."""

    def __init__(self) -> None:
        self._facts = SheetFacts()
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._row = -1
        # The last reference in the row, and the number of cells since it.
        self._reference = ""
        self._cells_since = 0
        self._type: str | None = None
        self._is_in_cell = False
        self._is_formula = False
        self._value: str | None = None
        self._value_start = 0

    def parse(self, part: IO[bytes]) -> SheetFacts:
        _parse(self._parser, part)
        return self._facts

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        match _local_name(tag):
            case "c":
                self._start_cell(attributes)
            case "f" if self._is_in_cell:
                self._is_formula = True
                self._value = None  # fastexcel takes no value before a formula
                if attributes.get("t") in AREA_FORMULAS and "ref" in attributes:
                    self._facts.array_formulas.append(_parse_area(attributes["ref"]))
            case "v" | "is" if self._is_in_cell:
                self._value = ""
                self._value_start = self._parser.CurrentByteIndex
                if self._is_formula or self._type == "e":
                    self._parser.CharacterDataHandler = self._text
            case "row":
                # A row or a cell without a reference follows the one before it.
                self._row = int(attributes["r"]) - 1 if "r" in attributes else self._row + 1
                self._reference, self._cells_since = f"A{self._row + 1}", -1
            case "mergeCell":
                self._facts.merged_areas.append(_parse_area(attributes.get("ref", "")))

    def _start_cell(self, attributes: dict[str, str]) -> None:
        if reference := attributes.get("r"):
            self._reference, self._cells_since = reference, 0
        else:
            self._cells_since += 1
        self._type = attributes.get("t")
        self._is_in_cell, self._is_formula, self._value = True, False, None

    def _text(self, text: str) -> None:
        if self._value is not None and len(self._value) < ERROR_CHARACTERS:
            self._value += text

    def _end(self, tag: str) -> None:
        match _local_name(tag):
            case "v" | "is":
                self._parser.CharacterDataHandler = None
            case "c":
                self._is_in_cell = False
                if self._type == "e" or self._is_formula or self._value is not None:
                    self._end_cell(self._cell())

    def _end_cell(self, cell: Cell) -> None:
        if self._value is not None:
            self._facts.last_row = max(self._facts.last_row, cell.row)
            self._facts.last_column = max(self._facts.last_column, cell.column)
        if self._type == "e":
            name = (self._value or "").strip()[:ERROR_CHARACTERS]
            self._facts.faults[cell] = name or UNNAMED_ERROR
            if self._value is not None:
                span = (self._value_start, self._parser.CurrentByteIndex)
                self._facts.error_values.append(span)
        elif self._is_formula:
            # The empty text is a value, in a cell whose type says that it is a text.
            is_valued = self._value is not None if self._type == "str" else bool(self._value)
            if not is_valued:
                self._facts.faults[cell] = NO_VALUE

    def _cell(self) -> Cell:
        row, column = _parse_reference(self._reference)
        return Cell(row, column + self._cells_since)


def _parse(parser: expat.XMLParserType, part: IO[bytes]) -> None:
    """Raises ContentError if the part is not well-formed."""
    try:
        while block := part.read(BLOCK_BYTES):
            parser.Parse(block)
        parser.Parse(b"", True)  # noqa: FBT003 - expat takes no keyword
    except expat.ExpatError as error:
        raise ContentError.of("", "a workbook that can be read", str(error)) from error


def _local_name(name: str) -> str:
    return name.rpartition(":")[2]


def _parse_area(text: str) -> Area:
    """Returns the area of `A1:B2` or of `A1`."""
    first, _, last = text.partition(":")
    top, left = _parse_reference(first)
    bottom, right = _parse_reference(last or first)
    return Area(top, bottom, left, right)


def _parse_reference(text: str) -> Cell:
    match = REFERENCE.fullmatch(text)
    if match is None:
        raise ContentError.of("", "a reference to a cell like A1 in the workbook", repr(text[:20]))
    return Cell(int(match[2]) - 1, _column_number(match[1].upper()))


@lru_cache(maxsize=1024)
def _column_number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1

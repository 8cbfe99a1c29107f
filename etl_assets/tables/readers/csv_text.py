"""Delimited text with a header line (RFC 4180), one row for each line or quoted run of lines.

An empty cell is null. Cells remain text: the contract casts them. Arrow reads a block of plain
lines at once. Any other block is read line by line, and so is one that breaks its contract: that
gives the same values, and the number of each line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import CsvFormat
from etl_assets.model.errors import ContentError
from etl_assets.tables.arrow_types import TYPES
from etl_assets.tables.readers.batch import BLANKS, Batch, BatchBuilder, find_in_header, row_json
from etl_assets.tables.readers.raw_bytes import BYTE_ORDER_MARK, UnpackedFile, read_chunks

BUFFER_BYTES = 1 << 18
MAX_LINE_CHARACTERS = 1 << 20
# No cell of a block is longer than Python's csv module allows, which is 131,072 characters: only
# the reader of lines checks that.
BLOCK_BYTES = 1 << 17


class FastPathError(Exception):
    """The rest of the file must be read by lines; the batches already yielded are valid."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The number of cells in a row, and the position of each declared column."""

    width: int
    positions: dict[str, int]
    unknown_fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a block of lines begins, by what is before it."""

    bytes_before: int
    lines: int
    records: int

    def after(self, block: bytes, records: int) -> _Place:
        lines = self.lines + block.count(b"\n") + _count_lone_returns(block)
        return _Place(self.bytes_before + len(block), lines, self.records + records)


def read(
    path: Path, form: CsvFormat, contract: Contract, block_bytes: int = BLOCK_BYTES
) -> Iterator[Batch]:
    """The declared columns of every row that has as many cells as the header."""
    blocks = _read_blocks(path, block_bytes)
    try:
        block = next(blocks)
        layout, size = _read_head(block, form, contract)
    except FastPathError:
        yield from read_lines(path, form, contract)
        return
    place = _Place(0, 0, 0).after(block[:size], records=0)
    try:
        for lines in chain([block[size:]], blocks):
            batch = _read_block(lines, form, layout, place)
            yield batch
            place = place.after(lines, batch.records)
    except FastPathError:
        yield from _read_rest(path, form, layout, place)


def read_lines(path: Path, form: CsvFormat, contract: Contract) -> Iterator[Batch]:
    """The same as `read`, line by line from the start."""
    with _open_text(path) as text:
        lines = _Lines(text, form.comment)
        rows = csv.reader(lines, delimiter=form.delimiter, strict=True)
        try:
            header = next((row for row in rows if _has_a_value(row)), [])
        except csv.Error as error:
            raise ContentError.of(f"line {lines.number}", "a header", str(error)) from error
        layout = _lay_out(header, lines.number, form, contract)
        yield from _read_batches(rows, lines, layout, records=0)


def _read_rest(path: Path, form: CsvFormat, layout: _Layout, place: _Place) -> Iterator[Batch]:
    with _open_text(path, place.bytes_before) as text:
        lines = _Lines(text, number=place.lines)
        rows = csv.reader(lines, delimiter=form.delimiter, strict=True)
        yield from _read_batches(rows, lines, layout, place.records)


def _open_text(path: Path, start: int = 0) -> io.TextIOWrapper:
    raw = io.BufferedReader(UnpackedFile(path), BUFFER_BYTES)
    left = start
    while left:
        left -= len(raw.read(min(left, BUFFER_BYTES)))
    # Bytes that are not UTF-8 become surrogates in their cell, so that only their row is rejected.
    encoding = "utf-8" if start else "utf-8-sig"
    return io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline="")


def _lay_out(header: list[str], line: int, form: CsvFormat, contract: Contract) -> _Layout:
    """Raises ContentError if a declared column is not once in the header, without blanks."""
    header = [cell.strip(BLANKS) for cell in header]
    positions, unfit = find_in_header(contract, header)
    if unfit:
        expected = f"a header, split at {form.delimiter!r}, with {', '.join(unfit)} once each"
        raise ContentError.of(f"line {line}", expected, row_json(header)[:400])
    unknown_fields = set(header) - {header[position] for position in positions.values()}
    if contract.unknown_fields == "discard_value":
        unknown_fields = set()
    return _Layout(len(header), positions, frozenset(unknown_fields))


def _read_batches(
    rows: Iterator[list[str]], lines: _Lines, layout: _Layout, records: int
) -> Iterator[Batch]:
    """Batches of the rows that are left, of which `records` are before the first one."""
    builder = BatchBuilder(layout.positions)
    for line, cells, fault in _rows(rows, lines, layout.width):
        _add(builder, line, cells, fault, layout)
        if builder.is_full():
            yield _finish(builder, layout, records)
    yield _finish(builder, layout, records)


def _add(builder: BatchBuilder, line: int, cells: list[str], fault: str, layout: _Layout) -> None:
    builder.records += 1
    if fault:
        expected = f"{layout.width} sound cells"
        builder.reject(f"line {line}", expected, fault, row_json(cells))
    else:
        builder.add(cells, line)


def _finish(builder: BatchBuilder, layout: _Layout, records: int) -> Batch:
    """The rows since the last batch, with null for each empty cell."""
    batch = builder.build()
    return replace(
        batch,
        columns={name: [cell or None for cell in cells] for name, cells in batch.columns.items()},
        ordinals=[records + ordinal for ordinal in batch.ordinals],
        unknown_fields=layout.unknown_fields,
    )


class _Lines:
    """The lines of a text, counted, without the comments at its start.

    Of a text that is a block of a file, FastPathError is raised where it ends within a row.
    """

    def __init__(
        self,
        text: io.TextIOWrapper,
        comment: str | None = None,
        *,
        number: int = 0,
        is_block: bool = False,
    ) -> None:
        self._text = text
        self._comment = comment
        self._is_block = is_block
        self.number = number
        self.last_nul = 0
        self.taken: list[str] = []
        """The lines since the caller cleared it."""
        self._pushed_back: list[str] = []  # the next one at the end

    def __iter__(self) -> Iterator[str]:
        return self

    def push_back_all_but_first(self) -> None:
        """Give the taken lines again, except for the first one."""
        again = self.taken[1:]
        self._pushed_back += reversed(again)
        self.number -= len(again)

    def __next__(self) -> str:
        if self._pushed_back:
            line = self._pushed_back.pop()
            self.number += 1
        else:
            line = self._read_line()
        self.taken.append(line)
        return line

    def _read_line(self) -> str:
        line = self._text.readline(MAX_LINE_CHARACTERS)
        while self._comment and line.startswith(self._comment):
            self.number += 1
            line = self._text.readline(MAX_LINE_CHARACTERS)
        self._comment = None
        if not line:
            if self._is_block and self.taken:
                raise FastPathError
            raise StopIteration
        self.number += 1
        if len(line) == MAX_LINE_CHARACTERS:
            limit = f"a line below {MAX_LINE_CHARACTERS:,} characters"
            raise ContentError.of(f"line {self.number}", limit, "a longer one")
        if "\0" in line:
            self.last_nul = self.number
        return line


def _rows(
    rows: Iterator[list[str]], lines: _Lines, width: int
) -> Iterator[tuple[int, list[str], str]]:
    """First line, cells and fault of each row. Rows without any value are no rows."""
    while True:
        line = lines.number + 1
        lines.taken.clear()
        try:
            cells = next(rows, None)
        except csv.Error as error:
            # An opening quote takes in every line up to the next quote. Only the first one is at
            # fault, so the others are read again.
            lines.push_back_all_but_first()
            yield line, [], str(error)
            continue
        if cells is None:
            return
        # A row that was deleted in a spreadsheet leaves its delimiters in the file.
        if not _has_a_value(cells):
            continue
        fault = ""
        if len(cells) != width:
            lines.push_back_all_but_first()
            fault = f"{len(cells)} cells"
        elif lines.last_nul >= line:
            fault = "a NUL character"
        yield line, cells, fault


def _has_a_value(cells: list[str]) -> bool:
    return any(map(str.strip, cells))


# Blocks of whole lines


def _read_blocks(path: Path, block_bytes: int) -> Iterator[bytes]:
    """The file in blocks of whole lines; raises FastPathError for a line longer than a block."""
    buffer = bytearray()
    for chunk in read_chunks(path):
        buffer += chunk
        while len(buffer) > block_bytes:
            end = buffer.rfind(b"\n", 0, block_bytes) + 1
            if end == 0:
                raise FastPathError
            yield bytes(buffer[:end])
            del buffer[:end]
    yield bytes(buffer)


def _read_head(block: bytes, form: CsvFormat, contract: Contract) -> tuple[_Layout, int]:
    """The layout of the rows, and the number of bytes up to the end of the header.

    Raises FastPathError if the block may not contain the whole header, or if Arrow may split its
    rows in another way.
    """
    is_plain = form.delimiter == "\t" or (form.delimiter.isascii() and form.delimiter.isprintable())
    if not is_plain or _count_lone_returns(block):
        raise FastPathError
    lines = _Lines(_block_text(block.removeprefix(BYTE_ORDER_MARK)), form.comment, is_block=True)
    try:
        header = next(csv.reader(lines, delimiter=form.delimiter, strict=True), None)
    except csv.Error as error:
        raise FastPathError from error
    if header is None or not _has_a_value(header):  # the header is in a later line
        raise FastPathError
    layout = _lay_out(header, lines.number, form, contract)
    size = 0
    for _ in range(lines.number):
        size = block.find(b"\n", size) + 1
        if size == 0:
            raise FastPathError
    return layout, size


def _read_block(block: bytes, form: CsvFormat, layout: _Layout, place: _Place) -> Batch:
    """The rows of a block; raises FastPathError if it ends within a row."""
    read_exactly = partial(_read_block_by_lines, block, form, layout, place)
    columns = _plain_columns(block, form.delimiter, layout)
    if columns is None:
        return read_exactly()
    count = len(next(iter(columns.values())))
    return Batch(
        columns,
        ordinals=range(place.records + 1, place.records + count + 1),
        records=count,
        unknown_fields=layout.unknown_fields,
        exact=read_exactly,
    )


def _read_block_by_lines(block: bytes, form: CsvFormat, layout: _Layout, place: _Place) -> Batch:
    lines = _Lines(_block_text(block), number=place.lines, is_block=True)
    rows = csv.reader(lines, delimiter=form.delimiter, strict=True)
    builder = BatchBuilder(layout.positions)
    for line, cells, fault in _rows(rows, lines, layout.width):
        _add(builder, line, cells, fault, layout)
    return _finish(builder, layout, place.records)


def _block_text(block: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(block), "utf-8", errors="surrogateescape", newline="")


def _plain_columns(block: bytes, delimiter: str, layout: _Layout) -> dict[str, pa.Array] | None:
    """The declared columns as texts; None for a block that needs another rule than the delimiter.

    Arrow splits lines and skips empty ones as this module does, and refuses a block with another
    number of cells in a row, or with a declared cell that is not UTF-8.
    """
    if b'"' in block or b"\0" in block:
        return None
    if block.startswith(BYTE_ORDER_MARK):  # of a cell, which Arrow takes for one of a file
        return None
    names = list(map(str, range(layout.width)))
    wanted = {name: names[position] for name, position in layout.positions.items()}
    origins = list(dict.fromkeys(wanted.values()))  # two columns may have one origin
    try:
        table = arrow_csv.read_csv(
            pa.py_buffer(block),
            arrow_csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
            arrow_csv.ParseOptions(delimiter=delimiter, quote_char=False),
            arrow_csv.ConvertOptions(
                include_columns=origins,
                column_types=dict.fromkeys(origins, TYPES["string"]),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        return None
    columns = {name: table.column(origin).combine_chunks() for name, origin in wanted.items()}
    # A row without any value is no row.
    return columns if any(map(_has_a_value_in_each_row, columns.values())) else None


def _has_a_value_in_each_row(texts: pa.Array) -> bool:
    shortest = pc.min(pc.binary_length(pc.utf8_trim_whitespace(texts))).as_py()
    return bool(texts.null_count == 0 and shortest)


def _count_lone_returns(block: bytes) -> int:
    """The carriage returns that end a line by themselves."""
    return block.count(b"\r") - block.count(b"\r\n") if b"\r" in block else 0

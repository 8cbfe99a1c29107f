"""Delimited text with a header line (RFC 4180), one row per line or quoted run of lines.

An empty cell is null. Cells stay text here; to what they are cast the contract says.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import CsvFormat
from etl_assets.model.errors import ContentError
from etl_assets.tables.readers.batch import Batch, BatchBuilder, row_json
from etl_assets.tables.readers.raw_bytes import UnpackedFile

BUFFER_BYTES = 1 << 18
MAX_LINE_CHARACTERS = 1 << 20


def read(path: Path, form: CsvFormat, contract: Contract) -> Iterator[Batch]:
    """The declared columns of every row that has as many cells as the header."""
    raw = io.BufferedReader(UnpackedFile(path), BUFFER_BYTES)
    # bytes that are no UTF-8 stay in their cell as surrogates, so that only their row is rejected
    with io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="") as text:
        lines = _Lines(text, form.comment)
        rows = csv.reader(lines, delimiter=form.delimiter, strict=True)
        header = _header(rows, lines, form, contract)
        gathering = BatchBuilder(
            {c.name: header.index(c.origin or c.name) for c in contract.columns}
        )
        if contract.unknown_fields != "discard_value":
            gathering.unknown |= set(header) - {c.origin or c.name for c in contract.columns}
        for line, cells, fault in _rows(rows, lines, len(header)):
            gathering.records += 1
            if fault:
                gathering.refuse(
                    f"line {line}", f"{len(header)} sound cells", fault, row_json(cells)
                )
            else:
                gathering.add(cells, line)
            if gathering.full():
                yield _with_nulls(gathering.take())
        yield _with_nulls(gathering.take())


class _Lines:
    """The lines of a text, counted, without the comments that lead it."""

    def __init__(self, text: io.TextIOWrapper, comment: str | None) -> None:
        self._text = text
        self._comment = comment
        self.number = 0
        self.last_nul = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_LINE_CHARACTERS)
        while self._comment and line.startswith(self._comment):
            self.number += 1
            line = self._text.readline(MAX_LINE_CHARACTERS)
        self._comment = None
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == MAX_LINE_CHARACTERS:
            limit = f"a line below {MAX_LINE_CHARACTERS:,} characters"
            raise ContentError.of(f"line {self.number}", limit, "a longer one")
        if "\0" in line:
            self.last_nul = self.number
        return line


def _header(
    rows: Iterator[list[str]], lines: _Lines, form: CsvFormat, contract: Contract
) -> list[str]:
    """The names in the first line, among them every declared column."""
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise ContentError.of(f"line {lines.number}", "a header", str(error)) from error
    wanted = [column.origin or column.name for column in contract.columns]
    if unfit := [name for name in wanted if header.count(name) != 1]:
        expected = f"a header, split at {form.delimiter!r}, with {', '.join(unfit)} once each"
        raise ContentError.of(f"line {lines.number}", expected, row_json(header)[:400])
    return header


def _rows(
    rows: Iterator[list[str]], lines: _Lines, width: int
) -> Iterator[tuple[int, list[str], str]]:
    """Line, cells and what is wrong with them; blank lines are no rows."""
    while True:
        start = lines.number + 1
        try:
            cells = next(rows, None)
        except csv.Error as error:
            yield start, [], f"{error} (to line {lines.number})"
            continue
        if cells is None:
            return
        if cells:
            yield start, cells, _fault(cells, width, has_nul=lines.last_nul >= start)


def _fault(cells: list[str], width: int, *, has_nul: bool) -> str:
    if len(cells) != width:
        return f"{len(cells)} cells"
    return "a NUL character" if has_nul else ""


def _with_nulls(batch: Batch) -> Batch:
    columns = {name: [cell or None for cell in cells] for name, cells in batch.columns.items()}
    return replace(batch, columns=columns)

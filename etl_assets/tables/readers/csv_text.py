"""Delimited text with a header line (RFC 4180), one row for each line or quoted run of lines.

An empty cell is null. Cells remain text: the contract casts them.
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
    # Bytes that are not UTF-8 become surrogates in their cell, so that only their row is rejected.
    with io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="") as text:
        lines = _Lines(text, form.comment)
        rows = csv.reader(lines, delimiter=form.delimiter, strict=True)
        header = _header(rows, lines, form, contract)
        origins = {column.name: column.origin or column.name for column in contract.columns}
        builder = BatchBuilder({name: header.index(origin) for name, origin in origins.items()})
        if contract.unknown_fields != "discard_value":
            builder.unknown_fields |= set(header) - set(origins.values())
        for line, cells, fault in _rows(rows, lines, len(header)):
            builder.records += 1
            if fault:
                expected = f"{len(header)} sound cells"
                builder.reject(f"line {line}", expected, fault, row_json(cells))
            else:
                builder.add(cells, line)
            if builder.is_full():
                yield _empty_to_null(builder.build())
        yield _empty_to_null(builder.build())


class _Lines:
    """The lines of a text, counted, without the comments at its start."""

    def __init__(self, text: io.TextIOWrapper, comment: str | None) -> None:
        self._text = text
        self._comment = comment
        self.number = 0
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
    """The names in the first line; raises ContentError if a declared column is not among them."""
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise ContentError.of(f"line {lines.number}", "a header", str(error)) from error
    origins = [column.origin or column.name for column in contract.columns]
    if unfit := [name for name in origins if header.count(name) != 1]:
        expected = f"a header, split at {form.delimiter!r}, with {', '.join(unfit)} once each"
        raise ContentError.of(f"line {lines.number}", expected, row_json(header)[:400])
    return header


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
        if not any(map(str.strip, cells)):
            continue
        fault = ""
        if len(cells) != width:
            lines.push_back_all_but_first()
            fault = f"{len(cells)} cells"
        elif lines.last_nul >= line:
            fault = "a NUL character"
        yield line, cells, fault


def _empty_to_null(batch: Batch) -> Batch:
    columns = {}
    for name, cells in batch.columns.items():
        columns[name] = [cell or None for cell in cells]
    return replace(batch, columns=columns)

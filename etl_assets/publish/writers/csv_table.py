"""A model's rows as comma-separated text with a header, to open in a spreadsheet (RFC 4180).

Text that a spreadsheet would run as a formula gets an apostrophe in front; other values are written
unchanged.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import msgspec

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.output import DocumentContext, open_output, write_license
from etl_assets.publish.writers.rows import Rows

# https://owasp.org/www-community/attacks/CSV_Injection
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
CHUNK_CHARACTERS = 1 << 16


class Options(Declaration):
    """None: columns and their order are those of the model."""


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Write the rows to `document.file`."""
    with open_output(context.directory / document.file) as file:
        for chunk in _format_rows(rows):
            file.write(chunk.encode())
    written = file.describe(document.file, document.file, len(rows))
    return [written, *write_license(document, context)]


def count_rows(document: Document, directory: Path) -> int:
    """The number of rows below the header; raises BuildError if one has another number of cells."""
    path = directory / document.file
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, strict=True)
        try:
            header = next(lines, [])
            widths = [len(line) for line in lines]
        except csv.Error as error:
            raise BuildError(f"{path}: expected comma-separated text, found: {error}") from error
    if not header or any(width != len(header) for width in widths):
        raise BuildError(f"{path}: expected {len(header)} cells in each line, found others")
    return len(widths)


def _format_rows(rows: Rows) -> Iterator[str]:
    buffer = io.StringIO(newline="")
    table = csv.writer(buffer, lineterminator="\r\n")  # RFC 4180, section 2
    table.writerow(map(_format_cell, rows.columns))
    for row in rows:
        table.writerow(map(_format_cell, row.values()))
        if buffer.tell() >= CHUNK_CHARACTERS:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _format_cell(value: object) -> object:
    if isinstance(value, str):
        return f"'{value}" if value.lstrip(" ").startswith(FORMULA_STARTS) else value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return value

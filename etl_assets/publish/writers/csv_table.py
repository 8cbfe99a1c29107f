"""A model's rows as comma-separated text with a header, for people with a spreadsheet (RFC 4180).

A text that a spreadsheet would take for a formula gets an apostrophe before it; values that are no
text are written as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.notice import write_notice
from etl_assets.publish.writers.registry import Candidate
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.sink import sink

# https://owasp.org/www-community/attacks/CSV_Injection
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
BATCH_BYTES = 1 << 16


class Options(Declaration):
    """There is nothing to choose: the model's columns, in its order."""


def write(rows: Rows, document: Document, candidate: Candidate) -> list[PublishedFile]:
    """The rows as `document.file`."""
    with sink(candidate.directory / document.file) as file:
        for piece in _pieces(rows):
            file.write(piece.encode())
    written = file.written(document.file, document.file, len(rows))
    return [written, *write_notice(document, candidate)]


def held(document: Document, directory: Path) -> int:
    """The number of rows below the header; raises BuildError where one has other cells."""
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


def escaped(value: object) -> object:
    """The value of one cell as a spreadsheet shows it and never runs it."""
    if isinstance(value, str):
        return f"'{value}" if value.lstrip(" ").startswith(FORMULA_STARTS) else value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    return escaped(_json(value)) if isinstance(value, list | dict) else value


def _json(value: Any) -> str:  # noqa: ANN401 - whatever a mart's nested column holds
    return msgspec.json.encode(value).decode()


def _pieces(rows: Rows) -> Iterator[str]:
    buffer = io.StringIO(newline="")
    line = csv.writer(buffer, lineterminator="\r\n")
    line.writerow(map(escaped, rows.columns))
    for row in rows:
        line.writerow(map(escaped, row.values()))
        if buffer.tell() >= BATCH_BYTES:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()

"""One JSON object of objects: two columns are the keys, the others members; nulls are left out.

The object of one outer key is one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from pydantic import Field

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.output import DocumentContext, open_output, write_license
from etl_assets.publish.writers.rows import Rows

Member = str | int | float | bool | list[Any] | dict[str, Any]


class Options(Declaration):
    """The key columns; rows with the same outer key must be consecutive."""

    outer: str = Field(min_length=1)
    inner: str = Field(min_length=1)


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Stream the rows into `document.file`, one outer key after the other."""
    options = Options.model_validate(document.options)
    encoder = msgspec.json.Encoder(decimal_format="number")  # the default is a string
    count, separator = 0, b"{\n"
    with open_output(context.directory / document.file) as file:
        for key, inner in _group_rows(rows, options):
            file.write(separator + encoder.encode(key) + b":" + encoder.encode(inner))
            count, separator = count + len(inner), b",\n"
        file.write(b"\n}\n" if count else b"{}\n")
    written = file.describe(document.file, document.file, count)
    return [written, *write_license(document, context)]


def count_rows(document: Document, directory: Path) -> int:
    """The number of inner keys; raises BuildError if the file is not an object of objects."""
    path = directory / document.file
    content_type = dict[str, dict[str, dict[str, Member]]]
    try:
        content = msgspec.json.decode(path.read_bytes(), type=content_type)
    except msgspec.DecodeError as error:
        raise BuildError(f"{path}: expected an object of objects, found: {error}") from error
    return sum(map(len, content.values()))


def _group_rows(rows: Rows, options: Options) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Each outer key with its object; raises BuildError if its rows are not consecutive."""
    keys = {options.outer, options.inner}
    if missing := keys - set(rows.columns):
        raise BuildError(f"{rows.path}: expected the column {', '.join(sorted(missing))}")
    outer_keys: set[str] = set()
    for key, group in groupby(rows, key=lambda row: str(row[options.outer])):
        # A second group of consecutive rows would be a second member of the same name.
        if key in outer_keys:
            raise BuildError(f"{rows.path}: expected the rows of {key} together")
        outer_keys.add(key)
        inner: dict[str, dict[str, Any]] = {}
        for row in group:
            inner[str(row[options.inner])] = {
                name: value for name, value in row.items() if name not in keys and value is not None
            }
        yield key, inner

"""One JSON object of objects: two columns are the keys, the others the members, nulls left out.

The object of one outer key stands on one line.
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
from etl_assets.publish.writers.notice import write_notice
from etl_assets.publish.writers.registry import Candidate
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.sink import sink

Member = str | int | float | bool | list[Any] | dict[str, Any]


class Options(Declaration):
    """The columns that are keys; the model's rows are in their order."""

    outer: str = Field(min_length=1)
    inner: str = Field(min_length=1)


def write(rows: Rows, document: Document, candidate: Candidate) -> list[PublishedFile]:
    """Stream the rows into `document.file`, one outer key after the other."""
    options = Options.model_validate(document.options)
    encoder = msgspec.json.Encoder(decimal_format="number")
    carried, opening = 0, b"{\n"
    with sink(candidate.directory / document.file) as file:
        for key, members in _objects(rows, options):
            file.write(opening + encoder.encode(key) + b":" + encoder.encode(members))
            carried, opening = carried + len(members), b",\n"
        file.write(b"\n}\n" if carried else b"{}\n")
    written = file.written(document.file, document.file, carried)
    return [written, *write_notice(document, candidate)]


def held(document: Document, directory: Path) -> int:
    """The number of inner keys; raises BuildError where the file is no object of objects."""
    path = directory / document.file
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, dict[str, Member]]])
    except msgspec.DecodeError as error:
        raise BuildError(f"{path}: expected an object of objects, found: {error}") from error
    return sum(map(len, found.values()))


def _objects(rows: Rows, options: Options) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Each outer key with its object; raises BuildError where the rows are in another order."""
    keys = {options.outer, options.inner}
    if missing := keys - set(rows.columns):
        raise BuildError(f"{rows.path}: expected the column {', '.join(sorted(missing))}")
    done: set[str] = set()
    for key, group in groupby(rows, key=lambda row: str(row[options.outer])):
        if key in done:
            raise BuildError(f"{rows.path}: expected the rows of {key} together")
        done.add(key)
        yield (
            key,
            {
                str(row[options.inner]): {
                    name: value
                    for name, value in row.items()
                    if name not in keys and value is not None
                }
                for row in group
            },
        )

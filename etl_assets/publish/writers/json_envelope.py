"""One JSON object with a time, a count, whose data it is, and the rows of a model, one per line.

The names of these come from the document's options, the rows' keys from the model's columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from pydantic import Field

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.lines import HEAD, decoded, read_lines, write_lines
from etl_assets.publish.writers.registry import Candidate
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.sink import sink


class Options(Declaration):
    """Names of the envelope's members."""

    time: str = Field(default="generated_at", min_length=1)
    count: str = Field(default="count", min_length=1)
    attributions: str = Field(default="attributions", min_length=1)
    rows: str = Field(default="rows", min_length=1)
    once: str = Field(
        default="", description="a column that says the same in every row, and stands in the head"
    )


def write(rows: Rows, document: Document, candidate: Candidate) -> list[PublishedFile]:
    """Stream the rows into `document.file`; equal rows and as_of give equal bytes."""
    options = Options.model_validate(document.options)
    head: dict[str, Any] = {options.time: candidate.as_of, options.count: len(rows)}
    if candidate.attributions:
        head[options.attributions] = attribution_texts(candidate.attributions)
    if options.once:
        head[options.once] = next((row.get(options.once) for row in rows), None)
    encoder = msgspec.json.Encoder(decimal_format="number")
    with sink(candidate.directory / document.file) as file:
        lists = [(options.rows, map(encoder.encode, _elements(rows, options.once, head)))]
        carried = write_lines(file, encoder.encode(head), lists)
    return [file.written(document.file, document.file, carried)]


def _elements(rows: Rows, once: str, head: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, start=1):
        if once and row.pop(once, None) != head[once]:
            raise BuildError(f"{rows.path}: row {number}: expected {once} as in the first row")
        yield row


def held(document: Document, directory: Path) -> int:
    """The number of rows in the file; raises BuildError where it is none or miscounts."""
    options = Options.model_validate(document.options)
    path = directory / document.file
    heads, rows = _decoders(options)
    counted, found = 0, 0
    for name, data in read_lines(path):
        if name == HEAD:
            counted = decoded(path, data, heads, "an envelope of rows").count
        elif name == options.rows:
            decoded(path, data, rows, "a row")
            found += 1
        else:
            raise BuildError(f"{path}: expected the member {options.rows}, found {name}")
    if counted != found:
        raise BuildError(f"{path}: {options.count} says {counted}, found {found} rows")
    return found


def _decoders(options: Options) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    names = {part: getattr(options, part) for part in ("time", "count", "attributions")}
    names |= {"once": options.once or "once"}
    envelope = msgspec.defstruct(
        "Envelope",
        [("time", str), ("count", int), ("attributions", tuple[str, ...], ()), ("once", Any, None)],
        rename=names,
        forbid_unknown_fields=True,
    )
    return msgspec.json.Decoder(envelope), msgspec.json.Decoder(dict[str, msgspec.Raw])

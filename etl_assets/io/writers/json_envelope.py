"""One JSON object with a time, a count and the rows of a model, one row per line.

The names of the three come from the document's options, the rows' keys from the model's columns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from pydantic import Field

from etl_assets.io.writers.registry import Candidate
from etl_assets.io.writers.rows import Rows
from etl_assets.io.writers.sink import sink
from etl_assets.model.declaration import Declared, Document
from etl_assets.model.errors import BuildError
from etl_assets.model.run import Written


class Options(Declared):
    """Names of the envelope's members."""

    time: str = Field(default="generated_at", min_length=1)
    count: str = Field(default="count", min_length=1)
    rows: str = Field(default="rows", min_length=1)


def write(rows: Rows, document: Document, candidate: Candidate) -> list[Written]:
    """Stream the rows into `document.file`; equal rows and as_of give equal bytes."""
    options = Options.model_validate(document.options)
    encoder = msgspec.json.Encoder(decimal_format="number")
    head = encoder.encode(
        {options.time: candidate.as_of, options.count: len(rows), options.rows: []}
    )
    carried = 0
    with sink(candidate.directory / document.file) as file:
        file.write(head.removesuffix(b"]}"))
        for row in rows:
            file.write((b",\n" if carried else b"\n") + encoder.encode(row))
            carried += 1
        file.write(b"\n]}\n")
    return [file.written(document.file, document.file, carried)]


def held(document: Document, directory: Path) -> int:
    """The number of rows in the file; raises BuildError where it is none or miscounts."""
    options = Options.model_validate(document.options)
    envelope = msgspec.defstruct(
        "Envelope",
        [("time", str), ("count", int), ("rows", list[dict[str, msgspec.Raw]])],
        rename={"time": options.time, "count": options.count, "rows": options.rows},
        forbid_unknown_fields=True,
    )
    path = directory / document.file
    try:
        found: Any = msgspec.json.decode(path.read_bytes(), type=envelope)
    except msgspec.DecodeError as error:
        raise BuildError(f"{path}: expected an envelope of rows, found: {error}") from error
    if found.count != len(found.rows):
        raise BuildError(
            f"{path}: {options.count} says {found.count}, found {len(found.rows)} rows"
        )
    return len(found.rows)

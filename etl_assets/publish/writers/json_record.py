"""One JSON object: the only row of a model, with its columns as members."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.output import (
    DocumentContext,
    FormatVersion,
    open_output,
    write_license,
)
from etl_assets.publish.writers.rows import Rows


class Options(FormatVersion):
    """The version alone."""


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Write the row to `document.file`; raises BuildError unless the model has exactly one row."""
    if len(rows) != 1:
        raise BuildError(f"{rows.path}: expected one row for {document.file}, found {len(rows)}")
    record = Options.model_validate(document.options).member | next(iter(rows))
    encoder = msgspec.json.Encoder(decimal_format="number")  # the default is a string
    with open_output(context.directory / document.file) as file:
        file.write(msgspec.json.format(encoder.encode(record), indent=1) + b"\n")
    written = file.describe(document.file, document.file, len(rows))
    return [written, *write_license(document, context)]


def count_rows(document: Document, directory: Path) -> int:
    """Returns 1; raises BuildError if the file is not one object."""
    path = directory / document.file
    try:
        msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BuildError(f"{path}: expected one object, found: {error}") from error
    return 1

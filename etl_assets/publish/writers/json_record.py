"""One JSON object: the single row of a model, its columns as members."""

from __future__ import annotations

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


class Options(Declaration):
    """There is nothing to choose."""


def write(rows: Rows, document: Document, candidate: Candidate) -> list[PublishedFile]:
    """The row as `document.file`; raises BuildError where the model has none or several."""
    if len(rows) != 1:
        raise BuildError(f"{rows.path}: expected one row for {document.file}, found {len(rows)}")
    encoder = msgspec.json.Encoder(decimal_format="number")
    with sink(candidate.directory / document.file) as file:
        file.write(msgspec.json.format(encoder.encode(next(iter(rows))), indent=1) + b"\n")
    written = file.written(document.file, document.file, len(rows))
    return [written, *write_notice(document, candidate)]


def held(document: Document, directory: Path) -> int:
    """1, for the file is one object; raises BuildError where it is not."""
    path = directory / document.file
    try:
        msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BuildError(f"{path}: expected one object, found: {error}") from error
    return 1

"""A table in parquet: the model's own file under another name.

The rows are not read; both names are hard links to one file where the file system allows it.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.run_directory import link_file
from etl_assets.publish.writers.output import DocumentContext, describe_file, write_license
from etl_assets.publish.writers.rows import Rows


class Options(Declaration):
    """None: columns and their order are those of the model."""


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Link the model's file to `document.file`."""
    target = context.directory / document.file
    link_file(rows.path, target)
    written = describe_file(target, document.file, document.file, len(rows))
    return [written, *write_license(document, context)]


def count_rows(document: Document, directory: Path) -> int:
    """The number of rows of the file; raises BuildError if it is not parquet."""
    path = directory / document.file
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise BuildError(f"{path}: expected a parquet file, found: {error}") from error

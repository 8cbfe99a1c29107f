"""A table in parquet: the model's own file under another name.

The rows are not read: both names lead to the same bytes, where the file system allows it.
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
from etl_assets.publish.writers.notice import write_notice
from etl_assets.publish.writers.registry import Candidate
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.sink import written_file


class Options(Declaration):
    """None: the model says which columns there are, and in which order."""


def write(rows: Rows, document: Document, candidate: Candidate) -> list[PublishedFile]:
    """Give the model's file the document's name."""
    target = candidate.directory / document.file
    link_file(rows.path, target)
    written = written_file(target, document.file, document.file, len(rows))
    return [written, *write_notice(document, candidate)]


def held(document: Document, directory: Path) -> int:
    """The file's rows; raises BuildError where it is no parquet."""
    path = directory / document.file
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise BuildError(f"{path}: expected a parquet file, found: {error}") from error

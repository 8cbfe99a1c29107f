"""A file that is written in pieces and hashed meanwhile, for every writer.

What the pieces are is the writer's; how a file appears is `etl_assets.storage.atomic_write`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from etl_assets.model.run_manifest import PublishedFile
from etl_assets.storage.atomic_write import atomic_file

BUFFER_BYTES = 1 << 20


class Sink:
    """Takes bytes in order; knows their digest and number."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self.size_bytes += len(data)
        self._file.write(data)

    def written(self, document: str, file: str, rows: int) -> PublishedFile:
        return PublishedFile(
            document=document,
            file=file,
            sha256=self._digest.hexdigest(),
            size_bytes=self.size_bytes,
            rows=rows,
        )


@contextmanager
def sink(target: Path) -> Iterator[Sink]:
    """A sink whose file appears under its name when the block ends well."""
    with atomic_file(target) as temporary, temporary.open("wb", buffering=BUFFER_BYTES) as file:
        yield Sink(file)


def written_file(path: Path, document: str, file: str, rows: int) -> PublishedFile:
    """What is told of a file that another library has written."""
    with path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return PublishedFile(
        document=document, file=file, sha256=sha256, size_bytes=path.stat().st_size, rows=rows
    )


def told(data: bytes, document: str, file: str, rows: int) -> PublishedFile:
    """What is told of a file with these bytes, without reading it again."""
    sha256 = hashlib.sha256(data).hexdigest()
    return PublishedFile(
        document=document, file=file, sha256=sha256, size_bytes=len(data), rows=rows
    )

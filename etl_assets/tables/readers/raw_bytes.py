"""The bytes of a stored file as readers take them: in chunks, whole, or as a file of text.

Gzip is unpacked where the bytes, not the name, say that they are packed. What they mean is each
reader's.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from etl_assets.model.errors import ContentError, HomeError
from etl_assets.storage.archives import GZIP_MAGIC, Gunzip

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE_BYTES = 1 << 16  # what has not been used of a piece is copied for every chunk it gives
UNBOUNDED = sys.maxsize  # validation has held the file to its declared limit


def read_chunks(path: Path) -> Iterator[bytes]:
    """The unpacked bytes, 128 KiB at a time; raises ContentError for broken gzip."""
    try:
        with path.open("rb") as file:
            is_packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            file.seek(0)
            pieces = iter(lambda: file.read(PIECE_BYTES), b"")
            yield from _unpacked(pieces) if is_packed else pieces
    except OSError as error:
        raise HomeError(f"{path}: expected a stored file, found: {error}") from error


def _unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    gunzip = Gunzip(UNBOUNDED)
    for piece in pieces:
        yield from gunzip.feed(piece)
    gunzip.finish()


def read_document(path: Path, limit_bytes: int) -> bytes:
    """All unpacked bytes of a file that may be held in memory at once."""
    parts, size = [], 0
    for chunk in read_chunks(path):
        parts.append(chunk)
        size += len(chunk)
        if size > limit_bytes:
            raise ContentError.of(
                "", f"a document of at most {limit_bytes:,} bytes", "a larger one"
            )
    return b"".join(parts)


class UnpackedFile(io.RawIOBase):
    """The same bytes as a file, for readers of text."""

    def __init__(self, path: Path) -> None:
        self._chunks = read_chunks(path)
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer)
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._held = memoryview(chunk)
        size = min(len(target), len(self._held))
        target[:size] = self._held[:size]
        self._held = self._held[size:]
        return size

"""The unpacked bytes of a stored file: in chunks, as one document, or as a file object.

Decoding them is done by the reader of each format.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from etl_assets.model.errors import HomeError
from etl_assets.storage.archives import UNPACKED_BLOCK_BYTES, XZ_MAGIC, Unpacker, unpacker_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# The decompressor copies the unused rest of its input for each chunk, so the input is short.
READ_BYTES = 1 << 16
MAX_CHUNK_BYTES = max(READ_BYTES, UNPACKED_BLOCK_BYTES)
UNBOUNDED = sys.maxsize  # the declared limit was checked by validation
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_chunks(path: Path) -> Iterator[bytes]:
    """The unpacked bytes, at most MAX_CHUNK_BYTES at a time; raises ContentError if broken.

    A file is unpacked if its bytes say that it is gzip or xz: names and types may say anything.
    """
    try:
        with path.open("rb") as file:
            unpacker = unpacker_of(file.read(len(XZ_MAGIC)), UNBOUNDED)
            file.seek(0)
            pieces = iter(lambda: file.read(READ_BYTES), b"")
            yield from _unpack(pieces, unpacker) if unpacker else pieces
    except OSError as error:
        raise HomeError(f"{path}: expected a stored file, found: {error}") from error


def _unpack(pieces: Iterator[bytes], unpacker: Unpacker) -> Iterator[bytes]:
    for piece in pieces:
        yield from unpacker.feed(piece)
    unpacker.finish()


def read_small(path: Path, max_bytes: int) -> bytes | None:
    """All unpacked bytes without a byte order mark; None if there are more than `max_bytes`."""
    data = bytearray()
    for chunk in read_chunks(path):
        data += chunk
        if len(data) > max_bytes:
            return None
    return bytes(data.removeprefix(BYTE_ORDER_MARK))


class UnpackedFile(io.RawIOBase):
    """The unpacked bytes as a file object, for the readers of text."""

    def __init__(self, path: Path) -> None:
        self._chunks = read_chunks(path)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer)
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

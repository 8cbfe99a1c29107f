"""The content codings of a response (RFC 9110, 8.4), which are undone as the body arrives.

Packing that belongs to the file, as of a `.json.gz`, is the readers' to undo.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from etl_assets.model.errors import ContentError
from etl_assets.storage.archives import GZIP_MAGIC, UNPACKED_BLOCK_BYTES, Gunzip

# RFC 9110, 8.4.1.3: a recipient takes x-gzip for gzip.
GZIP_CODINGS = frozenset({"gzip", "x-gzip"})
SUPPORTED_CODINGS = GZIP_CODINGS | {"deflate", "identity"}
MAX_CODINGS = 5
RAW_DEFLATE = -15
ZLIB_CHECK = 31
DEFLATE_METHOD = 8


class Decoder(Protocol):
    """Undoes one coding."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None: ...


def parse_codings(header: str | None) -> list[str]:
    """Returns the codings of a Content-Encoding in the order of their application.

    Raises ContentError for a coding that cannot be undone, and for more codings than any server
    needs.
    """
    names = [name.strip().lower() for name in (header or "").split(",")]
    codings = [name for name in names if name and name != "identity"]
    unsupported = [name for name in codings if name not in SUPPORTED_CODINGS]
    if unsupported or len(codings) > MAX_CODINGS:
        actual = repr((unsupported or [header or ""])[0][:80])
        raise ContentError.of("", "a Content-Encoding of gzip, deflate or identity", actual)
    return codings


def decode(
    chunks: Iterator[bytes], codings: Sequence[str], *, max_bytes: int, is_gzip_file: bool
) -> Iterator[bytes]:
    """Yields the content of a body with these codings.

    Raises ContentError for a body that is not coded as stated, and for more content than
    `max_bytes`.
    """
    for coding in reversed(codings[1:]):
        chunks = _undo(chunks, coding, max_bytes)
    if not codings:
        yield from chunks
    elif is_gzip_file and codings[0] in GZIP_CODINGS:
        yield from _undo_unless_file(chunks, codings[0], max_bytes)
    else:
        yield from _undo(chunks, codings[0], max_bytes)


def _undo(chunks: Iterator[bytes], coding: str, max_bytes: int) -> Iterator[bytes]:
    decoder: Decoder = Gunzip(max_bytes) if coding in GZIP_CODINGS else _Inflate(max_bytes)
    is_empty = True
    for chunk in chunks:
        is_empty = is_empty and not chunk
        yield from decoder.feed(chunk)
    if not is_empty:  # an empty body has no coding to undo
        decoder.finish()


def _undo_unless_file(chunks: Iterator[bytes], coding: str, max_bytes: int) -> Iterator[bytes]:
    """Yields a file that is declared as gzip, from a body that is stated to be coded with gzip.

    The header is ambiguous here. Most servers state it for the `.gz` file itself, as Apache does
    with `AddEncoding x-gzip .gz`; others compress the file once more on its way. The declared
    format decides: if the body without its coding is gzip, that is the file, and otherwise the body
    is the file as it is.
    """
    received: list[bytes] = []
    probe = Gunzip(max_bytes)
    start = b""
    for chunk in chunks:
        received.append(chunk)
        for block in probe.feed(chunk):
            start += block[: len(GZIP_MAGIC)]
            if len(start) >= len(GZIP_MAGIC):
                break
        if len(start) >= len(GZIP_MAGIC):
            break
    whole = _chain(received, chunks)
    yield from _undo(whole, coding, max_bytes) if start.startswith(GZIP_MAGIC) else whole


def _chain(first: Sequence[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    yield from first
    yield from rest


class _Inflate:
    """Unpacks `deflate`: the zlib format, or a bare deflate stream, which some servers send."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._unpacked_bytes = 0
        self._head = b""
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            self._head += data
            if len(self._head) < 2:  # a zlib header has two bytes (RFC 1950, 2.2)
                return
            is_zlib = (
                self._head[0] & 0x0F == DEFLATE_METHOD
                and int.from_bytes(self._head[:2]) % ZLIB_CHECK == 0
            )
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else RAW_DEFLATE)
            data = self._head
        while data:
            if self._stream.eof:
                raise ContentError.of("", "a body coded with deflate", "bytes after its end")
            try:
                block = self._stream.decompress(data, UNPACKED_BLOCK_BYTES)
            except zlib.error as error:
                raise ContentError.of("", "a body coded with deflate", str(error)) from error
            self._unpacked_bytes += len(block)
            if self._unpacked_bytes > self._max_bytes:
                raise ContentError.of("", f"at most {self._max_bytes:,} decoded bytes", "more")
            yield block
            data = self._stream.unconsumed_tail or self._stream.unused_data

    def finish(self) -> None:
        if self._stream is None or not self._stream.eof:
            raise ContentError.of("", "a whole body coded with deflate", "it cut off")

"""Unpacking gzip as a stream, within a bound; nothing is kept.

What the unpacked bytes must be is the caller's; zip archives are `etl_assets.storage.archives`.
"""

from __future__ import annotations

from collections.abc import Iterator

from isal import isal_zlib

from etl_assets.model.errors import ContentError

BLOCK_BYTES = 1 << 17  # what a processor's cache takes; a mebibyte costs twice the time
GZIP_WINDOW = 31
GZIP_MAGIC = b"\x1f\x8b"


class Gunzip:
    """Takes a gzip file in pieces, gives its bytes in pieces of 128 KiB at most."""

    def __init__(self, max_bytes: int) -> None:
        self.unpacked_bytes = 0
        self._max_bytes = max_bytes
        self._member = isal_zlib.decompressobj(GZIP_WINDOW)
        self._is_fresh = True
        self._members = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpacked pieces; raises ContentError for broken data and beyond the bound."""
        while data:
            if self._is_fresh and self._members:
                data = data.lstrip(b"\0")  # padding between and after members is allowed
                if not data:
                    return
                if not GZIP_MAGIC.startswith(data[: len(GZIP_MAGIC)]):
                    raise self._broken("not gzip again")
            yield self._piece(data)
            data = self._member.unconsumed_tail or self._next_member()

    def finish(self) -> None:
        """Raises ContentError where the file ends before gzip's own end."""
        if not self._is_fresh or not self._members:
            found = f"it cut off after {self.unpacked_bytes:,} unpacked bytes"
            raise ContentError.of("", "a whole gzip file", found)

    def _piece(self, data: bytes) -> bytes:
        try:
            piece = self._member.decompress(data, BLOCK_BYTES)
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub names no class
            raise self._broken(str(error)) from error
        self._is_fresh = False
        self.unpacked_bytes += len(piece)
        if self.unpacked_bytes > self._max_bytes:
            raise ContentError.of("", f"at most {self._max_bytes:,} unpacked bytes", "more")
        return piece

    def _broken(self, why: str) -> ContentError:
        place = "after its end" if self._is_fresh and self._members else "inside"
        return ContentError.of("", "a whole gzip file", f"broken data {place} ({why})")

    def _next_member(self) -> bytes:
        if not self._member.eof:
            return b""
        rest = self._member.unused_data
        self._member = isal_zlib.decompressobj(GZIP_WINDOW)
        self._is_fresh = True
        self._members += 1
        return rest

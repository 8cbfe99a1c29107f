"""The elements of a JSON array (RFC 8259) of any size, one after the other, each with its line.

At most one element is in memory. What an element must contain is decided by `json_array`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from etl_assets.model.records import Reject
from etl_assets.tables.readers.batch import DECODE_ERRORS, record_reject, row_text
from etl_assets.tables.readers.json_keys import decode_pairs
from etl_assets.tables.readers.json_stream import JsonStream
from etl_assets.tables.readers.raw_bytes import read_chunks

MAX_LINE_BYTES = 1 << 22  # the end of a line is searched so far: a file may have only one
# Checks the syntax of all elements and decodes none of them.
decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Element:
    """A decoded element, or the reject of one that is no JSON or too large."""

    line: int
    value: Any = None
    reject: Reject | None = None


class ElementReader(JsonStream):
    """Iterates over the elements of a file.

    An element that `decode` refuses with an error of msgspec is decoded with `json`, which accepts
    NaN, values of other types than declared, and objects that repeat a key. Raises ContentError if
    the file is not an array or breaks off.
    """

    def __init__(
        self, path: Path, decode: Callable[[bytes], Any], *, max_element_bytes: int
    ) -> None:
        super().__init__(read_chunks(path), max_element_bytes)
        self._decode = decode
        self._numbers = self.items()

    def __iter__(self) -> Iterator[Element]:
        while self._find_element():
            yield self._read_element()

    def skip_elements(self, count: int) -> None:
        """Pass over a number of elements, many lines at a time if each element ends a line."""
        while count and self._find_element():
            skipped = self._skip_lines(count)
            if not skipped:
                self.skip()
                skipped = 1
            count -= skipped

    def _find_element(self) -> bool:
        """Move to the next element; returns False at the end of the array and file."""
        has_more = next(self._numbers, None) is not None
        if not has_more:
            self.end()
        return has_more

    def _read_element(self) -> Element:
        line = self._line
        # Most files have one element on each line: then its end is found without a search for
        # brackets. A line that is no complete element does not decode.
        text = self._rest_of_line() if self._at_line_start else b""
        if 0 < len(text) <= self._max_value_bytes:
            element = self._decode_element(line, text)
            if not element.reject:
                self._advance(self._position + len(text))
                return element
        whole = self.read()
        if whole is None:
            return Element(line, reject=self.reject_oversize(f"line {line}"))
        return self._decode_element(line, whole)

    def _decode_element(self, line: int, text: bytes) -> Element:
        try:
            return Element(line, self._decode(text))
        except DECODE_ERRORS:
            pass
        try:
            return Element(line, decode_pairs(text))
        except DECODE_ERRORS as error:
            reject = record_reject(f"line {line}", "JSON", str(error), row_text(text))
            return Element(line, reject=reject)

    def _rest_of_line(self) -> bytes:
        """The line without the comma at its end; empty if its end is too far away."""
        self._at_line_start = False
        end = self._buffer.find(b"\n", self._position)
        while end < 0 and not self._is_file_read:
            searched = len(self._buffer) - self._position
            if searched >= min(MAX_LINE_BYTES, self._max_value_bytes):
                return b""
            self._read_on()
            end = self._buffer.find(b"\n", searched)
        line = bytes(memoryview(self._buffer)[self._position : max(end, self._position)])
        return line.rstrip().removesuffix(b",").rstrip()

    def _skip_lines(self, limit: int) -> int:
        """Pass over the complete lines of the buffer; returns the number of elements in them.

        Passes over none if the lines contain more than `limit` elements.
        """
        if not self._at_line_start:
            return 0
        end = self._buffer.rfind(b"\n", self._position)
        lines = bytes(memoryview(self._buffer)[self._position : max(end, self._position)]).rstrip()
        if not lines.endswith(b","):
            return 0
        try:
            count = len(decode_raw_list(b"[" + lines[:-1] + b"]"))
        except DECODE_ERRORS:
            return 0
        if count > limit:
            return 0
        self._advance(self._position + len(lines) - 1)
        return count

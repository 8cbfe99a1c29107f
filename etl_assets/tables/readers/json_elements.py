"""The elements of a JSON array (RFC 8259) of any size, one after the other, each with its line.

At most one element is in memory. What an element must contain is decided by `json_array`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from etl_assets.model.errors import ContentError
from etl_assets.tables.readers.batch import DECODE_ERRORS, row_text
from etl_assets.tables.readers.raw_bytes import BYTE_ORDER_MARK, read_chunks

MAX_ELEMENT_BYTES = 64 << 20
MAX_LINE_BYTES = 1 << 20  # the end of a line is searched so far: a file may have only one
WHITESPACE = re.compile(rb"[ \t\r\n]*+")
# A string ends with its line at the latest (a raw newline is not allowed in JSON), or a quote that
# is missing would make the following elements part of the string.
STRING = rb'"(?:[^"\\\n]|\\.)*+"'
# To the next bracket; and outside of all brackets also to the comma that ends the element. The
# possessive quantifiers keep a hostile file from making the search quadratic.
INSIDE = re.compile(rb'[^"\[\]{}]*+(?:' + STRING + rb'[^"\[\]{}]*+)*+([\[\]{}])')
OUTSIDE = re.compile(rb'[^",\[\]{}]*+(?:' + STRING + rb'[^",\[\]{}]*+)*+([\[\]{},])')
OPENING_BRACKETS = {b"]": b"[", b"}": b"{"}
# Checks the syntax of all elements and decodes none of them.
decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Element:
    """A decoded element, or the reason why it is no JSON and the beginning of its text."""

    line: int
    value: Any = None
    fault: str = ""
    text: str = ""


class ElementReader:
    """Iterates over the elements of a file.

    An element that `decode` refuses with an error of msgspec is decoded with `json`, which accepts
    NaN and values of other types than declared. Raises ContentError if the file is not an array or
    breaks off.
    """

    def __init__(
        self,
        path: Path,
        decode: Callable[[bytes], Any],
        *,
        max_element_bytes: int = MAX_ELEMENT_BYTES,
    ) -> None:
        self._decode = decode
        self._max_element_bytes = max_element_bytes
        self._chunks = read_chunks(path)
        self._buffer = b""
        self._position = 0  # in the buffer
        self._line = 1
        self._file_ended = False
        self._at_line_start = True  # only whitespace before the position in this line
        self._previous: Literal["opening", "comma", "element", "end"] = "opening"
        self._open()

    def __iter__(self) -> Iterator[Element]:
        while self._find_element():
            yield self._read_element()

    def skip(self, count: int) -> None:
        """Pass over a number of elements, many lines at a time if each element ends a line."""
        while count and self._find_element():
            skipped = self._skip_lines(count)
            if not skipped:
                self._read_element()
                skipped = 1
            count -= skipped

    def _open(self) -> None:
        self._read_on()
        if self._buffer.startswith(BYTE_ORDER_MARK):
            self._position = len(BYTE_ORDER_MARK)
        if self._skip_whitespace() != b"[":
            raise ContentError.of("", "a JSON array", f"a file that begins {self._excerpt()}")
        self._position += 1

    def _find_element(self) -> bool:
        """Move to the next element; returns False at the end of the array and file."""
        if self._previous == "end":
            return False
        byte = self._skip_whitespace()
        if byte == b"]" and self._previous != "comma":
            self._position += 1
            self._previous = "end"
            if self._skip_whitespace():
                raise self._error("nothing after the array", self._excerpt())
            return False
        if self._previous == "element":
            if byte != b",":
                actual = repr(row_text(byte)) if byte else "the end of the file"
                raise self._error("a comma or the array's end", actual)
            self._position += 1
            self._previous = "comma"
            self._skip_whitespace()
        return True

    def _read_element(self) -> Element:
        line, self._previous = self._line, "element"
        # Most files have one element on each line: then its end is found without a search for
        # brackets. A line that is no complete element does not decode.
        text = self._rest_of_line() if self._at_line_start else b""
        if text:
            element = self._decode_element(line, text)
            if not element.fault:
                self._advance(self._position + len(text))
                return element
        end = self._find_end_of_element()
        element = self._decode_element(line, self._buffer[self._position : end].rstrip())
        self._advance(end)
        return element

    def _decode_element(self, line: int, text: bytes) -> Element:
        try:
            return Element(line, self._decode(text))
        except DECODE_ERRORS:
            pass
        try:
            return Element(line, json.loads(text.decode()))
        except (ValueError, RecursionError) as error:
            return Element(line, fault=str(error), text=row_text(text))

    def _rest_of_line(self) -> bytes:
        """The line without the comma at its end; empty if its end is too far away."""
        self._at_line_start = False
        end = self._buffer.find(b"\n", self._position)
        while end < 0 and not self._file_ended:
            searched = len(self._buffer) - self._position
            if searched >= MAX_LINE_BYTES:
                break
            self._read_on()
            end = self._buffer.find(b"\n", searched)
        line = self._buffer[self._position : max(end, self._position)]
        return line.rstrip().removesuffix(b",").rstrip()

    def _find_end_of_element(self) -> int:
        """The position of the comma or bracket after the element, read into the buffer."""
        position, open_brackets = self._position, list[bytes]()
        while True:
            match = (INSIDE if open_brackets else OUTSIDE).match(self._buffer, position)
            if match is None:
                position = self._extend_element(position)
                continue
            mark = match[1]
            if mark in OPENING_BRACKETS.values():
                open_brackets.append(mark)
            elif open_brackets:
                if open_brackets.pop() != OPENING_BRACKETS[mark]:
                    raise self._error("brackets that match", f"{mark.decode()!r} out of place")
            elif mark == b"}" or not self._buffer[self._position : match.start(1)].strip():
                raise self._error("an element", repr(mark.decode()))
            else:
                return match.start(1)
            position = match.end()

    def _extend_element(self, position: int) -> int:
        """Read on within an element; returns the position in the new buffer."""
        searched = position - self._position
        if self._file_ended:
            raise self._error("an element that ends", "the end of the file, or a text not closed")
        if len(self._buffer) - self._position > self._max_element_bytes:
            expected = f"an element of at most {self._max_element_bytes:,} bytes"
            raise self._error(expected, "more without its end, or a text not closed")
        self._read_on()
        return searched

    def _skip_lines(self, limit: int) -> int:
        """Pass over the complete lines of the buffer; returns the number of elements in them.

        Passes over none if the lines contain more than `limit` elements.
        """
        if not self._at_line_start:
            return 0
        end = self._buffer.rfind(b"\n", self._position)
        lines = self._buffer[self._position : max(end, self._position)].rstrip()
        if not lines.endswith(b","):
            return 0
        try:
            count = len(decode_raw_list(b"[" + lines[:-1] + b"]"))
        except DECODE_ERRORS:
            return 0
        if count > limit:
            return 0
        self._advance(self._position + len(lines) - 1)
        self._previous = "element"
        return count

    def _skip_whitespace(self) -> bytes:
        """Move to the next byte that is no whitespace; returns it, or nothing at the end."""
        while True:
            end = WHITESPACE.match(self._buffer, self._position).end()  # type: ignore[union-attr]  # it may be empty
            self._advance(end)
            if end < len(self._buffer) or self._file_ended:
                return self._buffer[end : end + 1]
            self._read_on()

    def _advance(self, end: int) -> None:
        if lines := self._buffer.count(b"\n", self._position, end):
            self._line += lines
            self._at_line_start = True
        self._position = end

    def _read_on(self) -> None:
        """Drop what is before the position, and read at least as much as remains.

        Doubling keeps a long element from being copied for every chunk.
        """
        rest = self._buffer[self._position :]
        parts, size = [rest], 0
        while size <= len(rest):
            chunk = next(self._chunks, None)
            if chunk is None:
                self._file_ended = True
                break
            parts.append(chunk)
            size += len(chunk)
        self._buffer, self._position = b"".join(parts), 0

    def _excerpt(self) -> str:
        return repr(row_text(self._buffer[self._position :])[:80])

    def _error(self, expected: str, actual: str) -> ContentError:
        return ContentError.of(f"line {self._line}", expected, actual)

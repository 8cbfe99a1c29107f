"""The elements of a JSON array (RFC 8259) of any size, one after the other, each with its line.

An element that ends its line is decoded from there; any other is found by its brackets, so that
neither a string nor a record is ever cut. At most one element is held. What an element must be is
the reader's.
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
from etl_assets.tables.readers.raw_bytes import read_chunks

MAX_ELEMENT_BYTES = 64 << 20
MAX_LINE_BYTES = 1 << 20  # a line's end is looked for so far, lest a file without any be held whole
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SPACE = re.compile(rb"[ \t\r\n]*+")
STRING = rb'"(?:[^"\\\n]|\\.)*+"'  # a line that was cut must not swallow the next
# Up to the next bracket, and outside of brackets to the comma that ends the element.
INSIDE = re.compile(rb'[^"\[\]{}]*+(?:' + STRING + rb'[^"\[\]{}]*+)*+([\[\]{}])')
OUTSIDE = re.compile(rb'[^",\[\]{}]*+(?:' + STRING + rb'[^",\[\]{}]*+)*+([\[\]{},])')
OPENS = {b"]": b"[", b"}": b"{"}
PACKED = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Element:
    """A decoded element, or why it could not be decoded and how it begins."""

    line: int
    value: Any = None
    fault: str = ""
    text: str = ""


class ElementReader:
    """A window on the file that moves on element by element.

    `decode` may refuse, with msgspec's errors, what `json` then takes as it is: a number that is
    none, or another shape than the declared one. Raises ContentError where the file is no array or
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
        self._data = b""
        self._at = 0
        self._line = 1
        self._has_ended = False  # the file, not the window
        self._begins_line = True  # nothing but space stands before in this line
        self._before: Literal["opening", "comma", "element", "all"] = "opening"
        self._open()

    def __iter__(self) -> Iterator[Element]:
        while self._has_another():
            yield self._element()

    def skip(self, count: int) -> None:
        """Pass over so many elements: whole lines at once where elements end with their lines."""
        while count and self._has_another():
            passed = self._pass_lines(count)
            if not passed:
                self._element()
                passed = 1
            count -= passed

    def _open(self) -> None:
        self._more()
        if self._data.startswith(BYTE_ORDER_MARK):
            self._at = len(BYTE_ORDER_MARK)
        if self._next() != b"[":
            begins = row_text(self._data[self._at :])[:80]
            raise ContentError.of("", "a JSON array", f"a file that begins {begins!r}")
        self._at += 1

    def _has_another(self) -> bool:
        """Whether an element follows, where the window then stands; else the file is at its end."""
        if self._before == "all":
            return False
        mark = self._next()
        if mark == b"]" and self._before != "comma":
            self._at += 1
            self._before = "all"
            if self._next():
                begins = row_text(self._data[self._at :])[:80]
                raise self._broken("nothing after the array", repr(begins))
            return False
        if self._before == "element":
            if mark != b",":
                found = repr(row_text(mark)) if mark else "the end of the file"
                raise self._broken("a comma or the array's end", found)
            self._at += 1
            self._before = "comma"
            self._next()
        return True

    def _element(self) -> Element:
        line, self._before = self._line, "element"
        text = self._rest_of_line() if self._begins_line else b""
        if text:
            element = self._decoded(line, text)
            if not element.fault:
                self._advance(self._at + len(text))
                return element
        end = self._end_of_element()
        element = self._decoded(line, self._data[self._at : end].rstrip())
        self._advance(end)
        return element

    def _decoded(self, line: int, text: bytes) -> Element:
        try:
            return Element(line, self._decode(text))
        except DECODE_ERRORS:
            pass
        try:
            return Element(line, json.loads(text.decode()))
        except (ValueError, RecursionError) as error:
            return Element(line, fault=str(error), text=row_text(text))

    def _rest_of_line(self) -> bytes:
        """The line without the comma at its end; empty where no end is in reach."""
        self._begins_line = False
        end = self._data.find(b"\n", self._at)
        while end < 0 and not self._has_ended and len(self._data) - self._at < MAX_LINE_BYTES:
            seen = len(self._data) - self._at
            self._more()
            end = self._data.find(b"\n", seen)
        line = self._data[self._at : end] if end >= 0 else b""
        return line.rstrip().removesuffix(b",").rstrip()

    def _end_of_element(self) -> int:
        """Where the comma or bracket stands that ends the element, in a window that reaches it."""
        ahead, opened = self._at, list[bytes]()
        while True:
            found = (INSIDE if opened else OUTSIDE).match(self._data, ahead)
            if found is None:
                ahead = self._reach_on(ahead)
                continue
            mark = found[1]
            if mark in OPENS.values():
                opened.append(mark)
            elif opened:
                if opened.pop() != OPENS[mark]:
                    raise self._broken("brackets that match", f"{mark.decode()!r} out of place")
            elif mark == b"}" or not self._data[self._at : found.start(1)].strip():
                raise self._broken("an element", repr(mark.decode()))
            else:
                return found.start(1)
            ahead = found.end()

    def _reach_on(self, ahead: int) -> int:
        """Take more of the file into the window; returns `ahead` as it stands there then."""
        passed = ahead - self._at
        if self._has_ended:
            raise self._broken("an element that ends", "the end of the file, or a text not closed")
        if len(self._data) - self._at > self._max_element_bytes:
            found = "more without its end, or a text not closed"
            raise self._broken(f"an element of at most {self._max_element_bytes:,} bytes", found)
        self._more()
        return passed

    def _pass_lines(self, most: int) -> int:
        """The number of elements in the window's whole lines, passed over if they are not more."""
        end = self._data.rfind(b"\n", self._at) if self._begins_line else -1
        lines = self._data[self._at : end].rstrip() if end >= 0 else b""
        if not lines.endswith(b","):
            return 0
        try:
            count = len(PACKED(b"[" + lines[:-1] + b"]"))
        except DECODE_ERRORS:
            return 0
        if count > most:
            return 0
        self._advance(self._at + len(lines) - 1)
        self._before = "element"
        return count

    def _next(self) -> bytes:
        """The next byte that is no space, where the window then stands; empty at the file's end."""
        while True:
            end = SPACE.match(self._data, self._at).end()  # type: ignore[union-attr]  # it may be empty
            self._advance(end)
            if end < len(self._data) or self._has_ended:
                return self._data[end : end + 1]
            self._more()

    def _advance(self, end: int) -> None:
        if lines := self._data.count(b"\n", self._at, end):
            self._line += lines
            self._begins_line = True
        self._at = end

    def _more(self) -> None:
        """Read on, at least as much as is held, so that a long element is not copied many times."""
        held = self._data[self._at :]
        parts, size = [held], 0
        while size <= len(held):
            chunk = next(self._chunks, None)
            if chunk is None:
                self._has_ended = True
                break
            parts.append(chunk)
            size += len(chunk)
        self._data, self._at = b"".join(parts), 0

    def _broken(self, expected: str, found: str) -> ContentError:
        return ContentError.of(f"line {self._line}", expected, found)

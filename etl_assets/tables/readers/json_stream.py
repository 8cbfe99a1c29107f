"""A JSON text (RFC 8259) of any size, read value by value: at most one of them is in memory.

Which values are read, and what is done about one that is too large, is decided by the readers. The
syntax within a value is checked where it is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from etl_assets.model.errors import ContentError
from etl_assets.model.records import Reject
from etl_assets.tables.readers.batch import DECODE_ERRORS, oversize_reject, row_text
from etl_assets.tables.readers.raw_bytes import BYTE_ORDER_MARK

WHITESPACE = re.compile(rb"[ \t\r\n]*+")
# A string ends with its line at the latest (a raw newline is not allowed in JSON), or a quote that
# is missing would make what follows part of the string.
STRING_REST = re.compile(rb'[^"\\\n]*+(?>(?:\\[^\n][^"\\\n]*+)*)')
STRING = rb'"' + STRING_REST.pattern + rb'"'
# To the next bracket, to a string that is not complete, or to the end of the buffer; outside of all
# brackets also to the comma that ends the value. Objects and lists without others in them are
# passed over at once. Possessive quantifiers and atomic groups keep a hostile file from making the
# search quadratic. A possessive group would be shorter than an atomic one, but matches too little
# before Python 3.11.5 (https://github.com/python/cpython/issues/106052).
FLAT = rb'[^"\[\]{}]*+(?>(?:' + STRING + rb'[^"\[\]{}]*+)*)'
INSIDE = re.compile(FLAT + rb"(?:(?>\{" + FLAT + rb"\}|\[" + FLAT + rb"\])" + FLAT + rb")*+")
OUTSIDE = re.compile(rb'[^",\[\]{}]*+(?>(?:' + STRING + rb'[^",\[\]{}]*+)*)')
BEFORE_COLON = re.compile(rb'[^",:\[\]{}]*+(?>(?:' + STRING + rb'[^",:\[\]{}]*+)*)')
CLOSING_BRACKETS = {ord("["): ord("]"), ord("{"): ord("}")}
QUOTE, BACKSLASH, NEWLINE = b'"\\\n'
BRACKETS = re.compile(rb"[\[{]+|[\]}]+")
# Of brackets that are compared with those that close them. Neither msgspec nor json decode a tenth
# of it, so that such a value is a reject.
MAX_DEPTH = 10_000
SHOWN_BYTES = 8_000  # of a value that is too large


class JsonStream:
    """A JSON text in chunks, with a position in it.

    `items` and `entries` lead to the values of a list or an object, each of which must be read,
    passed over or led into before the next one. Raises ContentError for a text that breaks off or
    whose brackets and quotes do not match.
    """

    def __init__(
        self, chunks: Iterator[bytes], max_value_bytes: int, start: bytearray | None = None
    ) -> None:
        """`start` are the bytes before the chunks; they must not be used any more."""
        self._chunks = chunks
        self._max_value_bytes = max_value_bytes
        self._buffer = bytearray() if start is None else start
        self._position = 0  # in the buffer
        self._line = 1
        self._at_line_start = True  # only whitespace before the position in this line
        self._is_file_read = False
        if not self._buffer:
            self._read_on()
        if self._buffer.startswith(BYTE_ORDER_MARK):
            self._position = len(BYTE_ORDER_MARK)

    def next_byte(self) -> bytes:
        """Move to the next byte that is no whitespace; returns it, or nothing at the end."""
        while True:
            self._advance(WHITESPACE.match(self._buffer, self._position).end())  # type: ignore[union-attr]  # it may be empty
            if self._position < len(self._buffer) or self._is_file_read:
                return bytes(self._buffer[self._position : self._position + 1])
            self._read_on()

    def items(self) -> Iterator[int]:
        """Lead to each item of the list at the position; yields its number, from 1."""
        self._open(b"[", "a JSON array")
        number = 0
        has_more = self.next_byte() != b"]" or self._close()
        while has_more:
            number += 1
            yield number
            has_more = self._go_on(b"]", "a comma or the array's end")

    def entries(self) -> Iterator[str | Reject]:
        """Lead to the value of each key of the object at the position; yields the key.

        A key that is too large is a reject.
        """
        self._open(b"{", "a JSON object")
        has_more = self.next_byte() != b"}" or self._close()
        while has_more:
            yield self._read_key()
            has_more = self._go_on(b"}", "a comma or the object's end")

    def read(self) -> bytes | None:
        """Returns the value at the position; None for one that is too large and remains there."""
        return self._read(_Scan(OUTSIDE, self.error))

    def skip(self) -> None:
        """Pass over the value at the position."""
        self._skip(_Scan(OUTSIDE, self.error))

    def reject_oversize(self, where: str) -> Reject:
        """Pass over the value at the position, and reject it for its size."""
        return self._reject(where, *self._skip(_Scan(OUTSIDE, self.error)))

    def pass_over(self, key: str | Reject) -> Iterator[Reject]:
        """Pass over the value of a key that is not read; yields a reject for a text too large."""
        scan = _Scan(OUTSIDE, self.error)
        size, head = self._skip(scan)
        if isinstance(key, Reject):
            yield key
        elif scan.longest_text > self._max_value_bytes:
            yield self._reject(key, size, head)

    def end(self) -> None:
        """Raises ContentError if anything follows."""
        if self.next_byte():
            raise self.error("nothing after the end", self.excerpt())

    def rest(self) -> bytearray:
        """The bytes from the position on that were taken from the chunks."""
        return self._buffer[self._position :]

    def error(self, expected: str, actual: str) -> ContentError:
        return ContentError.of(f"line {self._line}", expected, actual)

    def excerpt(self) -> str:
        return repr(row_text(bytes(self._buffer[self._position : self._position + 400]))[:80])

    def _open(self, bracket: bytes, expected: str) -> None:
        if self.next_byte() != bracket:
            raise self.error(expected, f"text that begins {self.excerpt()}")
        self._advance(self._position + 1)

    def _close(self) -> bool:
        """Move behind a closing bracket; returns False, as nothing is before it."""
        self._advance(self._position + 1)
        return False

    def _go_on(self, bracket: bytes, expected: str) -> bool:
        """Move behind a comma or the closing bracket; returns True after a comma."""
        byte = self.next_byte()
        if byte not in {b",", bracket}:
            raise self.error(expected, repr(row_text(byte)) if byte else "the end of the file")
        self._advance(self._position + 1)
        if byte == b",":
            self.next_byte()
        return byte == b","

    def _read_key(self) -> str | Reject:
        where = f"line {self._line}, a key"
        text = self._read(_Scan(BEFORE_COLON, self.error))
        if text is None:
            key: str | Reject = self._reject(where, *self._skip(_Scan(BEFORE_COLON, self.error)))
        else:
            key = self._decode_key(text)
        if self.next_byte() != b":":
            raise self.error("a colon after a key", self.excerpt())
        self._advance(self._position + 1)
        self.next_byte()
        return key

    def _decode_key(self, text: bytes) -> str:
        try:
            return msgspec.json.decode(text, type=str)
        except DECODE_ERRORS as error:
            raise self.error("a key", f"{row_text(text)[:80]!r} ({error})") from error

    def _read(self, scan: _Scan) -> bytes | None:
        cursor = self._position
        while True:
            cursor = scan.run(self._buffer, cursor)
            size = cursor - self._position
            if size > self._max_value_bytes:
                return None
            if scan.is_finished:
                break
            self._read_on()
            cursor = size  # as the position is now at the start of the buffer
        text = bytes(memoryview(self._buffer)[self._position : cursor]).rstrip()
        if not text:
            raise self.error("a value", self.excerpt())
        self._advance(cursor)
        return text

    def _reject(self, where: str, size: int, head: bytes) -> Reject:
        return oversize_reject(where, size, self._max_value_bytes, head)

    def _skip(self, scan: _Scan) -> tuple[int, bytes]:
        """Pass over a value; returns its size and its beginning."""
        size, head = 0, b""
        while True:
            cursor = scan.run(self._buffer, self._position)
            size += cursor - self._position
            shown = self._position + SHOWN_BYTES - len(head)
            head += self._buffer[self._position : min(cursor, shown)]
            self._advance(cursor)
            if scan.is_finished:
                return size, head
            self._read_on()

    def _advance(self, end: int) -> None:
        if lines := self._buffer.count(b"\n", self._position, end):
            self._line += lines
            self._at_line_start = True
        self._position = end

    def _read_on(self) -> None:
        """Drop what is before the position, and read the next chunk."""
        if self._is_file_read:
            raise self.error("a value that ends", "the end of the file, or a text not closed")
        del self._buffer[: self._position]
        self._position = 0
        chunk = next(self._chunks, None)
        if chunk is None:
            self._is_file_read = True
        else:
            self._buffer += chunk


class _Scan:
    """A search for the end of a value, which goes on in the next chunk where it has stopped.

    `outside` matches up to the mark that ends the value, if that is outside of all brackets.
    """

    def __init__(
        self, outside: re.Pattern[bytes], error: Callable[[str, str], ContentError]
    ) -> None:
        self._outside = outside
        self._error = error
        self._expected_brackets = bytearray()
        self._deeper_brackets = 0  # which are counted only
        self._is_in_text = False
        self._text_size = 0
        self.longest_text = 0
        self.is_finished = False

    def run(self, buffer: bytearray, cursor: int) -> int:
        """Returns the position where the value ends, or up to which the buffer was searched."""
        while cursor < len(buffer) and not self.is_finished:
            if not self._is_in_text:
                cursor = self._run_to_mark(buffer, cursor)
                continue
            start = cursor
            cursor = STRING_REST.match(buffer, start).end()  # type: ignore[union-attr]  # it may be empty
            self._text_size += cursor - start
            if cursor >= len(buffer) - 1 and bytes(buffer[cursor:]) in {b"", b"\\"}:
                break  # the text, or an escape in it, continues in the next chunk
            if buffer[cursor] != QUOTE:
                raise self._error("a text that ends in its line", "a text not closed")
            self.longest_text = max(self.longest_text, self._text_size)
            self._is_in_text = False
            cursor += 1
        return cursor

    def _run_to_mark(self, buffer: bytearray, cursor: int) -> int:
        """Pass over texts and scalars to a mark, and over a mark that does not end the value."""
        pattern = INSIDE if self._expected_brackets else self._outside
        cursor = pattern.match(buffer, cursor).end()  # type: ignore[union-attr]  # it may be empty
        if cursor == len(buffer):
            return cursor
        mark = buffer[cursor]
        if mark == QUOTE:
            self._is_in_text, self._text_size = True, 0
        elif len(self._expected_brackets) >= MAX_DEPTH:
            return self._run_deep(buffer, cursor)
        elif mark in CLOSING_BRACKETS:
            self._expected_brackets.append(CLOSING_BRACKETS[mark])
        elif not self._expected_brackets:
            self.is_finished = True
            return cursor
        elif mark != self._expected_brackets.pop():
            raise self._error("brackets that match", f"{chr(mark)!r} out of place")
        return cursor + 1

    def _run_deep(self, buffer: bytearray, cursor: int) -> int:
        """Pass over brackets in such a depth that they are only counted."""
        brackets = BRACKETS.match(buffer, cursor)[0]  # type: ignore[index]  # a bracket is there
        if brackets[0] in CLOSING_BRACKETS:
            self._deeper_brackets += len(brackets)
        elif self._deeper_brackets:
            brackets = brackets[: self._deeper_brackets]
            self._deeper_brackets -= len(brackets)
        else:
            brackets = brackets[:1]
            self._expected_brackets.pop()
        return cursor + len(brackets)

"""JSON texts (RFC 8259) decoded so that no repeated key of an object is lost.

Whether such an object is a reject is decided by the readers. Many records of one form are decoded
faster by `etl_assets.tables.readers.json_structs`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import jiter
import msgspec
import numpy as np

SHOWN_KEYS = 5
QUOTE, COLON, SPACE, BACKSLASH = b'": \\'
BLOCK_BYTES = 1 << 16  # stays in the processor's cache
MAX_LOOK_BACK = 64
# What is before a colon that ends no key: blanks after anything but a quote; an escaped quote; or
# the quote that opens a text after a key, which ends with a quote that cannot open one.
PROSE = re.compile(
    rb'[^" \t\r\n][ \t\r\n]*\Z'
    rb'|[^\\](?:\\\\)*\\"[ \t\r\n]*\Z'
    rb'|[^\\{\[,: \t\r\n]"[ \t\r\n]*:[ \t\r\n]*"\Z'
)


T = TypeVar("T")
Text = bytes | memoryview


@dataclass(frozen=True, slots=True)
class RepeatedKeys:
    """An object with a key more than once, as the pairs of the document."""

    pairs: list[tuple[str, Any]]

    def __str__(self) -> str:
        counts = Counter(key for key, _ in self.pairs)
        repeated = sorted(key for key, count in counts.items() if count > 1)
        shown = ", ".join(key[:200] for key in repeated[:SHOWN_KEYS])
        if len(repeated) > SHOWN_KEYS:
            shown += f" and {len(repeated) - SHOWN_KEYS:,} others"
        return f"{shown} more than once"


def decode(text: bytes) -> Any:  # noqa: ANN401 - whatever the text contains
    """The value of a text, in which an object with repeated keys is a RepeatedKeys.

    Raises one of `DECODE_ERRORS` for a text that is no JSON.
    """
    try:
        return jiter.from_json(
            text, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True
        )
    except ValueError:
        msgspec.json.decode(
            text
        )  # raises the errors of the other readers for a text that is no JSON
        return decode_pairs(text)


def decode_pairs(text: bytes) -> Any:  # noqa: ANN401 - whatever the text contains
    """As `decode`, at four times the cost. NaN and infinity are accepted as numbers."""
    try:
        return json.loads(text.decode(), object_pairs_hook=_object)
    except ValueError as error:  # also for a number of thousands of digits
        raise msgspec.DecodeError(str(error)) from error


def decode_unique(text: bytes) -> Any:  # noqa: ANN401 - whatever the text contains
    """The value of a text; raises msgspec.ValidationError if one of its objects repeats a key."""
    value = decode(text)
    for repeated in _repeated_keys(value):
        raise msgspec.ValidationError(f"expected each key of an object once, found {repeated}")
    return value


def convert(value: Any, kind: type[T]) -> T:  # noqa: ANN401 - whatever was decoded
    """A value of `decode` in a type; raises msgspec.ValidationError if it does not have it.

    Keys that are repeated where the type does not look are no fault.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        if RepeatedKeys.__name__ not in str(error):
            raise
        repeated = ", ".join(map(str, _repeated_keys(value)))
        message = f"expected each field once, found {repeated}"
        raise msgspec.ValidationError(message) from error


def has_at_most(count: int, text: Text, unread: Text = b"") -> bool:
    """True only if a JSON text has at most so many keys, beside those of its values `unread`.

    It may be False for texts that begin with a colon.
    """
    surplus = count_keys(text) - count_keys(unread) - count
    return surplus <= 0 or surplus <= _count_prose(text) - _count_prose(unread)


def count_keys(text: Text) -> int:
    """The number of keys in a JSON text, or more.

    Counts the colons after a quote, a blank, or an exclamation mark.
    """
    return sum(int(np.count_nonzero(ends)) for ends, _ in _key_ends(text))


def _count_prose(text: Text) -> int:
    """The number of those colons that certainly end no key."""
    count = 0
    data = np.frombuffer(text, np.uint8)
    for ends, start in _key_ends(text):
        before = data[start : start + len(ends)]
        is_rare = before != QUOTE
        for byte in (BACKSLASH, COLON, SPACE):
            is_rare[1:] |= before[:-1] == byte
        is_rare[:1] = True
        for position in (np.flatnonzero(ends & is_rare) + start + 1).tolist():
            look_back = bytes(text[max(0, position - MAX_LOOK_BACK) : position])
            count += PROSE.search(look_back) is not None
    return count


def _key_ends(text: Text) -> Iterator[tuple[Any, int]]:
    """For each block of a text whether the byte after each of its bytes is such a colon.

    Yields also the position of the block. The result is overwritten by the next one.
    """
    data = np.frombuffer(text, np.uint8)
    is_end, may_precede = np.empty((2, BLOCK_BYTES), np.bool_)
    for start in range(0, len(data) - 1, BLOCK_BYTES):
        block = data[start : start + BLOCK_BYTES + 1]
        ends, precede = is_end[: len(block) - 1], may_precede[: len(block) - 1]
        np.equal(block[1:], COLON, out=ends)
        np.less_equal(block[:-1], QUOTE, out=precede)
        np.logical_and(ends, precede, out=ends)
        yield ends, start


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | RepeatedKeys:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else RepeatedKeys(pairs)


def _repeated_keys(value: object) -> Iterator[RepeatedKeys]:
    if isinstance(value, RepeatedKeys):
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _repeated_keys(child)

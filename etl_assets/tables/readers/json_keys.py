"""JSON texts (RFC 8259) decoded so that no repeated key of an object is lost.

Whether such an object is a reject is decided by the readers. A record with a value of another type
is converted here as far as it can be read. Many records of one form are decoded faster by
`etl_assets.tables.readers.json_structs`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

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
S = TypeVar("S", bound=msgspec.Struct)
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
        msgspec.json.decode(text)  # raises the errors of the other readers for an invalid text
        return decode_pairs(text)


def decode_with_nan(text: bytes) -> Any:  # noqa: ANN401 - whatever the text contains
    """As `decode`, but NaN and infinity are accepted as numbers."""
    try:
        return decode(text)
    except msgspec.DecodeError:
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


class LooseConverter:
    """Converts objects to structs in which a field may have a value of another type.

    Such a scalar, or a list of scalars, is kept as it is, for the contract to judge. An object or a
    list of objects is left out, and added to `dropped` with the name of its field. The fields
    `needed`, of any struct, must have their types. The items of the lists `kept` are not converted.
    """

    def __init__(self, needed: Container[str] = (), kept: Container[str] = ()) -> None:
        self._needed = needed
        self._kept = kept
        self.dropped: list[tuple[str, Any]] = []

    def decode(self, text: bytes, kind: type[S]) -> S:
        """The struct of a text. NaN and infinity are accepted as numbers.

        Raises one of `DECODE_ERRORS`, also for a repeated, missing or needed field.
        """
        value = decode_with_nan(text)
        try:
            return convert(value, kind)
        except msgspec.ValidationError:
            return self._convert_object(value, kind)

    def _convert_object(self, value: Any, kind: type[S]) -> S:  # noqa: ANN401 - whatever was decoded
        if not isinstance(value, dict):
            raise msgspec.ValidationError(f"expected an object, found {_describe(value)}")
        fields: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            name = field.encode_name
            if value.get(name) is not None:
                fields[field.name] = self._convert_value(name, value[name], field.type)
            elif field.required:
                raise msgspec.ValidationError(f"expected a field {name}, found none")
        return kind(**fields)

    def _convert_value(self, name: str, value: Any, kind: Any) -> Any:  # noqa: ANN401 - whatever was decoded
        struct, item_struct = _struct_kinds(kind)
        if struct and isinstance(value, dict):
            return self._convert_object(value, struct)
        if item_struct and isinstance(value, list) and name not in self._kept:
            items = [self._convert_value(name, item, item_struct) for item in value]
            return [item for item in items if item is not None]
        for repeated in _repeated_keys(value):
            raise msgspec.ValidationError(f"expected each field once, found {repeated}")
        if name in self._kept:
            return convert(value, list[Any])
        if name in self._needed:
            return convert(value, kind)
        if not struct and not item_struct:
            return value
        self.dropped.append((name, value))
        return None


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


def _struct_kinds(kind: Any) -> tuple[Any, Any]:  # noqa: ANN401 - a type or a generic one
    """The struct of a type, and the struct of the items of its list; None for none."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    item_kinds = [get_args(kind)[0] for kind in kinds if get_origin(kind) is list]
    return next(filter(_is_struct, kinds), None), next(filter(_is_struct, item_kinds), None)


def _is_struct(kind: Any) -> bool:  # noqa: ANN401 - a type or a generic one
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _describe(value: object) -> str:
    if isinstance(value, RepeatedKeys):
        return f"{value}"
    return type(value).__name__


def _repeated_keys(value: object) -> Iterator[RepeatedKeys]:
    if isinstance(value, RepeatedKeys):
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _repeated_keys(child)

"""Keys that an object of a JSON text (RFC 8259) has more than once.

msgspec keeps the last value of such a key and reports none of them. So what it decodes counts only
if the text has no more keys than the result; any other text is decoded pair by pair by `json`, and
converted to structs here.
Counting the keys of structs instead of dictionaries is `etl_assets.tables.readers.json_shapes`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import msgspec
import numpy as np

# Every key of a text matches. A quote within a text may match too, if a colon follows it.
KEY_END = re.compile(rb'"[ \t\r\n]*:')
QUOTE, COLON, BACKSLASH = ord('"'), ord(":"), ord("\\")
SHORT_BYTES = 2_000  # up to here the regular expression is faster than some calls of NumPy
BLOCK_BYTES = 1 << 16  # stays in the processor's cache
MAX_LOOK_BACK = 64
# What is before a colon that ends no key: blanks after anything but a quote, or an escaped quote.
PROSE = re.compile(rb'[^" \t\r\n][ \t\r\n]*\Z|[^\\](?:\\\\)*\\"[ \t\r\n]*\Z')
SHOWN_KEYS = 5

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)
Text = bytes | bytearray | memoryview | msgspec.Raw


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
    value = msgspec.json.decode(text)
    return value if has_at_most(_count_decoded(value), text) else decode_pairs(text)


def decode_with_nan(text: bytes) -> Any:  # noqa: ANN401 - whatever the text contains
    """As `decode`, but NaN and infinity are accepted as numbers."""
    try:
        return decode(text)
    except msgspec.DecodeError:
        return decode_pairs(text)


def decode_pairs(text: Text) -> Any:  # noqa: ANN401 - whatever the text contains
    """As `decode`, at four times the cost. NaN and infinity are accepted as numbers."""
    try:
        return json.loads(bytes(text).decode(), object_pairs_hook=_object)
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
    """Converts decoded objects to structs in which a field may have a value of another type.

    Such a scalar, or a list of scalars, is kept as it is, for the contract to judge. An object or a
    list of objects is left out, and added to `dropped` with the name of its field. The fields
    `needed`, of any struct, must have their types, and the lists `kept` are not converted.
    """

    def __init__(self, needed: Container[str] = (), kept: Container[str] = ()) -> None:
        self._needed = needed
        self._kept = kept
        self.dropped: list[tuple[str, Any]] = []

    def convert(self, value: Any, kind: type[S]) -> S:  # noqa: ANN401 - whatever was decoded
        """A struct; raises msgspec.ValidationError for a repeated, missing or needed field."""
        if not isinstance(value, dict):
            raise msgspec.ValidationError(f"expected an object, found {_describe(value)}")
        fields: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            name = field.encode_name
            if name in value:
                fields[field.name] = self._convert_field(name, value[name], field.type)
            elif field.required:
                raise msgspec.ValidationError(f"expected a field {name}, found none")
        return kind(**fields)

    def _convert_field(self, name: str, value: Any, kind: Any) -> Any:  # noqa: ANN401 - as above
        if value is None:
            return None
        if name in self._kept:
            _refuse_repeated_keys(value)
            return convert(value, list[Any])
        struct, item_struct = _struct_kinds(kind)
        if struct and isinstance(value, dict):
            return self.convert(value, struct)
        if item_struct and isinstance(value, list):
            items = [self._convert_field(name, item, item_struct) for item in value]
            return [item for item in items if item is not None]
        if name in self._needed:
            return convert(value, kind)
        return self._drop(name, value) if struct or item_struct else value

    def _drop(self, name: str, value: object) -> None:
        _refuse_repeated_keys(value)
        self.dropped.append((name, value))


def count_keys(text: Text) -> int:
    """The number of keys in a JSON text, or more: texts that begin with a colon count too."""
    return len(KEY_END.findall(text))


def has_at_most(count: int, text: Text, unread: Text = b"") -> bool:
    """True only if a JSON text has at most so many keys, beside those of its values `unread`.

    It may be False for texts with `":` in them.
    """
    if len(text) <= SHORT_BYTES and count_keys(text) - count_keys(unread) <= count:
        return True
    surplus = _count_colons(text) - _count_colons(unread) - count
    return surplus <= 0 or surplus <= _count_prose(text) - _count_prose(unread)


def _count_colons(text: Text) -> int:
    """The colons after a quote, a blank, or an exclamation mark.

    They end a key, but for some in prose.
    """
    count = 0
    data = np.frombuffer(text, np.uint8)
    is_colon, may_precede = np.empty((2, BLOCK_BYTES), np.bool_)
    for start in range(0, len(data) - 1, BLOCK_BYTES):
        block = data[start : start + BLOCK_BYTES + 1]
        colons, precede = is_colon[: len(block) - 1], may_precede[: len(block) - 1]
        np.equal(block[1:], COLON, out=colons)
        np.less_equal(block[:-1], QUOTE, out=precede)
        count += int(np.count_nonzero(np.logical_and(colons, precede, out=colons)))
    return count


def _count_prose(text: Text) -> int:
    """Those of the colons that end no key: after a blank, an escaped quote, an exclamation mark."""
    data = np.frombuffer(text, np.uint8)
    is_colon = data[1:] == COLON
    is_unquoted = is_colon & (data[:-1] < QUOTE)
    is_escaped = is_colon[1:] & (data[1:-1] == QUOTE) & (data[:-2] == BACKSLASH)
    unquoted, escaped = np.flatnonzero(is_unquoted), np.flatnonzero(is_escaped)
    count = 0
    for position in [*unquoted.tolist(), *(escaped + 1).tolist()]:
        before = bytes(text[max(0, position + 1 - MAX_LOOK_BACK) : position + 1])
        count += PROSE.search(before) is not None
    return count


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | RepeatedKeys:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else RepeatedKeys(pairs)


def _count_decoded(value: object) -> int:
    if isinstance(value, dict):
        children = [child for child in value.values() if isinstance(child, dict | list)]
        return len(value) + sum(map(_count_decoded, children))
    if isinstance(value, list):
        return sum(_count_decoded(item) for item in value if isinstance(item, dict | list))
    return 0


def _refuse_repeated_keys(value: object) -> None:
    for repeated in _repeated_keys(value):
        raise msgspec.ValidationError(f"expected each field once, found {repeated}")


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

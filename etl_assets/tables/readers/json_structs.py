"""Many records of one form, decoded as structs that have all keys of their JSON text (RFC 8259).

msgspec keeps the last value of a repeated key and reports none. So the fields of a struct are
completed by those that the objects of a file have in addition. Records are accepted if their text
has no more keys than the structs have values. All others are left to `json_keys`, record by record.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, repeat
from operator import length_hint, or_
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import msgspec

from etl_assets.tables.readers.batch import DECODE_ERRORS
from etl_assets.tables.readers.json_keys import Text, has_at_most

SCALARS = bool | int | float | None
# Of one decoder. Objects whose keys are data, such as a map by id, would add fields without end.
MAX_FIELDS = 1_000
MAX_DEPTH = 4  # of objects that are not declared
LONG_TEXT = 200  # characters. Prose is not decoded, as colons after quotes in it look like keys.
# Each takes milliseconds. After the first ones, any text is expected where a new one is found.
MAX_BUILDS = 30
BUILDS_WITH_NEW_TEXTS = 8
MAX_TEXTS = 30  # that are expected of one field
FIELD_NAME = re.compile(r'[^"\\\x00-\x1f\x7f]*')  # all but \x7f are required by msgspec
NO_FIELD = "\x7f"  # the name of a field that no object has, so that each one is counted


@dataclass(slots=True)
class Field:
    """A field of the objects at one place: its attribute in their struct, and its values.

    They are of a declared type; or any scalars, `texts` and objects. `texts` are all that are
    expected, None for any. `fields` are those of the objects, which may also be in a declared list.
    They are all that are accepted if the declared struct forbids others (`is_closed`).
    Lists that are not declared, prose and deep objects are skipped: their text is not decoded.
    """

    attribute: str
    declared: Any = None
    is_required: bool = False
    fields: dict[str, Field] | None = None
    is_closed: bool = False
    texts: set[str] | None = None
    is_skipped: bool = False
    has_skipped: bool = False

    def mark_skipped(self) -> bool:
        """Set whether a value at this place, or below it, is skipped; returns that."""
        below = [field.mark_skipped() for field in (self.fields or {}).values()]
        self.has_skipped = self.is_skipped or any(below)
        return self.has_skipped


class Counter:
    """A default factory of null that counts its calls.

    msgspec calls it for each object without the field, for next to nothing as no Python code runs.
    """

    def __init__(self) -> None:
        self._nulls = repeat(None, sys.maxsize)
        self.factory = self._nulls.__next__

    @property
    def calls(self) -> int:
        """The number of calls."""
        return sys.maxsize - length_hint(self._nulls)


class StructDecoder:
    """Decodes objects as structs that have the attributes of a declared one.

    An absent field is null. Repeated keys in values that are skipped do not count.
    """

    def __init__(self, struct: type[msgspec.Struct], *, learns_texts: bool = False) -> None:
        self._fields = _declared_fields(struct)
        self._learns_texts = learns_texts
        self._size = 0  # the fields that are learned
        self._builds = 0
        self._build()

    def decode_list(self, text: Text) -> list[Any] | None:
        """The items of a list; None if some do not have the fields, or may repeat a key."""
        return self._decode(lambda: self._decode_items(text), text)

    def decode_texts(self, texts: Sequence[bytes]) -> list[Any] | None:
        """The items in these texts, one in each; None as for `decode_list`."""
        return self._decode(lambda: list(map(self._decode_item, texts)), b"".join(texts))

    def learn(self, text: Text) -> bool:
        """Complete the fields by what the items of a list have; returns True if there was any."""
        if self._builds >= MAX_BUILDS:
            return False
        try:
            items = msgspec.json.decode(text)
        except DECODE_ERRORS:
            return False
        is_new = self._learn_objects(self._fields, items, 0)
        if is_new:
            self._build()
        return is_new

    def _build(self) -> None:
        for field in self._fields.values():
            field.mark_skipped()
        self._absent = Counter()
        self._objects: list[tuple[Counter, int]] = []
        struct = self._struct(self._fields)
        self._decode_item = msgspec.json.Decoder(struct).decode
        self._decode_items = msgspec.json.Decoder(list[struct]).decode  # type: ignore[valid-type]  # made here
        self._builds += 1

    def _struct(self, fields: dict[str, Field], *, is_closed: bool = False) -> type[msgspec.Struct]:
        attributes: list[tuple[Any, ...]] = []
        for field in fields.values():
            default = msgspec.field(default_factory=self._absent.factory)
            defaults = () if field.is_required else (default,)
            attributes.append((field.attribute, self._type(field), *defaults))
        names = {field.attribute: name for name, field in fields.items()}
        if fields is not self._fields:  # the items need no counter, as they are in a list
            objects = Counter()
            self._objects.append((objects, len(fields)))
            attributes.append(("none", None, msgspec.field(default_factory=objects.factory)))
            names["none"] = NO_FIELD
        # Records form no cycles. With the garbage collector tracking them it takes half as long
        # again.
        return msgspec.defstruct(
            "Record",
            attributes,
            rename=names,
            kw_only=True,
            gc=False,
            forbid_unknown_fields=is_closed,
        )

    def _type(self, field: Field) -> Any:  # noqa: ANN401 - msgspec takes types of any kind
        if field.is_skipped:
            return msgspec.Raw
        below = field.fields
        struct = None if below is None else self._struct(below, is_closed=field.is_closed)
        if field.declared is not None:
            return _with_struct(field.declared, struct)
        scalars: Any = SCALARS if struct is None else SCALARS | struct
        if field.texts is None:
            return scalars | str
        # Decoding one of few known texts takes half the time.
        return scalars | Literal[tuple(sorted(field.texts))] if field.texts else scalars

    def _decode(self, decode: Callable[[], list[Any]], text: Text) -> list[Any] | None:
        before = self._count_values()
        try:
            items = decode()
        except DECODE_ERRORS:
            return None
        count = len(items) * len(self._fields) + self._count_values() - before
        skipped = b"".join(_find_skipped(self._fields, items))
        return items if has_at_most(count, text, skipped) else None

    def _count_values(self) -> int:
        """The fields that all objects below items have so far, without those absent from items."""
        fields = sum(objects.calls * size for objects, size in self._objects)
        return fields - self._absent.calls

    def _learn_objects(self, fields: dict[str, Field], values: list[Any], depth: int) -> bool:
        objects = [value for value in values if isinstance(value, dict)]
        names = dict.fromkeys(chain.from_iterable(objects))
        is_new = False
        for name in names:
            if name not in fields and self._size < MAX_FIELDS and FIELD_NAME.fullmatch(name):
                texts = set[str]() if self._learns_texts else None
                fields[name] = Field(f"x{len(fields)}", texts=texts)
                self._size += 1
                is_new = True
            if name in fields:
                found = [value[name] for value in objects if name in value]
                is_new |= self._learn_values(fields[name], found, depth + 1)
        if is_new:
            # msgspec finds a field soonest if it follows the one before it in the text.
            for name in dict.fromkeys([*names, *fields]):
                if name in fields:
                    fields[name] = fields.pop(name)
        return is_new

    def _learn_values(self, field: Field, values: list[Any], depth: int) -> bool:
        if field.declared is not None:
            if field.fields is None or field.is_closed:
                return False
            return self._learn_objects(field.fields, _flatten(values), depth)
        if field.is_skipped:
            return False
        kinds = set(map(type, values))
        texts = {value for value in values if isinstance(value, str)}
        is_deep = dict in kinds and depth >= MAX_DEPTH
        if is_deep or list in kinds or max(map(len, texts), default=0) > LONG_TEXT:
            field.is_skipped, field.fields = True, None
            return True
        is_new = self._learn_texts(field, texts)
        if dict in kinds:
            is_new |= field.fields is None
            field.fields = field.fields or {}
            is_new |= self._learn_objects(field.fields, values, depth)
        return is_new

    def _learn_texts(self, field: Field, texts: set[str]) -> bool:
        if field.texts is None or texts <= field.texts:
            return False
        field.texts |= texts
        if len(field.texts) > MAX_TEXTS or self._builds > BUILDS_WITH_NEW_TEXTS:
            field.texts = None
        return True


def _declared_fields(struct: type[msgspec.Struct]) -> dict[str, Field]:
    fields = {}
    for field in msgspec.structs.fields(struct):
        nested = _struct_in(field.type)
        below = None if nested is None else _declared_fields(nested)
        is_closed = nested is not None and nested.__struct_config__.forbid_unknown_fields
        fields[field.encode_name] = Field(
            field.name, field.type, field.required, below, is_closed=is_closed
        )
    return fields


def _struct_in(declared: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401 - a type
    """The struct that a type has in it, itself or in a list."""
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct):
        return declared
    return next(filter(None, map(_struct_in, get_args(declared))), None)


def _with_struct(declared: Any, struct: type[msgspec.Struct] | None) -> Any:  # noqa: ANN401 - a type
    """The type with this struct in place of its own one, if it has one."""
    if isinstance(declared, UnionType):
        return reduce(or_, [_with_struct(kind, struct) for kind in get_args(declared)])
    if get_origin(declared) is list:
        return list[_with_struct(get_args(declared)[0], struct)]  # type: ignore[misc]  # made here
    return struct if _struct_in(declared) else declared


def _find_skipped(fields: dict[str, Field], structs: list[Any]) -> list[msgspec.Raw]:
    """The texts that were skipped in structs, in any order."""
    skipped = list[msgspec.Raw]()
    for field in fields.values():
        if not field.has_skipped:
            continue
        values = filter(None, take(structs, field.attribute))
        if field.fields is None:
            skipped += values
        else:
            skipped += _find_skipped(field.fields, _flatten(list(values)))
    return skipped


def take(records: list[Any], attribute: str) -> list[Any]:
    """An attribute of each record; None for a record that is null."""
    return list(map(getattr, records, repeat(attribute), repeat(None)))


def _flatten(values: list[Any]) -> list[Any]:
    """The values, and the items of those that are lists."""
    if list not in set(map(type, values)):
        return values
    lists = [value if isinstance(value, list) else [value] for value in values]
    return list(chain.from_iterable(lists))

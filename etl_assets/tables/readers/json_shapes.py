"""Structs of all fields of the objects in a JSON text, which prove that none has a field twice.

msgspec keeps the last value of a repeated field and reports none. But counting the fields that were
set costs next to nothing if objects are decoded as structs: each struct refers to its type, and
refers to one known object in place of each field that its text does not have. If a text has no more
keys than that, none was lost. What is done about one that was is decided by the readers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import chain, compress
from operator import or_
from types import NoneType, UnionType
from typing import Any, Literal, cast, get_args, get_origin

import msgspec

from etl_assets.tables.readers.batch import DECODE_ERRORS
from etl_assets.tables.readers.json_keys import Text, has_at_most

SCALARS = (NoneType, bool, int, float)
UNREAD = (msgspec.Raw,)
# Of one decoder. Objects whose keys are data, such as a map by id, would add fields without end.
MAX_FIELDS = 1_000
MAX_DEPTH = 50
# Each takes milliseconds. After the first ones, any text is expected where a new one is found.
MAX_BUILDS = 100
BUILDS_OF_NEW = 4
BUILDS_WITH_NEW_TEXTS = 8
MAX_TEXTS = 30  # that are expected at one place
FIELD_NAME = re.compile(r'[^"\\\x00-\x1f]*')  # others are refused by msgspec


@dataclass(slots=True)
class Shape:
    """What is known about the values at one place: scalars, the fields of objects, list items.

    `attribute` is the name of the place in the struct above it. A value of a declared shape must
    have one of its types, and an object may have further fields. `texts` are all texts that are
    expected, as decoding one of few known ones takes half the time; None for any. A list that is
    not declared is not read.
    """

    attribute: str = ""
    types: tuple[type, ...] = SCALARS
    is_declared: bool = False
    is_required: bool = False
    fields: dict[str, Shape] | None = None
    items: Shape | None = None
    texts: set[str] | None = None
    has_unread: bool = False

    @property
    def children(self) -> list[Shape]:
        """The shapes of the fields and of the items."""
        return [*(self.fields or {}).values(), *([self.items] if self.items else [])]

    def count_fields(self) -> int:
        """The fields of all objects at this place."""
        return len(self.fields or {}) + sum(child.count_fields() for child in self.children)

    def mark_unread(self) -> bool:
        """Set whether a value at this place, or below it, is not read; returns that."""
        below = [child.mark_unread() for child in self.children]
        self.has_unread = self.types == UNREAD or any(below)
        return self.has_unread

    def find_unread(self, values: list[Any]) -> list[Any]:
        """The texts that are not read in values at this place, and what is in place of them."""
        if self.types == UNREAD:
            return values
        found: list[Any] = []
        for child in (self.fields or {}).values():
            if child.has_unread:
                found += child.find_unread(take_attribute(values, child.attribute))
        if self.items is not None and self.items.has_unread:
            lists = [value for value in values if isinstance(value, list)]
            found += self.items.find_unread(list(chain.from_iterable(lists)))
        return found


def path_shape(types: dict[tuple[str, ...], type]) -> Shape:
    """The shape of an object with values of these types at these paths of field names."""
    root = Shape(types=(), is_declared=True, fields={})
    for names, value_type in types.items():
        shape = root
        for name in names:
            fields = shape.fields = {} if shape.fields is None else shape.fields
            attribute = f"a{len(fields)}"
            declared = Shape(attribute, types=(NoneType,), is_declared=True)
            shape = fields.setdefault(name, declared)
        shape.types = (value_type, NoneType)
    return root


def struct_shape(struct: type[msgspec.Struct]) -> Shape:
    """The shape of the objects that msgspec decodes as a struct, with the same attributes."""
    return _declare("", struct, is_required=False)


def _declare(attribute: str, declared: Any, *, is_required: bool) -> Shape:  # noqa: ANN401 - a type
    shape = Shape(attribute, types=(), is_declared=True, is_required=is_required)
    for kind in get_args(declared) if isinstance(declared, UnionType) else [declared]:
        if get_origin(kind) is list:
            shape.items = _declare("", get_args(kind)[0], is_required=False)
        elif issubclass(kind, msgspec.Struct):
            shape.fields = {
                field.encode_name: _declare(field.name, field.type, is_required=field.required)
                for field in msgspec.structs.fields(kind)
            }
        else:
            shape.types += (kind,)
    return shape


class ShapeDecoder:
    """Decodes lists whose items have one shape, which grows by what is learned from texts.

    A field that an object does not have is `missing`, which must not be used anywhere else. By
    default it is false, and empty as bytes. Repeated keys in lists that are not read do not count.
    """

    def __init__(
        self, shape: Shape | None = None, missing: object = None, *, learns_texts: bool = False
    ) -> None:
        self.shape = shape or Shape()
        self.missing = memoryview(b"") if missing is None else missing
        self._learns_texts = learns_texts
        self._field_count = self.shape.count_fields()
        self._builds = 0
        self._build()

    @property
    def is_new(self) -> bool:
        """True while the first texts are learned from, many at once."""
        return self._builds <= BUILDS_OF_NEW

    def decode_list(self, text: Text) -> list[Any] | None:
        """The items of a list; None if they do not have the shape, or may repeat a key."""
        return self._count(lambda: self._decode_list(text), text)

    def decode_texts(self, texts: Sequence[bytes]) -> list[Any] | None:
        """The items in these texts, one in each; None as for `decode_list`."""
        return self._count(lambda: list(map(self._decode_item, texts)), b"".join(texts))

    def decode_or_learn(self, text: bytes) -> list[Any] | None:
        """As `decode_texts` for one text, after the shape is extended if that is needed."""
        items = self.decode_texts([text])
        if items is None and self.learn(b"[" + text + b"]"):
            return self.decode_texts([text])
        return items

    def learn(self, text: Text) -> bool:
        """Extend the shape by what the items of a list have; returns True if there was anything."""
        if self._builds >= MAX_BUILDS:
            return False
        try:
            items = msgspec.json.decode(text)
        except DECODE_ERRORS:
            return False
        is_new = False
        for item in items:
            is_new |= self._extend(self.shape, item, 0)
        if is_new:
            self._build()
        return is_new

    def _extend(self, shape: Shape, value: object, depth: int) -> bool:
        """Add to a shape what a value has in addition; returns True if it has any."""
        if isinstance(value, str):
            return self._add_text(shape, value)
        if isinstance(value, dict) and depth < MAX_DEPTH:
            return self._extend_object(shape, value, depth)
        if not isinstance(value, list):
            return False
        if shape.items is None and not shape.is_declared:
            shape.types, shape.is_declared, shape.fields = UNREAD, True, None
            return True
        is_new = False
        if (items := shape.items) is not None:
            for item in value:
                is_new |= self._extend(items, item, depth + 1)
        return is_new

    def _extend_object(self, shape: Shape, value: dict[str, Any], depth: int) -> bool:
        is_new = shape.fields is None
        if shape.fields is None:
            if shape.is_declared:
                return False
            shape.fields = {}
        fields = shape.fields
        new_names = [name for name in value if name not in fields and FIELD_NAME.fullmatch(name)]
        if new_names and self._field_count + len(new_names) <= MAX_FIELDS:
            for name in new_names:
                self._field_count += 1
                fields[name] = self._new_shape(f"x{len(fields)}")
            # msgspec finds a field soonest if it follows the one before it in the text.
            names = dict.fromkeys([*value, *fields])
            shape.fields = {name: fields[name] for name in names if name in fields}
            is_new = True
        for name, child in value.items():
            if name in shape.fields:
                is_new |= self._extend(shape.fields[name], child, depth + 1)
        return is_new

    def _new_shape(self, attribute: str) -> Shape:
        return Shape(attribute, texts=set() if self._learns_texts else None)

    def _add_text(self, shape: Shape, text: str) -> bool:
        if shape.is_declared or shape.texts is None or text in shape.texts:
            return False
        if self._builds > BUILDS_WITH_NEW_TEXTS or len(shape.texts) == MAX_TEXTS:
            shape.texts = None
        else:
            shape.texts.add(text)
        return True

    def _build(self) -> None:
        self._structs: list[tuple[type, int]] = []
        self.shape.mark_unread()
        item_type = self._type(self.shape)
        self._decode_item = msgspec.json.Decoder(item_type).decode
        self._decode_list = msgspec.json.Decoder(list[item_type]).decode  # type: ignore[valid-type]  # made here
        self._builds += 1

    def _type(self, shape: Shape) -> Any:  # noqa: ANN401 - msgspec takes types of any kind
        types: list[Any] = list(shape.types)
        if not shape.is_declared:
            types.append(_text_type(shape))
        if shape.fields is not None:
            types.append(self._struct(shape.fields))
        if shape.items is not None:
            types.append(list[self._type(shape.items)])  # type: ignore[misc]  # made here
        return reduce(or_, types)

    def _struct(self, fields: dict[str, Shape]) -> type:
        attributes = []
        for shape in fields.values():
            default = () if shape.is_required else (self.missing,)
            attributes.append((shape.attribute, self._type(shape), *default))
        names = {shape.attribute: name for name, shape in fields.items()}
        # Records form no cycles. With the garbage collector tracking them it takes half as long
        # again.
        struct = msgspec.defstruct("Record", attributes, rename=names, kw_only=True, gc=False)
        self._structs.append((struct, len(fields)))
        return struct

    def _count(self, decode: Callable[[], list[Any]], text: Text) -> list[Any] | None:
        """What is decoded, if all keys of the text are in it."""
        before = self._count_set_fields()
        try:
            items = decode()
        except DECODE_ERRORS:
            return None
        count = self._count_set_fields() - before
        unread = _join(self.shape.find_unread(items)) if self.shape.has_unread else b""
        return items if has_at_most(count, text, unread) else None

    def _count_set_fields(self) -> int:
        """The fields that have a value in all structs that exist now, and a constant."""
        slots = sum(sys.getrefcount(struct) * size for struct, size in self._structs)
        return slots - sys.getrefcount(self.missing)


def _join(texts: list[Any]) -> bytes:
    try:
        return b"".join(texts)
    except TypeError:  # where an object is missing that would have the text
        return b"".join(text for text in texts if isinstance(text, msgspec.Raw))


def take_attribute(records: list[Any], attribute: str) -> list[Any]:
    """One attribute of each record; None for a record that is missing, null or no object."""
    take = _getter(attribute)
    try:
        return take(records)
    except AttributeError:
        # Testing every record is slower, and few fields need it.
        is_object = [isinstance(record, msgspec.Struct) for record in records]
        values = iter(take(list(compress(records, is_object))))
        return [next(values) if known else None for known in is_object]


@cache
def _getter(attribute: str) -> Callable[[list[Any]], list[Any]]:
    # A comprehension with a constant name takes half the time of `map` with `attrgetter`, and there
    # is no other way to a name that is known at runtime.
    source = f"lambda records: [record.{attribute} for record in records]"
    return cast("Callable[[list[Any]], list[Any]]", eval(source))  # noqa: S307 - an attribute of ours


def _text_type(shape: Shape) -> Any:  # noqa: ANN401 - msgspec takes types of any kind
    if shape.texts is None:
        return str
    return Literal[tuple(sorted(shape.texts))] if shape.texts else None

"""A JSON document that is one list (RFC 8259), of any size in bounded memory.

`json_columns` reads flat records quickly as whole columns, `json_elements` all others one by one;
only the latter rejects records and knows their lines. `json_records` follows the paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import JsonArrayFormat
from etl_assets.declarations.json_path import Step, column_origin, row_paths
from etl_assets.declarations.source import MAX_RECORD_BYTES
from etl_assets.model.records import Reject
from etl_assets.tables.readers import json_keys
from etl_assets.tables.readers.batch import ROWS_PER_BATCH, Batch
from etl_assets.tables.readers.json_columns import (
    LARGEST_WINDOW_BYTES,
    FastPathError,
    flat_fields,
    read_columns,
)
from etl_assets.tables.readers.json_elements import Element, ElementReader
from etl_assets.tables.readers.json_records import ColumnExtractor, Leaf, walk
from etl_assets.tables.readers.json_shapes import Shape, ShapeDecoder


def read(
    path: Path,
    form: JsonArrayFormat,
    contract: Contract,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Batch]:
    """The declared fields of every record at the end of the format's paths."""
    paths = row_paths(form)
    exact = _ExactReader(path, paths, contract, max_record_bytes)
    # The size of single elements is not known where many are decoded at once.
    are_small = max_record_bytes >= LARGEST_WINDOW_BYTES
    fields = flat_fields(contract, paths) if are_small else None
    records = 0
    try:
        for count, columns in read_columns(path, contract, fields):
            read_exactly = partial(exact.batch, records, count)
            ordinals = range(records + 1, records + count + 1)
            records += count
            if columns is None:
                yield read_exactly()
            else:
                yield Batch(columns, ordinals, count, exact=read_exactly)
    except FastPathError:
        yield from exact.remaining_batches(records)


class _ExactReader:
    """The same file element by element. It is opened when it is first needed."""

    def __init__(
        self,
        path: Path,
        paths: Sequence[list[Step]],
        contract: Contract,
        max_record_bytes: int,
    ) -> None:
        self._path = path
        self._max_record_bytes = max_record_bytes
        self._steps_below = [steps[1:] for steps in paths]
        self._extractor = ColumnExtractor(paths, contract)
        self._decode = _decoder(paths, contract)
        self._position = 0

    @cached_property
    def _elements(self) -> ElementReader:
        return ElementReader(self._path, self._decode, max_element_bytes=self._max_record_bytes)

    def batch(self, first: int, count: int) -> Batch:
        """The `count` records after the `first` ones; each element must be one record."""
        self._elements.skip_elements(first - self._position)
        self._position = first + count
        items, lines = list[Leaf | Reject](), list[int]()
        for element in islice(self._elements, count):
            for item in self._items(element):
                items.append(item)
                lines.append(element.line)
        return self._extractor.batch(items, first, lines)

    def remaining_batches(self, records: int) -> Iterator[Batch]:
        """All records after the first ones."""
        self._elements.skip_elements(records - self._position)
        items, lines = list[Leaf | Reject](), list[int]()
        for element in self._elements:
            for item in self._items(element):
                items.append(item)
                lines.append(element.line)
            if len(items) >= ROWS_PER_BATCH:
                yield self._extractor.batch(items, records, lines)
                records += len(items)
                items, lines = [], []
        yield self._extractor.batch(items, records, lines)

    def _items(self, element: Element) -> Iterator[Leaf | Reject]:
        where = f"line {element.line}"
        if element.reject:
            yield element.reject
            return
        for number, steps in enumerate(self._steps_below):
            leaf = Leaf(records=(element.value,), path=number)
            for item in walk(element.value, steps, leaf, ""):
                if isinstance(item, Reject):
                    place = f"{where}, {item.where}" if item.where else where
                    yield item.model_copy(update={"where": place})
                else:
                    yield item


def _decoder(paths: Sequence[list[Step]], contract: Contract) -> Callable[[bytes], Any]:
    """A decoder of an element's declared fields only, or of all if unknown ones are reported.

    It refuses an element if one of its objects may repeat a key.
    """
    if contract.unknown_fields != "discard_value":
        return json_keys.decode
    tree: dict[Step, Any] = {}
    for steps in paths:
        depths = [n for n, step in enumerate(steps, start=1) if step.yields_records]
        for column in contract.columns:
            if origin := column_origin(column, steps):
                fields = [Step("field", name) for name in origin.names]
                _add_steps(tree, [*steps[1 : depths[origin.record]], *fields])
        _add_steps(tree, steps[1:])
    if _has_entries(tree):
        # The keys of a map are data: no struct has them as fields.
        return json_keys.decode
    decode, shapes = msgspec.json.Decoder(_tree_type(tree)).decode, ShapeDecoder(_shape(tree))

    def decode_unique(text: bytes) -> Any:  # noqa: ANN401 - whatever the type decodes to
        if shapes.decode_or_learn(text) is None:
            raise msgspec.ValidationError("a key may be repeated")
        return decode(text)

    return decode_unique


def _add_steps(tree: dict[Step, Any], steps: list[Step]) -> None:
    for step in steps:
        # The keys of a map have no names of their own in the document.
        key = step if step.kind == "field" else Step(step.kind)
        tree = tree.setdefault(key, {})


def _has_entries(tree: dict[Step, Any]) -> bool:
    return any(step.kind == "entries" or _has_entries(below) for step, below in tree.items())


def _shape(tree: dict[Step, Any], attribute: str = "") -> Shape:
    """The shape of the values that a branch of the tree leads to; any others are accepted too."""
    shape = Shape(attribute)
    for number, (step, below) in enumerate(tree.items()):
        if step.kind == "items":
            shape.items = _shape(below)
        else:
            shape.fields = (shape.fields or {}) | {step.name: _shape(below, f"a{number}")}
    return shape


def _tree_type(tree: dict[Step, Any]) -> Any:  # noqa: ANN401 - msgspec takes types of any kind
    """The type by which msgspec decodes a branch of the tree; below a leaf it decodes all."""
    kinds = {step.kind for step in tree}
    if kinds == {"field"}:
        fields = {step.name: _tree_type(branch) for step, branch in tree.items()}
        return TypedDict("Record", fields, total=False) | None  # type: ignore[operator]  # made here
    below: dict[Step, Any] = next(iter(tree.values()), {})
    if kinds == {"items"}:
        return list[_tree_type(below)] | None  # type: ignore[misc]  # made here
    if kinds == {"entries"}:
        return dict[str, _tree_type(below)] | None  # type: ignore[misc]  # made here
    return Any

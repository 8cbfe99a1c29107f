"""A JSON document that is one list (RFC 8259), of any size in bounded memory.

Flat records come as whole columns while all is plain (`json_columns`); everything else element by
element (`json_elements`), which alone refuses and alone tells lines. Walking below an element is
`json_records`.
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
from etl_assets.model.records import Reject
from etl_assets.tables.readers.batch import ROWS_PER_BATCH, Batch, record_reject
from etl_assets.tables.readers.json_columns import FastPathError, flat_fields, read_columns
from etl_assets.tables.readers.json_elements import Element, ElementReader
from etl_assets.tables.readers.json_records import ColumnExtractor, Leaf, walk


def read(path: Path, form: JsonArrayFormat, contract: Contract) -> Iterator[Batch]:
    """The declared fields of every record at the end of the format's paths."""
    paths = row_paths(form)
    exact = _Exact(path, paths, contract)
    done = 0
    try:
        for count, columns in read_columns(path, contract, flat_fields(contract, paths)):
            again = partial(exact.batch, done, count)
            done += count
            ordinals = range(done - count + 1, done + 1)
            yield again() if columns is None else Batch(columns, ordinals, count, exact=again)
    except FastPathError:
        yield from exact.rest(done)


class _Exact:
    """The same file element by element; it is opened when it is first asked."""

    def __init__(self, path: Path, paths: Sequence[list[Step]], contract: Contract) -> None:
        self._steps = [steps[1:] for steps in paths]
        self._shape = ColumnExtractor(paths, contract)
        self._decode = _decoder(paths, contract)
        self._path = path
        self._passed = 0

    @cached_property
    def _elements(self) -> ElementReader:
        return ElementReader(self._path, self._decode)

    def batch(self, first: int, count: int) -> Batch:
        """The `count` records after the `first` ones, of a file with one record per element."""
        self._elements.skip(first - self._passed)
        self._passed = first + count
        found = [
            (element.line, item)
            for element in islice(self._elements, count)
            for item in self._found(element)
        ]
        return self._batch(found, first)

    def rest(self, done: int) -> Iterator[Batch]:
        """All records after those that are done."""
        self._elements.skip(done - self._passed)
        found: list[tuple[int, Leaf | Reject]] = []
        for element in self._elements:
            found += ((element.line, item) for item in self._found(element))
            if len(found) >= ROWS_PER_BATCH:
                yield self._batch(found, done)
                done += len(found)
                found = []
        yield self._batch(found, done)

    def _batch(self, found: list[tuple[int, Leaf | Reject]], before: int) -> Batch:
        return self._shape.batch([item for _, item in found], before, [line for line, _ in found])

    def _found(self, element: Element) -> Iterator[Leaf | Reject]:
        where = f"line {element.line}"
        if element.fault:
            yield record_reject(where, "JSON", element.fault, element.text)
            return
        for number, steps in enumerate(self._steps):
            way = Leaf(records=(element.value,), path=number)
            for item in walk(element.value, steps, way, ""):
                if isinstance(item, Reject):
                    place = f"{where}, {item.where}" if item.where else where
                    yield item.model_copy(update={"where": place})
                else:
                    yield item


def _decoder(paths: Sequence[list[Step]], contract: Contract) -> Callable[[bytes], Any]:
    """Decodes nothing of an element but what is declared; unknown fields want the whole of it."""
    if contract.unknown_fields != "discard_value":
        return msgspec.json.decode
    tree: dict[Step, Any] = {}
    for steps in paths:
        depths = [n for n, step in enumerate(steps, start=1) if step.yields_records]
        for column in contract.columns:
            if origin := column_origin(column, steps):
                fields = [Step("field", name) for name in origin.names]
                _grow(tree, [*steps[1 : depths[origin.record]], *fields])
        _grow(tree, steps[1:])
    return msgspec.json.Decoder(_type(tree)).decode


def _grow(tree: dict[Step, Any], steps: list[Step]) -> None:
    for step in steps:
        tree = tree.setdefault(Step(step.kind, step.name if step.kind == "field" else ""), {})


def _type(tree: dict[Step, Any]) -> Any:  # noqa: ANN401 - msgspec takes types of any kind
    """The type that a branch of the tree decodes as; what is below its leaves comes as it is."""
    kinds = {step.kind for step in tree}
    if kinds == {"field"}:
        fields = {step.name: _type(branch) for step, branch in tree.items()}
        return TypedDict("Record", fields, total=False) | None  # type: ignore[operator]  # made here
    below: dict[Step, Any] = next(iter(tree.values()), {})
    if kinds == {"items"}:
        return list[_type(below)] | None  # type: ignore[misc]  # made here
    if kinds == {"entries"}:
        return dict[str, _type(below)] | None  # type: ignore[misc]  # made here
    return Any

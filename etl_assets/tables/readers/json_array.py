"""A JSON document that is one list (RFC 8259), of any size in bounded memory.

`json_columns` reads flat records quickly as whole columns, `json_elements` all others one by one;
only the latter rejects records and knows their lines. `json_records` follows the paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import JsonArrayFormat
from etl_assets.declarations.json_path import Step, row_paths
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
        self._position = 0

    @cached_property
    def _elements(self) -> ElementReader:
        return ElementReader(self._path, json_keys.decode, max_element_bytes=self._max_record_bytes)

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
                if item.reject is None:
                    yield item
                    continue
                place = f"{where}, {item.reject.where}" if item.reject.where else where
                reject = item.reject.model_copy(update={"where": place})
                yield replace(item, reject=reject)

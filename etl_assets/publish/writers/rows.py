"""Rows of a mart, streamed from its parquet file as Python values.

What becomes of a row is the writer's. Memory is bounded by one batch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from etl_assets.model.errors import BuildError

BATCH_ROWS = 1024

Row = TypeVar("Row", bound=msgspec.Struct)


class Rows:
    """The rows of one mart in the order of the file; times are aware UTC."""

    def __init__(self, path: Path, numbers: Sequence[int] | None = None) -> None:
        self.path, self._numbers = path, numbers

    def select(self, numbers: Sequence[int]) -> Rows:
        """The rows with these numbers, which ascend; the first row of the file is 0."""
        return Rows(self.path, numbers)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._batches():
            yield from batch

    def __len__(self) -> int:
        return int(self._metadata.num_rows) if self._numbers is None else len(self._numbers)

    @cached_property
    def columns(self) -> list[str]:
        names: list[str] = self._metadata.schema.to_arrow_schema().names
        return names

    def convert(self, row_type: type[Row]) -> Iterator[Row]:
        """The rows as the input type of a writer; raises BuildError if they do not fit it.

        A column that the type does not have is an error too: it would be dropped silently.
        """
        fields = [field.name for field in msgspec.structs.fields(row_type)]
        faults = [f"no {name}" for name in fields if name not in self.columns]
        faults += [f"{name}, which it does not know" for name in self.columns if name not in fields]
        if faults:
            raise BuildError(
                f"{self.path}: expected its writer's columns, found {', '.join(faults)}"
            )
        for batch in self._batches():
            try:
                yield from msgspec.convert(batch, list[row_type])  # type: ignore[valid-type]
            except msgspec.ValidationError as error:
                raise BuildError(f"{self.path}: expected rows of its writer, {error}") from error

    def values(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The values of some columns, row by row; raises BuildError if one is not there."""
        if missing := [name for name in columns if name not in self.columns]:
            raise BuildError(f"{self.path}: expected the columns {', '.join(missing)}")
        for values in self._columns(columns):
            yield from zip(*values, strict=True)

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        for columns in self._columns(self.columns):
            yield [
                dict(zip(self.columns, values, strict=True))
                for values in zip(*columns, strict=True)
            ]

    def _columns(self, names: Sequence[str]) -> Iterator[list[list[Any]]]:
        """The values of the named columns, a batch of rows at a time."""
        with pq.ParquetFile(self.path) as file:
            # A time without a zone is UTC in this project; a document states the zone.
            fields = [
                field.with_type(pa.timestamp("us", "UTC"))
                if pa.types.is_timestamp(field.type)
                else field
                for field in map(file.schema_arrow.field, names)
            ]
            schema = pa.schema(fields)
            start = 0
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(names)):
                table = pa.Table.from_batches([batch]).select(list(names)).cast(schema)
                if self._numbers is not None:
                    table = table.take(self._numbers_between(start, start + len(batch)))
                start += len(batch)
                yield [_to_python(column.combine_chunks()) for column in table.columns]

    def _numbers_between(self, first: int, end: int) -> pa.Array:
        """Those of the selected rows that are in a batch, counted from its start."""
        numbers = self._numbers or ()
        selected = numbers[bisect_left(numbers, first) : bisect_left(numbers, end)]
        return pa.array([number - first for number in selected], pa.int64())

    @cached_property
    def _metadata(self) -> pq.FileMetaData:
        try:
            return pq.read_metadata(self.path)
        except FileNotFoundError as error:
            raise BuildError(
                f"{self.path}: expected the mart that a document is made from, found no file; "
                "is the model's name in the declaration right?"
            ) from error


def _to_python(column: pa.Array) -> list[Any]:
    """The values of a column, as `to_pylist` returns them."""
    if pa.types.is_struct(column.type):
        # Field by field, as `to_pylist` would convert each time in a struct one by one.
        names = [field.name for field in column.type]
        rows = zip(*map(_to_python, column.flatten()), strict=True)
        structs: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
        for index, is_valid in enumerate(column.is_valid().to_pylist()):
            if not is_valid:
                structs[index] = None
        return structs
    if pa.types.is_list(column.type):
        # The values of all lists at once, for the same reason.
        items = _to_python(column.flatten())
        lists: list[Any] = []
        start = 0
        for count in column.value_lengths().to_pylist():
            lists.append(None if count is None else items[start : start + count])
            start += count or 0
        return lists
    if pa.types.is_temporal(column.type):
        # Each distinct time is converted once: few differ, and one costs as much as ten strings.
        encoded = column.dictionary_encode()
        times = [*encoded.dictionary.to_pylist(), None]
        return [times[-1 if index is None else index] for index in encoded.indices.to_pylist()]
    values: list[Any] = column.to_pylist()
    return values

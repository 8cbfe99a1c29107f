"""Rows of a mart, streamed from its parquet file as Python values.

Only reading belongs here; what becomes of a row is a writer's. Memory is bounded by one batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from etl_assets.model.errors import BuildError

BATCH_ROWS = 4096

Row = TypeVar("Row", bound=msgspec.Struct)


class Rows:
    """The rows of one mart in the file's order; times are UTC and know it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._batches():
            yield from batch

    def typed(self, kind: type[Row]) -> Iterator[Row]:
        """The rows as a writer's input contract; raises BuildError where they are something else.

        A column more than the contract names is a fault too: it would be lost without a word.
        """
        self._expect([field.name for field in msgspec.structs.fields(kind)])
        for batch in self._batches():
            try:
                yield from msgspec.convert(batch, list[kind])  # type: ignore[valid-type]
            except msgspec.ValidationError as error:
                raise BuildError(f"{self.path}: expected rows of its writer, {error}") from error

    def __len__(self) -> int:
        return int(self._metadata.num_rows)

    def _expect(self, wanted: list[str]) -> None:
        faults = [f"no {name}" for name in wanted if name not in self.columns]
        faults += [f"{name}, which it does not know" for name in self.columns if name not in wanted]
        if faults:
            raise BuildError(
                f"{self.path}: expected its writer's columns, found {', '.join(faults)}"
            )

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        with pq.ParquetFile(self.path) as file:
            schema = _aware(file.schema_arrow)
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                yield _rows(pa.Table.from_batches([batch]).cast(schema).combine_chunks())

    @property
    def columns(self) -> list[str]:
        names: list[str] = self._metadata.schema.to_arrow_schema().names
        return names

    @cached_property
    def _metadata(self) -> pq.FileMetaData:
        try:
            return pq.read_metadata(self.path)
        except FileNotFoundError as error:
            raise BuildError(
                f"{self.path}: expected the mart that a document is made from, found no file; "
                "is the model's name in the declaration right?"
            ) from error


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    names = table.column_names
    columns = [_values(column.combine_chunks()) for column in table.columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(column: pa.Array) -> list[Any]:
    """The values of a column; each time is made once, for few differ and one costs as ten texts."""
    if pa.types.is_struct(column.type):
        names = [field.name for field in column.type]
        parts = zip(*map(_values, column.flatten()), strict=True)
        found = [dict(zip(names, part, strict=True)) for part in parts]
        return [
            value if is_there else None
            for value, is_there in zip(found, column.is_valid().to_pylist(), strict=True)
        ]
    if pa.types.is_temporal(column.type):
        encoded = column.dictionary_encode()
        moments = [*encoded.dictionary.to_pylist(), None]
        return [moments[-1 if place is None else place] for place in encoded.indices.to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _aware(schema: pa.Schema) -> pa.Schema:
    """A time without a zone is UTC here; what leaves the house says so."""
    fields = [
        field.with_type(pa.timestamp("us", "UTC")) if pa.types.is_timestamp(field.type) else field
        for field in schema
    ]
    return pa.schema(fields)

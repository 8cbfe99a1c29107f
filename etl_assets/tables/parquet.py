"""Write and read Parquet files: streamed, complete or absent, the same bytes for the same rows.

Which rows are written is decided by `etl_assets.tables.tabulate`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etl_assets.model.records import SOURCE_SHA256, Reject
from etl_assets.storage.atomic_write import atomic_file, translate_os_errors
from etl_assets.storage.hashing import hash_file
from etl_assets.tables.arrow_types import INSTANT

COMPRESSION = "zstd"
ROWS_PER_GROUP = 20_000  # some tens of megabytes of text; bounds the writer's memory
ROWS_EXAMINED = 2_000  # to decide whether the values of a column repeat
# For numbers that do not repeat: these put similar bytes next to each other, which compresses
# better and faster than plain values.
ENCODINGS = {
    pa.float64(): "BYTE_STREAM_SPLIT",
    pa.int64(): "DELTA_BINARY_PACKED",
    pa.uint64(): "DELTA_BINARY_PACKED",
    INSTANT: "DELTA_BINARY_PACKED",
}
FIRST_REJECTS = 3  # kept for the error that refuses a file
REJECT_COLUMNS = [field.alias or name for name, field in Reject.model_fields.items()]
REJECTS_SCHEMA = pa.schema([(name, pa.string()) for name in (*REJECT_COLUMNS, SOURCE_SHA256)])


class TableWriter:
    """Appends batches of one schema. Row groups do not depend on the size of the batches."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush(self._pending_rows)
            self._open_writer(self._schema.empty_table()).close()
            # Arrow's pool would keep this memory for itself: the next stage may not use Arrow.
            pa.default_memory_pool().release_unused()
        elif self._writer:
            with suppress(OSError):  # do not hide the error that ended the block
                self._writer.close()

    def write(self, rows: pa.RecordBatch) -> None:
        self._pending.append(rows)
        self._pending_rows += rows.num_rows
        if self._pending_rows >= ROWS_PER_GROUP:
            self._flush(self._pending_rows - self._pending_rows % ROWS_PER_GROUP)

    def _flush(self, count: int) -> None:
        if count == 0:
            return
        table = pa.Table.from_batches(self._pending, self._schema)
        group = table.slice(0, count)
        self._open_writer(group.slice(0, ROWS_EXAMINED)).write_table(group, ROWS_PER_GROUP)
        self._pending = table.slice(count).to_batches()
        self._pending_rows -= count

    def _open_writer(self, first_rows: pa.Table) -> pq.ParquetWriter:
        """The writer, with a dictionary for each column whose first values repeat."""
        if self._writer is None:
            repeating = {f.name for f in self._schema if _values_repeat(first_rows[f.name])}
            # A dictionary of values that differ makes the file larger and slower to write.
            self._writer = pq.ParquetWriter(
                self._path,
                self._schema,
                compression=COMPRESSION,
                use_dictionary=[_parquet_path(f) for f in self._schema if f.name in repeating],
                column_encoding={
                    field.name: ENCODINGS[field.type]
                    for field in self._schema
                    if field.type in ENCODINGS and field.name not in repeating
                },
            )
        return self._writer


def _parquet_path(field: pa.Field) -> str:
    """The name by which Parquet's options address a column: a list has its values below it."""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else str(field.name)


def _values_repeat(values: pa.ChunkedArray) -> bool:
    if pa.types.is_list(values.type):  # count_distinct does not take lists
        return True
    return bool(pc.count_distinct(values).as_py() * 2 <= len(values))


class RejectWriter:
    """Appends rejects to a file that is created with the first of them."""

    def __init__(self, open_file: Callable[[], TableWriter], source_sha256: str) -> None:
        self._open_file = open_file
        self._source_sha256 = source_sha256
        self._file: TableWriter | None = None
        self.sha256: str | None = None
        """Of the complete file; None if there are no rejects."""
        self.first: list[Reject] = []
        self.by_rule: Counter[str] = Counter()

    def write(self, rejects: list[Reject]) -> None:
        if not rejects:
            return
        self._file = self._file or self._open_file()
        rows = [reject.model_dump() | {SOURCE_SHA256: self._source_sha256} for reject in rejects]
        self._file.write(pa.RecordBatch.from_pylist(rows, REJECTS_SCHEMA))
        self.by_rule.update(reject.rule for reject in rejects)
        self.first += rejects[: FIRST_REJECTS - len(self.first)]


@contextmanager
def reject_file(target: Path, source_sha256: str) -> Iterator[RejectWriter]:
    """A writer of rejects to `target`; without any, an old file there is removed."""
    with ExitStack() as stack:

        def open_file() -> TableWriter:
            draft = stack.enter_context(atomic_file(target))
            stack.enter_context(_hash_afterwards(draft, writer))
            return stack.enter_context(TableWriter(draft, REJECTS_SCHEMA))

        writer = RejectWriter(open_file, source_sha256)
        yield writer
    if not writer.by_rule:
        remove_file(target)


@contextmanager
def _hash_afterwards(draft: Path, writer: RejectWriter) -> Iterator[None]:
    """Hash the complete file before it has its name."""
    yield
    writer.sha256 = hash_file(draft)


def add_provenance(
    rows: pa.RecordBatch, schema: pa.Schema, source_sha256: str, ordinals: Sequence[int]
) -> pa.RecordBatch:
    """The rows with the digest of their file and the ordinal of their record, from 1."""
    digests = pa.repeat(pa.scalar(source_sha256), rows.num_rows)
    if isinstance(ordinals, range):
        records = pa.arange(ordinals.start, ordinals.stop)
    else:
        records = pa.array(ordinals, pa.int64())
    return pa.RecordBatch.from_arrays([*rows.columns, digests, records], schema=schema)


def write_empty(target: Path, schema: pa.Schema) -> str:
    """Write a table without rows; returns its SHA-256."""
    with atomic_file(target) as draft:
        with TableWriter(draft, schema):
            pass
        return hash_file(draft)


def read_batches(
    path: Path, columns: list[str] | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of a file in batches, each with the position of its first row, from 0."""
    first = 0
    with pq.ParquetFile(path) as file:
        for rows in file.iter_batches(columns=columns):
            yield first, rows
            first += rows.num_rows


def is_readable(path: Path) -> bool:
    """True if all rows of a file can be read."""
    try:
        for _ in read_batches(path):
            pass
    except (OSError, pa.ArrowException):
        return False
    return True


def remove_rows(path: Path, positions: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """Rewrite a file without the rows at these ascending positions; yields them in batches."""
    with atomic_file(path) as draft, TableWriter(draft, pq.read_schema(path)) as table:
        for first, rows in read_batches(path):
            start, end = np.searchsorted(positions, [first, first + rows.num_rows])
            if start == end:
                table.write(rows)
                continue
            removed = positions[start:end] - first
            keep = np.ones(rows.num_rows, np.bool_)
            keep[removed] = False
            yield rows.take(pa.array(removed))
            table.write(rows.filter(pa.array(keep)))


def remove_file(target: Path) -> None:
    """Remove a file if it exists; raises HomeError if that is refused."""
    with translate_os_errors(target):
        target.unlink(missing_ok=True)

"""Parquet files, written in a stream and whole or not at all; the same rows make the same bytes.

Which rows, and whether the file may stand, is decided elsewhere.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etl_assets.model.records import Reject
from etl_assets.storage.atomic_write import atomic_file, translate_os_errors
from etl_assets.storage.hashing import hash_file
from etl_assets.tables.arrow_types import INSTANT, SOURCE_SHA256

COMPRESSION = "zstd"
ROWS_PER_GROUP = 20_000  # some tens of megabytes of text; bounds what the writer holds
ROWS_LOOKED_AT = 2_000  # to tell whether a column repeats itself
# Of numbers that differ: what is alike in them lies together, which packs smaller and sooner.
ENCODINGS = {
    pa.float64(): "BYTE_STREAM_SPLIT",
    pa.int64(): "DELTA_BINARY_PACKED",
    pa.uint64(): "DELTA_BINARY_PACKED",
    INSTANT: "DELTA_BINARY_PACKED",
}
REJECTS_TOLD = 3  # in the error that refuses a file
REJECTS_SCHEMA = pa.schema([(name, pa.string()) for name in (*Reject.model_fields, SOURCE_SHA256)])


class TableWriter:
    """Appends batches of one schema; row groups do not depend on how the batches were cut."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush(self._held_rows)
            self._opened(self._schema.empty_table()).close()
            pa.default_memory_pool().release_unused()  # what comes next may not be Arrow's
        elif self._writer:
            with suppress(OSError):  # the first fault is the one to tell
                self._writer.close()

    def write(self, rows: pa.RecordBatch) -> None:
        self._held.append(rows)
        self._held_rows += rows.num_rows
        if self._held_rows >= ROWS_PER_GROUP:
            self._flush(self._held_rows - self._held_rows % ROWS_PER_GROUP)

    def _flush(self, count: int) -> None:
        if count:
            table = pa.Table.from_batches(self._held, self._schema)
            group = table.slice(0, count)
            self._opened(group.slice(0, ROWS_LOOKED_AT)).write_table(group, ROWS_PER_GROUP)
            self._held = table.slice(count).to_batches()
            self._held_rows -= count

    def _opened(self, first_rows: pa.Table) -> pq.ParquetWriter:
        """The file, with dictionaries where the first rows repeat themselves: others only cost."""
        if self._writer is None:
            repeating = {f.name for f in self._schema if _repeats(first_rows[f.name])}
            self._writer = pq.ParquetWriter(
                self._path,
                self._schema,
                compression=COMPRESSION,
                use_dictionary=[_path_of(f) for f in self._schema if f.name in repeating],
                column_encoding={
                    field.name: ENCODINGS[field.type]
                    for field in self._schema
                    if field.type in ENCODINGS and field.name not in repeating
                },
            )
        return self._writer


def _path_of(field: pa.Field) -> str:
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else str(field.name)


def _repeats(values: pa.ChunkedArray) -> bool:
    if pa.types.is_list(values.type):
        return True
    return bool(pc.count_distinct(values).as_py() * 2 <= len(values))


class RejectWriter:
    """Collects rejects in a file that comes to be with the first of them."""

    def __init__(self, open_file: Callable[[], TableWriter], source_sha256: str) -> None:
        self._open_file = open_file
        self._source_sha256 = source_sha256
        self._file: TableWriter | None = None
        self.first: list[Reject] = []
        self.by_rule: Counter[str] = Counter()

    def write(self, rejects: list[Reject]) -> None:
        if not rejects:
            return
        self._file = self._file or self._open_file()
        rows = [reject.model_dump() | {SOURCE_SHA256: self._source_sha256} for reject in rejects]
        self._file.write(pa.RecordBatch.from_pylist(rows, REJECTS_SCHEMA))
        self.by_rule.update(reject.rule for reject in rejects)
        self.first += rejects[: REJECTS_TOLD - len(self.first)]


@contextmanager
def reject_file(target: Path, source_sha256: str) -> Iterator[RejectWriter]:
    """Writes `target` if anything is rejected, and removes an old one if nothing is."""
    with ExitStack() as stack:

        def open_file() -> TableWriter:
            draft = stack.enter_context(atomic_file(target))
            return stack.enter_context(TableWriter(draft, REJECTS_SCHEMA))

        writer = RejectWriter(open_file, source_sha256)
        yield writer
    if not writer.by_rule:
        remove_file(target)


def add_provenance(
    rows: pa.RecordBatch, schema: pa.Schema, source_sha256: str, ordinals: Sequence[int]
) -> pa.RecordBatch:
    """The rows with the two columns that say whence each came."""
    digests = pa.repeat(pa.scalar(source_sha256), rows.num_rows)
    if isinstance(ordinals, range):
        places = pa.arange(ordinals.start, ordinals.stop)
    else:
        places = pa.array(ordinals, pa.int64())
    return pa.RecordBatch.from_arrays([*rows.columns, digests, places], schema=schema)


def write_empty(target: Path, schema: pa.Schema) -> str:
    """The digest of a table without rows that appears as `target`."""
    with atomic_file(target) as draft:
        with TableWriter(draft, schema):
            pass
        return hash_file(draft)


def read_batches(
    path: Path, columns: list[str] | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """A table's rows in pieces, each with the place of its first row."""
    first = 0
    with pq.ParquetFile(path) as file:
        for rows in file.iter_batches(columns=columns):
            yield first, rows
            first += rows.num_rows


def remove_rows(path: Path, places: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """Take the rows at these ascending places out of a file; yields them, piece by piece."""
    with atomic_file(path) as draft, TableWriter(draft, pq.read_schema(path)) as table:
        for first, rows in read_batches(path):
            aside = places[bisect_left(places, first) : bisect_left(places, first + rows.num_rows)]
            mask = [True] * rows.num_rows
            for place in aside:
                mask[place - first] = False
            if aside:
                yield rows.take(pa.array([place - first for place in aside]))
            table.write(rows.filter(pa.array(mask)) if aside else rows)


def remove_file(target: Path) -> None:
    """Make sure that there is no such file."""
    with translate_os_errors(target):
        target.unlink(missing_ok=True)

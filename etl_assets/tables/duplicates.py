"""Rows of one file that have the same key: suspected by hash while it is read, proved afterwards.

Of a table of any size no more is held than a block of hashes; full blocks go to disk in order, and
rows whose hashes meet are read back and compared, some at a time. What becomes of the rows found is
the caller's.
"""

from __future__ import annotations

import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.declarations.contract import Contract
from etl_assets.storage.atomic_write import translate_os_errors
from etl_assets.tables.arrow_types import SOURCE_ROW
from etl_assets.tables.contract_check import row_keys
from etl_assets.tables.parquet import read_batches

BLOCK_ROWS = 1 << 20  # 8 MB of hashes, some 40 while they are put in order
RANGES = 64  # of hashes, compared one after the other: of 150 million rows, 2 million at a time
SUSPECTS_AT_ONCE = 200_000  # read back in one pass over the table
RANGE_STARTS = np.arange(-(2**63), 2**63, 2**64 // RANGES, dtype=np.int64)
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two numbers meet by it
NULL_KEY = pa.scalar(0, pa.uint64())
WHOLE_NUMBERS = (pa.int64(), pa.uint64())

Numbers = npt.NDArray[np.int64]
Ordered = tuple[Numbers, Numbers]


class KeyHashes:
    """The hashes of all keys of a file, in the order of its rows; full blocks lie in `folder`."""

    def __init__(self, key: list[str], folder: Path, *, block_rows: int = BLOCK_ROWS) -> None:
        self._key = key
        self._folder = folder
        self._block_rows = block_rows
        self._held: list[Numbers] = []
        self._held_rows = 0
        self._spooled: _Spooled | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._spooled:
            self._spooled.close()

    def add(self, rows: pa.RecordBatch) -> None:
        self._held.append(_hashes(rows, self._key))
        self._held_rows += rows.num_rows
        if self._held_rows >= self._block_rows:
            self._spool()

    def suspects(self) -> Iterator[Numbers]:
        """The places of the rows whose hash occurs more than once, ascending, in several lots.

        All rows of one key are in the same lot.
        """
        if self._spooled is None:
            yield from _lots([_met(*self._take())])
            return
        self._spool()
        with translate_os_errors(self._folder):
            yield from _lots(_met(*self._spooled.suspicious(n)) for n in range(RANGES))

    def _take(self) -> Ordered:
        hashes = np.concatenate([*self._held, np.empty(0, np.int64)])
        self._held, self._held_rows = [], 0
        return _ordered(hashes, np.arange(len(hashes)))

    def _spool(self) -> None:
        if self._held_rows:
            with translate_os_errors(self._folder):
                self._spooled = self._spooled or _Spooled(self._folder)
                self._spooled.write(*self._take())


class _Spooled:
    """Blocks of ordered hashes with their places, on disk without a name."""

    def __init__(self, folder: Path) -> None:
        self._rows = 0
        self._edges: list[Numbers] = []
        with ExitStack() as stack:
            self._files = [
                stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(2)
            ]
            self.close = stack.pop_all().close

    def write(self, hashes: Numbers, places: Numbers) -> None:
        edges = np.searchsorted(hashes, RANGE_STARTS)
        self._edges.append(np.append(edges, len(hashes)) + self._rows)
        for file, part in zip(self._files, (hashes, places + self._rows), strict=True):
            file.write(part.data)
        self._rows += len(hashes)

    def suspicious(self, n: int) -> Ordered:
        """The hashes of one range of all blocks, in order, with their places.

        None of them where all differ: to know that, no place need be read.
        """
        hashes = self._read(self._files[0], n)
        if _differ(hashes):
            return hashes[:0], hashes[:0]
        return _ordered(hashes, self._read(self._files[1], n))

    def _read(self, file: IO[bytes], n: int) -> Numbers:
        return np.concatenate([_part(file, *edges[n : n + 2]) for edges in self._edges])


def _part(file: IO[bytes], start: int, end: int) -> Numbers:
    file.seek(int(start) * 8)
    return np.frombuffer(file.read(int(end - start) * 8), np.int64)


@dataclass(frozen=True, slots=True)
class Aside:
    """The places of rows to set aside, ascending, and for each the record that keeps its key."""

    places: Sequence[int]
    kept_records: Sequence[int]


def find_duplicates(path: Path, contract: Contract, suspects: Iterable[Numbers]) -> Aside:
    """The rows of a table that give way to another of the same key, as the contract says."""
    places, kept_records = array("q"), array("q")
    for lot in suspects:
        for place, record in _duplicates(path, contract, lot.tolist()):
            places.append(place)
            kept_records.append(record)
    order = np.argsort(places)
    return Aside(
        array("q", np.array(places, np.int64)[order].tobytes()),
        array("q", np.array(kept_records, np.int64)[order].tobytes()),
    )


def _duplicates(path: Path, contract: Contract, places: list[int]) -> Iterator[tuple[int, int]]:
    kept: dict[Hashable, tuple[int, int, Any]] = {}
    aside: list[tuple[int, Hashable]] = []
    gives_way = PRECEDENCE[contract.duplicates]
    for key, row in _rows_at(path, contract, places):
        if key not in kept:
            kept[key] = row
        elif gives_way(kept[key][2], row[2]):
            aside.append((kept[key][0], key))
            kept[key] = row
        else:
            aside.append((row[0], key))
    yield from ((place, kept[key][1]) for place, key in aside)


def _no_older(old: Any, new: Any) -> bool:  # noqa: ANN401 - whatever the column holds
    """Whether the later row is the newest; of equal ones it is, and a null is oldest."""
    return old is None or (new is not None and bool(new >= old))


PRECEDENCE: dict[str, Callable[[Any, Any], bool]] = {
    "reject": lambda _old, _new: False,
    "keep_last": lambda _old, _new: True,
    "keep_newest": _no_older,
}


def _rows_at(
    path: Path, contract: Contract, places: list[int]
) -> Iterator[tuple[Hashable, tuple[int, int, Any]]]:
    """Key, and place, record and rank of the rows at ascending places."""
    rank = contract.newest_by
    columns = list(dict.fromkeys([*contract.key, SOURCE_ROW, *([rank] if rank else [])]))
    for first, rows in read_batches(path, columns):
        wanted = places[bisect_left(places, first) : bisect_left(places, first + rows.num_rows)]
        if not wanted:
            continue
        taken = rows.take(pa.array([place - first for place in wanted], pa.int64()))
        records = taken.column(SOURCE_ROW).to_pylist()
        ranks = taken.column(rank).to_pylist() if rank else [None] * len(wanted)
        found = zip(wanted, records, ranks, strict=True)
        yield from zip(row_keys(taken, contract.key), found, strict=True)


def _hashes(rows: pa.RecordBatch, key: list[str]) -> Numbers:
    """A number for each row's key, the same for equal keys; a null is a value like others."""
    column = rows.column(key[0])
    if len(key) > 1 or column.type not in WHOLE_NUMBERS:
        return np.fromiter(map(hash, row_keys(rows, key)), np.int64, rows.num_rows)
    numbers = pc.fill_null(column.view(pa.uint64()), NULL_KEY).to_numpy(zero_copy_only=False)
    spread: Numbers = (numbers * SPREAD).view(np.int64)
    return spread


def _ordered(hashes: Numbers, places: Numbers) -> Ordered:
    order = np.argsort(hashes)
    return hashes[order], places[order]


def _differ(hashes: Numbers) -> bool:
    ordered = np.sort(hashes)
    return not bool((ordered[1:] == ordered[:-1]).any())


def _met(hashes: Numbers, places: Numbers) -> Ordered:
    """Of ordered hashes those that occur more than once, with their places."""
    if len(hashes) < 2:
        return hashes[:0], places[:0]
    equal = hashes[1:] == hashes[:-1]
    meets = np.append(equal, False) | np.append(False, equal)
    return hashes[meets], places[meets]


def _lots(found: Iterable[Ordered], at_once: int = SUSPECTS_AT_ONCE) -> Iterator[Numbers]:
    """Places in lots that are read back together, each cut where a hash ends."""
    lot: list[Numbers] = []
    for hashes, places in found:
        start = 0
        while start < len(hashes):
            last = hashes[min(start + at_once, len(hashes)) - 1]
            end = int(np.searchsorted(hashes, last, side="right"))
            lot.append(places[start:end])
            start = end
            if sum(map(len, lot)) >= at_once:
                yield np.sort(np.concatenate(lot))
                lot = []
    if lot:
        yield np.sort(np.concatenate(lot))

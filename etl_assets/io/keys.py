"""Rows of one file that have the same key: suspected by hash while it is read, proved afterwards.

Eight bytes a row are held, so that a large table costs no set of its keys; rows whose hashes meet
are read back and compared. What becomes of the rows found is the caller's.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.io.arrow import SOURCE_ROW
from etl_assets.io.contract import keys_of
from etl_assets.io.parquet import read_batches
from etl_assets.model.declaration import Contract


class KeyHashes:
    """The hashes of all keys of a file, in the order of its rows."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, keys: Iterable[Hashable]) -> None:
        self._hashes.extend(map(hash, keys))

    def suspects(self) -> list[int]:
        """The places of the rows whose hash occurs more than once, ascending."""
        if len(self._hashes) < 2:
            return []
        hashes = pa.Array.from_buffers(
            pa.int64(), len(self._hashes), [None, pa.py_buffer(self._hashes)]
        )
        ordered = hashes.sort()
        meets_next = pc.equal(ordered.slice(1), ordered.slice(0, len(ordered) - 1))
        if not pc.any(meets_next).as_py():
            return []
        met = ordered.slice(1).filter(meets_next).unique()
        places: list[int] = pc.indices_nonzero(pc.is_in(hashes, met)).to_pylist()
        return places


def find_duplicates(path: Path, contract: Contract, suspects: list[int]) -> dict[int, int]:
    """Place of each row to set aside -> ordinal of the record that keeps its key."""
    kept: dict[Hashable, tuple[int, int]] = {}
    aside: dict[int, Hashable] = {}
    for place, ordinal, key in _keys_at(path, contract.key, suspects):
        if key in kept and contract.duplicates == "keep_last":
            aside[kept[key][0]] = key
        elif key in kept:
            aside[place] = key
            continue
        kept[key] = (place, ordinal)
    return {place: kept[key][1] for place, key in sorted(aside.items())}


def _keys_at(path: Path, key: list[str], places: list[int]) -> Iterator[tuple[int, int, Hashable]]:
    columns = list(dict.fromkeys([*key, SOURCE_ROW]))
    for first, rows in read_batches(path, columns):
        wanted = places[bisect_left(places, first) : bisect_left(places, first + rows.num_rows)]
        taken = rows.take(pa.array([place - first for place in wanted], pa.int64()))
        ordinals = taken.column(SOURCE_ROW).to_pylist()
        yield from zip(wanted, ordinals, keys_of(taken, key), strict=True)

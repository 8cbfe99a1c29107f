"""Rows of one key, suspected by hash and proved by reading them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.table_declarations import column, contract

from etl_assets.tables import duplicates as tables_duplicates
from etl_assets.tables.duplicates import KeyHashes, find_duplicates


def rows(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def suspects(folder: Path, key: list[str], *batches: pa.RecordBatch, **options: int) -> list[int]:
    with KeyHashes(key, folder, **options) as hashes:
        for batch in batches:
            hashes.add(batch)
        return sorted(place for lot in hashes.suspects() for place in lot.tolist())


def test_no_rows_are_suspected_of_nothing(tmp_path: Path) -> None:
    assert suspects(tmp_path, ["a"]) == []


def test_rows_whose_hashes_meet_are_suspected_across_batches(tmp_path: Path) -> None:
    first = rows(a=["pear", "plum", "fig"], b=[1, 1, None])
    second = rows(a=["kiwi", "pear", "fig", "fig"], b=[1, 1, None, 0])

    assert suspects(tmp_path, ["a", "b"], first, second) == [0, 2, 4, 5]


def test_the_largest_unsigned_keys_are_told_apart(tmp_path: Path) -> None:
    numbers = pa.array([2**64 - 1, 2**63, 2**63 - 1, 2**64 - 1], pa.uint64())

    assert suspects(tmp_path, ["a"], rows(a=numbers)) == [0, 3]


def test_blocks_on_disk_find_the_same_and_leave_nothing_behind(tmp_path: Path) -> None:
    numbers = np.random.default_rng(7).integers(0, 700, 5_000).tolist()
    batches = [rows(a=numbers[start : start + 300]) for start in range(0, 5_000, 300)]

    found = suspects(tmp_path, ["a"], *batches, block_rows=1_000)

    assert found == [n for n, number in enumerate(numbers) if numbers.count(number) > 1]
    assert list(tmp_path.iterdir()) == []


def test_all_rows_of_one_key_are_in_the_same_lot() -> None:
    hashes = np.repeat(np.arange(10), 3)

    lots = list(tables_duplicates._lots([(hashes, np.arange(30))], at_once=4))

    assert [len(lot) for lot in lots] == [6, 6, 6, 6, 6]


@pytest.mark.parametrize(
    ("duplicates", "places", "kept"),
    [
        pytest.param({"duplicates": "reject"}, [3, 4, 5], [10, 10, 20], id="the first stays"),
        pytest.param({"duplicates": "keep_last"}, [0, 1, 3], [50, 60, 50], id="the last stays"),
        pytest.param(
            {"duplicates": "keep_newest", "newest_by": "at"},
            [0, 1, 4],
            [40, 60, 40],
            id="the newest stays",
        ),
    ],
)
def test_duplicates_are_set_aside_as_the_contract_says(
    tmp_path: Path, duplicates: dict[str, str], places: list[int], kept: list[int]
) -> None:
    held = contract("a", column("b", "int64"), column("at", "int64"), key=["a", "b"], **duplicates)
    table = pa.table(
        {
            "a": ["x", None, "y", "x", "x", None],
            "b": [1, None, 1, 1, 1, None],
            "at": [None, 5, 1, 9, 3, 5],
            "source_row": [10, 20, 30, 40, 50, 60],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)

    aside = find_duplicates(tmp_path / "t.parquet", held, [np.array([0, 1, 3, 4, 5])])

    assert (list(aside.places), list(aside.kept_records)) == (places, kept)


def test_keys_that_only_share_a_hash_are_both_kept(tmp_path: Path) -> None:
    held = contract(column("n", "float64"))
    table = pa.table({"n": [-1.0, -2.0], "source_row": [1, 2]})
    pq.write_table(table, tmp_path / "t.parquet")

    with KeyHashes(["n"], tmp_path) as hashes:
        hashes.add(table.to_batches()[0])  # Python gives both the hash -2
        met = [lot.tolist() for lot in hashes.suspects()]
        aside = find_duplicates(tmp_path / "t.parquet", held, map(np.array, met))

    assert met == [[0, 1]]
    assert list(aside.places) == []

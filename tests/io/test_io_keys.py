"""Rows of one key, suspected by hash and proved by reading them back."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from declared import column, contract

from etl_assets.io.keys import KeyHashes, find_duplicates


def test_no_rows_are_suspected_of_nothing() -> None:
    assert KeyHashes().suspects() == []


def test_rows_whose_hashes_meet_are_suspected_across_batches() -> None:
    hashes = KeyHashes()
    hashes.add(["pear", "plum", ("a", None)])
    hashes.add(["fig", "pear", ("a", None), ("a", "")])

    assert hashes.suspects() == [0, 2, 4, 5]


@pytest.mark.parametrize(
    ("duplicates", "aside"),
    [
        pytest.param("reject", {3: 10, 4: 10, 5: 20}, id="the first stays"),
        pytest.param("keep_last", {0: 50, 1: 60, 3: 50}, id="the last stays"),
    ],
)
def test_duplicates_are_set_aside_as_the_contract_says(
    tmp_path: Path, duplicates: str, aside: dict[int, int]
) -> None:
    held = contract("a", column("b", "int64"), key=["a", "b"], duplicates=duplicates)
    rows = {"a": ["x", None, "y", "x", "x", None], "b": [1, None, 1, 1, 1, None]}
    table = pa.table(rows | {"source_row": [10, 20, 30, 40, 50, 60]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)

    assert find_duplicates(tmp_path / "t.parquet", held, [0, 1, 3, 4, 5]) == aside


def test_keys_that_only_share_a_hash_are_both_kept(tmp_path: Path) -> None:
    held = contract(column("n", "int64"))
    pq.write_table(pa.table({"n": [-1, -2], "source_row": [1, 2]}), tmp_path / "t.parquet")
    hashes = KeyHashes()
    hashes.add([-1, -2])  # Python gives both the hash -2

    suspects = hashes.suspects()

    assert suspects == [0, 1]
    assert find_duplicates(tmp_path / "t.parquet", held, suspects) == {}

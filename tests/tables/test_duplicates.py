"""Rows that share a key, and which of them stays."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.table_declarations import column, contract

from etl_assets.declarations.contract import Contract
from etl_assets.model.errors import HomeError
from etl_assets.tables.arrow_types import TYPES
from etl_assets.tables.duplicates import MAX_HASHED_ROWS, KeyHashes, find_duplicates

BY_NUMBER = contract(column("a", "int64"))


def write(folder: Path, row_group_size: int = 1_000, **columns: Any) -> Path:
    """A table whose records are numbered 10, 20, 30 and so on, if it does not say otherwise."""
    count = len(next(iter(columns.values())))
    columns.setdefault("source_row", [10 * number for number in range(1, count + 1)])
    pq.write_table(pa.table(columns), folder / "t.parquet", row_group_size=row_group_size)
    return folder / "t.parquet"


def duplicates(path: Path, declared: Contract, **options: Any) -> tuple[list[int], list[int]]:
    result = find_duplicates(path, declared, **options)
    return result.positions.tolist(), result.kept_records.tolist()


def test_an_empty_table_has_no_duplicates(tmp_path: Path) -> None:
    path = write(tmp_path, a=pa.array([], pa.int64()), source_row=pa.array([], pa.int64()))

    assert duplicates(path, BY_NUMBER) == ([], [])


def test_equal_keys_are_found_across_row_groups(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        row_group_size=3,
        a=["pear", "plum", "fig", "kiwi", "pear", "fig", "fig"],
        b=[1, 1, None, 1, 1, None, 0],
    )

    result = duplicates(path, contract("a", column("b", "int64"), key=["a", "b"]))

    assert result == ([4, 5], [10, 30])


def test_the_largest_unsigned_keys_are_told_apart(tmp_path: Path) -> None:
    numbers = pa.array([2**64 - 1, 2**63, 2**63 - 1, 2**64 - 1], pa.uint64())
    path = write(tmp_path, a=numbers)

    assert duplicates(path, contract(column("a", "uint64"))) == ([3], [10])


def test_columns_that_differ_by_case_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path, A=[1, 1], a=[1, 2])

    assert duplicates(path, BY_NUMBER) == ([], [])


@pytest.mark.parametrize("rows_per_pass", [5_001, 700], ids=["one pass", "eight passes"])
def test_every_pass_finds_its_share_and_leaves_no_file(tmp_path: Path, rows_per_pass: int) -> None:
    numbers = np.random.default_rng(7).integers(0, 700, 5_000)
    path = write(tmp_path, a=numbers)
    _, first = np.unique(numbers, return_index=True)

    removed, _ = duplicates(path, BY_NUMBER, rows_per_pass=rows_per_pass)

    assert removed == sorted(set(range(5_000)) - set(first.tolist()))
    assert list(tmp_path.iterdir()) == [path]


def test_many_spilled_duplicates_are_found_and_leave_no_file(tmp_path: Path) -> None:
    path = write(tmp_path, 20_000, a=np.repeat(np.arange(800_000), 2))

    removed, _ = duplicates(path, BY_NUMBER, memory_limit="40MB")

    assert removed == list(range(1, 1_600_000, 2))
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def files_of_at_most(count_bytes: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_takes_no_spilled_rows_is_the_homes_fault(tmp_path: Path) -> None:
    path = write(tmp_path, 20_000, a=np.repeat(np.arange(800_000), 2))
    message = f"{tmp_path}: expected to write it, found: File too large; raise the limit"

    with files_of_at_most(1_000), pytest.raises(HomeError, match=message):
        duplicates(path, BY_NUMBER, memory_limit="40MB")

    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("policy", "positions", "kept"),
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
def test_duplicates_give_way_as_the_contract_says(
    tmp_path: Path,
    policy: dict[str, str],
    positions: list[int],
    kept: list[int],
) -> None:
    declared = contract("a", column("b", "int64"), column("at", "int64"), key=["a", "b"], **policy)
    path = write(
        tmp_path,
        row_group_size=2,
        a=["x", None, "y", "x", "x", None],
        b=[1, None, 1, 1, 1, None],
        at=[None, 5, 1, 9, 3, 5],
    )

    assert duplicates(path, declared) == (positions, kept)


RECORDS = contract("id", column("at", "int64"), "part", key=["id", "part"], record_key=["id"])
LAST, NEWEST = {"duplicates": "keep_last"}, {"duplicates": "keep_newest", "newest_by": "at"}


@pytest.mark.parametrize(
    ("rule", "times", "positions", "kept"),
    [
        pytest.param({}, [1, 1, 5, 9], [3, 4, 5], [1, 1, 1], id="the first"),
        pytest.param(LAST, [9, 1, 5, 1], [0, 1, 3, 4], [4, 4, 4, 4], id="the last"),
        pytest.param(NEWEST, [9, 1, 5, 1], [3, 4, 5], [1, 1, 1], id="the newest is the first"),
        pytest.param(NEWEST, [1, 1, 5, 2], [0, 1, 5], [3, 3, 3], id="the newest is in the middle"),
        pytest.param(NEWEST, [5, 1, 5, 5], [0, 1, 3, 4], [4, 4, 4, 4], id="the last of equal ones"),
        pytest.param(
            NEWEST, [None, 1, None, 0], [0, 1, 3, 4], [4, 4, 4, 4], id="no time is the oldest"
        ),
    ],
)
def test_of_records_with_one_key_all_rows_of_one_stay(
    tmp_path: Path,
    rule: dict[str, str],
    times: list[int | None],
    positions: list[int],
    kept: list[int],
) -> None:
    first, other, second, third = times
    path = write(
        tmp_path,
        row_group_size=2,
        id=["A", "A", "B", "A", "A", "A"],
        at=pa.array([first, first, other, second, second, third], pa.int64()),
        part=["x", "y", "x", "x", "z", "x"],
        source_row=[1, 1, 2, 3, 3, 4],
    )

    for rows_per_pass in (1, 4, 100):
        options = {"of_records": True, "rows_per_pass": rows_per_pass}
        assert duplicates(path, RECORDS.model_copy(update=rule), **options) == (positions, kept)


def test_rows_of_one_record_are_no_duplicate_records(tmp_path: Path) -> None:
    path = write(tmp_path, id=["A", "A", "B"], part=["x", "x", "x"], source_row=[1, 1, 2])

    assert duplicates(path, RECORDS, of_records=True) == ([], [])
    assert duplicates(path, RECORDS) == ([1], [1])


def test_hashes_say_nothing_about_a_key_of_records() -> None:
    assert not KeyHashes(RECORDS).all_differ()


def test_hashes_of_different_keys_rule_duplicates_out() -> None:
    hashes = KeyHashes(contract("a", "b", key=["a", "b"]))

    assert hashes.all_differ()
    hashes.add(pa.RecordBatch.from_pydict({"a": ["pear", "pear", None], "b": [1, None, 1]}))
    assert hashes.all_differ()


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(["pear", "plum", "pear"], id="texts"),
        pytest.param([None, "plum", None], id="nulls"),
        pytest.param([["a"], ["b"], ["a"]], id="lists"),
        pytest.param([-1.0, 5.0, -2.0], id="different keys of one hash"),
        pytest.param(range(MAX_HASHED_ROWS + 1), id="a large table"),
    ],
)
def test_hashes_cannot_rule_out_other_keys(keys: Any) -> None:
    hashes = KeyHashes(contract("a"))

    for part in (keys[:2], keys[2:]):
        hashes.add(pa.RecordBatch.from_pydict({"a": part}))

    assert not hashes.all_differ()


def test_keys_that_only_share_a_hash_are_both_kept(tmp_path: Path) -> None:
    path = write(tmp_path, n=[-1.0, -2.0])

    assert hash(-1.0) == hash(-2.0)
    assert duplicates(path, contract(column("n", "float64"))) == ([], [])


TEXTS = st.sampled_from(["", "a", "A", "a\0", "a\0b", "ä", "a\u0308", "zz", "\U0001f350", None])
KEYS = {
    "string": TEXTS,
    "int64": st.sampled_from([None, 0, -1, 1, 2**63 - 1, -(2**63)]),
    "float64": st.sampled_from([None, 0.0, -0.0, -1.0, -2.0, 5e-324, 1e308]),
    "boolean": st.sampled_from([None, True, False]),
    "list[string]": st.none() | st.lists(TEXTS, max_size=2),
}
POLICIES = st.sampled_from(["reject", "keep_last", "keep_newest"])


@pytest.mark.long
@pytest.mark.ci
@given(data=st.data(), kind=st.sampled_from(sorted(KEYS)), policy=POLICIES)
def test_the_rows_that_stay_are_those_of_one_pass_in_python(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: Any, policy: str
) -> None:
    rows = data.draw(st.lists(st.tuples(KEYS[kind], TEXTS), min_size=1, max_size=8))
    keys, ranks = ([row[place] for row in rows] for place in (0, 1))
    newest = {"newest_by": "at"} if policy == "keep_newest" else {}
    declared = contract(column("a", kind), "at", duplicates=policy, **newest)
    folder = tmp_path_factory.mktemp("duplicates")
    path = write(folder, a=pa.array(keys, TYPES[kind]), at=pa.array(ranks, pa.string()))

    removed, kept = duplicates(path, declared)

    expected = expected_winners(keys, ranks, policy)
    assert removed == [n for n in range(len(rows)) if expected[n] != n]
    assert kept == [10 * (expected[n] + 1) for n in removed]


def expected_winners(keys: list[Any], ranks: list[Any], policy: str) -> list[int]:
    """For each row the position of the row of its key that stays."""
    hashable = [tuple(key) if isinstance(key, list) else key for key in keys]
    winners: dict[Any, int] = {}
    for position, key in enumerate(hashable):
        winner = winners.setdefault(key, position)
        old, new = ranks[winner], ranks[position]
        is_newer = old is None or (new is not None and new >= old)
        if policy == "keep_last" or (policy == "keep_newest" and is_newer):
            winners[key] = position
    return [winners[key] for key in hashable]

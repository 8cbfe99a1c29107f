"""Parquet that is the same for the same rows, and whole or not there."""

from __future__ import annotations

import hashlib
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.model.errors import HomeError
from etl_assets.model.records import Reject
from etl_assets.storage.atomic_write import atomic_file
from etl_assets.storage.hashing import hash_file
from etl_assets.tables import parquet
from etl_assets.tables.arrow_types import INSTANT
from etl_assets.tables.parquet import ROWS_PER_GROUP, TableWriter

SCHEMA = pa.schema([("n", pa.int64())])
REJECT = Reject(where="record 1", rule="type", expected="a text", actual="1", row="{}")


def rows(start: int, end: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": list(range(start, end))}, SCHEMA)


def write(target: Path, *ends: int, then: Callable[[], object] = int) -> str:
    """The digest of a table of the numbers to the last end, written in pieces."""
    with atomic_file(target) as draft:
        with TableWriter(draft, SCHEMA) as table:
            for start, end in pairwise((0, *ends)):
                table.write(rows(start, end))
            then()
        return hash_file(draft)


def fail() -> None:
    raise ZeroDivisionError


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_table_appears_with_its_rows_and_digest(tmp_path: Path) -> None:
    target = tmp_path / "fruits" / "t.parquet"

    digest = write(target, 3)

    assert pq.read_table(target).to_pydict() == {"n": [0, 1, 2]}
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    assert names_in(target.parent) == ["t.parquet"]


def test_the_bytes_do_not_depend_on_how_batches_were_cut(tmp_path: Path) -> None:
    count = ROWS_PER_GROUP * 2 + 5

    digests = {write(tmp_path / "t.parquet", *ends) for ends in [(count,), (7, 30_000, count)]}

    assert len(digests) == 1
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 3


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        pytest.param(pa.float64(), "BYTE_STREAM_SPLIT", id="float64"),
        pytest.param(pa.int64(), "DELTA_BINARY_PACKED", id="int64"),
        pytest.param(pa.uint64(), "DELTA_BINARY_PACKED", id="uint64"),
        pytest.param(INSTANT, "DELTA_BINARY_PACKED", id="timestamp"),
    ],
)
def test_numbers_that_differ_are_encoded_and_those_that_repeat_are_looked_up(
    tmp_path: Path, kind: pa.DataType, encoding: str
) -> None:
    schema = pa.schema([("differs", kind), ("repeats", kind)])
    columns = [pa.array(range(9)).cast(pa.int64()).cast(kind), pa.array([7] * 9).cast(kind)]
    target = tmp_path / "t.parquet"

    with TableWriter(target, schema) as table:
        table.write(pa.RecordBatch.from_arrays(columns, schema=schema))

    differs, repeats = (pq.read_metadata(target).row_group(0).column(n) for n in range(2))
    assert encoding in differs.encodings
    assert "RLE_DICTIONARY" in repeats.encodings
    assert pq.read_table(target).column("differs").to_pylist() == columns[0].to_pylist()


def test_an_empty_table_has_its_types(tmp_path: Path) -> None:
    parquet.write_empty(tmp_path / "t.parquet", SCHEMA)

    assert pq.read_schema(tmp_path / "t.parquet") == SCHEMA


def test_after_an_error_only_the_old_file_remains(tmp_path: Path) -> None:
    target = tmp_path / "t.parquet"
    before = write(target, 3)

    with pytest.raises(ZeroDivisionError):
        write(target, 9, then=fail)

    assert hash_file(target) == before
    assert names_in(tmp_path) == ["t.parquet"]


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


def test_a_disk_without_room_is_named_and_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "t.parquet"
    before = write(target, 3)

    with (
        files_of_at_most(1_000),
        pytest.raises(HomeError, match=r"t\.parquet: expected to write it"),
    ):
        write(target, 90_000)

    assert hash_file(target) == before
    assert names_in(tmp_path) == ["t.parquet"]


def test_rows_are_removed_by_their_positions(tmp_path: Path) -> None:
    target = tmp_path / "t.parquet"
    count = ROWS_PER_GROUP + 3
    write(target, count)

    pieces = list(parquet.remove_rows(target, np.array([1, ROWS_PER_GROUP + 1])))

    assert [n for removed in pieces for n in removed.column("n").to_pylist()] == [
        1,
        ROWS_PER_GROUP + 1,
    ]
    assert pq.read_table(target).num_rows == count - 2
    assert 1 not in pq.read_table(target)["n"].to_pylist()


def test_rejects_are_written_with_their_source(tmp_path: Path) -> None:
    target = tmp_path / "rejects.parquet"

    with parquet.reject_file(target, "abc") as rejects:
        rejects.write([REJECT])

    (row,) = pq.read_table(target).to_pylist()
    assert row == REJECT.model_dump() | {"source_sha256": "abc"}
    assert rejects.by_rule == {"type": 1}


def test_without_rejects_an_old_file_of_them_goes(tmp_path: Path) -> None:
    target = tmp_path / "rejects.parquet"
    target.touch()

    with parquet.reject_file(target, "abc") as rejects:
        rejects.write([])

    assert not target.exists()


def test_after_an_error_the_old_rejects_remain(tmp_path: Path) -> None:
    target = tmp_path / "rejects.parquet"
    target.write_text("old")

    with pytest.raises(ZeroDivisionError):
        reject_and_fail(target)

    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["rejects.parquet"]


def reject_and_fail(target: Path) -> None:
    with parquet.reject_file(target, "abc") as rejects:
        rejects.write([REJECT])
        fail()

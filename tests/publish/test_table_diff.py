"""The differences between two versions of a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from duckdb import DuckDBPyConnection

from etl_assets.model.errors import ColumnMismatchError
from etl_assets.publish.table_diff import RowChange, diff_tables, find_lost_groups
from etl_assets.storage.duckdb_connection import connect

BEFORE = [
    {"id": "a", "bed": "north", "state": "sown", "by": {"source": "diary"}},
    {"id": "b", "bed": "north", "state": "sown", "by": {"source": "diary"}},
    {"id": "c", "bed": "south", "state": None, "by": {"source": "diary"}},
]


def laid(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, pa.Table.from_pylist(BEFORE).schema), path)
    return path


@pytest.fixture
def connection() -> Iterator[DuckDBPyConnection]:
    with connect() as opened:
        yield opened


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return laid(tmp_path / "before.parquet", BEFORE)


def test_equal_files_have_no_changes(connection: DuckDBPyConnection, before: Path) -> None:
    assert diff_tables(connection, before, before, key=["id"], columns=["state"]) == []


def test_changed_added_and_removed_rows_are_in_order(
    connection: DuckDBPyConnection, before: Path, tmp_path: Path
) -> None:
    rows = [
        {"id": "d", "bed": "east", "state": "sown", "by": {"source": "note"}},
        {"id": "b", "bed": "north", "state": "sown", "by": {"source": "note"}},
        {"id": "c", "bed": "south", "state": "sown", "by": {"source": "note"}},
    ]
    after = laid(tmp_path / "after.parquet", rows)

    changes = diff_tables(
        connection, before, after, key=["id"], columns=["state"], extra_columns=["by.source"]
    )

    assert changes == [
        RowChange(("a",), {"state": "sown", "by.source": "diary"}, None),
        RowChange(
            ("c",), {"state": None, "by.source": "diary"}, {"state": "sown", "by.source": "note"}
        ),
        RowChange(("d",), None, {"state": "sown", "by.source": "note"}),
    ]


def test_a_lost_group_is_listed_with_its_size(
    connection: DuckDBPyConnection, before: Path, tmp_path: Path
) -> None:
    after = laid(tmp_path / "after.parquet", BEFORE[2:])

    assert find_lost_groups(connection, before, after, group="bed", at_least=2) == {"north": 2}
    assert find_lost_groups(connection, before, after, group="bed", at_least=3) == {}


def test_files_without_a_common_column_cannot_be_compared(
    connection: DuckDBPyConnection, before: Path, tmp_path: Path
) -> None:
    after = tmp_path / "after.parquet"
    pq.write_table(pa.table({"id": ["a"]}), after)

    with pytest.raises(ColumnMismatchError, match="state"):
        diff_tables(connection, before, after, key=["id"], columns=["state"])

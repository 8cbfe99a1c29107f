"""What a build reads besides tables, also where the published history is of earlier code."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from etl_assets.marts import build_inputs

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
TYPES = {"plant": "varchar", "height": "bigint"}


def laid(directory: Path, history: Path | None) -> pa.Table:
    build_inputs.write(directory, as_of=AS_OF, health=[], history=history, history_types=TYPES)
    return pq.read_table(directory / "history.parquet")


def test_before_the_first_publication_the_history_is_an_empty_table(tmp_path: Path) -> None:
    found = laid(tmp_path / "inputs", None)

    assert found.to_pylist() == []
    assert found.column_names == ["plant", "height"]


def test_the_published_history_is_taken_byte_for_byte(tmp_path: Path) -> None:
    published = tmp_path / "published.parquet"
    pq.write_table(pa.table({"plant": ["oak"], "height": [4]}), published)

    laid(tmp_path / "inputs", published)

    assert (tmp_path / "inputs" / "history.parquet").read_bytes() == published.read_bytes()


def test_a_column_that_a_history_of_earlier_code_lacks_is_null(tmp_path: Path) -> None:
    published = tmp_path / "published.parquet"
    pq.write_table(pa.table({"plant": ["oak"]}), published)

    found = laid(tmp_path / "inputs", published)

    assert found.to_pylist() == [{"plant": "oak", "height": None}]

"""Values and column names are data in every query, even if they look like SQL."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.model.errors import BuildError, HomeError
from etl_assets.publish.published_rows import find_rows, list_values

HOSTILE = "'; drop view model; --"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "mart.parquet"
    rows = [{"name": HOSTILE, 'weight"; --': 1}, {"name": "Pear", 'weight"; --': 2}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.fault("hostile-sql")
@pytest.mark.parametrize(("name", "weight"), [(HOSTILE, 1), ("pear", 2)], ids=["hostile", "plain"])
def test_values_and_names_with_sql_in_them_are_opaque(model: Path, name: str, weight: int) -> None:
    rows = find_rows(model, {"name": name}, ['weight"; --'], ["name"])

    assert rows == [{'weight"; --': weight}]
    assert list_values(model, 'weight"; --', {"name": name}) == [str(weight)]


def test_an_unknown_column_is_an_error(model: Path) -> None:
    with pytest.raises(BuildError, match="expected the declared columns"):
        find_rows(model, {}, ["colour"])


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="expected a published model, found no file"):
        list_values(tmp_path / "gone.parquet", "name", {})

"""Rows are found by values, whatever the values say."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.model.errors import BuildError, HomeError
from etl_assets.operations.lookup import rows_where, values_of

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
    found = rows_where(model, {"name": name}, ['weight"; --'], ["name"])

    assert found == [{'weight"; --': weight}]
    assert values_of(model, 'weight"; --', {"name": name}) == [str(weight)]


def test_a_column_that_is_not_there_is_told(model: Path) -> None:
    with pytest.raises(BuildError, match="expected the columns that are declared"):
        rows_where(model, {}, ["colour"])


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="expected a published model, found no file"):
        values_of(tmp_path / "gone.parquet", "name", {})

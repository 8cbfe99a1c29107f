"""Previews of parquet files by one DuckDB for all steps of a run."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster_duckdb import DuckDBResource

from etl_assets.defs.specs import in_memory_duckdb, preview

Step = Callable[[DuckDBResource], None]


def write_fruits(file: Path, *names: str) -> Path:
    picked_at = [datetime(2026, 1, 2, 3, tzinfo=UTC)] * len(names)
    pq.write_table(pa.table({"name": names, "picked_at": picked_at}), file)
    return file


def make_asset(number: int, step: Step) -> dg.AssetsDefinition:
    @dg.asset(name=f"step{number}", deps=[f"step{number - 1}"] if number else [])
    def asset(duckdb: DuckDBResource) -> None:
        step(duckdb)

    return asset


def run_steps(*steps: Step) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [make_asset(number, step) for number, step in enumerate(steps)],
            instance=instance,
            resources={"duckdb": in_memory_duckdb()},
            raise_on_error=False,
        )


def test_a_preview_has_the_first_rows_in_utc(tmp_path: Path) -> None:
    file = write_fruits(tmp_path / "fruits.parquet", *[f"pear{n}" for n in range(9)])
    texts = []

    run_steps(lambda duckdb: texts.append(preview(duckdb, file).value))

    lines = texts[0].splitlines()
    assert lines[0] == "| name | picked_at |"
    assert lines[2] == "| pear0 | 2026-01-02 03:00:00+00:00 |"
    assert len(lines) == 2 + 5


def test_the_steps_of_a_run_share_one_database_that_ends_with_the_run(tmp_path: Path) -> None:
    sessions: list[duckdb.DuckDBPyConnection] = []
    zones: list[object] = []

    def look(duckdb: DuckDBResource) -> None:
        with duckdb.get_connection() as connection:
            zones.append(connection.execute("select current_setting('TimeZone')").fetchone())
            connection.execute(f"create table t{len(sessions)} as select 1")
            sessions.append(connection)
            zones.append(connection.execute("select count(*) from duckdb_tables()").fetchone())

    first = run_steps(look, look)
    second = run_steps(look)

    assert first.success
    assert second.success
    assert zones == [("UTC",), (1,), ("UTC",), (2,), ("UTC",), (1,)]
    for session in sessions:
        with pytest.raises(duckdb.ConnectionException):
            session.execute("select 1")


@pytest.mark.parametrize("replace", ["rename", "rewrite", "remove"])
def test_a_later_step_reads_the_file_that_is_there(tmp_path: Path, replace: str) -> None:
    file = write_fruits(tmp_path / "fruits.parquet", "pear")
    texts = []

    def change_and_look(duckdb: DuckDBResource) -> None:
        if replace == "rename":
            write_fruits(tmp_path / "new.parquet", "plum").replace(file)
        else:
            if replace == "remove":
                file.unlink()
            write_fruits(file, "plum")
        texts.append(preview(duckdb, file).value)

    run_steps(lambda duckdb: texts.append(preview(duckdb, file).value), change_and_look)

    assert "pear" in texts[0]
    assert "plum" in texts[1]
    assert "pear" not in texts[1]


def test_a_step_that_fails_costs_no_later_run_its_previews(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no parquet")
    file = write_fruits(tmp_path / "fruits.parquet", "pear")
    texts = []

    failed = run_steps(lambda duckdb: texts.append(preview(duckdb, broken).value))
    result = run_steps(lambda duckdb: texts.append(preview(duckdb, file).value))

    assert not failed.success
    assert result.success
    assert len(texts) == 1

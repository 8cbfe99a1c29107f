"""Queries on one published parquet file by the values of its columns, run by DuckDB in memory.

What a row means, and which columns to read, is decided by the callers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from etl_assets.model.errors import BuildError, HomeError
from etl_assets.storage.duckdb_connection import connect
from etl_assets.storage.sql_quoting import fold_case, quote_path

Row = dict[str, Any]


def find_rows(
    path: Path,
    where: Mapping[str, str],
    columns: Sequence[str],
    order_by: Sequence[str] = (),
    limit: int | None = None,
) -> list[Row]:
    """Return the rows whose columns equal the values of `where`, ignoring case; times are UTC.

    At most `limit` of them, in the order of `order_by`.
    """
    order = f" order by {', '.join(map(quote_path, order_by))}" if order_by else ""
    order += f" limit {limit:d}" if limit is not None else ""
    with _open_model(path) as connection:
        # Through Arrow: DuckDB's own conversion of times with a time zone needs pytz.
        table: pa.Table = connection.sql(
            f"select {', '.join(map(quote_path, columns))} from model "  # noqa: S608 - quoted
            f"where {_condition(where)}{order}",
            params=list(where.values()),
        ).to_arrow_table()
    rows: list[Row] = table.to_pylist()
    return rows


def list_values(path: Path, column: str, where: Mapping[str, str]) -> list[str]:
    """Return the sorted distinct values of a column among the rows that match `where`."""
    name = quote_path(column)
    with _open_model(path) as connection:
        rows = connection.execute(
            f"select distinct {name}::varchar as v from model "  # noqa: S608 - quoted
            f"where {_condition(where)} and {name} is not null order by v",
            list(where.values()),
        ).fetchall()
    return [value for (value,) in rows]


def find_named_rows(
    path: Path, named_by: Sequence[str], name: str, columns: Sequence[str]
) -> list[Row]:
    """Return the rows that have `name` in one of the columns `named_by`, ignoring case."""
    listed = ", ".join(map(quote_path, columns))
    with _open_model(path) as connection:
        table: pa.Table = connection.sql(
            f"select distinct {listed} from ({_names_query(connection, named_by)}) "  # noqa: S608 - quoted
            f"where {fold_case('a_name')} = {fold_case('?')} order by all",
            params=[name],
        ).to_arrow_table()
    rows: list[Row] = table.to_pylist()
    return rows


def list_names(path: Path, columns: Sequence[str]) -> list[str]:
    """Return the sorted distinct values of all the columns; a list column gives its elements."""
    with _open_model(path) as connection:
        names = _names_query(connection, columns)
        rows = connection.execute(
            f"select distinct a_name from ({names}) "  # noqa: S608 - quoted
            "where a_name is not null order by a_name"
        ).fetchall()
    return [name for (name,) in rows]


def _names_query(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> str:
    """Return SQL for the model's rows, each repeated for every name it has, as column a_name."""
    model = connection.table("model")
    lists = {n for n, kind in zip(model.columns, model.types, strict=True) if kind.id == "list"}
    names = []
    for column in columns:
        name = quote_path(column)
        names.append(f"{name}::varchar[]" if column in lists else f"[{name}::varchar]")
    return f"select *, unnest(flatten([{', '.join(names)}])) as a_name from model"  # noqa: S608 - quoted


def _condition(where: Mapping[str, str]) -> str:
    names = (fold_case(f"{quote_path(name)}::varchar") for name in where)
    return " and ".join(["true", *(f"{name} = {fold_case('?')}" for name in names)])


@contextmanager
def _open_model(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory connection in which the view `model` reads the file."""
    if not path.is_file():
        raise HomeError(f"{path}: expected a published model, found no file")
    try:
        with connect() as connection:
            connection.read_parquet(path.as_posix()).create_view("model")
            yield connection
    except duckdb.BinderException as error:
        message = str(error).partition("\n")[0]
        raise BuildError(f"{path}: expected the declared columns, found: {message}") from error

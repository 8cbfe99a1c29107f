"""Rows of published models, found by the values of columns.

DuckDB reads the parquet files in memory; what the rows mean is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from etl_assets.model.errors import BuildError, HomeError
from etl_assets.storage.sql_quoting import quote_path

Row = dict[str, Any]


def rows_where(
    path: Path, where: Mapping[str, str], columns: Sequence[str], order_by: Sequence[str] = ()
) -> list[Row]:
    """The rows whose columns have these values, whatever their case; times are aware UTC."""
    order = f" order by {', '.join(map(quote_path, order_by))}" if order_by else ""
    with _opened(path) as connection:
        table: pa.Table = connection.sql(
            f"select {', '.join(map(quote_path, columns))} from model "  # noqa: S608 - quoted
            f"where {_condition(where)}{order}",
            params=list(where.values()),
        ).to_arrow_table()
    rows: list[Row] = table.to_pylist()
    return rows


def values_of(path: Path, column: str, where: Mapping[str, str]) -> list[str]:
    """The distinct values of a column among the rows with these values, in order."""
    name = quote_path(column)
    with _opened(path) as connection:
        found = connection.execute(
            f"select distinct {name}::varchar as v from model "  # noqa: S608 - quoted
            f"where {_condition(where)} and {name} is not null order by v",
            list(where.values()),
        ).fetchall()
    return [value for (value,) in found]


def keys_named(
    path: Path, key: Sequence[str], columns: Sequence[str], name: str
) -> list[list[str]]:
    """The keys of the rows that bear a name in one of the columns, whatever its case, in order."""
    parts = ", ".join(f"{quote_path(part)}::varchar" for part in key)
    with _opened(path) as connection:
        found = connection.execute(
            f"select distinct {parts} from ({_named(connection, columns)}) "  # noqa: S608 - quoted
            "where lower(a_name) = lower(?) order by all",
            [name],
        ).fetchall()
    return [list(row) for row in found]


def names_in(path: Path, columns: Sequence[str]) -> list[str]:
    """The distinct values of all the columns, those of a list one by one, in order."""
    with _opened(path) as connection:
        found = connection.execute(
            f"select distinct a_name from ({_named(connection, columns)}) "  # noqa: S608 - quoted
            "where a_name is not null order by a_name"
        ).fetchall()
    return [name for (name,) in found]


def _named(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> str:
    """The model's rows, each as often as it has names, with the name beside it."""
    model = connection.table("model")
    lists = {n for n, kind in zip(model.columns, model.types, strict=True) if kind.id == "list"}
    texts = [
        f"{quote_path(name)}::varchar[]" if name in lists else f"[{quote_path(name)}::varchar]"
        for name in columns
    ]
    return f"select *, unnest(flatten([{', '.join(texts)}])) as a_name from model"  # noqa: S608 - quoted


def _condition(where: Mapping[str, str]) -> str:
    return " and ".join(["true", *(f"lower({quote_path(n)}::varchar) = lower(?)" for n in where)])


@contextmanager
def _opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    if not path.is_file():
        raise HomeError(f"{path}: expected a published model, found no file")
    try:
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            connection.read_parquet(path.as_posix()).create_view("model")
            yield connection
    except duckdb.BinderException as error:
        told = str(error).partition("\n")[0]
        raise BuildError(
            f"{path}: expected the columns that are declared, found: {told}"
        ) from error

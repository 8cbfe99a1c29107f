"""Compare two versions of a model's parquet file.

Which differences matter is decided by the caller, who also opens the connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from etl_assets.model.errors import ColumnMismatchError
from etl_assets.storage.sql_quoting import quote_path

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row before and after; None on the side that lacks it."""

    key: tuple[str, ...]
    before: Values | None
    after: Values | None

    @property
    def name(self) -> str:
        return " ".join(self.key)


def diff_tables(
    connection: duckdb.DuckDBPyConnection,
    before: Path,
    after: Path,
    *,
    key: Sequence[str],
    columns: Sequence[str],
    extra_columns: Sequence[str] = (),
) -> list[RowChange]:
    """Rows of one file only, and rows of both that differ in `columns`, in the order of the key.

    Each side has the values of `columns` and of `extra_columns`, which are not compared. A name
    with dots is a field of a struct. Raises ColumnMismatchError if a file lacks one of them.
    """
    names = list(dict.fromkeys([*columns, *extra_columns]))
    keys = ", ".join(f"k{number}" for number in range(len(key)))
    before_values = ", ".join(f"b.v{number}" for number in range(len(names)))
    after_values = ", ".join(f"a.v{number}" for number in range(len(names)))
    # The compared columns are the first of `names`.
    differs = " or ".join(f"b.v{n} is distinct from a.v{n}" for n in range(len(columns)))
    with _views(connection, before, after):
        rows = connection.execute(
            f"select {keys}, b.is_present, a.is_present, {before_values}, {after_values} "  # noqa: S608 - quoted
            f"from ({_select_side('before', key, names)}) as b "
            f"full outer join ({_select_side('after', key, names)}) as a using ({keys}) "
            f"where b.is_present is null or a.is_present is null or {differs} order by {keys}"
        ).fetchall()
    width = len(key)
    changes = []
    for row in rows:
        in_before, in_after, *values = row[width:]
        changes.append(
            RowChange(
                key=tuple(map(str, row[:width])),
                before=dict(zip(names, values[: len(names)], strict=True)) if in_before else None,
                after=dict(zip(names, values[len(names) :], strict=True)) if in_after else None,
            )
        )
    return changes


def find_lost_groups(
    connection: duckdb.DuckDBPyConnection, before: Path, after: Path, *, group: str, at_least: int
) -> dict[str, int]:
    """Groups of `at_least` rows or more that lost all rows, with their former number of rows.

    `group` is the column whose equal values make a group.
    """
    name = quote_path(group)
    with _views(connection, before, after):
        rows = connection.execute(
            f"select {name}::varchar, count(*) from before "  # noqa: S608 - quoted
            f"where {name} not in (select {name} from after where {name} is not null) "
            f"group by {name} having count(*) >= ? order by {name}",
            [at_least],
        ).fetchall()
    return dict(rows)


@contextmanager
def _views(connection: duckdb.DuckDBPyConnection, before: Path, after: Path) -> Iterator[None]:
    """Give the block the views `before` and `after`."""
    try:
        for name, file in (("before", before), ("after", after)):
            connection.read_parquet(file.as_posix()).create_view(name, replace=True)
        yield
    except duckdb.BinderException as error:
        message = str(error).partition("\n")[0]  # the lines after it repeat the query
        raise ColumnMismatchError(
            f"{before}: expected the columns of {after}, to compare with; found: {message}"
        ) from error


def _select_side(view: str, key: Sequence[str], names: Sequence[str]) -> str:
    """A query of one side that renames its columns to k0, k1 ... and v0, v1 ..."""
    # As text, so that keys match although a column's type changed between the versions.
    keys = [f"{quote_path(name)}::varchar as k{number}" for number, name in enumerate(key)]
    values = [f"{quote_path(name)} as v{number}" for number, name in enumerate(names)]
    return f"select {', '.join([*keys, *values])}, true as is_present from {view}"  # noqa: S608 - quoted

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
from etl_assets.storage.sql_quoting import fold_case, quote_path

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
    ignore_case: bool = False,
    only_with: str | None = None,
) -> list[RowChange]:
    """Rows of one file only, and rows of both that differ in `columns`, in the order of the key.

    Each side has the values of `columns` and of `extra_columns`, which are not compared. A name
    with dots is a field of a struct. `only_with` is a column: only rows in which it is true are
    compared. Equal rows count as one. With `ignore_case` a key is one key in every case; the newer
    spelling is returned. Raises ColumnMismatchError if a file lacks a column.
    """
    names = list(dict.fromkeys([*columns, *extra_columns]))
    keys = ", ".join(f"k{number}" for number in range(len(key)))
    spelled = ", ".join(f"coalesce(a.s{number}, b.s{number})" for number in range(len(key)))
    compared = fold_case("{}") if ignore_case else "{}"
    old = _select_side("before", key, names, compared)
    new = _select_side("after", key, names, compared)
    before_values = ", ".join(f"b.v{number}" for number in range(len(names)))
    after_values = ", ".join(f"a.v{number}" for number in range(len(names)))
    # The compared columns are the first of `names`.
    differs = " or ".join(f"b.v{n} is distinct from a.v{n}" for n in range(len(columns)))
    with _views(connection, before, after, only_with):
        rows = connection.execute(
            f"select {spelled}, b.is_present, a.is_present, {before_values}, {after_values} "  # noqa: S608 - quoted
            f"from ({old}) as b full outer join ({new}) as a using ({keys}) "
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
    connection: duckdb.DuckDBPyConnection,
    before: Path,
    after: Path,
    *,
    group: str,
    at_least: int,
    ignore_case: bool = False,
) -> dict[str, int]:
    """Groups of `at_least` rows or more that lost all rows, with their former number of rows.

    `group` is the column whose equal values make a group.
    """
    name = f"{quote_path(group)}::varchar"
    compared = fold_case(name) if ignore_case else name
    with _views(connection, before, after):
        rows = connection.execute(
            f"select min({name}), count(*) from before "  # noqa: S608 - quoted
            f"where {compared} not in (select {compared} from after where {name} is not null) "
            f"group by {compared} having count(*) >= ? order by {compared}",
            [at_least],
        ).fetchall()
    return dict(rows)


def count_keys(
    connection: duckdb.DuckDBPyConnection, file: Path, key: Sequence[str], only_with: str | None
) -> int:
    """The number of different keys of a file; raises ColumnMismatchError if it lacks a column."""
    columns = ", ".join(quote_path(name) for name in key)
    with _views(connection, file, file, only_with):
        query = f"select count(*) from (select distinct {columns} from before)"  # noqa: S608 - quoted
        ((count,),) = connection.execute(query).fetchall()
    return int(count)


@contextmanager
def _views(
    connection: duckdb.DuckDBPyConnection, before: Path, after: Path, only_with: str | None = None
) -> Iterator[None]:
    """Give the block the views `before` and `after`."""
    try:
        for name, file in (("before", before), ("after", after)):
            rows = connection.read_parquet(file.as_posix())
            compared = rows.filter(quote_path(only_with)) if only_with else rows
            compared.create_view(name, replace=True)
        yield
    except duckdb.BinderException as error:
        message = str(error).partition("\n")[0]  # the lines after it repeat the query
        raise ColumnMismatchError(
            f"{before}: expected the columns of {after}, to compare with; found: {message}"
        ) from error


def _select_side(view: str, key: Sequence[str], names: Sequence[str], compared: str) -> str:
    """A query of one side: its key as spelled (s0, s1 ...) and as compared, and values (v0 ...).

    `compared` is a template for the SQL of what is compared (k0, k1 ...).
    """
    columns = []
    for number, name in enumerate(key):
        # As text, so that keys match although a column's type changed between the versions.
        spelled = f"{quote_path(name)}::varchar"
        columns += [f"{spelled} as s{number}", f"{compared.format(spelled)} as k{number}"]
    columns += [f"{quote_path(name)} as v{number}" for number, name in enumerate(names)]
    return f"select distinct {', '.join(columns)}, true as is_present from {view}"  # noqa: S608 - quoted

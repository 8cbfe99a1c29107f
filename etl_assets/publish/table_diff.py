"""Two versions of a model's parquet file, side by side.

Which differences matter is the caller's; the files are read by DuckDB in memory and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from etl_assets.model.errors import Incomparable
from etl_assets.storage.sql_quoting import quote_path

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row before and after; None where it is not there."""

    key: tuple[str, ...]
    before: Values | None
    after: Values | None

    @property
    def name(self) -> str:
        return " ".join(self.key)


def diff_tables(
    before: Path, after: Path, *, key: Sequence[str], columns: Sequence[str], along: Sequence[str]
) -> list[RowChange]:
    """Rows of one file only, and rows of both that differ in `columns`, in the order of the key.

    Each comes with `columns` and the columns `along`; a name with dots is a field of a struct.
    Raises Incomparable where a file lacks one of them.
    """
    shown = list(dict.fromkeys([*columns, *along]))
    keys = ", ".join(f"k{number}" for number in range(len(key)))
    values = [f"{side}.v{n}" for side in ("b", "a") for n in range(len(shown))]
    changed = " or ".join(f"b.v{n} is distinct from a.v{n}" for n in range(len(columns)))
    with _opened(before, after) as connection:
        rows = connection.execute(
            f"select {keys}, b.here, a.here, {', '.join(values)} "  # noqa: S608 - quoted
            f"from ({_side('before', key, shown)}) as b "
            f"full outer join ({_side('after', key, shown)}) as a using ({keys}) "
            f"where b.here is null or a.here is null or {changed} order by {keys}"
        ).fetchall()
    return [_pair(row, len(key), shown) for row in rows]


def find_lost_groups(before: Path, after: Path, *, group: str, at_least: int) -> dict[str, int]:
    """Groups of so many rows or more of which no row is left, with their former sizes."""
    name = quote_path(group)
    with _opened(before, after) as connection:
        found = connection.execute(
            f"select {name}::varchar, count(*) from before "  # noqa: S608 - quoted
            f"where {name} not in (select {name} from after where {name} is not null) "
            f"group by {name} having count(*) >= ? order by {name}",
            [at_least],
        ).fetchall()
    return dict(found)


@contextmanager
def _opened(before: Path, after: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            connection.read_parquet(before.as_posix()).create_view("before")
            connection.read_parquet(after.as_posix()).create_view("after")
            yield connection
    except duckdb.BinderException as error:
        told = str(error).partition("\n")[0]
        raise Incomparable(
            f"{before}: expected the columns of {after}, to compare with; found: {told}"
        ) from error


def _side(view: str, key: Sequence[str], shown: Sequence[str]) -> str:
    keys = [f"{quote_path(name)}::varchar as k{number}" for number, name in enumerate(key)]
    values = [f"{quote_path(name)} as v{number}" for number, name in enumerate(shown)]
    return f"select {', '.join([*keys, *values])}, true as here from {view}"  # noqa: S608 - quoted


def _pair(row: tuple[Any, ...], keys: int, shown: Sequence[str]) -> RowChange:
    was, stands = row[keys], row[keys + 1]
    values = row[keys + 2 :]
    return RowChange(
        key=tuple(str(part) for part in row[:keys]),
        before=dict(zip(shown, values[: len(shown)], strict=True)) if was else None,
        after=dict(zip(shown, values[len(shown) :], strict=True)) if stands else None,
    )

"""A few rows of a parquet file, as Markdown for the catalogue's pages.

Rows are data: whatever stands in them is shown and never interpreted.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import dagster as dg
from dagster_duckdb import DuckDBResource

ROWS = 5
LONGEST_CELL = 60


def in_memory() -> DuckDBResource:
    """How assets look into parquet files; the warehouse is dbt's alone."""
    return DuckDBResource(database=":memory:", connection_config={"threads": 1})


def preview(duckdb: DuckDBResource, file: Path) -> dg.MarkdownMetadataValue:
    """The first rows of a file, long texts cut."""
    with duckdb.get_connection() as connection:
        relation = connection.read_parquet(file.as_posix()).limit(ROWS)
        header, rows = relation.columns, relation.fetchall()
    lines = [_line(header), _line("---" for _ in header), *(_line(map(_cell, row)) for row in rows)]
    return dg.MetadataValue.md("\n".join(lines))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    cut = text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"
    for character in "\\`*_{}[]<>#|":
        cut = cut.replace(character, f"\\{character}")
    return cut

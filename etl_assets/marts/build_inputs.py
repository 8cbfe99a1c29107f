"""What a build reads besides tables, as parquet: the run's time, the sources' health, the history.

Files lie at constant paths, so that dbt's vars stay constant and its parse is reused.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from etl_assets.marts.graph import HEALTH_INPUT, HISTORY_INPUT, RUN_INPUT
from etl_assets.marts.source_status import SourceHealth
from etl_assets.storage.atomic_write import atomic_file

INSTANT = pa.timestamp("us", tz="UTC")
HEALTH_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("title", pa.string()),
        ("status", pa.string()),
        ("fetched_at", INSTANT),
        ("content_at", INSTANT),
        ("rows", pa.int64()),
        ("rejected", pa.int64()),
        ("last_good_at", INSTANT),
        ("source_sha256", pa.string()),
    ]
)


def write(
    directory: Path,
    *,
    as_of: datetime,
    health: Sequence[SourceHealth],
    history: Path | None,
    history_types: Mapping[str, str],
) -> None:
    """Lay out the three inputs; without a published history an empty one of its types."""
    _table(directory / f"{RUN_INPUT}.parquet", pa.table({"as_of": pa.array([as_of], INSTANT)}))
    rows = [source.model_dump(mode="python") for source in health]
    _table(directory / f"{HEALTH_INPUT}.parquet", pa.Table.from_pylist(rows, HEALTH_SCHEMA))
    if history_types:
        _history(directory / f"{HISTORY_INPUT}.parquet", history, history_types)


def _table(target: Path, table: pa.Table) -> None:
    with atomic_file(target) as temporary:
        pq.write_table(table, temporary)


def _history(target: Path, history: Path | None, types: Mapping[str, str]) -> None:
    """The published history as it is; a column that the code of its day did not know is null."""
    known = pq.read_schema(history).names if history else []
    added = [
        f'cast(null as {kind}) as "{name}"' for name, kind in types.items() if name not in known
    ]
    with atomic_file(target) as temporary:
        if history is not None and not added:
            shutil.copyfile(history, temporary)
            return
        rows = f"*, {', '.join(added)} from read_parquet(?)" if history else ", ".join(added)
        with duckdb.connect() as connection:
            connection.execute(
                f"copy (select {rows} {'' if history else 'where false'})"
                f" to '{temporary}' (format parquet)",
                [str(history)] if history else [],
            ).fetchall()

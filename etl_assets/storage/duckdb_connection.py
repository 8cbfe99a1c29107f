"""Opens every in-memory DuckDB connection over parquet files, with one configuration.

A domain's warehouse is a file, which only `etl_assets.marts.dbt` opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

# A second thread saved no time on 1.5 million rows, and other work shares the processors.
CONFIG: dict[str, Any] = {"threads": 1, "memory_limit": "1GB"}


def connect(**config: Any) -> duckdb.DuckDBPyConnection:
    """Open an in-memory connection in UTC; `config` overrides settings of DuckDB."""
    import duckdb  # takes 50 ms, which `etl --help` must not cost

    connection = duckdb.connect(config={**CONFIG, **config})
    use_utc(connection)
    return connection


def use_utc(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep the time zone of the machine out of every value."""
    # Not a setting of `connect`: it needs the icu extension, which is loaded on first use.
    connection.execute("set timezone = 'UTC'")

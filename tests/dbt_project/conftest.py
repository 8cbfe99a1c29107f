"""A warehouse that the project's dbt builds from the rows of a test.

Each table has its declared columns; a row is null in the columns that it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.enabled_sources import enable_sources

from etl_assets.declarations.load import load
from etl_assets.marts import build
from etl_assets.marts.dbt import DbtProject
from etl_assets.marts.node_result import NodeResult
from etl_assets.marts.graph import Graph
from etl_assets.model.home import Home
from etl_assets.tables.arrow_types import table_schema

DOMAIN = "advisories"
OFF_SOURCES = ("packages",)  # of the declarations; these tests read the models of all sources
FIRST_RUN = datetime(2026, 3, 1, 12, tzinfo=UTC)
Row = tuple[str, dict[str, Any]]


class Warehouse:
    """A home with the tables of one domain, its warehouse and its last published history."""

    def __init__(self, folder: Path, repo_root: Path) -> None:
        self.home = Home(folder)
        copy = enable_sources(repo_root, folder.with_name("project"), DOMAIN, *OFF_SOURCES)
        self.domain = load(copy.domains)[DOMAIN]
        self.project = DbtProject(copy.dbt, DOMAIN, self.home, dict(self.domain.vars))
        self.marts = folder / "marts"

    def write_tables(self, rows: Iterable[Row]) -> None:
        """Write each declared table; it is empty if there are no rows for it."""
        by_table: dict[str, list[dict[str, Any]]] = {name: [] for name in self.domain.sources}
        for table, row in rows:
            provenance = {"source_sha256": table.ljust(64, "0"), "source_row": len(by_table[table])}
            by_table[table].append(provenance | row)
        for name, source in self.domain.sources.items():
            file = self.home.table_file(DOMAIN, name, None)
            file.parent.mkdir(parents=True, exist_ok=True)
            schema = table_schema(source.contract)
            pq.write_table(pa.Table.from_pylist(by_table[name], schema), file)

    def build(
        self, rows: Iterable[Row], *, at: datetime = FIRST_RUN, publish: bool = True
    ) -> Mapping[str, NodeResult]:
        """Build all models from these rows, and publish the new history if `publish` is true.

        Returns the result of each node by its name.
        """
        self.write_tables(rows)
        graph = Graph.from_manifest(self.project.manifest)
        history = graph.find(self.domain.history or "")
        assert history is not None
        history_file = self.marts / f"{history.name}.parquet"
        build.write_build_inputs(
            self.home.build_inputs(DOMAIN),
            as_of=at,
            health=[],
            history=history_file if history_file.exists() else None,
            history_types=history.column_types,
        )
        results = self.project.build(["fqn:*"])
        if publish:
            self.project.export({history.name: history.key}, self.marts)
        return {result.unique_id.split(".")[2]: result for result in results}

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self.project.connect() as connection:
            connection.execute("set timezone = 'UTC'").fetchall()
            return connection.execute(sql, parameters).fetchall()


@pytest.fixture
def warehouse(tmp_path: Path, repo_root: Path) -> Warehouse:
    return Warehouse(tmp_path / "home", repo_root)


@pytest.fixture(scope="module")
def shared_warehouse(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> Warehouse:
    """A warehouse for the tests of a module that only read it."""
    return Warehouse(tmp_path_factory.mktemp("home"), repo_root)

"""A home of the domain and its mirror with workbooks, which tests change and run again."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
from support.sample_home import SampleHome
from support.workbooks import read_cells, xlsx

from etl_assets.model.records import Part
from etl_assets.model.run_manifest import RunManifest
from etl_assets.operations import rollback

DOMAIN = "molding"
AS_OF = datetime(2026, 3, 1, 9, tzinfo=UTC)
ORDERS = "factory/dynamicDatabase/purchaseOrders_history"
REPORTS = "factory/dynamicDatabase/monthlyReports_history"
STATIC = "factory/staticDatabase"

Rows = list[dict[str, Any]]
Cells = list[list[str]]


class FactoryHome(SampleHome):
    """A home and its mirror, which tests may change in a copy."""

    name = DOMAIN
    as_of = AS_OF

    def forget(self, source: str, partition: str) -> None:
        declaration = self.domain.sources[source]
        part = Part(source=declaration.full_name, partition=partition)
        with self.session() as session:
            rollback.forget(session, declaration, part, by="me", why="moved", at=datetime.now(UTC))

    def read_sample(self, file: str, sheet: str) -> Cells:
        """Returns the cells of a sheet of a sample, as text."""
        return read_cells(self.sample_dir / file, sheet)

    def write_workbook(self, file: str, sheet: str, cells: Cells) -> None:
        """Write a workbook into the mirror, with a later modification time.

        The content is xlsx for any name; the reader detects it by the content.
        """
        self.write_file(file, xlsx({sheet: cells}))

    def write_file(self, file: str, data: bytes) -> None:
        path = self.mirror / file
        path.write_bytes(data)
        later = path.stat().st_mtime + 60
        os.utime(path, (later, later))

    def correct(self, file: str, sheet: str, correction: Callable[[Cells], Cells]) -> None:
        """Replace a workbook of the samples by a corrected one."""
        self.write_workbook(file, sheet, correction(self.read_sample(file, sheet)))

    def table(self, name: str) -> Rows:
        """Returns a published table by its name in the factory."""
        rows: Rows = pq.read_table(self.latest / "tables" / f"{name}.parquet").to_pylist()
        return rows

    def rejects(self, source: str, partition: str | None) -> Rows:
        file = self.home.rejects_file(DOMAIN, source, partition)
        rows: Rows = pq.read_table(file).to_pylist()
        return rows

    def change_log(self) -> list[str]:
        return (self.latest / "change_log.txt").read_text(encoding="utf-8").splitlines()

    def fetched_files(self, manifest: RunManifest) -> list[str]:
        """Returns the raw assets that a run made, with their partitions."""
        return sorted(
            f"{a.key.rpartition('/')[2]}[{a.partition}]" if a.partition else a.key.split("/")[1]
            for a in manifest.assets
            if a.outcome == "made" and a.key.endswith("_raw")
        )

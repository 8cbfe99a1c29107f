"""A home with the folders of workbooks that it reads, for tests that change those and run again."""

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


class Factory(SampleHome):
    """One home and its mirror; both may be copied."""

    name = DOMAIN
    as_of = AS_OF

    def forget(self, source: str, partition: str) -> None:
        declared = self.domain.sources[source]
        part = Part(source=declared.full_name, partition=partition)
        with self.session() as session:
            rollback.forget(session, declared, part, by="me", why="moved", at=datetime.now(UTC))

    def sample(self, file: str, sheet: str) -> Cells:
        """The cells of a sheet of a sample, as text."""
        return read_cells(self.sample_dir / file, sheet)

    def put(self, file: str, sheet: str, cells: Cells) -> None:
        """Write a workbook into the mirror, with a later modification time.

        The content is always xlsx: the reader recognizes it by its content, not by its name.
        """
        path = self.mirror / file
        path.write_bytes(xlsx({sheet: cells}))
        later = path.stat().st_mtime + 60
        os.utime(path, (later, later))

    def correct(self, file: str, sheet: str, how: Callable[[Cells], Cells]) -> None:
        """Replace a workbook of the samples by a corrected one."""
        self.put(file, sheet, how(self.sample(file, sheet)))

    def table(self, name: str) -> Rows:
        """A published table, by the factory's own name."""
        rows: Rows = pq.read_table(self.latest / "tables" / f"{name}.parquet").to_pylist()
        return rows

    def rejects(self, source: str, partition: str | None) -> Rows:
        file = self.home.rejects_file(DOMAIN, source, partition)
        rows: Rows = pq.read_table(file).to_pylist()
        return rows

    def change_log(self) -> list[str]:
        return (self.latest / "change_log.txt").read_text(encoding="utf-8").splitlines()

    def fetched(self, manifest: RunManifest) -> list[str]:
        """The files for which a run did any work, by source and partition."""
        return sorted(
            f"{a.key.rpartition('/')[2]}[{a.partition}]" if a.partition else a.key.split("/")[1]
            for a in manifest.assets
            if a.outcome == "made" and a.key.endswith("_raw")
        )

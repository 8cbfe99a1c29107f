"""A home with the folders of workbooks that it reads, for tests that change those and run again."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from etl_assets.assets import forget
from etl_assets.assets.launch import Launcher, open_instance
from etl_assets.io import samples, workbook
from etl_assets.io.declarations import load
from etl_assets.model.home import Home
from etl_assets.model.options import Options
from etl_assets.model.records import Part
from etl_assets.model.run import RunManifest
from etl_assets.settings import Settings

DOMAIN = "molding"
AS_OF = datetime(2026, 3, 1, 9, tzinfo=UTC)
ORDERS = "factory/dynamicDatabase/purchaseOrders_history"
REPORTS = "factory/dynamicDatabase/monthlyReports_history"
STATIC = "factory/staticDatabase"

Rows = list[dict[str, Any]]
Cells = list[list[str]]


class Factory:
    """One home and its mirror; both may be copied."""

    def __init__(self, folder: Path, mirror: Path | None = None) -> None:
        self.folder = folder
        self.mirror = mirror or folder / "mirror"
        self.home = Home(folder / "home")
        self.settings = Settings.load(home=self.home.root, dagster_home=self.home.dagster)
        self.settings = self.settings.model_copy(update={"mirror": str(self.mirror)})
        self.domain = load(self.settings.domains_dir)[DOMAIN]

    @classmethod
    def packed(cls, folder: Path) -> Factory:
        factory = cls(folder)
        samples.pack(factory.samples, factory.mirror, factory.domain, at=AS_OF)
        return factory

    @property
    def samples(self) -> Path:
        return self.settings.samples_dir / DOMAIN

    def copied(self, folder: Path) -> Factory:
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Factory(folder)

    def launcher(self) -> Any:
        return Launcher.open(self.settings, {DOMAIN: self.domain}, say=lambda _: None)

    def run(self, options: Options | None = None) -> RunManifest:
        with self.launcher() as launcher:
            return launcher.run(DOMAIN, options or Options())

    def forget(self, source: str, partition: str) -> None:
        declared = self.domain.sources[source]
        part = Part(source=declared.full_name, partition=partition)
        with self.launcher() as launcher:
            place, at = launcher.place, datetime.now(UTC)
            forget.forget(launcher.instance, place, declared, part, by="me", why="moved", at=at)

    def plan(self) -> list[str]:
        with self.launcher() as launcher:
            return launcher.plan(DOMAIN, Options()).lines()

    def instance(self) -> Any:
        return open_instance(self.settings)

    def sample(self, file: str, sheet: str) -> Cells:
        """The cells of a sample's sheet, as they are written in it."""
        text = (self.samples / file / f"{sheet}.csv").read_text(encoding="utf-8")
        return list(csv.reader(io.StringIO(text)))

    def put(self, file: str, sheet: str, cells: Cells) -> None:
        """Lay a workbook into the mirror; its modification time moves."""
        path = self.mirror / file
        data = (workbook.xlsb if path.suffix == ".xlsb" else workbook.xlsx)({sheet: cells})
        path.write_bytes(data)
        later = path.stat().st_mtime + 60
        os.utime(path, (later, later))

    def correct(self, file: str, sheet: str, how: Callable[[Cells], Cells]) -> None:
        """Lay a corrected workbook in the place of a sample's."""
        self.put(file, sheet, how(self.sample(file, sheet)))

    @property
    def latest(self) -> Path:
        return self.home.latest(DOMAIN).resolve()

    def mart(self, name: str) -> Rows:
        rows: Rows = pq.read_table(self.latest / "marts" / f"{name}.parquet").to_pylist()
        return rows

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

    def complaint(self, asset: str, check: str) -> str:
        """What the last evaluation of a check says."""
        key = dg.AssetCheckKey(dg.AssetKey([DOMAIN, asset]), check)
        with self.instance() as instance:
            rows = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
        event = rows[key].event.dagster_event
        return event.asset_check_evaluation_data.description or ""

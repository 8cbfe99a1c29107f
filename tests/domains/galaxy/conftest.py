"""A home in which the sample was run, and the mirror that it was fetched from."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from etl_assets.assets.launch import Launcher, open_instance
from etl_assets.io import samples
from etl_assets.io.declarations import load
from etl_assets.model.home import Home
from etl_assets.model.options import Options
from etl_assets.model.run import RunManifest
from etl_assets.settings import Settings

DOMAIN = "galaxy"
AS_OF = datetime(2026, 3, 1, 9, tzinfo=UTC)
HOST = "downloads.spansh.co.uk"

Records = list[dict[str, Any]]


class Galaxy:
    """One home and its mirror; both may be copied."""

    def __init__(self, folder: Path, mirror: Path | None = None) -> None:
        self.folder = folder
        self.mirror = mirror or folder / "mirror"
        self.home = Home(folder / "home")
        self.settings = Settings.load(home=self.home.root, dagster_home=self.home.dagster)
        self.settings = self.settings.model_copy(update={"mirror": str(self.mirror)})
        self.domain = load(self.settings.domains_dir)[DOMAIN]

    @classmethod
    def packed(cls, folder: Path) -> Galaxy:
        galaxy = cls(folder)
        source = galaxy.settings.samples_dir / DOMAIN
        samples.pack(source, galaxy.mirror, galaxy.domain, at=AS_OF)
        return galaxy

    def copied(self, folder: Path) -> Galaxy:
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Galaxy(folder)

    def launcher(self) -> Any:
        return Launcher.open(self.settings, {DOMAIN: self.domain}, say=lambda _: None)

    def run(self, options: Options | None = None) -> RunManifest:
        with self.launcher() as launcher:
            return launcher.run(DOMAIN, options or Options())

    def plan(self, options: Options | None = None) -> list[str]:
        with self.launcher() as launcher:
            return launcher.plan(DOMAIN, options or Options()).lines()

    def dump(self, change: Callable[[Records], Records], name: str = "systems_1day") -> None:
        """Let the host serve another dump, one object per line as it does."""
        path = self.mirror / HOST / f"{name}.json.gz"
        records = change(json.loads(gzip.decompress(path.read_bytes())))
        text = "[\n" + ",\n".join(f"    {json.dumps(record)}" for record in records) + "\n]\n"
        path.write_bytes(gzip.compress(text.encode()))

    @property
    def latest(self) -> Path:
        return self.home.latest(DOMAIN).resolve()

    def mart(self, name: str) -> Records:
        rows: Records = pq.read_table(self.latest / "marts" / f"{name}.parquet").to_pylist()
        return rows

    def table(self, source: str) -> Records:
        file = self.home.table_file(DOMAIN, source, None)
        rows: Records = pq.read_table(file).to_pylist()
        return rows

    def rejects(self, source: str) -> Records:
        file = self.home.rejects_file(DOMAIN, source, None)
        rows: Records = pq.read_table(file).to_pylist()
        return rows

    def asset_keys(self) -> list[str]:
        with open_instance(self.settings) as instance:
            return [key.to_user_string() for key in instance.all_asset_keys()]

    def complaint(self, asset: str, check: str) -> str:
        """What the last evaluation of a check says."""
        key = dg.AssetCheckKey(dg.AssetKey([DOMAIN, asset]), check)
        with open_instance(self.settings) as instance:
            rows = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
        event = rows[key].event.dagster_event  # type: ignore[union-attr]
        return event.asset_check_evaluation_data.description or ""  # type: ignore[union-attr]


@pytest.fixture(scope="session")
def first_galaxy(tmp_path_factory: pytest.TempPathFactory) -> Galaxy:
    """The sample, run once; tests that change anything take a copy."""
    galaxy = Galaxy.packed(tmp_path_factory.mktemp("galaxy"))
    manifest = galaxy.run(Options(as_of=AS_OF))
    assert manifest.published, manifest.note
    return galaxy


@pytest.fixture
def galaxy(first_galaxy: Galaxy, tmp_path: Path) -> Galaxy:
    return first_galaxy.copied(tmp_path / "copy")

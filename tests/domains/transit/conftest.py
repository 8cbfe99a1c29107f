"""A home in which the sample was run, and the mirror that it was fetched from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from etl_assets.assets.launch import Launcher
from etl_assets.io import samples
from etl_assets.io.declarations import load
from etl_assets.model.home import Home
from etl_assets.model.options import Options
from etl_assets.model.records import RunStatus
from etl_assets.model.run import RunManifest
from etl_assets.settings import Settings

DOMAIN = "transit"
AS_OF = datetime(2026, 3, 2, 3, tzinfo=UTC)
EXITS = "data.gov.sg/LTAMRTStationExitGEOJSON.geojson"

Rows = list[dict[str, Any]]


class Transit:
    """One home and its mirror; both may be copied."""

    def __init__(
        self, folder: Path, *, mirror: str | None = None, dbt_dir: Path | None = None
    ) -> None:
        self.folder = folder
        self.mirror = folder / "mirror"
        self.home = Home(folder / "home")
        found = Settings.load(home=self.home.root, dagster_home=self.home.dagster)
        own = folder / "dbt_project"
        self.settings = found.model_copy(
            update={
                "mirror": mirror or str(self.mirror),
                "dbt_dir": dbt_dir or (own if own.exists() else found.dbt_dir),
            }
        )
        self.domain = load(self.settings.domains_dir)[DOMAIN]

    @classmethod
    def packed(cls, folder: Path) -> Transit:
        transit = cls(folder)
        sample = transit.settings.samples_dir / DOMAIN
        samples.pack(sample, transit.mirror, transit.domain, at=AS_OF)
        samples.lay_seeds(sample, transit.settings.dbt_dir, DOMAIN, folder / "dbt_project")
        return cls(folder)

    def copied(self, folder: Path) -> Transit:
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Transit(folder)

    def run(self, options: Options | None = None) -> RunManifest:
        with Launcher.open(self.settings, {DOMAIN: self.domain}, say=lambda _: None) as launcher:
            manifest: RunManifest = launcher.run(DOMAIN, options or Options())
            return manifest

    def plan(self) -> list[str]:
        with Launcher.open(self.settings, {DOMAIN: self.domain}, say=lambda _: None) as launcher:
            lines: list[str] = launcher.plan(DOMAIN, Options()).lines()
            return lines

    def serve(self, change: Callable[[Rows], Rows]) -> None:
        """Let the producer serve other features."""
        path = self.mirror / EXITS
        document = json.loads(path.read_text(encoding="utf-8"))
        document["features"] = change(document["features"])
        path.write_text(json.dumps(document), encoding="utf-8")

    @property
    def latest(self) -> Path:
        return self.home.latest(DOMAIN).resolve()

    def mart(self, name: str) -> Rows:
        rows: Rows = pq.read_table(self.latest / "marts" / f"{name}.parquet").to_pylist()
        return rows

    def by(self, mart: str, key: str) -> dict[Any, dict[str, Any]]:
        return {row[key]: row for row in self.mart(mart)}


@pytest.fixture(scope="session")
def first_transit(tmp_path_factory: pytest.TempPathFactory) -> Transit:
    """The sample, run once; tests that change anything take a copy."""
    transit = Transit.packed(tmp_path_factory.mktemp("transit"))
    manifest = transit.run(Options(as_of=AS_OF))
    assert manifest.published, manifest.note
    return transit


@pytest.fixture
def transit(first_transit: Transit, tmp_path: Path) -> Transit:
    return first_transit.copied(tmp_path / "copy")


@pytest.fixture(scope="session")
def real(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Transit:
    """A home in which the real exits were run."""
    found = Transit(tmp_path_factory.mktemp("real"), mirror=str(mirror))
    manifest = found.run()
    assert manifest.status is RunStatus.SUCCESS, manifest.note
    return found

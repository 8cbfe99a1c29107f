"""The files that a home keeps, and a home with two published sets to damage them in.

Test modules import the fixtures that they use.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_homes import DOMAIN, Galaxy, published_galaxy

from etl_assets.model.run_manifest import MANIFEST_FILE
from etl_assets.publish import run_directory

__all__ = ["published_galaxy"]  # `changed_galaxy` is made of it

Locate = Callable[[Galaxy], Path]
NEW_SYSTEM = ('"id64":1003,"name":"Quarry"', '"id64":5001,"name":"Newfound"')


def marts(galaxy: Galaxy, name: str) -> Path:
    return galaxy.latest / "marts" / f"{name}.parquet"


def current_raw_file(galaxy: Galaxy) -> Path:
    manifest = run_directory.read_manifest(galaxy.latest)
    [sha256] = [s.sha256 for s in manifest.sources if s.source.name == "systems" and s.sha256]
    return galaxy.home.raw_file(sha256)


FILES: dict[str, Locate] = {
    "raw file": current_raw_file,
    "table": lambda g: g.home.table_file(DOMAIN, "systems", None),
    "rejects": lambda g: g.home.rejects_file(DOMAIN, "systems", None),
    "document": lambda g: g.latest / "system_changes.json",
    "mart": lambda g: marts(g, "mart_system_stations"),
    "history": lambda g: marts(g, "mart_systems"),
    "report": lambda g: g.latest / "run_report.html",
    "manifest": lambda g: g.latest / MANIFEST_FILE,
    "index": lambda g: g.latest / "index.jsonl",
    "sums": lambda g: g.latest / "SHA256SUMS",
    "head": lambda g: g.home.published_head(DOMAIN),
    "history copy": lambda g: g.home.history_copy(DOMAIN),
    "downloads": lambda g: g.home.manifests / f"{DOMAIN}_download.manifest.json",
    "ingestion": lambda g: g.home.manifests / f"{DOMAIN}_ingestion.manifest.json",
    "signatures": lambda g: g.home.signatures(DOMAIN),
    "warehouse": lambda g: g.home.warehouse(DOMAIN),
    "event index": lambda g: g.home.dagster / "history" / "runs" / "index.db",
    "run records": lambda g: g.home.dagster / "history" / "runs.db",
    "latest": lambda g: g.home.latest(DOMAIN),
    "outputs": lambda g: g.home.outputs(DOMAIN),
    "event log": lambda g: g.home.dagster,
    "manifests": lambda g: g.home.manifests,
}
FOLDERS = {"latest", "outputs", "event log", "manifests"}


@pytest.fixture(scope="session")
def changed_galaxy(build_once: Any, published_galaxy: Galaxy) -> Galaxy:
    """Return a home with two published sets, and a copy of the home between them."""

    def run_again(folder: Path) -> None:
        galaxy = published_galaxy.copy_to(folder)
        shutil.copytree(galaxy.home.root, folder / "first", symlinks=True)
        galaxy.change_feed(*NEW_SYSTEM)
        manifest = galaxy.run()
        assert manifest.published, manifest.note

    return Galaxy(build_once("galaxy-changed", run_again))


def history(galaxy: Galaxy) -> list[dict[str, Any]]:
    """Return the rows of the history without the logical times, which differ from run to run."""
    rows = galaxy.rows("mart_systems")
    return [{k: v for k, v in row.items() if not k.endswith("_at")} for row in rows]

"""`etl health` predicts the outcome of a run: both fail, or both pass, on the same damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_homes import block_with_file, call, damage_databases
from support.orchard import DOMAIN, Files, Orchard, create_project

Damage = Callable[[Orchard], object]

DAMAGES: dict[str, Damage] = {
    "none": lambda _: None,
    "a file for data": lambda o: block_with_file(o.home.root / "data" / "rejects"),
    "a file for quarantine": lambda o: block_with_file(o.home.root / "data" / "quarantine"),
    "a file for manifests": lambda o: block_with_file(o.home.manifests),
    "a file for schedules": lambda o: block_with_file(o.home.dagster / "schedules"),
    "no YAML": lambda o: (o.home.dagster / "dagster.yaml").write_text("a: ["),
    "no settings of Dagster": lambda o: (o.home.dagster / "dagster.yaml").write_text("a: 1"),
    "no event log": lambda o: shutil.rmtree(o.home.dagster),
    "a damaged event log": lambda o: damage_databases(o.home.dagster),
    "no lock": lambda o: (o.home.lock(DOMAIN).unlink(), o.home.lock(DOMAIN).mkdir()),
    "no raw files": lambda o: shutil.rmtree(o.home.raw),
    "no tables": lambda o: shutil.rmtree(o.home.tables(DOMAIN)),
    "a damaged warehouse": lambda o: o.home.warehouse(DOMAIN).write_bytes(b"nothing" * 99),
    "nothing published": lambda o: o.home.latest(DOMAIN).unlink(),
    "no published set": lambda o: shutil.rmtree(o.latest),
    "a damaged history": lambda o: (o.latest / "marts" / "mart_tree_history.parquet").write_bytes(
        b"nothing" * 99
    ),
    "a damaged ledger": lambda o: next(o.home.manifests.iterdir()).write_text("{"),
    "a file that is gone": lambda o: (o.mirror / "orchard.example" / "harvests.csv").unlink(),
}


@pytest.fixture(scope="session")
def first_run_folder(build_once: Any) -> Path:
    """Return the folder of an orchard after its first run."""

    def fill(folder: Path) -> None:
        orchard = Orchard(folder / "live", project=create_project(folder / "project"))
        orchard.serve(Files.create())
        assert orchard.run().published

    folder: Path = build_once("orchard", fill)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("name", DAMAGES)
def test_a_run_fails_exactly_if_health_does(
    first_run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shutil.copytree(first_run_folder / "live", tmp_path / "live", symlinks=True)
    orchard = Orchard(tmp_path / "live", project=first_run_folder / "project")
    orchard.write_env_file()
    orchard.serve(Files.create(33))
    monkeypatch.chdir(orchard.home.root)
    for variable in ("DAGSTER_HOME", "ETL_HOME", "ETL_MIRROR"):
        monkeypatch.delenv(variable, raising=False)
    DAMAGES[name](orchard)

    health_code = call("health", DOMAIN)

    assert call("run", DOMAIN, "--no-notify") == health_code

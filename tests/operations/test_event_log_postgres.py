"""Runs of a home whose event log is in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.orchard import FIRST, Files, Orchard, create_project
from support.postgres import PASSWORD, database, postgres_server

from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.storage.postgres import Database

__all__ = ["database", "postgres_server"]

VARIABLE = "ORCHARD_EVENTS_PASSWORD"


def use_database(orchard: Orchard, database: Database) -> None:
    update = {"event_log": database.url, "event_log_password_env": VARIABLE}
    orchard.settings = orchard.settings.model_copy(update=update)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    return create_project(tmp_path / "project")


@pytest.fixture
def orchard(tmp_path: Path, project: Path, database: Database) -> Orchard:
    orchard = Orchard(tmp_path / "live", project=project)
    use_database(orchard, database)
    orchard.serve(Files.create())
    return orchard


def test_a_run_publishes_the_same_bytes_as_with_sqlite(
    orchard: Orchard, tmp_path: Path, project: Path
) -> None:
    plain = Orchard(tmp_path / "plain", project=project)
    plain.serve(Files.create())

    manifests = [each.run(RunOptions(as_of=FIRST)) for each in (orchard, plain)]

    assert [manifest.status for manifest in manifests] == [RunStatus.SUCCESS] * 2
    assert [mart.sha256 for mart in manifests[0].marts] == [m.sha256 for m in manifests[1].marts]
    assert orchard.run().is_unchanged
    assert not (orchard.settings.dagster_home / "history").exists()

"""What a worker loads for a submitted run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.orchard import DOMAIN, Files, Orchard, create_project

from etl_assets.definitions import submitted_runs
from etl_assets.model.errors import UsageError


@pytest.fixture
def orchard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orchard:
    orchard = Orchard(tmp_path / "live", project=create_project(tmp_path / "project"))
    orchard.serve(Files.create(3))
    orchard.write_env_file()
    monkeypatch.setenv("ETL_HOME", str(orchard.home.root))
    return orchard


def test_a_submitted_run_loads_its_job_and_parses_no_models(orchard: Orchard) -> None:
    definitions = submitted_runs(DOMAIN)

    [job] = definitions.jobs or []
    assert job.name == f"run_{DOMAIN}"
    assert not definitions.assets
    assert not orchard.home.dbt_target(DOMAIN).exists()


def test_a_domain_that_this_worker_does_not_have_is_named(orchard: Orchard) -> None:
    with pytest.raises(UsageError, match="plums"):
        submitted_runs("plums")

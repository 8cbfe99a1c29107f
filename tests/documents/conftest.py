"""The sample, run once and read many times."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.published_set import PublishedSet
from support.sample_home import SampleHome

from etl_assets.model.run_options import RunOptions


@pytest.fixture(scope="session")
def published(first_run: SampleHome) -> PublishedSet:
    return PublishedSet(first_run.latest)


@pytest.fixture(scope="session")
def schemas(repo_root: Path) -> Path:
    folder = repo_root.parent / "shared" / "schemas"
    if not folder.is_dir():
        pytest.skip(f"the published schemas are needed, and {folder} is no directory of them")
    return folder


@pytest.fixture(scope="session")
def real(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> PublishedSet:
    """The set that the real feeds make."""
    sample = SampleHome(tmp_path_factory.mktemp("real"), mirror_url=str(mirror))
    manifest = sample.run(RunOptions())
    assert manifest.published, manifest.note
    return PublishedSet(sample.latest)

from __future__ import annotations

from pathlib import Path

import pytest
from sampled import AS_OF, Sampled

from etl_assets.model.options import Options


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Sampled:
    """The sample, run once; tests that change anything take a copy."""
    sampled = Sampled.packed(tmp_path_factory.mktemp("first"))
    manifest = sampled.run(Options(as_of=AS_OF))
    assert manifest.published, manifest.note
    return sampled


@pytest.fixture
def sampled(first_run: Sampled, tmp_path: Path) -> Sampled:
    """A copy of the first run, in another place."""
    return first_run.copied(tmp_path / "copy")

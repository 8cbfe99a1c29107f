"""A home in which the sample was run once."""

from __future__ import annotations

from pathlib import Path

import pytest
from domains.molding.factory import AS_OF, Factory

from etl_assets.model.options import Options


@pytest.fixture(scope="session")
def first_factory(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    """The sample, run once; tests that change anything take a copy."""
    factory = Factory.packed(tmp_path_factory.mktemp("molding"))
    manifest = factory.run(Options(as_of=AS_OF))
    assert manifest.published, manifest.note
    return factory


@pytest.fixture
def factory(first_factory: Factory, tmp_path: Path) -> Factory:
    return first_factory.copied(tmp_path / "copy")

"""A home in which the sample was run once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from domains.molding.factory import Factory


@pytest.fixture(scope="session")
def first_factory(build_once: Any) -> Factory:
    """The sample, run once; tests that change anything take a copy."""
    return Factory(build_once("molding", Factory.create_with_run))


@pytest.fixture
def factory(first_factory: Factory, tmp_path: Path) -> Factory:
    return first_factory.copy_to(tmp_path / "copy")

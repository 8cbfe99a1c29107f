"""A home in which the sample was run once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from domains.molding.factory import Factory


@pytest.fixture(scope="session")
def first_factory(once: Any) -> Factory:
    """The sample, run once; tests that change anything take a copy."""
    return Factory(once("molding", Factory.first))


@pytest.fixture
def factory(first_factory: Factory, tmp_path: Path) -> Factory:
    return first_factory.copied(tmp_path / "copy")

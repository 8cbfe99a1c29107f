"""Homes after a run of the sample, each with its own copy of the mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from domains.molding.factory_home import FactoryHome


@pytest.fixture(scope="session")
def first_factory(build_once: Any) -> FactoryHome:
    """The home after a run of the sample; tests that change it take a copy."""
    return FactoryHome(build_once("molding", FactoryHome.create_with_run))


@pytest.fixture
def factory(first_factory: FactoryHome, tmp_path: Path) -> FactoryHome:
    return first_factory.copy_to(tmp_path / "copy")

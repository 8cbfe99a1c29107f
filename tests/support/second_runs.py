"""Homes with a second run, and with a large sample; tests take copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.large_sample import FEED, crowded
from support.sample_home import AS_OF, Sampled

from etl_assets.model.run_options import RunOptions

RULINGS = "analyst/advisory-not-applicable.csv"
RULING = "CVE-2026-900043,pebble,not_applicable,,code_not_in_use\n"


@pytest.fixture(scope="session")
def second_run(first_run: Sampled, once: Any) -> Sampled:
    """The same with one ruling more, run again: two versions of one source are stored."""

    def fill(folder: Path) -> None:
        sampled = first_run.copied(folder)
        sampled.change(RULINGS, lambda text: text + RULING)
        manifest = sampled.run()
        assert manifest.published, manifest.note

    return Sampled(once("second", fill))


@pytest.fixture
def ruled(second_run: Sampled, tmp_path: Path) -> Sampled:
    """A copy of the second run."""
    return second_run.copied(tmp_path / "copy")


@pytest.fixture(scope="session")
def crowd_run(tmp_path_factory: pytest.TempPathFactory) -> Sampled:
    """The sample with a crowd of packages, run once."""
    sampled = Sampled.packed(tmp_path_factory.mktemp("crowd"))
    sampled.change(FEED, crowded)
    manifest = sampled.run(RunOptions(as_of=AS_OF))
    assert manifest.published, manifest.note
    return sampled


@pytest.fixture
def crowd(crowd_run: Sampled, tmp_path: Path) -> Sampled:
    """A copy of the crowd's run."""
    return crowd_run.copied(tmp_path / "copy")

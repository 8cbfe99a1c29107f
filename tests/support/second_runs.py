"""Fixtures: homes after a second run, and homes of a larger sample, each shared and as a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.large_sample import FEED, add_large_feed
from support.sample_home import AS_OF, SampleHome

from etl_assets.model.run_options import RunOptions

RULINGS = "analyst/advisory-not-applicable.csv"
RULING = "CVE-2026-900043,pebble,not_applicable,,code_not_in_use\n"


@pytest.fixture(scope="session")
def second_run(first_run: SampleHome, build_once: Any) -> SampleHome:
    """Return the sample after a second run with one more ruling: one source has two versions."""

    def fill(folder: Path) -> None:
        sample = first_run.copy_to(folder)
        sample.change(RULINGS, lambda text: text + RULING)
        manifest = sample.run()
        assert manifest.published, manifest.note

    return SampleHome(build_once("second", fill))


@pytest.fixture
def second_sample(second_run: SampleHome, tmp_path: Path) -> SampleHome:
    """Return a copy of the second run for this test."""
    return second_run.copy_to(tmp_path / "copy")


@pytest.fixture(scope="session")
def large_run(tmp_path_factory: pytest.TempPathFactory) -> SampleHome:
    """Return the large sample after its first run; read-only."""
    sample = SampleHome.create(tmp_path_factory.mktemp("large"))
    sample.change(FEED, add_large_feed)
    manifest = sample.run(RunOptions(as_of=AS_OF))
    assert manifest.published, manifest.note
    return sample


@pytest.fixture
def large_sample(large_run: SampleHome, tmp_path: Path) -> SampleHome:
    """Return a copy of the run of the large sample for this test."""
    return large_run.copy_to(tmp_path / "copy")

"""Fixtures that tests of several packages share: an empty home, real feeds, homes of samples.

A fixture that the tests of only one package need belongs in the conftest.py of that package.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from support.command_homes import empty_sample_env, sample_env
from support.notification_servers import mail_server, webhook
from support.sample_home import SampleHome
from support.second_runs import large_run, large_sample, second_run, second_sample
from support.transfers import client, fetch_feed, full_port, manual_clock, server

from etl_assets.model.home import Home
from etl_assets.storage.lock import lock

__all__ = [
    "client",
    "empty_sample_env",
    "fetch_feed",
    "full_port",
    "large_run",
    "large_sample",
    "mail_server",
    "manual_clock",
    "sample_env",
    "second_run",
    "second_sample",
    "server",
    "webhook",
]

MEMORY_FOLDER = Path("/dev/shm")  # a file system in memory, on Linux
MEMORY_BYTES = 4 << 30  # of all temporary folders at once; a container may have 64 MB

BuildOnce = Callable[[str, Callable[[Path], object]], Path]

# Derandomized, so that a failure in CI can be repeated locally.
hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")


def pytest_configure() -> None:
    """Put temporary folders into memory if there is room: a run waits for the disk half its time.

    Each run flushes hundreds of files and transactions to the disk, and no test cuts the power.
    """
    is_folder = MEMORY_FOLDER.is_dir() and os.access(MEMORY_FOLDER, os.W_OK)
    if is_folder and shutil.disk_usage(MEMORY_FOLDER).free >= MEMORY_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_FOLDER))


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return an empty home for this test."""
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def mirror(repo_root: Path) -> Path:
    """Return a mirror directory of the real feeds; skip the test if there is none."""
    configured = os.environ.get("ETL_MIRROR")
    folder = Path(configured) if configured else repo_root.parent / "shared" / "data" / "upstream"
    if not folder.is_dir():
        pytest.skip(f"needs real feeds, found none at {configured or 'ETL_MIRROR'}")
    return folder.resolve()


@pytest.fixture(scope="session")
def build_once(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> BuildOnce:
    """Return a function that fills a named folder once for all workers of the test session."""
    base = tmp_path_factory.getbasetemp()
    # Not from PYTEST_XDIST_WORKER: tests that run pytest in a subprocess would inherit it.
    shared = (base.parent if hasattr(request.config, "workerinput") else base) / "once"

    def build(name: str, fill: Callable[[Path], object]) -> Path:
        folder, marker = shared / name, shared / f"{name}.made"
        with lock(shared / f"{name}.lock", on_wait=lambda _: None):
            if not marker.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                marker.touch()
        return folder

    return build


@pytest.fixture(scope="session")
def first_run(build_once: BuildOnce) -> SampleHome:
    """Return the sample after its first run; read-only, tests that change it use `sample`."""
    return SampleHome(build_once("first", SampleHome.create_with_run))


@pytest.fixture
def sample(first_run: SampleHome, tmp_path: Path) -> SampleHome:
    """Return a copy of the first run for this test."""
    return first_run.copy_to(tmp_path / "copy")

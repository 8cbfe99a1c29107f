"""What many tests start from: an empty home, the repository, the real feeds, a sample that was run.

A fixture that only one room's tests need belongs beside them.
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

BuildOnce = Callable[[str, Callable[[Path], object]], Path]

# The same examples every time: a failure in CI is the failure that is seen by hand.
hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home of the test's own."""
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def mirror(repo_root: Path) -> Path:
    """The real feeds, laid out as their hosts serve them."""
    named = os.environ.get("ETL_MIRROR")
    folder = Path(named) if named else repo_root.parent / "shared" / "data" / "upstream"
    if not folder.is_dir():
        pytest.skip(f"real feeds are needed, and {named or 'ETL_MIRROR'} is no directory of them")
    return folder.resolve()


@pytest.fixture(scope="session")
def build_once(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> BuildOnce:
    """What is made once for all workers: a folder by its name, which the first to ask fills."""
    base = tmp_path_factory.getbasetemp()
    # Not by the environment, which a test hands on to tests that it runs in a process of their own.
    shared = (base.parent if hasattr(request.config, "workerinput") else base) / "once"

    def made(name: str, fill: Callable[[Path], object]) -> Path:
        folder, is_made = shared / name, shared / f"{name}.made"
        with lock(shared / f"{name}.lock", on_wait=lambda _: None):
            if not is_made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                is_made.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def first_run(build_once: BuildOnce) -> SampleHome:
    """The sample, run once; tests that change anything take a copy."""
    return SampleHome(build_once("first", SampleHome.create_with_run))


@pytest.fixture
def sample(first_run: SampleHome, tmp_path: Path) -> SampleHome:
    """A copy of the first run, in another place."""
    return first_run.copy_to(tmp_path / "copy")

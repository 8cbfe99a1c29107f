"""What many tests start from: an empty home, the repository, the real feeds, a sample that was run.

A fixture that only one room's tests need belongs beside them.
"""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from sampled import AS_OF, Sampled

from etl_assets.model.home import Home
from etl_assets.model.options import Options

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

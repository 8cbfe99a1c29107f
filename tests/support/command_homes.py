"""Call the `etl` command in this process, on homes that environment variables point to.

Test modules import the fixtures that they use.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.sample_home import SampleHome

from etl_assets.cli.main import main
from etl_assets.demo import samples
from etl_assets.demo.server import serving
from etl_assets.model.run_manifest import RunManifest

DOMAIN = "galaxy"
AS_OF = datetime(2026, 3, 1, 9, tzinfo=UTC)
SYSTEMS = "downloads.spansh.co.uk/systems_1day.json.gz"
REQUEST = re.compile(r'"(?:GET|HEAD) (\S+) ')


class Galaxy(SampleHome):
    """A home of the smallest sample."""

    name: ClassVar[str] = DOMAIN
    as_of: ClassVar[datetime] = AS_OF

    def change_feed(self, old: str, new: str) -> None:
        """Replace a text in the dump of systems, and pack the mirror again."""
        folder = self.folder / "samples"
        if not folder.exists():
            shutil.copytree(self.sample_dir, folder)
        feed = folder / SYSTEMS / "systems_1day.json"
        feed.write_text(feed.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        samples.pack(folder, self.mirror, self.domain, at=self.as_of)


def call(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    return int(exit_info.value.code or 0)


def run_and_read_manifest(capsys: pytest.CaptureFixture[str], *arguments: str) -> RunManifest:
    """Return the manifest of an `etl run --json` that must succeed."""
    assert call("run", DOMAIN, "--json", *arguments) == 0
    [manifest] = json.loads(capsys.readouterr().out)
    return RunManifest.model_validate(manifest)


def point_environment_at(galaxy: Galaxy, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    monkeypatch.chdir(galaxy.folder)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("ETL_HOME", str(galaxy.home.root))
    monkeypatch.setenv("ETL_MIRROR", str(galaxy.mirror))
    return galaxy


@pytest.fixture(scope="session")
def packed_galaxy(build_once: Any) -> Galaxy:
    return Galaxy(build_once("galaxy-packed", Galaxy.create))


@pytest.fixture(scope="session")
def published_galaxy(build_once: Any) -> Galaxy:
    return Galaxy(build_once("galaxy", Galaxy.create_with_run))


@pytest.fixture
def empty_galaxy(packed_galaxy: Galaxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    """Return an empty home and its mirror, with ETL_HOME and ETL_MIRROR set to them."""
    return point_environment_at(packed_galaxy.copy_to(tmp_path / "copy"), monkeypatch)


@pytest.fixture
def galaxy(published_galaxy: Galaxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    """Return a home after its first run, with ETL_HOME and ETL_MIRROR set."""
    return point_environment_at(published_galaxy.copy_to(tmp_path / "copy"), monkeypatch)


class MirrorRequests:
    """The requests that the server of the mirror logged."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def paths(self) -> list[str]:
        matches = (REQUEST.search(record.getMessage()) for record in self._caplog.records)
        return [match[1] for match in matches if match]


@pytest.fixture
def mirror_requests(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[MirrorRequests]:
    """Serve the mirror of the copied home on the loopback address."""
    caplog.set_level(logging.DEBUG, logger="etl_assets.demo.server")
    with serving(tmp_path / "copy" / "mirror") as server:
        monkeypatch.setenv("ETL_MIRROR", server.url)
        yield MirrorRequests(caplog)


@pytest.fixture
def empty_sample_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleHome:
    """Return an empty home and the mirror of the sample, with ETL_HOME and ETL_MIRROR set."""
    sample = SampleHome.create(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("ETL_HOME", str(sample.home.root))
    monkeypatch.setenv("ETL_MIRROR", str(sample.mirror))
    return sample


@pytest.fixture
def sample_env(sample: SampleHome, monkeypatch: pytest.MonkeyPatch) -> SampleHome:
    """Return a copy of the first run, with ETL_HOME and ETL_MIRROR set."""
    monkeypatch.chdir(sample.folder)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("ETL_HOME", str(sample.home.root))
    monkeypatch.setenv("ETL_MIRROR", str(sample.mirror))
    return sample


VARIABLES = [
    "HOME",
    "MIRROR",
    "DOMAINS_DIR",
    "DBT_DIR",
    "LOG_LEVEL",
    "NO_COLOR",
    "NOTIFY",
    "PROXY",
    "EVENT_LOG",
    "EVENT_LOG_PASSWORD_ENV",
    "CONFIG",
]


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unset all settings, and change to a directory that has no `.env`."""
    for name in VARIABLES:
        monkeypatch.delenv(f"ETL_{name}", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def block_with_file(path: Path) -> None:
    """Replace a folder by a file."""
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way", encoding="utf-8")


def damage_databases(folder: Path) -> None:
    for path in folder.rglob("*.db"):
        path.write_bytes(b"no database" * 1000)

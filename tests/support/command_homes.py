"""The command on a small home: what tests of `etl run` start from, and what is asked of the mirror.

Fixtures are taken into the tests by their modules.
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
from etl_assets.demo.server import serving
from etl_assets.model.run_manifest import RunManifest

DOMAIN = "galaxy"
AS_OF = datetime(2026, 3, 1, 9, tzinfo=UTC)
SYSTEMS = "downloads.spansh.co.uk/systems_1day.json.gz"
REQUEST = re.compile(r'"(?:GET|HEAD) (\S+) ')


class Galaxy(SampleHome):
    """The smallest of the samples."""

    name: ClassVar[str] = DOMAIN
    as_of: ClassVar[datetime] = AS_OF


def call(*arguments: str) -> int:
    """The exit code of the command in this process."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def run_and_read_manifest(capsys: pytest.CaptureFixture[str], *arguments: str) -> RunManifest:
    """The manifest of a run that ends well."""
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
    """An empty home beside its mirror, both named by the environment."""
    return point_environment_at(packed_galaxy.copy_to(tmp_path / "copy"), monkeypatch)


@pytest.fixture
def galaxy(published_galaxy: Galaxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    """A home that has published, named by the environment."""
    return point_environment_at(published_galaxy.copy_to(tmp_path / "copy"), monkeypatch)


class MirrorRequests:
    """What is asked of the mirror while it is served."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def paths(self) -> list[str]:
        found = (REQUEST.search(record.getMessage()) for record in self._caplog.records)
        return [match[1] for match in found if match]


@pytest.fixture
def mirror_requests(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[MirrorRequests]:
    """The mirror of the copy behind a local server."""
    caplog.set_level(logging.DEBUG, logger="etl_assets.demo.server")
    with serving(tmp_path / "copy" / "mirror") as server:
        monkeypatch.setenv("ETL_MIRROR", server.url)
        yield MirrorRequests(caplog)


@pytest.fixture
def empty_sample_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleHome:
    """An empty home with the packed sample as its mirror, named by the environment."""
    sample = SampleHome.create(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("ETL_HOME", str(sample.home.root))
    monkeypatch.setenv("ETL_MIRROR", str(sample.mirror))
    return sample


@pytest.fixture
def sample_env(sample: SampleHome, monkeypatch: pytest.MonkeyPatch) -> SampleHome:
    """A home in which the sample was run, as the environment names it."""
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
    "CONFIG",
]


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory without `.env`, in an environment without settings."""
    for name in VARIABLES:
        monkeypatch.delenv(f"ETL_{name}", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def block_with_file(path: Path) -> None:
    """A file where a folder belongs."""
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way", encoding="utf-8")


def damage_databases(folder: Path) -> None:
    for path in folder.rglob("*.db"):
        path.write_bytes(b"no database" * 1000)

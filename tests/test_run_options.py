"""What a person may say to `etl run`: each option in the real command, on homes of a sample."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sampled import Sampled, fingerprint

from etl_assets.cli import main
from etl_assets.io.outputs import SUMS_FILE, read_sums, sha256_of
from etl_assets.io.server import serving
from etl_assets.model.run import RunManifest

DOMAIN = "galaxy"
SYSTEMS = "downloads.spansh.co.uk/systems_1day.json.gz"
REQUEST = re.compile(r'"(?:GET|HEAD) (\S+) ')


class Galaxy(Sampled):
    """The smallest of the samples."""

    name: ClassVar[str] = DOMAIN


def call(*arguments: str) -> int:
    """The exit code of the command in this process."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> RunManifest:
    """The manifest of a run that ends well."""
    assert call("run", DOMAIN, "--json", *arguments) == 0
    [manifest] = json.loads(capsys.readouterr().out)
    return RunManifest.model_validate(manifest)


def named_by(galaxy: Galaxy, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    monkeypatch.chdir(galaxy.folder)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("ETL_HOME", str(galaxy.home.root))
    monkeypatch.setenv("ETL_MIRROR", str(galaxy.mirror))
    return galaxy


@pytest.fixture(scope="session")
def packed(once: Any) -> Galaxy:
    return Galaxy(once("galaxy-packed", Galaxy.packed))


@pytest.fixture(scope="session")
def published(once: Any) -> Galaxy:
    return Galaxy(once("galaxy", Galaxy.first))


@pytest.fixture
def empty(packed: Galaxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    """An empty home beside its mirror, both named by the environment."""
    return named_by(packed.copied(tmp_path / "copy"), monkeypatch)


@pytest.fixture
def galaxy(published: Galaxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    """A home that has published, named by the environment."""
    return named_by(published.copied(tmp_path / "copy"), monkeypatch)


class Requests:
    """What is asked of the mirror while it is served."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def paths(self) -> list[str]:
        found = (REQUEST.search(record.getMessage()) for record in self._caplog.records)
        return [match[1] for match in found if match]


@pytest.fixture
def requests(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Requests]:
    """The mirror of the copy behind a local server."""
    caplog.set_level(logging.DEBUG, logger="etl_assets.io.server")
    with serving(tmp_path / "copy" / "mirror") as server:
        monkeypatch.setenv("ETL_MIRROR", server.url)
        yield Requests(caplog)


def test_what_is_held_is_not_asked_for(
    galaxy: Galaxy, requests: Requests, capsys: pytest.CaptureFixture[str]
) -> None:
    (galaxy.mirror / SYSTEMS).write_bytes(b"something new")

    assert call("run", DOMAIN, "--skip-existing", "--dry-run") == 0

    assert f"{DOMAIN}.systems: keep, held, not asked for" in capsys.readouterr().out
    assert requests.paths == []


def test_a_held_file_that_is_lost_is_asked_for_all_the_same(
    galaxy: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(galaxy.home.raw)

    assert call("run", DOMAIN, "--skip-existing", "--dry-run") == 0

    assert f"{DOMAIN}.systems: fetch, stored file missing" in capsys.readouterr().out


def test_the_copy_is_whole_and_shares_nothing_with_the_home(
    galaxy: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = galaxy.folder / "given" / "copy"

    manifest = told(capsys, "--output-dir", str(copy))

    sums = read_sums(copy)
    assert manifest.note == "nothing moved"
    assert set(fingerprint(copy)) == set(fingerprint(galaxy.latest)) == {*sums, SUMS_FILE}
    assert all(sha256_of(copy / name) == digest for name, digest in sums.items())
    assert all(path.stat().st_nlink == 1 for path in copy.rglob("*") if path.is_file())


def test_an_empty_directory_takes_the_copy(galaxy: Galaxy) -> None:
    (galaxy.folder / "given").mkdir()

    assert call("run", DOMAIN, "--output-dir", "given") == 0

    assert fingerprint(galaxy.folder / "given") == fingerprint(galaxy.latest)


def test_a_run_that_publishes_nothing_leaves_no_copy_and_says_so(
    empty: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty.mirror / SYSTEMS).unlink()

    assert call("run", DOMAIN, "--output-dir", "given") == 1

    assert "given: not written, for this run of galaxy published nothing" in capsys.readouterr().err
    assert not list(empty.folder.glob("*given*"))


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--output-dir", "mirror"], "mirror, which is not empty"),
        (["--output-dir", "file"], "file, a file"),
        (["--output-dir", "/proc/given"], "which cannot be made in /proc"),
        (["--output-dir", "home/outputs/galaxy/mine"], "where the runs of galaxy lie"),
        (["--output-dir", "given", "--dry-run"], "expected a run that publishes"),
        (["--output-dir", "given", "advisories"], "expected one domain, found 2"),
        (["--skip-existing", "--force-refresh"], "--skip-existing, found both"),
    ],
    ids=["full", "a file", "nowhere", "among runs", "dry run", "two domains", "force and skip"],
)
def test_words_that_do_not_go_together_end_the_command_before_anything_is_fetched(
    empty: Galaxy, capsys: pytest.CaptureFixture[str], arguments: list[str], wanted: str
) -> None:
    (empty.folder / "file").touch()

    assert call("run", DOMAIN, *arguments) == 2

    assert wanted in capsys.readouterr().err
    assert not empty.home.raw.exists()
    assert not empty.home.outputs(DOMAIN).exists()

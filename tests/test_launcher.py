"""The Python API, as `docs/python.md` shows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_homes import DOMAIN, Galaxy, clean_environment, packed_galaxy

from etl_assets.launcher import Launcher
from etl_assets.model.errors import DeclarationError, NotFoundError, SettingsError, UsageError
from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import Stage, StageRange

__all__ = ["clean_environment", "packed_galaxy"]

CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def launcher(packed_galaxy: Galaxy, clean_environment: Path) -> Launcher:
    return Launcher(home=clean_environment / "data", mirror=str(packed_galaxy.mirror))


@pytest.mark.long
@pytest.mark.ci
def test_the_code_of_the_docs_runs_in_an_empty_folder(
    packed_galaxy: Galaxy, clean_environment: Path, repo_root: Path
) -> None:
    (clean_environment / "feeds").symlink_to(packed_galaxy.mirror)
    blocks = CODE.findall((repo_root / "docs" / "python.md").read_text(encoding="utf-8"))

    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=clean_environment,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("success True")
    assert "galaxy.systems fetched" in ended.stdout


@pytest.mark.long
@pytest.mark.ci
def test_a_run_publishes_and_says_what_it_does(
    packed_galaxy: Galaxy, clean_environment: Path
) -> None:
    said: list[str] = []
    launcher = Launcher(say=said.append, home=clean_environment, mirror=str(packed_galaxy.mirror))

    manifest = launcher.run(DOMAIN)

    assert (manifest.status, manifest.published) == (RunStatus.SUCCESS, True)
    assert (launcher.published(DOMAIN) / "manifest.json").exists()
    assert said
    assert DOMAIN in launcher.domains


def test_options_limit_a_run(launcher: Launcher) -> None:
    manifest = launcher.run(DOMAIN, stages=StageRange(Stage.RAW, Stage.RAW))

    assert (manifest.status, manifest.published) == (RunStatus.SUCCESS, False)
    with pytest.raises(NotFoundError, match="expected a published set, found none"):
        launcher.published(DOMAIN)


@pytest.mark.long
@pytest.mark.ci
def test_a_failed_run_returns_its_manifest(clean_environment: Path) -> None:
    (clean_environment / "empty").mkdir()
    launcher = Launcher(home=clean_environment / "data", mirror=str(clean_environment / "empty"))

    assert launcher.run(DOMAIN).status is RunStatus.FAILED


def test_what_cannot_be_started_is_an_error(launcher: Launcher, clean_environment: Path) -> None:
    with pytest.raises(UsageError, match="galaxi"):
        launcher.run("galaxi")
    with pytest.raises(UsageError, match="--force-refresh: expected it or --skip-existing"):
        launcher.run(DOMAIN, force_refresh=True, skip_existing=True)
    with pytest.raises(SettingsError, match="ETL_LOG_LEVEL"):
        Launcher(log_level="loud")
    folder = clean_environment / "domains" / DOMAIN
    folder.mkdir(parents=True)
    (folder / "_domain.yaml").write_text("title: 7\n", encoding="utf-8")
    with pytest.raises(DeclarationError, match="expected text, found 7"):
        Launcher(home=clean_environment, domains_dir=folder.parent).run(DOMAIN)

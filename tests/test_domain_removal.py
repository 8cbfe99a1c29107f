"""Removing the folders of a domain is enough: no code names it, and all other tests still pass.

The samples of the other domains are run up to their published sets.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from etl_assets.settings import Settings

pytestmark = [pytest.mark.long, pytest.mark.ci]

DOMAINS = sorted(path.name for path in Settings.load().domains_dir.iterdir() if path.is_dir())


def copy_without(domain: str, root: Path, target: Path) -> Path:
    """Copy the project without the folders and pages that have the name of the domain."""

    def ignore(folder: str, names: list[str]) -> list[str]:
        return [n for n in names if n.startswith(".") or Path(n).stem == domain]

    shutil.copytree(root, target, ignore=ignore)
    shutil.copytree(root / ".ci", target / ".ci")
    return target


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = project.parent / "home"
    settings = Settings.load().model_copy(
        update={
            "home": home,
            "dagster_home": home / ".dagster",
            "domains_dir": project / "etl_assets" / "domains",
            "dbt_dir": project / "dbt_project",
            "samples_dir": project / "samples",
        }
    )
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=settings.child_environment() | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.parametrize("domain", DOMAINS)
def test_all_tests_pass_without_a_domain(domain: str, repo_root: Path, tmp_path: Path) -> None:
    project = copy_without(domain, repo_root, tmp_path / "project")

    check = run(project, "-m", "etl_assets.cli.main", "sources", "check")
    load = run(project, "-c", "from etl_assets.definitions import defs; defs()")
    samples = [str(file) for file in project.glob("tests/domains/*/test_*sample*.py")]
    tests = run(project, "-m", "pytest", "-q", "-m", "not long", "tests/test_layout.py", *samples)

    assert (check.returncode, load.returncode) == (0, 0), check.stderr + load.stderr
    assert len(samples) >= len(DOMAINS) - 1
    assert tests.returncode == 0, tests.stdout[-3000:]
    assert f"tests/domains/{domain}" not in tests.stdout

"""A domain is declared and not programmed: with its folders it goes, and the rest stays green.

Of the rest every sample is run to its published set; its other tests need no other domain either.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from etl_assets.settings import Settings

pytestmark = pytest.mark.long

DOMAINS = sorted(path.name for path in Settings.load().domains_dir.iterdir() if path.is_dir())


def without(domain: str, root: Path, target: Path) -> Path:
    """A copy of the project in which no folder and no page bears the domain's name."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [n for n in names if n.startswith(".") or Path(n).stem == domain]

    shutil.copytree(root, target, ignore=left_out)
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
def test_without_a_domain_the_rest_is_green(domain: str, repo_root: Path, tmp_path: Path) -> None:
    project = without(domain, repo_root, tmp_path / "project")

    checked = run(project, "-m", "etl_assets.cli.main", "sources", "check")
    loaded = run(project, "-c", "from etl_assets.definitions import defs; defs()")
    samples = [str(file) for file in project.glob("tests/domains/*/test_*sample*.py")]
    tested = run(project, "-m", "pytest", "-q", "-m", "not long", "tests/test_layout.py", *samples)

    assert (checked.returncode, loaded.returncode) == (0, 0), checked.stderr + loaded.stderr
    assert len(samples) >= len(DOMAINS) - 1
    assert tested.returncode == 0, tested.stdout[-3000:]
    assert f"tests/domains/{domain}" not in tested.stdout

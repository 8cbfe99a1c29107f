"""Files of a home that may not be read: the next run makes them again, or names them.

The commands run in a child that has given up root's right to read every file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command_homes import DOMAIN, Galaxy
from support.crashes import CommandResult, WarmProcess, start_warm_process
from support.kept_files import FILES, changed_galaxy, history, published_galaxy

__all__ = ["changed_galaxy", "published_galaxy"]

# A link has no permissions, and without signatures files are hashed again.
CELLS = [kept for kept in FILES if kept not in {"latest", "signatures"}]
# A database, or a folder, may hold what nothing else has: it is not replaced.
REFUSED = {"event index", "run records", "outputs", "event log", "manifests"}
FAST = {"history", "outputs"}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmProcess]:
    with start_warm_process(tmp_path_factory.mktemp("commands")) as started:
        yield started


@pytest.fixture
def home(changed_galaxy: Galaxy, tmp_path: Path) -> Galaxy:
    galaxy = changed_galaxy.copy_to(tmp_path / "copy")
    (galaxy.home.root / ".env").write_text(f"ETL_MIRROR={galaxy.mirror}\n", encoding="utf-8")
    return galaxy


def cells() -> Iterator[Any]:
    for kept in CELLS:
        marks = [] if kept in FAST else [pytest.mark.drill, pytest.mark.long]
        yield pytest.param(kept, marks=marks, id=kept)


def faults_in(result: CommandResult) -> list[str]:
    """The findings but the one that the samples are of a past day."""
    lines = result.output.splitlines()
    findings = [line for line in lines if line.startswith(("WARN", "ERROR"))]
    return [line for line in findings if not line.startswith(f"WARN  {DOMAIN}: content: ")]


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output", "read-only")
@pytest.mark.parametrize("kept", list(cells()))
def test_a_file_without_permission_is_made_again_or_named(
    home: Galaxy, process: WarmProcess, kept: str
) -> None:
    before, root = history(home), home.home.root
    path = FILES[kept](home)
    mode = path.stat().st_mode
    path.chmod(0o000)

    health = process.run(root, ["health", DOMAIN])
    run = process.run(root, ["run", DOMAIN])

    assert faults_in(health), health.output
    assert "Traceback" not in health.output + run.output
    assert run.code == (1 if kept in REFUSED else 0), run.output
    if kept in REFUSED:
        assert "writable" in run.output
        assert str(home.home.dagster if kept in {"event index", "run records"} else path) in (
            run.output
        )
        path.chmod(mode)
        assert process.run(root, ["run", DOMAIN]).code == 0
    assert history(home) == before
    assert process.run(root, ["verify"]).code == 0
    assert not faults_in(process.run(root, ["health", DOMAIN]))

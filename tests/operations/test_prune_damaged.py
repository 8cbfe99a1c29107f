"""`etl prune --damaged` removes run directories that nothing makes again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.command_homes import DOMAIN, Galaxy, call, point_environment_at
from support.damage import delete, edit, flip
from support.kept_files import changed_galaxy, published_galaxy

from etl_assets.publish import run_directory

__all__ = ["changed_galaxy", "published_galaxy"]

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(changed_galaxy: Galaxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    return point_environment_at(changed_galaxy.copy_to(tmp_path / "copy"), monkeypatch)


def first_run(galaxy: Galaxy) -> Path:
    return min(galaxy.home.outputs(DOMAIN).glob("2*"))


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output")
@pytest.mark.parametrize(
    ("name", "damage"),
    [("run_report.md", flip), ("manifest.json", edit), ("SHA256SUMS", delete)],
)
def test_a_damaged_run_is_named_until_it_is_pruned(
    home: Galaxy, capsys: Capture, name: str, damage: Callable[[Path], object]
) -> None:
    damage(first_run(home) / name)

    assert call("manifest", "verify", DOMAIN) == 1
    output = capsys.readouterr()
    assert "`etl prune --damaged` removes" in output.out + output.err
    assert call("prune", DOMAIN, "--damaged", "--dry-run") == 0
    assert first_run(home).name in capsys.readouterr().out
    assert call("prune", DOMAIN, "--damaged") == 0

    assert run_directory.list_directories(home.home, DOMAIN) == [home.latest]
    assert call("manifest", "verify", DOMAIN) == 0
    assert call("run", DOMAIN) == 0


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output")
def test_the_published_set_is_made_again_and_not_pruned(home: Galaxy, capsys: Capture) -> None:
    damaged = home.latest
    flip(damaged / "system_changes.json")

    assert call("prune", DOMAIN, "--damaged") == 0
    assert home.latest == damaged
    assert call("run", DOMAIN) == 0
    assert call("manifest", "verify", DOMAIN) == 1
    assert damaged.name in capsys.readouterr().out
    assert call("prune", DOMAIN, "--damaged") == 0

    assert not damaged.exists()
    assert call("manifest", "verify", DOMAIN) == 0

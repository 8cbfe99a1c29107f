"""Every file that a home keeps, times every damage: the next runs heal it, or refuse it by name.

One damage of each file is among the fast tests, several at once; each alone is a drill.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.command_homes import DOMAIN, Galaxy, call, point_environment_at
from support.damage import delete, edit, empty, flip, truncate
from support.kept_files import FILES, FOLDERS, changed_galaxy, history, marts, published_galaxy
from support.sample_home import fingerprint

__all__ = ["changed_galaxy", "published_galaxy"]

Capture = pytest.CaptureFixture[str]
Damage = Callable[[Path, Galaxy], object]
NEW_NAME = ('"name":"Harbour"', '"name":"Haven"')


def replace_by_folder(path: Path, _: Galaxy) -> None:
    path.unlink()
    path.mkdir()
    (path / "stray").write_text("x", encoding="utf-8")


def replace_by_other(path: Path, galaxy: Galaxy) -> None:
    """Put another valid file of the home in its place."""
    other = galaxy.home.table_file(DOMAIN, "systems", None)
    if path == other:
        other = marts(galaxy, "mart_systems")
    content = other.read_bytes()
    path.unlink()
    path.write_bytes(content)


def replace_by_older(path: Path, galaxy: Galaxy) -> None:
    """Put the file of the first run in its place."""
    first_home = galaxy.folder / "first"
    older = first_home / path.resolve().relative_to(galaxy.home.root)
    if galaxy.home.raw in path.parents:
        older = max((first_home / "data" / "raw").glob("*/*"), key=lambda file: file.stat().st_size)
    elif not older.exists():  # a file of the published set, which has another directory
        first = next((galaxy.folder / "first" / "outputs" / DOMAIN).glob("2*"))
        older = first / path.relative_to(galaxy.latest)
    path.unlink()
    shutil.copy2(older, path)


def link_to_first_run(path: Path, galaxy: Galaxy) -> None:
    first = min(galaxy.home.outputs(DOMAIN).glob("2*"))
    path.unlink()
    path.symlink_to(first.name)


DAMAGES: dict[str, Damage] = {
    "flipped": lambda path, _: flip(path),
    "edited": lambda path, _: edit(path),
    "cut off": lambda path, _: truncate(path),
    "empty": lambda path, _: empty(path),
    "deleted": lambda path, _: delete(path),
    "a folder": replace_by_folder,
    "another file": replace_by_other,
    "older": replace_by_older,
}
# One damage of each file. Those of a group are played at once: what heals one of its files does not
# need another one.
FAST = {
    "data": {
        "raw file": "edited",
        "table": "flipped",
        "rejects": "deleted",
        "document": "another file",
        "warehouse": "empty",
        "signatures": "edited",
        "downloads": "cut off",
        "head": "older",
    },
    "set": {
        "mart": "cut off",
        "report": "edited",
        "sums": "deleted",
        "history copy": "flipped",
        "ingestion": "a folder",
        "latest": "linked to the first run",
    },
    "manifest and event index": {"manifest": "edited", "event index": "deleted"},
    "history and run records": {
        "history": "older",
        "index": "empty",
        "run records": "edited",
    },
    "outputs": {"outputs": "deleted"},
    "event log": {"event log": "deleted"},
    "manifests": {"manifests": "deleted"},
}


def damages_of(kept: str) -> dict[str, Damage]:
    damages = {"deleted": DAMAGES["deleted"]} if kept in FOLDERS else dict(DAMAGES)
    if kept == "latest":
        damages |= {"a folder": replace_by_folder, "linked to the first run": link_to_first_run}
    return damages


def cells() -> Iterator[Any]:
    for kept in FILES:
        for name, damage in damages_of(kept).items():
            yield pytest.param(kept, damage, id=f"{kept} {name}")


@pytest.fixture(scope="session")
def changed_again(build_once: Any, changed_galaxy: Galaxy) -> Galaxy:
    """Return the same home after a third run: what a damaged one has to become too."""

    def run_again(folder: Path) -> Galaxy:
        galaxy = changed_galaxy.copy_to(folder)
        galaxy.change_feed(*NEW_NAME)
        assert galaxy.run().published
        return galaxy

    return Galaxy(build_once("galaxy-changed-again", run_again))


CHECK_WARNINGS = tuple(
    f"  WARN  {DOMAIN}/{name}: " for name in ("stations", "stg_systems", "systems")
)


@pytest.fixture
def home(changed_galaxy: Galaxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    return point_environment_at(changed_galaxy.copy_to(tmp_path / "copy"), monkeypatch)


def rows_and_rejects(galaxy: Galaxy) -> dict[str, bytes]:
    """Return the bytes of all tables and files of rejects."""
    folder = galaxy.home.root / "data"
    files = [*folder.glob("tables/*/*/*"), *folder.glob("rejects/*/*/*")]
    # A folder that was in the way of a file has another name now.
    return {galaxy.home.relative(path): path.read_bytes() for path in files if path.is_file()}


def assert_is_healed(galaxy: Galaxy, capsys: Capture, damages: dict[str, Damage]) -> None:
    """Damage the files and run: all is as before, and no command finds a fault."""
    before = history(galaxy), rows_and_rejects(galaxy)
    # Located first: what is damaged may say where another file is.
    for kept, path in {kept: FILES[kept](galaxy) for kept in damages}.items():
        damages[kept](path, galaxy)

    assert call("run", DOMAIN) == 0, capsys.readouterr().err

    assert (history(galaxy), rows_and_rejects(galaxy)) == before
    ran = capsys.readouterr().out.splitlines()
    # A run lists the warnings of its checks.
    assert not [line for line in ran if "WARN" in line and not line.startswith(CHECK_WARNINGS)]
    assert call("verify", str(galaxy.latest)) == 0, capsys.readouterr().out
    with pytest.MonkeyPatch.context() as patch:
        let_content_be_fresh(galaxy, patch)
        assert call("health", DOMAIN) == 0
    assert "WARN" not in capsys.readouterr().out


def let_content_be_fresh(galaxy: Galaxy, patch: pytest.MonkeyPatch) -> None:
    """Override the limits of the samples, which are of a past day, as an operator can."""
    limits = ("warn_after_hours", "fail_after_hours")
    overrides = {
        f"{DOMAIN}.{source}.freshness.{limit}": 24 * 365 * 100
        for source in galaxy.domain.sources
        for limit in limits
    }
    settings = galaxy.folder / "settings.yaml"
    settings.write_text(yaml.safe_dump({"overrides": overrides}), encoding="utf-8")
    patch.setenv("ETL_CONFIG", str(settings))


def test_one_damage_of_each_file_is_among_the_fast_tests() -> None:
    played = [kept for damages in FAST.values() for kept in damages]

    assert sorted(played) == sorted(FILES)


@pytest.mark.fault("altered-output")
@pytest.mark.parametrize("damages", FAST.values(), ids=FAST)
def test_damaged_files_are_healed_by_the_next_run(
    home: Galaxy, capsys: Capture, damages: dict[str, str]
) -> None:
    assert_is_healed(home, capsys, {kept: damages_of(kept)[name] for kept, name in damages.items()})


@pytest.mark.drill
@pytest.mark.long
@pytest.mark.fault("altered-output")
@pytest.mark.parametrize(("kept", "damage"), list(cells()))
def test_a_damaged_file_is_healed_by_the_next_run(
    home: Galaxy, capsys: Capture, kept: str, damage: Damage
) -> None:
    assert_is_healed(home, capsys, {kept: damage})


@pytest.mark.drill
@pytest.mark.long
@pytest.mark.parametrize(("kept", "damage"), list(cells()))
def test_a_damaged_file_changes_no_later_run(
    home: Galaxy, changed_again: Galaxy, capsys: Capture, kept: str, damage: Damage
) -> None:
    damage(FILES[kept](home), home)
    home.change_feed(*NEW_NAME)

    assert call("run", DOMAIN) == 0, capsys.readouterr().err

    assert history(home) == history(changed_again)
    tables = fingerprint(home.home.tables(DOMAIN))
    capsys.readouterr()
    assert call("run", DOMAIN) == 0
    assert "nothing moved" in capsys.readouterr().out
    assert fingerprint(home.home.tables(DOMAIN)) == tables

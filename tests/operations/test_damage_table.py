"""Every file that a home keeps, times every damage: the next runs heal it, or refuse it by name.

One damage of each file is among the fast tests; the whole table is a drill.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command_homes import DOMAIN, Galaxy, call, point_environment_at
from support.damage import delete, edit, empty, flip, truncate
from support.sample_home import fingerprint

from etl_assets.model.run_manifest import MANIFEST_FILE
from etl_assets.publish import run_directory

Capture = pytest.CaptureFixture[str]
Locate = Callable[[Galaxy], Path]
Damage = Callable[[Path, Galaxy], object]
NEW_SYSTEM = ('"id64":1003,"name":"Quarry"', '"id64":5001,"name":"Newfound"')
NEW_NAME = ('"name":"Harbour"', '"name":"Haven"')


def marts(galaxy: Galaxy, name: str) -> Path:
    return galaxy.latest / "marts" / f"{name}.parquet"


def current_raw_file(galaxy: Galaxy) -> Path:
    manifest = run_directory.read_manifest(galaxy.latest)
    [sha256] = [s.sha256 for s in manifest.sources if s.source.name == "systems" and s.sha256]
    return galaxy.home.raw_file(sha256)


FILES: dict[str, Locate] = {
    "raw file": current_raw_file,
    "table": lambda g: g.home.table_file(DOMAIN, "systems", None),
    "rejects": lambda g: g.home.rejects_file(DOMAIN, "systems", None),
    "document": lambda g: g.latest / "system_changes.json",
    "mart": lambda g: marts(g, "mart_system_stations"),
    "history": lambda g: marts(g, "mart_systems"),
    "report": lambda g: g.latest / "run_report.html",
    "manifest": lambda g: g.latest / MANIFEST_FILE,
    "index": lambda g: g.latest / "index.jsonl",
    "sums": lambda g: g.latest / "SHA256SUMS",
    "head": lambda g: g.home.published_head(DOMAIN),
    "history copy": lambda g: g.home.history_copy(DOMAIN),
    "downloads": lambda g: g.home.manifests / f"{DOMAIN}_download.manifest.json",
    "ingestion": lambda g: g.home.manifests / f"{DOMAIN}_ingestion.manifest.json",
    "signatures": lambda g: g.home.signatures(DOMAIN),
    "warehouse": lambda g: g.home.warehouse(DOMAIN),
    "event index": lambda g: g.home.dagster / "history" / "runs" / "index.db",
    "run records": lambda g: g.home.dagster / "history" / "runs.db",
    "latest": lambda g: g.home.latest(DOMAIN),
    "outputs": lambda g: g.home.outputs(DOMAIN),
    "event log": lambda g: g.home.dagster,
    "manifests": lambda g: g.home.manifests,
}
FOLDERS = {"latest", "outputs", "event log", "manifests"}


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
FAST = {
    "raw file": "edited",
    "table": "flipped",
    "rejects": "deleted",
    "document": "another file",
    "mart": "cut off",
    "history": "older",
    "report": "edited",
    "manifest": "edited",
    "index": "empty",
    "sums": "deleted",
    "head": "older",
    "history copy": "flipped",
    "downloads": "cut off",
    "ingestion": "a folder",
    "signatures": "edited",
    "warehouse": "empty",
    "event index": "deleted",
    "run records": "edited",
    "latest": "linked to the first run",
    "outputs": "deleted",
    "event log": "deleted",
    "manifests": "deleted",
}


def cells() -> Iterator[Any]:
    for kept in FILES:
        damages = dict(DAMAGES)
        if kept in FOLDERS:
            damages = {"deleted": DAMAGES["deleted"]}
        if kept == "latest":
            damages |= {"a folder": replace_by_folder, "linked to the first run": link_to_first_run}
        for name, damage in damages.items():
            marks = [pytest.mark.fault("altered-output")]
            if FAST[kept] != name:
                marks += [pytest.mark.drill, pytest.mark.long]
            yield pytest.param(kept, damage, marks=marks, id=f"{kept} {name}")


def run_twice(folder: Path) -> Galaxy:
    """Return a home with two published sets, and a copy of the home between them."""
    galaxy = Galaxy.create_with_run(folder)
    shutil.copytree(galaxy.home.root, folder / "first", symlinks=True)
    galaxy.change_feed(*NEW_SYSTEM)
    manifest = galaxy.run()
    assert manifest.published, manifest.note
    return galaxy


@pytest.fixture(scope="session")
def changed_galaxy(build_once: Any) -> Galaxy:
    return Galaxy(build_once("galaxy-changed", run_twice))


@pytest.fixture(scope="session")
def changed_again(build_once: Any, changed_galaxy: Galaxy) -> Galaxy:
    """Return the same home after a third run: what a damaged one has to become too."""

    def run_again(folder: Path) -> Galaxy:
        galaxy = changed_galaxy.copy_to(folder)
        galaxy.change_feed(*NEW_NAME)
        assert galaxy.run().published
        return galaxy

    return Galaxy(build_once("galaxy-changed-again", run_again))


def history(galaxy: Galaxy) -> list[dict[str, Any]]:
    """Return the rows of the history without the logical times, which differ from run to run."""
    rows = galaxy.rows("mart_systems")
    return [{k: v for k, v in row.items() if not k.endswith("_at")} for row in rows]


@pytest.fixture
def home(changed_galaxy: Galaxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    return point_environment_at(changed_galaxy.copy_to(tmp_path / "copy"), monkeypatch)


@pytest.mark.parametrize(("kept", "damage"), list(cells()))
def test_a_damaged_file_is_healed_by_the_next_run(
    home: Galaxy, capsys: Capture, kept: str, damage: Damage
) -> None:
    before = history(home)
    damage(FILES[kept](home), home)

    assert call("run", DOMAIN) == 0, capsys.readouterr().err

    assert history(home) == before
    assert call("verify", str(home.latest)) == 0, capsys.readouterr().out
    assert call("health", DOMAIN) == 0
    assert "WARN" not in capsys.readouterr().out


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

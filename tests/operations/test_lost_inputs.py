"""Inputs that are lost: rejected rows, the table of a refused file, a file of store and remote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_homes import DOMAIN, SYSTEMS, Galaxy, call, galaxy, published_galaxy
from support.damage import delete, edit, flip

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.publish import run_directory

__all__ = ["galaxy", "published_galaxy"]

Capture = pytest.CaptureFixture[str]
Damage = Callable[[Path], object]
KINDS = ("tables", "rejects")


def long(*values: object) -> list[Any]:
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


def systems_file(home: Galaxy, kind: str) -> Path:
    return home.home.root / "data" / kind / DOMAIN / "systems" / "systems.parquet"


def last_run(home: Galaxy) -> RunManifest:
    return run_directory.read_manifest(next(run_directory.list_runs(home.home, DOMAIN)))


@pytest.mark.fault("altered-output")
@pytest.mark.parametrize("damage", [flip, *long(edit, delete)])
def test_damaged_rejects_are_reported_and_made_again(
    galaxy: Galaxy, capsys: Capture, damage: Damage
) -> None:
    rejects = systems_file(galaxy, "rejects")
    before = rejects.read_bytes()
    damage(rejects)

    assert call("manifest", "verify", DOMAIN) == 1
    assert galaxy.home.relative(rejects) in capsys.readouterr().out
    call("health", DOMAIN)
    assert galaxy.home.relative(rejects) in capsys.readouterr().out

    assert call("run", DOMAIN) == 0

    assert rejects.read_bytes() == before
    assert call("manifest", "verify", DOMAIN) == 0


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output")
@pytest.mark.parametrize("kinds", [KINDS, *long(KINDS[:1], KINDS[1:])], ids="+".join)
def test_the_last_good_table_is_made_again_while_a_newer_file_is_refused(
    galaxy: Galaxy, kinds: tuple[str, ...]
) -> None:
    files = [systems_file(galaxy, kind) for kind in KINDS]
    before = [file.read_bytes() for file in files]
    galaxy.change_feed('"id64":', '"number":')
    assert call("run", DOMAIN) == 0
    for kind in kinds:
        flip(systems_file(galaxy, kind))

    assert call("run", DOMAIN) == 0

    assert last_run(galaxy).status is RunStatus.PARTIAL_SUCCESS
    assert [file.read_bytes() for file in files] == before


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output")
def test_rejects_that_are_lost_with_their_raw_file_and_its_remote_cost_no_row(
    galaxy: Galaxy, capsys: Capture
) -> None:
    before = galaxy.rows("mart_systems")
    [sha256] = [s.sha256 for s in last_run(galaxy).sources if s.source.name == "systems"]
    galaxy.home.raw_file(str(sha256)).unlink()
    systems_file(galaxy, "rejects").unlink()
    (galaxy.mirror / SYSTEMS).unlink()

    assert call("run", DOMAIN) == 0

    assert last_run(galaxy).status is RunStatus.PARTIAL_SUCCESS
    assert galaxy.rows("mart_systems") == before
    capsys.readouterr()
    call("health", DOMAIN)
    assert "data/rejects/" not in capsys.readouterr().out


@pytest.mark.fault("raw-file-lost")
@pytest.mark.parametrize(
    ("damage", "options"),
    [
        pytest.param(delete, (), marks=pytest.mark.long, id="missing"),
        pytest.param(edit, (), marks=pytest.mark.long, id="edited"),
        pytest.param(edit, ("--from", "table"), id="edited, without a probe"),
    ],
)
def test_what_is_lost_in_store_table_and_remote_is_named_with_what_to_do(
    galaxy: Galaxy, capsys: Capture, damage: Damage, options: tuple[str, ...]
) -> None:
    published = galaxy.latest
    [sha256] = [s.sha256 for s in last_run(galaxy).sources if s.source.name == "systems"]
    raw_file = galaxy.home.raw_file(str(sha256))
    damage(raw_file)
    systems_file(galaxy, "tables").unlink()
    (galaxy.mirror / SYSTEMS).unlink()

    assert call("run", DOMAIN, *options) == 1

    output = capsys.readouterr()
    assert f"{raw_file}: expected the stored file of {DOMAIN}.systems" in output.out + output.err
    assert f"`etl rollback '{DOMAIN}.systems' --why TEXT`" in output.out + output.err
    assert galaxy.latest == published

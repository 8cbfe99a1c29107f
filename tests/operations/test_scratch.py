"""Runs whose builds and temporary files are on a disk of the machine, and not in the home."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.orchard import DOMAIN, FIRST, Files, Orchard, create_project

from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions

MEMORY = Path("/dev/shm")


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the home, where there is one."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    orchard = Orchard(tmp_path / "live", project=create_project(tmp_path / "project"))
    orchard.serve(Files.create(30))
    return orchard


def use_scratch(orchard: Orchard, folder: Path) -> None:
    orchard.settings = orchard.settings.model_copy(update={"scratch": folder})


def marts(orchard: Orchard) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (orchard.latest / "marts").glob("*.parquet")}


def test_the_home_keeps_only_what_other_hosts_read(orchard: Orchard, other_disk: Path) -> None:
    use_scratch(orchard, other_disk)

    assert orchard.run(RunOptions(as_of=FIRST)).published

    assert (other_disk / "data" / "warehouse" / f"{DOMAIN}.duckdb").is_file()
    in_home = sorted(path.name for path in (orchard.home.root / "data").iterdir())
    assert in_home == ["orchard.lock", "partial", "raw", "tables"]


@pytest.mark.parametrize("second", ["the same disk", "a new disk", "none"])
def test_the_next_run_publishes_the_same_bytes_on_any_disk(
    orchard: Orchard, tmp_path: Path, other_disk: Path, second: str
) -> None:
    plain = Orchard(tmp_path / "plain", project=orchard.project)
    use_scratch(orchard, other_disk)
    for count in (30, 31):
        for each in (orchard, plain):
            each.serve(Files.create(count))
            assert each.run(RunOptions(as_of=FIRST.replace(day=count - 29))).published
        if second == "a new disk":
            shutil.rmtree(other_disk / "data")
        elif second == "none":
            use_scratch(orchard, None)

    assert marts(orchard) == marts(plain)


def test_an_unchanged_run_on_a_new_disk_builds_and_publishes_nothing_else(
    orchard: Orchard, other_disk: Path
) -> None:
    use_scratch(orchard, other_disk)
    orchard.run(RunOptions(as_of=FIRST))
    before = marts(orchard)
    shutil.rmtree(other_disk / "data")

    orchard.run()

    assert marts(orchard) == before


def test_a_scratch_folder_of_another_home_is_refused(
    orchard: Orchard, tmp_path: Path, other_disk: Path
) -> None:
    second = Orchard(tmp_path / "second", project=orchard.project)
    second.serve(Files.create(30))
    use_scratch(orchard, other_disk)
    use_scratch(second, other_disk)
    orchard.run(RunOptions(as_of=FIRST))

    refused = second.run(RunOptions(as_of=FIRST))

    assert refused.status is RunStatus.FAILED
    assert "folder that no other home uses" in refused.note

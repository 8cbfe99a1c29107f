"""Which of dbt's files may be trusted, and when its warehouse may be built on."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import duckdb
import pytest
from support.orchard import DOMAIN, create_project

from etl_assets.marts import dbt
from etl_assets.marts.dbt import DbtProject
from etl_assets.model.errors import BuildError
from etl_assets.model.home import Home


@pytest.mark.long
@pytest.mark.fault("killed", "disk-full")
def test_a_manifest_that_a_killed_build_left_half_written_is_not_read(tmp_path: Path) -> None:
    directory = create_project(tmp_path / "project") / "dbt_project"
    project = DbtProject(directory, DOMAIN, Home(tmp_path / "home"))
    parsed = project.manifest
    (project.target / "manifest.json").write_text('{"nodes": {"mod', encoding="utf-8")

    again = DbtProject(directory, DOMAIN, Home(tmp_path / "home")).manifest

    assert again == parsed
    assert again["nodes"]


@pytest.fixture
def built(home: Home) -> Home:
    home.warehouse(DOMAIN).parent.mkdir(parents=True)
    with duckdb.connect(home.warehouse(DOMAIN)) as database:
        database.execute("create table trees as select 1 as tree")
    dbt.mark_warehouse_complete(home, DOMAIN)
    return home


def test_a_marked_warehouse_is_complete_until_it_is_unmarked(built: Home) -> None:
    assert dbt.is_warehouse_complete(built, DOMAIN)

    dbt.unmark_warehouse(built, DOMAIN)

    assert not dbt.is_warehouse_complete(built, DOMAIN)


@pytest.mark.parametrize("content", [b"", b"no database at all"], ids=["empty", "another"])
def test_another_file_at_its_path_is_not_complete(built: Home, content: bytes) -> None:
    built.warehouse(DOMAIN).write_bytes(content)

    assert not dbt.is_warehouse_complete(built, DOMAIN)


@pytest.mark.fault("altered-output")
@pytest.mark.parametrize("content", ["nothing", "a file", "a folder"])
def test_a_folder_in_place_of_the_marker_is_set_aside(built: Home, content: str) -> None:
    marker = built.complete_marker(DOMAIN)
    marker.unlink()
    marker.mkdir()
    if content != "nothing":
        (marker / "x").mkdir() if content == "a folder" else (marker / "x").write_text("x")

    assert not dbt.is_warehouse_complete(built, DOMAIN)
    dbt.unmark_warehouse(built, DOMAIN)
    assert not marker.exists()
    dbt.mark_warehouse_complete(built, DOMAIN)
    assert dbt.is_warehouse_complete(built, DOMAIN)


def test_a_marker_without_a_warehouse_is_not_complete(built: Home) -> None:
    built.warehouse(DOMAIN).unlink()

    assert not dbt.is_warehouse_complete(built, DOMAIN)


@pytest.mark.fault("disk-full")
@pytest.mark.parametrize(
    ("message", "advice"),
    [
        pytest.param(f"IO Error: {os.strerror(errno.ENOSPC)}", "free some space", id="full"),
        pytest.param(f"IO Error: {os.strerror(errno.EFBIG)}", "raise the limit", id="limit"),
        pytest.param(f"{os.strerror(errno.EROFS)} (x.duckdb)", "make it writable", id="read-only"),
    ],
)
def test_an_error_of_the_machine_says_what_to_do(message: str, advice: str) -> None:
    text = dbt.add_advice(message, DOMAIN)

    assert text.startswith(f"{message}\n{advice}")
    assert text.endswith(f"then `etl run {DOMAIN}` again")


def test_another_error_is_left_as_it_is() -> None:
    assert dbt.add_advice("Binder Error: no such column", DOMAIN) == "Binder Error: no such column"


@pytest.mark.fault("disk-full")
def test_a_mart_that_cannot_be_written_names_the_command(home: Home, tmp_path: Path) -> None:
    home.warehouse(DOMAIN).parent.mkdir(parents=True)
    with duckdb.connect(home.warehouse(DOMAIN)) as database:
        database.execute("create table trees as select random() as tree from range(100000)")
    project = DbtProject(tmp_path, DOMAIN, home)
    _, hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard_limit))
    try:
        with pytest.raises(BuildError, match=rf"then `etl run {DOMAIN}` again"):
            project.export({"trees": ["tree"]}, tmp_path / "marts")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard_limit, hard_limit))

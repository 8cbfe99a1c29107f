"""Runs in homes whose path has characters that file patterns, SQL and addresses give a meaning."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.orchard import DOMAIN, FIRST, Files, Orchard, create_project, list_faults

from etl_assets.defs.launch import open_instance, open_project
from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.settings import Settings


@pytest.mark.long
@pytest.mark.fault("home-path")
def test_a_home_with_brackets_blanks_and_quotes_works(tmp_path: Path) -> None:
    folder = tmp_path / """a [b] it's "q" x"""
    orchard = Orchard(folder, project=create_project(tmp_path / "project"))
    files = Files.create(30)
    orchard.serve(files)

    first = orchard.run(RunOptions(as_of=FIRST))
    files.trees["T-1"] = "plum"
    orchard.serve(files)
    second = orchard.run()

    assert (first.status, first.note) == (RunStatus.SUCCESS, "")
    assert (second.status, second.note) == (RunStatus.SUCCESS, "")
    assert {"T-1": "plum"}.items() <= {
        row["tree_id"]: row["kind"] for row in orchard.rows("mart_trees")
    }.items()
    assert list_faults(orchard.home) == []
    with open_project(orchard.settings, {DOMAIN: orchard.domain}, echo=lambda _: None) as session:
        instance = session.event_log.instance
        assert instance.get_settings("concurrency")["pools"]["default_limit"] == 1
        assert instance.telemetry_enabled is False


@pytest.mark.fault("home-path")
@pytest.mark.parametrize("name", ["a*", "a[bc]", "a[!x]"])
def test_the_settings_of_another_home_that_a_pattern_would_find_are_not_used(
    tmp_path: Path, name: str
) -> None:
    other = tmp_path / "ab" / "dagster.yaml"
    other.parent.mkdir()
    other.write_text("code_servers: {local_startup_timeout: 7}", encoding="utf-8")
    folder = tmp_path / name
    settings = Settings.load(home=folder, dagster_home=folder)

    with open_instance(settings) as instance:
        assert instance.get_settings("concurrency")["pools"]["default_limit"] == 1
        assert instance.code_server_process_startup_timeout != 7

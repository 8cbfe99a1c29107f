"""Another profile of dbt: its settings are those of every connection that writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_homes import (
    DOMAIN,
    Galaxy,
    call,
    clean_environment,
    empty_galaxy,
    packed_galaxy,
)

from etl_assets.marts.profile import DbtProfile
from etl_assets.model.errors import BuildError

__all__ = ["clean_environment", "empty_galaxy", "packed_galaxy"]

PROFILE = """\
etl:
  target: small
  outputs:
    small:
      type: duckdb
      path: "{{ var('warehouse') }}"
      threads: 1
      settings: {memory_limit: "{{ env_var('LIMIT', '300MB') }}", threads: 1, TimeZone: UTC}
    large:
      type: duckdb
      path: "{{ var('warehouse') }}"
      settings:
        file_search_path: "{{ var('home') }}"
        memory_limit: 2GB
        preserve_insertion_order: false
"""
WAREHOUSE = Path("home/warehouse.duckdb")
VALUES = {"warehouse": str(WAREHOUSE), "home": "home"}


def lay_profile(folder: Path, text: str = PROFILE) -> Path:
    (folder / "profiles.yml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("target", "environment", "expected"),
    [
        (None, {}, {"memory_limit": "300MB", "threads": 1}),
        ("small", {"LIMIT": "400MB"}, {"memory_limit": "400MB", "threads": 1}),
        (
            "large",
            {},
            {"file_search_path": "home", "memory_limit": "2GB", "preserve_insertion_order": False},
        ),
    ],
)
def test_settings_are_those_of_the_target(
    tmp_path: Path, target: str | None, environment: dict[str, str], expected: dict[str, object]
) -> None:
    profile = DbtProfile(lay_profile(tmp_path), target, environment)

    assert profile.read_settings(VALUES, WAREHOUSE) == expected


@pytest.mark.parametrize(
    ("text", "target", "fault"),
    [
        pytest.param(PROFILE, "medium", "targets small, large, found 'medium'", id="target"),
        pytest.param(PROFILE.replace("etl:", "other:"), None, "profile etl, found none", id="name"),
        pytest.param("- a", None, "profile etl, found none", id="list"),
        pytest.param("etl: [", None, "a readable profile, found: ", id="broken"),
        pytest.param(
            PROFILE.replace("{{ var('warehouse') }}", "mine.duckdb"),
            None,
            "found the type 'duckdb' and the path 'mine.duckdb'",
            id="another database",
        ),
        pytest.param(
            PROFILE.replace("type: duckdb", "type: postgres"),
            None,
            "expected the type duckdb",
            id="another kind of database",
        ),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, text: str, target: str | None, fault: str
) -> None:
    profile = DbtProfile(lay_profile(tmp_path, text), target)

    with pytest.raises(BuildError) as raised:
        profile.read_settings(VALUES, WAREHOUSE)

    assert str(raised.value).startswith(f"{tmp_path / 'profiles.yml'}: expected ")
    assert fault in str(raised.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"profiles\.yml: expected a readable profile"):
        DbtProfile(tmp_path).read_settings(VALUES, WAREHOUSE)


@pytest.mark.long
def test_a_run_builds_with_the_target_of_the_settings(
    empty_galaxy: Galaxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ETL_DBT_PROFILES", str(lay_profile(empty_galaxy.folder)))
    monkeypatch.setenv("ETL_DBT_TARGET", "medium")

    assert call("run", DOMAIN) == 1
    assert "'medium'" in "".join(capsys.readouterr())

    # dbt's own connection needs the search path, which only one target sets.
    monkeypatch.setenv("ETL_DBT_TARGET", "large")
    assert call("run", DOMAIN) == 0

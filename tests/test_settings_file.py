"""The settings file: its values, its error messages, and the command that reads it."""

from __future__ import annotations

import json
from pathlib import Path
from traceback import format_exception

import pytest
from support.command_homes import (
    DOMAIN,
    Galaxy,
    call,
    clean_environment,
    empty_galaxy,
    packed_galaxy,
)

from etl_assets.model.errors import SettingsError
from etl_assets.settings import Settings

__all__ = ["clean_environment", "empty_galaxy", "packed_galaxy"]


def write_settings(folder: Path, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "settings.yaml"
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return file


def test_a_file_takes_precedence_over_the_environment_and_an_argument_over_both(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETL_LOG_LEVEL", "ERROR")
    monkeypatch.setenv("ETL_HOME", str(clean_environment / "other"))
    monkeypatch.setenv("DAGSTER_HOME", str(clean_environment / "events"))
    monkeypatch.setenv("NO_COLOR", "1")
    file = write_settings(
        clean_environment, "log_level: DEBUG", "home: place", "dagster_home: log", "no_color: false"
    )

    settings = Settings.load(config=file)

    assert (settings.log_level, settings.no_color) == ("DEBUG", False)
    assert settings.home == clean_environment / "place"
    assert settings.dagster_home == clean_environment / "log"
    assert Settings.load(config=file, log_level="INFO").log_level == "INFO"


def test_relative_paths_start_at_the_file(clean_environment: Path) -> None:
    (clean_environment / "far" / "feeds").mkdir(parents=True)
    file = write_settings(
        clean_environment / "far", "home: ../place", "mirror: feeds", "domains_dir: declared"
    )

    settings = Settings.load(config=file)

    assert settings.home == clean_environment / "place"
    assert settings.mirror == str(clean_environment / "far" / "feeds")
    assert settings.domains_dir == clean_environment / "far" / "declared"


def test_a_mirror_may_be_a_url_there_too(clean_environment: Path) -> None:
    file = write_settings(clean_environment, "mirror: https://mirror.example/feeds/")

    assert Settings.load(config=file).mirror == "https://mirror.example/feeds"


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_the_file_may_be_named_by_a_variable(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    file = write_settings(clean_environment / "far", "log_level: INFO")
    if place == ".env":
        (clean_environment / ".env").write_text(f"ETL_CONFIG={file}\n", encoding="utf-8")
    else:
        monkeypatch.setenv("ETL_CONFIG", "far/settings.yaml")

    settings = Settings.load()

    assert (settings.config, settings.log_level) == (file, "INFO")


def test_all_errors_are_reported_at_once_with_their_lines(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETL_PROXY", "socks5://host")
    file = write_settings(
        clean_environment,
        "log_level: loud",
        "hom: place",
        "no_color: often",
        "mirror: nowhere",
        "domains_dir:",
        "dbt_dir: ''",
        "samples_dir: [a]",
    )

    with pytest.raises(SettingsError) as raised:
        Settings.load(config=file)

    names = "home, mirror, dagster_home, event_log, event_log_password_env, scratch, launcher"
    names += ", broker, notify, proxy"
    names += ", signing_key, signing_passphrase"
    names += ", domains_dir, dbt_dir, dbt_profiles, dbt_target, samples_dir, log_level"
    names += ", automation, ui_hosts, force_refresh, dry_run, no_color, overrides, perhaps 'home'"
    feeds = clean_environment / "nowhere"
    assert str(raised.value).splitlines() == [
        f"{file}:1: log_level: expected 'DEBUG', 'INFO', 'WARNING' or 'ERROR', found 'loud'",
        f"{file}:2: hom: expected one of {names}, found an unknown key",
        f"{file}:3: no_color: expected true or false, found 'often'",
        f"{file}:4: mirror: expected a URL (http, https) or a directory, found '{feeds}'",
        f"{file}:5: domains_dir: expected text, found nothing",
        f"{file}:6: dbt_dir: expected a value, or no such line, found an empty text",
        f"{file}:7: samples_dir: expected text, found a list",
        "ETL_PROXY: expected http://host:port or https://host:port, found another text",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["- home"], ":1: document: expected settings, one `key: value` a line, found a list"),
        (["home: a", "home: b"], ":1: home: expected each key once, found it again in line 2"),
        (["home: *x"], ":1: document: expected no alias, found *x"),
        (["home: [a"], "expected well-formed YAML"),
        (["config: other.yaml"], ":1: config: expected one of home, "),
    ],
    ids=["a list", "twice", "alias", "broken", "a file in a file"],
)
def test_an_unusable_file_is_reported(
    clean_environment: Path, lines: list[str], message: str
) -> None:
    file = write_settings(clean_environment, *lines)

    with pytest.raises(SettingsError) as raised:
        Settings.load(config=file)

    assert str(file) in str(raised.value)
    assert message in str(raised.value)


def test_an_empty_file_is_valid(clean_environment: Path) -> None:
    assert Settings.load(config=write_settings(clean_environment)).home == clean_environment


def test_a_missing_file_is_reported(clean_environment: Path) -> None:
    with pytest.raises(SettingsError, match="expected a YAML file of settings, found: No such"):
        Settings.load(config=clean_environment / "none.yaml")


@pytest.mark.parametrize("line", ["proxy: socks5://me:s3cret@host", "notify: [s3cret]"])
def test_a_secret_of_the_file_is_not_shown(clean_environment: Path, line: str) -> None:
    file = write_settings(clean_environment, line)

    with pytest.raises(SettingsError) as raised:
        Settings.load(config=file)

    assert f"{file}:1: " in str(raised.value)
    assert "s3cret" not in "".join(format_exception(raised.value))


def test_a_child_process_reads_the_same_file(clean_environment: Path) -> None:
    file = write_settings(clean_environment, "home: place", "log_level: INFO")

    child = Settings.load(config=file).child_environment()

    assert child["ETL_CONFIG"] == str(file)
    assert child["ETL_HOME"] == str(clean_environment / "place")


@pytest.mark.long
@pytest.mark.ci
def test_the_command_works_in_the_home_that_the_file_names(
    empty_galaxy: Galaxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ETL_MIRROR")
    write_settings(empty_galaxy.folder, "home: another", "mirror: mirror")

    assert call("run", DOMAIN, "--config", "settings.yaml", "--stage", "raw") == 0

    assert "4 assets made" in capsys.readouterr().out
    assert (empty_galaxy.folder / "another" / "outputs" / DOMAIN).is_dir()
    assert not empty_galaxy.home.outputs(DOMAIN).exists()


def test_a_wrong_file_ends_the_command_with_2(
    empty_galaxy: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    write_settings(empty_galaxy.folder, "log_level: loud")

    assert call("run", DOMAIN, "--config", "settings.yaml") == 2

    assert "settings.yaml:1: log_level: expected 'DEBUG'" in capsys.readouterr().err


def test_the_file_is_shown_as_the_origin_of_its_settings(
    empty_galaxy: Galaxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_settings(empty_galaxy.folder, "log_level: INFO")
    monkeypatch.setenv("ETL_CONFIG", str(file))

    assert call("config", "show", "--json") == 0

    shown = {each["name"]: each for each in json.loads(capsys.readouterr().out)["settings"]}
    assert (shown["log_level"]["value"], shown["log_level"]["origin"]) == ("INFO", str(file))
    assert (shown["home"]["origin"], shown["config"]["origin"]) == ("environment", "environment")


def test_a_dry_run_may_be_set(
    empty_galaxy: Galaxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ETL_DRY_RUN", "true")

    assert call("run", DOMAIN) == 0

    assert "fetch" in capsys.readouterr().out
    assert not empty_galaxy.home.outputs(DOMAIN).exists()


@pytest.mark.long
@pytest.mark.ci
def test_a_refresh_may_be_set_and_an_option_against_it_comes_first(
    empty_galaxy: Galaxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", DOMAIN, "--stage", "raw") == 0
    write_settings(empty_galaxy.folder, "force_refresh: true")
    monkeypatch.setenv("ETL_CONFIG", "settings.yaml")
    capsys.readouterr()

    assert call("run", DOMAIN, "--dry-run") == 0
    assert f"{DOMAIN}.systems: fetch, force_refresh" in capsys.readouterr().out
    assert call("run", DOMAIN, "--dry-run", "--skip-existing") == 0
    assert "force_refresh" not in capsys.readouterr().out
    assert call("run", DOMAIN, "--stage", "validated") == 0

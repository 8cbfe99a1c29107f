from __future__ import annotations

from pathlib import Path
from traceback import format_exception

import pytest
from support.command_homes import clean_environment

from etl_assets.model.errors import SettingsError
from etl_assets.settings import Settings

__all__ = ["clean_environment"]


def test_without_any_variable_the_current_directory_is_the_home(clean_environment: Path) -> None:
    settings = Settings.load()

    assert settings.home == clean_environment
    assert settings.dagster_home == clean_environment / ".dagster"
    assert settings.mirror is None
    assert (settings.domains_dir / "advisories").is_dir()


def test_variables_have_the_prefix(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETL_HOME", "place")
    monkeypatch.setenv("ETL_LOG_LEVEL", "DEBUG")

    settings = Settings.load()

    assert settings.home == clean_environment / "place"
    assert settings.dagster_home == clean_environment / "place" / ".dagster"
    assert settings.log_level == "DEBUG"


def test_dagsters_own_variable_names_its_home(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(clean_environment / "events"))

    assert Settings.load().dagster_home == clean_environment / "events"


def test_an_argument_takes_precedence_unless_it_is_none(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETL_HOME", "place")
    monkeypatch.setenv("ETL_LOG_LEVEL", "DEBUG")

    settings = Settings.load(
        home=clean_environment / "other", dagster_home=clean_environment, log_level=None
    )

    assert settings.home == clean_environment / "other"
    assert settings.dagster_home == clean_environment
    assert settings.log_level == "DEBUG"


def test_the_env_file_of_the_home_takes_precedence(
    clean_environment: Path,
) -> None:
    (clean_environment / "place").mkdir()
    (clean_environment / ".env").write_text("ETL_HOME=place\nETL_LOG_LEVEL=ERROR\nETL_NO_COLOR=1\n")
    (clean_environment / "place" / ".env").write_text("ETL_LOG_LEVEL=WARNING\n")

    settings = Settings.load()

    assert settings.home == clean_environment / "place"
    assert settings.log_level == "WARNING"
    assert settings.no_color


def test_a_variable_takes_precedence_over_env_files(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean_environment / ".env").write_text("ETL_LOG_LEVEL=ERROR\n")
    monkeypatch.setenv("ETL_LOG_LEVEL", "DEBUG")

    assert Settings.load().log_level == "DEBUG"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("https://mirror.example/feeds/", "https://mirror.example/feeds", id="URL"),
        pytest.param("http://127.0.0.1:8080", "http://127.0.0.1:8080", id="local URL"),
    ],
)
def test_a_mirror_may_be_a_url(value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_MIRROR", value)

    assert Settings.load().mirror == expected


def test_a_relative_mirror_is_a_directory_here_or_in_the_home(clean_environment: Path) -> None:
    (clean_environment / "here").mkdir()
    (clean_environment / "place" / "feeds").mkdir(parents=True)

    assert Settings.load(mirror="here").mirror == str(clean_environment / "here")
    assert Settings.load(home="place", mirror="feeds").mirror == str(
        clean_environment / "place" / "feeds"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        pytest.param(
            "ETL_MIRROR",
            "ftp://me:pass@host/x",
            "ETL_MIRROR: expected a URL (http, https) or a directory, found 'ftp://***@host/x'",
            id="scheme",
        ),
        pytest.param(
            "ETL_MIRROR",
            "nowhere",
            "ETL_MIRROR: expected a URL (http, https) or a directory, found 'nowhere'",
            id="no directory",
        ),
        pytest.param(
            "ETL_MIRROR",
            "",
            "ETL_MIRROR: expected a value, or no variable at all, found an empty text",
            id="empty",
        ),
        pytest.param(
            "ETL_EVENT_LOG",
            "sqlite:///events.db",
            "ETL_EVENT_LOG: expected an address such as postgresql://user@host:5432/database, "
            "found 'sqlite:///events.db'",
            id="another database",
        ),
        pytest.param(
            "ETL_EVENT_LOG",
            "postgresql://me:pass@host/x",
            "ETL_EVENT_LOG: expected no password, but the name of its variable in "
            "ETL_EVENT_LOG_PASSWORD_ENV, found 'postgresql://me:***@host/x'",
            id="password",
        ),
        pytest.param(
            "DAGSTER_HOME",
            " ",
            "DAGSTER_HOME: expected a value, or no variable at all, found an empty text",
            id="blank",
        ),
        pytest.param(
            "ETL_HOME",
            "",
            "ETL_HOME: expected a value, or no variable at all, found an empty text",
            id="empty home",
        ),
        pytest.param(
            "ETL_LOG_LEVEL",
            "loud",
            "ETL_LOG_LEVEL: expected 'DEBUG', 'INFO', 'WARNING' or 'ERROR', found 'loud'",
            id="unknown word",
        ),
        pytest.param(
            "ETL_NOTIFY",
            "json://example.org/s3cret s3cret",
            "ETL_NOTIFY: expected addresses such as mailto://... or json://..., with blanks between"
            " them, found another text at place 2",
            id="target",
        ),
        pytest.param(
            "ETL_PROXY",
            "socks5://me:s3cret@host",
            "ETL_PROXY: expected http://host:port or https://host:port, found another text",
            id="proxy",
        ),
    ],
)
def test_a_malformed_variable_is_named(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as raised:
        Settings.load()

    assert str(raised.value) == message
    assert "s3cret" not in "".join(format_exception(raised.value))


def test_all_malformed_variables_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_MIRROR", "")
    monkeypatch.setenv("ETL_LOG_LEVEL", "loud")

    with pytest.raises(SettingsError, match=r"(?s)ETL_MIRROR: .*ETL_LOG_LEVEL: "):
        Settings.load()


def test_a_secret_is_read_on_access(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.load()
    (clean_environment / ".env").write_text("FEED_TOKEN=from the file\n")

    assert settings.secret("FEED_TOKEN").get_secret_value() == "from the file"

    monkeypatch.setenv("FEED_TOKEN", "from the environment")

    assert settings.secret("FEED_TOKEN").get_secret_value() == "from the environment"
    assert "environment" not in f"{settings.secret('FEED_TOKEN')!r} {settings!r}"


@pytest.mark.fault("secrets")
@pytest.mark.parametrize(
    ("value", "actual"),
    [
        pytest.param(None, "no such variable", id="missing"),
        pytest.param("", "an empty text", id="empty"),
    ],
)
def test_a_missing_or_empty_secret_is_an_error(
    value: str | None, actual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv("FEED_TOKEN", value)

    with pytest.raises(SettingsError, match=f"FEED_TOKEN: expected a secret .*, found {actual}"):
        Settings.load().secret("FEED_TOKEN")


@pytest.mark.fault("secrets")
def test_targets_and_a_proxy_are_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_NOTIFY", "json://a/s3cret\n mailto://b json://a/s3cret ")
    monkeypatch.setenv("ETL_PROXY", "http://me:s3cret@proxy.example:3128")

    settings = Settings.load()

    assert [t.get_secret_value() for t in settings.notify_targets] == [
        "json://a/s3cret",
        "mailto://b",
    ]
    assert "s3cret" not in f"{settings!r}{settings.model_dump_json()}"


def test_no_color_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "anything")

    assert Settings.load().no_color


def test_a_child_process_gets_the_settings(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEED_TOKEN", "kept")
    (clean_environment / "feeds").mkdir()

    child = Settings.load(home="place", mirror="feeds").child_environment()

    assert child["ETL_HOME"] == str(clean_environment / "place")
    assert child["ETL_MIRROR"] == str(clean_environment / "feeds")
    assert child["DAGSTER_HOME"] == str(clean_environment / "place" / ".dagster")
    assert child["FEED_TOKEN"] == "kept"


def origins() -> dict[str, str]:
    return {setting.name: setting.origin for setting in Settings.load().describe()}


def test_each_setting_has_its_origin(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = clean_environment / ".env", clean_environment / "place" / ".env"
    home.parent.mkdir()
    here.write_text("ETL_HOME=place\nETL_LOG_LEVEL=ERROR\nETL_PROXY=http://a.example\n")
    home.write_text("ETL_HOME=elsewhere\nETL_LOG_LEVEL=WARNING\n")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("DAGSTER_HOME", "events")

    origin_by_name = origins()

    assert origin_by_name == {
        **dict.fromkeys(origin_by_name, "default"),
        "home": str(here),
        "proxy": str(here),
        "log_level": str(home),
        "no_color": "environment",
        "dagster_home": "environment",
    }


def test_an_argument_is_an_origin() -> None:
    described = {setting.name: setting for setting in Settings.load(log_level="INFO").describe()}

    assert (described["log_level"].value, described["log_level"].origin) == ("INFO", "argument")


def test_the_env_file_of_the_home_does_not_move_the_home(clean_environment: Path) -> None:
    (clean_environment / "place").mkdir()
    (clean_environment / ".env").write_text("ETL_HOME=place\n")
    (clean_environment / "place" / ".env").write_text("ETL_HOME=other\nETL_CONFIG=none.yaml\n")

    settings = Settings.load()

    assert (settings.home, settings.config) == (clean_environment / "place", None)


def test_dagster_home_may_be_the_current_directory(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", ".")

    assert Settings.load().dagster_home == clean_environment


def test_an_empty_home_and_an_empty_config_are_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ETL_CONFIG", " ")
    monkeypatch.setenv("ETL_HOME", " ")

    with pytest.raises(SettingsError) as raised:
        Settings.load()

    assert str(raised.value).splitlines() == [
        f"{name}: expected a value, or no variable at all, found an empty text"
        for name in ("ETL_HOME", "ETL_CONFIG")
    ]


def test_the_origin_of_a_secret_is_the_first_place_that_sets_it(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean_environment / ".env").write_text("FEED_TOKEN=from the file\n")
    settings = Settings.load()
    origins = [settings.origin_of_secret(name) for name in ("FEED_TOKEN", "OTHER_TOKEN")]
    monkeypatch.setenv("FEED_TOKEN", "from the environment")

    assert origins == [str(clean_environment / ".env"), None]
    assert settings.origin_of_secret("FEED_TOKEN") == "environment"


def test_a_variable_in_lower_case_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("etl_log_level", "DEBUG")

    assert Settings.load().log_level == "DEBUG"
    assert origins()["log_level"] == "environment"


def test_only_whether_a_secret_is_set_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_PROXY", "http://me:s3cret@proxy.example:3128")
    monkeypatch.setenv("ETL_MIRROR", "https://me:s3cret@mirror.example")

    shown = {setting.name: setting for setting in Settings.load().describe()}

    assert (shown["proxy"].value, shown["notify"].value) == (True, False)
    assert shown["mirror"].value == "https://***@mirror.example"
    assert "s3cret" not in str(shown)


@pytest.mark.fault("home-path")
@pytest.mark.parametrize("variable", ["ETL_HOME", "DAGSTER_HOME"])
@pytest.mark.parametrize("name", ["a?b", "100%", "what?mode=ro", "%20"])
def test_a_home_that_dagster_cannot_open_is_refused_by_name(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch, variable: str, name: str
) -> None:
    monkeypatch.setenv(variable, str(clean_environment / name))

    with pytest.raises(SettingsError, match=f"{variable}: expected a path without"):
        Settings.load()


@pytest.mark.fault("home-path")
@pytest.mark.parametrize("name", ["a,b", "#1"])
def test_a_home_that_dbt_cannot_open_is_refused_by_name(clean_environment: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="ETL_HOME: expected a path without a comma and #"):
        Settings.load(home=clean_environment / name)


@pytest.mark.fault("home-path")
@pytest.mark.parametrize("name", ["a [b]", "it's", 'q"d"', "ü &; $x"])
def test_other_characters_of_a_home_are_allowed(clean_environment: Path, name: str) -> None:
    assert Settings.load(home=clean_environment / name).home == clean_environment / name


def test_the_password_of_the_event_log_is_in_another_variable(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean_environment / ".env").write_text("EVENTS=green\n")
    monkeypatch.setenv("ETL_EVENT_LOG", "postgresql://me@host/x")
    monkeypatch.setenv("ETL_EVENT_LOG_PASSWORD_ENV", "EVENTS")

    database = Settings.load().event_log_database

    assert database
    assert database.password
    assert database.password.get_secret_value() == "green"
    assert Settings.load().event_log_folder is None


def test_a_password_that_is_not_set_is_an_error(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETL_EVENT_LOG", "postgresql://me@host/x")
    monkeypatch.setenv("ETL_EVENT_LOG_PASSWORD_ENV", "EVENTS")
    settings = Settings.load()

    with pytest.raises(SettingsError, match="EVENTS: expected a secret in the environment or"):
        _ = settings.event_log_database


def test_a_variable_that_nothing_reads_is_named_once_with_the_nearest_setting(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = clean_environment / ".env"
    env_file.write_text("ETL_MIROR=/y\nETL_SCRACH=/z\n", encoding="utf-8")
    monkeypatch.setenv("ETL_MIROR", "/x")
    monkeypatch.setenv("ETL_QQQ", "1")

    assert list(Settings.load().find_unknown_variables()) == [
        (
            "ETL_MIROR (environment): expected a setting, found none of this name; did you mean "
            "ETL_MIRROR?"
        ),
        (
            "ETL_QQQ (environment): expected a setting, found none of this name; `etl config show` "
            "lists them"
        ),
        (
            f"ETL_SCRACH ({env_file}): expected a setting, found none of this name; did you mean "
            "ETL_SCRATCH?"
        ),
    ]


def test_a_variable_that_another_part_names_is_not_unknown(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = clean_environment / "domains" / "plants"
    domain.mkdir(parents=True)
    (domain / "trees.yaml").write_text("credentials: [{env: ETL_TREES_KEY}", encoding="utf-8")
    (clean_environment / "dbt").mkdir()
    profile = clean_environment / "dbt" / "profiles.yml"
    profile.write_text("threads: \"{{ env_var('ETL_THREADS') }}\"", encoding="utf-8")
    variables = (
        *("ETL_TREES_KEY", "ETL_THREADS", "ETL_CANDIDATE", "ETL_DB_PASSWORD", "etl_log_level"),
        *("ETL_WEB_SERVICE_HOST", "ETL_WEB_PORT_3000_TCP_ADDR", "_ETL_COMPLETE", "DAGSTER_HOME"),
    )
    for name in variables:
        monkeypatch.setenv(name, "INFO")
    monkeypatch.setenv("ETL_EVENT_LOG_PASSWORD_ENV", "ETL_DB_PASSWORD")

    settings = Settings.load(
        domains_dir=clean_environment / "domains", dbt_dir=clean_environment / "dbt"
    )

    assert list(settings.find_unknown_variables()) == []

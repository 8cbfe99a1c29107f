"""The verbs that show and check, called as on the command line."""

from __future__ import annotations

import json

import pytest
from support.command_homes import call
from support.sample_home import DOMAIN, SampleHome

Shown = pytest.CaptureFixture[str]


def test_every_setting_is_shown_with_its_value_and_origin(
    empty_sample_env: SampleHome, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = empty_sample_env.home.root / ".env"
    env.parent.mkdir()
    env.write_text("ETL_LOG_LEVEL=ERROR\n", encoding="utf-8")
    monkeypatch.setenv("ETL_NOTIFY", "json://s3cret.example")

    assert call("config", "show") == 0

    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["mirror", str(empty_sample_env.mirror), "(environment,", "ETL_MIRROR)"] in shown
    assert ["log_level", "ERROR", f"({env},", "ETL_LOG_LEVEL)"] in shown
    assert ["notify", "set,", "not", "shown", "(environment,", "ETL_NOTIFY)"] in shown
    assert "s3cret" not in str(shown)


@pytest.mark.parametrize("variable", ["ETL_MIRROR", "ETL_DOMAINS_DIR", "ETL_UI_HOSTS"])
def test_the_columns_of_settings_begin_at_the_same_place(
    empty_sample_env: SampleHome, capsys: Shown, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    wide = empty_sample_env.folder / ("x" * 60)
    wide.mkdir()
    monkeypatch.setenv(variable, str(wide))

    call("config", "show")

    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith(")")]
    start = max(len(line.split()[0]) for line in lines) + 2
    assert [line for line in lines if line[start - 2 : start].strip() or line[start] == " "] == []
    values = {line: line[start : line.index(" (")].rstrip() for line in lines}
    assert max(map(len, values.values())) >= 60
    assert len({line.index("(") for line in lines if len(values[line]) <= 40}) == 1


def test_settings_and_named_secrets_are_one_json_document(
    empty_sample_env: SampleHome, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "s3cret")

    assert call("config", "show", "--json") == 0

    out = capsys.readouterr().out
    shown = json.loads(out)
    assert {each["name"] for each in shown["settings"]} >= {"home", "mirror", "notify"}
    [key] = shown["secrets"]
    assert (key["name"], key["is_set"], key["origin"]) == (
        "OPENROUTER_API_KEY",
        True,
        "environment",
    )
    assert "s3cret" not in out


@pytest.mark.parametrize(
    ("value", "message"),
    [(None, "not set"), ("", "empty, which is an error")],
    ids=["missing", "empty"],
)
def test_a_declared_secret_is_shown_only_as_set_or_not(
    empty_sample_env: SampleHome,
    capsys: Shown,
    monkeypatch: pytest.MonkeyPatch,
    value: str | None,
    message: str,
) -> None:
    if value is None:
        monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    else:
        monkeypatch.setenv("OPENROUTER_API_KEY", value)

    assert call("config", "show") == 0

    [line] = [x for x in capsys.readouterr().out.splitlines() if x.startswith("OPENROUTER")]
    assert message in line


def test_settings_are_shown_where_declarations_cannot_be_read(
    empty_sample_env: SampleHome, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETL_DOMAINS_DIR", str(empty_sample_env.folder / "nowhere"))

    assert call("config", "show") == 0

    assert "nowhere: cannot be read; `etl sources check` says why" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("log_level", "WARNING"),
        ("no_color", "false"),
        ("notify", "false"),
        (f"{DOMAIN}.kev.format.name", "json"),
        (f"{DOMAIN}.sources.kev.limits.attempts", "4"),
        (f"{DOMAIN}.documents.data.json.format", "json_map"),
    ],
    ids=["setting", "switch", "secret", "source", "full path", "document"],
)
def test_one_value_is_printed_alone(
    empty_sample_env: SampleHome,
    capsys: Shown,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    value: str,
) -> None:
    monkeypatch.delenv("ETL_NOTIFY", raising=False)

    assert call("config", "get", key) == 0

    assert capsys.readouterr().out == f"{value}\n"


def test_a_value_of_several_is_json(empty_sample_env: SampleHome, capsys: Shown) -> None:
    assert call("config", "get", f"{DOMAIN}.retention") == 0

    assert set(json.loads(capsys.readouterr().out)) == {
        *("versions", "days", "keep_runs", "rehash_megabytes", "rehash_days")
    }


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("hom", "no 'hom'; there are: home, mirror,"),
        (f"{DOMAIN}.nowhere", f"no 'nowhere' in {DOMAIN}; there are: debian,"),
        (f"{DOMAIN}.kev.limits.attempt", "there are: connect_timeout_seconds,"),
    ],
    ids=["top", "domain", "deep"],
)
def test_an_unknown_key_is_refused_with_the_alternatives(
    empty_sample_env: SampleHome, capsys: Shown, key: str, message: str
) -> None:
    assert call("config", "get", key) == 2

    assert message in capsys.readouterr().err


def test_without_a_run_there_are_no_statistics(empty_sample_env: SampleHome, capsys: Shown) -> None:
    assert call("stats", DOMAIN) == 0

    assert capsys.readouterr().out == f"{DOMAIN}: no run is kept\n"


def test_a_run_is_counted_in_text_and_in_json(sample_env: SampleHome, capsys: Shown) -> None:
    assert call("stats", DOMAIN) == 0
    text = capsys.readouterr().out

    assert call("stats", DOMAIN, "--last", "5", "--json") == 0
    [statistics] = json.loads(capsys.readouterr().out)

    assert text.startswith(f"{DOMAIN}: runs kept: 1, ")
    assert (statistics["runs"], statistics["by_status"], statistics["success_pct"]) == (
        1,
        {"success": 1},
        100.0,
    )
    assert {each["source"]: each["last_rows"] for each in statistics["sources"]}[
        f"{DOMAIN}.kev"
    ] == 3
    assert set(statistics["steps"]) == {"raw", "validated", "tables", "marts", "publish"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["stats", "nowhere"], "no domain 'nowhere'"), (["stats", "--last", "0"], "--last")],
    ids=["domain", "none"],
)
def test_a_wrong_argument_of_stats_is_refused(
    empty_sample_env: SampleHome, capsys: Shown, arguments: list[str], message: str
) -> None:
    assert call(*arguments) == 2

    assert message in capsys.readouterr().err

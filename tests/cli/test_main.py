"""The command as it is called: what it prints and its exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from support.command_homes import SYSTEMS, Galaxy, call, empty_galaxy, packed_galaxy
from support.sample_home import AS_OF, DOMAIN, SampleHome

from etl_assets.cli.main import app

__all__ = ["empty_galaxy", "packed_galaxy"]


def all_commands() -> dict[str, Any]:
    """Every verb by the words that call it, such as `quarantine list`."""
    commands: dict[str, Any] = {}
    pending = [("", typer.main.get_command(app))]
    while pending:
        prefix, group = pending.pop()
        for name, command in group.commands.items():
            commands[prefix + name] = command
            if hasattr(command, "commands"):
                pending.append((f"{prefix}{name} ", command))
    return commands


COMMANDS = all_commands()


def test_help_is_quick_and_shows_the_whole_summary_of_every_verb() -> None:
    started = os.times()

    shown = subprocess.run(
        [sys.executable, "-m", "etl_assets.cli.main", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )

    spent = os.times()
    assert spent.children_user - started.children_user < 0.3
    lines = {" ".join(line.split()) for line in shown.stdout.splitlines()}
    verbs = {name: command for name, command in COMMANDS.items() if " " not in name}
    assert {f"{name} {verb.help.splitlines()[0]}" for name, verb in verbs.items()} <= lines


def test_help_imports_nothing_heavy() -> None:
    program = "import sys, etl_assets.cli.main; print(*{m.split('.')[0] for m in sys.modules})"

    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    heavy = {"dagster", "dbt", "duckdb", "httpx", "pyarrow", "pydantic", "rich", "yaml"}
    heavy |= {"psycopg2", "sqlalchemy"}
    assert heavy & set(imported.stdout.split()) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_verb_and_option_is_whole_sentences(name: str) -> None:
    command = COMMANDS[name]

    texts = {"summary": command.help} | {p.name: p.help for p in command.params}

    for text in texts.values():
        assert text, texts
        assert text[0].isupper(), text
        assert text.rstrip().endswith("."), text


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0

    assert re.fullmatch(r"etl \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_a_dry_run_prints_what_would_be_fetched_and_changes_nothing(
    empty_sample_env: SampleHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", DOMAIN, "--dry-run") == 0

    assert "advisories.kev: fetch, no record" in capsys.readouterr().out
    assert not (empty_sample_env.home.root / "data" / "raw").exists()
    assert not empty_sample_env.home.outputs(DOMAIN).exists()


def test_a_probe_answers_in_json(
    empty_sample_env: SampleHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("probe", DOMAIN, "--source", "kev", "--json") == 0

    [decision] = json.loads(capsys.readouterr().out)["decisions"]
    assert decision["part"]["source"] == f"{DOMAIN}.kev"
    assert decision["fetch"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere"], "no domain 'nowhere'"),
        (["run", DOMAIN, "--source", "nothing"], "no source 'nothing' in"),
        (["backfill", "kev", "--from", "2020", "--to", "2021"], "has no partitions"),
        (["check", DOMAIN], "nothing was built yet"),
        (["demo", "nowhere"], "no domain 'nowhere'"),
    ],
    ids=["domain", "source", "partitions", "check", "demo"],
)
def test_a_wrong_argument_is_refused_with_the_alternatives(
    empty_sample_env: SampleHome,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert call(*arguments) == 2

    assert message in capsys.readouterr().err


def test_wrong_declarations_are_reported_with_file_and_line(
    empty_sample_env: SampleHome,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    domains = empty_sample_env.folder / "domains" / "weather"
    domains.mkdir(parents=True)
    (domains / "_domain.yaml").write_text("title: Weather\n", encoding="utf-8")
    (domains / "rain.yaml").write_text("titel: Rain\n", encoding="utf-8")
    monkeypatch.setenv("ETL_DOMAINS_DIR", str(domains.parent))

    assert call("sources", "check") == 2

    errors = capsys.readouterr().err
    assert "rain.yaml:1: titel: expected" in errors
    assert "_domain.yaml:1: owner: expected" in errors


def test_the_declared_sources_are_listed(
    empty_sample_env: SampleHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("sources", "list") == 0

    assert f"{DOMAIN}.kev" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.ci
def test_a_run_that_cannot_publish_exits_with_1_and_names_the_source(
    empty_galaxy: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_galaxy.mirror / SYSTEMS).unlink()

    assert call("run", empty_galaxy.name) == 1

    assert f"{empty_galaxy.name}.systems" in capsys.readouterr().out


@pytest.mark.long
def test_the_verbs_work_together(
    empty_sample_env: SampleHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", DOMAIN, "--as-of", AS_OF.strftime("%Y-%m-%dT%H:%M:%S")) == 0
    assert "advisories: success" in capsys.readouterr().out

    assert call("status", DOMAIN) == 0
    assert re.search(r"^  echo +stale +[0-9]+ rows  ", capsys.readouterr().out, re.MULTILINE)

    assert call("check", DOMAIN) == 0
    checked = capsys.readouterr().out
    assert "ok    advisories/kev_raw: stored" in checked
    assert "advisories/mart_advisory_current: lineage_is_proven" in checked
    assert re.fullmatch(
        r"advisories: \d+ checks: \d+ ok, \d+ warnings?, 0 errors", checked.splitlines()[-1]
    )

    assert call("backfill", "nvd", "--from", "2020", "--to", "2024") == 0
    assert " 0 assets made" in capsys.readouterr().out

    (empty_sample_env.mirror / "advisory.echohq.com" / "data.json").unlink()
    assert call("run", DOMAIN, "--strict") == 1
    assert "advisories: partial_success" in capsys.readouterr().out


@pytest.mark.long
def test_a_damaged_stored_file_fails_the_check(
    empty_sample_env: SampleHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", DOMAIN) == 0
    stored = max(empty_sample_env.home.raw.rglob("*"), key=lambda path: path.stat().st_size)
    stored.chmod(0o644)
    stored.write_bytes(stored.read_bytes()[::-1])

    assert call("check", DOMAIN) == 1

    assert "is damaged; the next run fetches it again" in capsys.readouterr().out


@pytest.mark.fault("interrupted")
@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_an_interrupted_run_says_how_to_go_on(
    empty_sample_env: SampleHome, number: signal.Signals, expected: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "etl_assets.cli.main", "run", DOMAIN],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        next(line for line in process.stderr if "fetch" in line)  # it is under way
        process.send_signal(number)
        errors = process.stderr.read()
        code = process.wait(timeout=60)

    assert code == expected
    assert "run the same command again" in errors
    assert not empty_sample_env.home.latest(DOMAIN).exists()


@pytest.mark.fault("home-path")
@pytest.mark.parametrize("name", ["what?", "100%"])
@pytest.mark.parametrize("verb", [["run"], ["status"], ["check"]], ids=" ".join)
def test_a_home_that_dagster_cannot_open_is_refused_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: list[str],
    name: str,
) -> None:
    monkeypatch.setenv("ETL_HOME", str(tmp_path / name))

    assert call(*verb, DOMAIN) == 2

    assert "ETL_HOME: expected a path without ? and %" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_demo_plays_its_three_scenes_and_says_what_to_do_next(
    empty_sample_env: SampleHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("demo") == 0

    shown = capsys.readouterr()
    output = shown.out
    assert "under_investigation, low, NEW_CVE  ->  not_applicable, high, CSV_OVERRIDE" in output
    assert "pending_upstream, medium, AWAITING_FIX  ->  fixed, 1.3-2" in output
    story, rows = output.index("2. An analyst decides"), output.index("NEW_CVE  ->")
    assert story < rows < output.index("\nThe history of pebble:CVE-2026-900043\n")
    assert shown.err.count("building models ...") == 3
    assert "etl explain advisories cobalt:CVE-2024-900037\n" in output


@pytest.mark.long
def test_the_samples_pass_every_check_of_severity_error(
    empty_sample_env: SampleHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("check", DOMAIN, "--samples") == 0

    assert "advisories/advisories_published: gate" in capsys.readouterr().out

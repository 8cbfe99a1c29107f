"""The log of a run: on stderr as JSON, and in the run's directory."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from support.command_homes import SYSTEMS, Galaxy, call, empty_galaxy, packed_galaxy

from etl_assets.defs.launch import open_project
from etl_assets.model.run_log import LOG_FILE
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import run_domain
from etl_assets.settings import Settings

__all__ = ["empty_galaxy", "packed_galaxy"]

Shown = pytest.CaptureFixture[str]


def parse(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.long
@pytest.mark.ci
def test_a_run_logs_its_decisions_steps_and_outcome_as_json(
    empty_galaxy: Galaxy, capsys: Shown
) -> None:
    assert call("run", "galaxy", "--log-format", "json") == 0

    shown = parse(capsys.readouterr().err)
    decided = [record for record in shown if record["decision"] == "fetch"]
    assert "galaxy.systems" in {record["source"] for record in decided}
    assert {record["reason"] for record in decided} == {"no record"}
    stages = [record["stage"] for record in shown if record["kind"] == "start"]
    assert stages == [None, "raw", "validated", "table", "marts", "publish"]
    assert shown[-1]["decision"] == "success"
    assert shown[-1]["run"] == empty_galaxy.latest.name


@pytest.mark.long
@pytest.mark.ci
def test_the_log_is_in_the_directory_of_the_run_too(empty_galaxy: Galaxy, capsys: Shown) -> None:
    assert call("run", "galaxy", "-q") == 0

    kept = parse((empty_galaxy.latest / LOG_FILE).read_text(encoding="utf-8"))
    assert {record["run"] for record in kept} == {empty_galaxy.latest.name}
    assert {"start", "progress", "success"} <= {record["kind"] for record in kept}
    assert capsys.readouterr().err == ""


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("feed", ["nothing like JSON", '[{"id64":1', "<html>"])
def test_an_earlier_file_that_is_used_is_a_warning_with_its_reason(
    empty_galaxy: Galaxy, capsys: Shown, feed: str
) -> None:
    assert call("run", "galaxy", "-q") == 0
    (empty_galaxy.mirror / SYSTEMS).write_text(feed, encoding="utf-8")
    capsys.readouterr()

    assert call("--log-format=json", "run", "galaxy") == 0

    [outage] = [r for r in parse(capsys.readouterr().err) if r["decision"] == "outage"]
    assert (outage["level"], outage["source"]) == ("warning", "galaxy.systems")
    assert outage["reason"]


def test_an_error_of_the_command_is_json_too(empty_galaxy: Galaxy, capsys: Shown) -> None:
    assert call("status", "galxy", "--log-format", "json") == 2

    [error] = parse(capsys.readouterr().err)
    assert error["level"] == "error"
    assert "did you mean galaxy?" in error["message"]


@pytest.mark.long
@pytest.mark.ci
def test_the_summary_names_run_directory_changes_and_warnings(
    empty_galaxy: Galaxy, capsys: Shown
) -> None:
    assert call("run", "galaxy") == 0
    first = empty_galaxy.latest
    capsys.readouterr()
    empty_galaxy.change_feed('"name":"Harbour"', '"name":"Harbor"')

    assert call("run", "galaxy") == 0

    shown = capsys.readouterr().out
    second = empty_galaxy.latest
    assert f"  changed since {first.name}:\n    1 source: galaxy.systems (" in shown
    assert f"  run {second.name}: {second / 'run_report.html'}\n" in shown


def test_verbose_and_quiet_exclude_each_other(empty_galaxy: Galaxy, capsys: Shown) -> None:
    assert call("status", "-v", "--quiet") == 2

    assert "--quiet: expected it or --verbose, found both" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.ci
def test_a_run_reports_its_progress_in_tables_models_and_documents(empty_galaxy: Galaxy) -> None:
    steps: dict[str, list[int]] = {}
    settings = Settings.load()
    domains = {"galaxy": empty_galaxy.domain}

    def advance(what: str, done: int, total: int) -> None:
        steps.setdefault(what, []).append(done)
        assert done <= total

    with open_project(settings, domains, echo=lambda _: None, advance=advance) as session:
        run_domain(session.for_domain("galaxy"), RunOptions())

    files = [f"writing {document.file}" for document in empty_galaxy.domain.documents]
    assert list(steps) == ["tables", "models", "documents", *files, "reading documents back"]
    for done in steps.values():
        assert done == sorted(done)
        assert (done[0], len(set(done)) - 1) == (0, done[-1])


@pytest.mark.parametrize(
    ("flags", "count", "more"),
    [([], 5, "and 2 more, with -v"), (["-v"], 7, ""), (["--verbose"], 7, "")],
    ids=["short", "verbose", "long name"],
)
def test_a_list_of_removed_files_is_cut_unless_all_are_asked_for(
    empty_galaxy: Galaxy, capsys: Shown, flags: list[str], count: int, more: str
) -> None:
    for number in range(7):  # raw files that nothing uses
        file = empty_galaxy.home.raw_file(f"{number}" * 64)
        file.parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (0, 0))

    assert call("prune", "--dry-run", *flags) == 0

    shown = capsys.readouterr().out
    assert shown.count("data/raw/") == count
    assert more in shown


@pytest.mark.parametrize("options", [(), ("--force-refresh",), ("--full",)], ids=" ".join)
def test_a_run_logs_each_document_or_that_it_is_unchanged(
    empty_galaxy: Galaxy, capsys: Shown, options: tuple[str, ...]
) -> None:
    assert call("run", "galaxy", "--log-format", "json") == 0
    declared = {document.file: document.format for document in empty_galaxy.domain.documents}

    first = parse(capsys.readouterr().err)
    written = {r["document"]: r["format"] for r in first if r["decision"] == "written"}
    assert written == declared
    assert all(r["files"] and r["stage"] == "publish" for r in first if r["decision"] == "written")

    assert call("run", "galaxy", "--log-format", "json", *options) == 0
    second = parse(capsys.readouterr().err)
    written = {r["document"] for r in second if r["decision"] == "written"}
    unchanged = [r["message"] for r in second if "documents are unchanged" in r["message"]]
    assert written == set()
    assert bool(unchanged) == bool(options)

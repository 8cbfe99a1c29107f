"""The verbs on the store, as a person calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.command_homes import call
from support.sample_home import DOMAIN, Sampled

from etl_assets.storage.lock import lock

RULINGS = "analyst/advisory-not-applicable.csv"
RULING = "CVE-2026-900043,pebble,not_applicable,,code_not_in_use\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rollback", "nothing", "--why", "x"], "no source 'nothing'"),
        (["rollback", "nvd", "--why", "x"], "expected nvd[PARTITION], found nvd"),
        (["rollback", "kev", "--why", "x"], "nothing was ever fetched"),
        (["unpin", "kev", "--why", "x"], "nothing was ever fetched"),
        (["forget", "kev", "--why", "x"], "expected a set of files"),
        (["quarantine", "show", "kev"], "expected one quarantined file, there are:"),
        (["quarantine", "purge"], "either a source or --all"),
        (["manifest", "verify", "nowhere"], "no domain 'nowhere'"),
        (["prune", "nowhere"], "no domain 'nowhere'"),
    ],
    ids=["source", "partition", "rollback", "unpin", "forget", "show", "purge", "verify", "prune"],
)
def test_a_wrong_word_is_told_with_what_is_known(
    environment: Sampled,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    assert call(*arguments) == 2

    assert told in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["rollback", "unpin", "forget"])
def test_a_decision_needs_its_reason(environment: Sampled, verb: str) -> None:
    assert call(verb, "kev") == 2


def test_an_empty_quarantine_is_said_to_be_empty(
    environment: Sampled, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("quarantine", "list") == 0

    assert capsys.readouterr().out == "nothing is in quarantine\n"


@pytest.mark.fault("two-runs")
def test_a_run_that_shall_not_wait_is_refused_while_another_works(
    environment: Sampled, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock(environment.home.lock(DOMAIN), on_wait=lambda _: None):
        assert call("run", DOMAIN, "--no-wait") == 1

    assert f"{DOMAIN}.lock is held by process" in capsys.readouterr().err


def test_a_ledger_that_is_not_there_cannot_be_restored(
    environment: Sampled, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("manifest", "restore", DOMAIN) == 1

    assert "expected the exported ledger, found none" in capsys.readouterr().err
    assert call("manifest", "restore") == 1
    assert "expected exported ledgers, found none" in capsys.readouterr().err


@pytest.mark.long
def test_the_store_verbs_tell_one_story(
    environment: Sampled, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str, code: int = 0) -> str:
        assert call(*arguments) == code
        return capsys.readouterr().out

    told("run", DOMAIN)
    environment.change(RULINGS, lambda text: text + RULING)
    told("run", DOMAIN)

    assert "pinned to" in told("rollback", "overrides", "--why", "a slip")
    assert "partial_success" in told("run", DOMAIN)
    assert "pinned" in told("status", DOMAIN)
    assert "stands again" in told("unpin", "overrides", "--why", "mended")
    assert f"{DOMAIN}: success" in told("run", DOMAIN)

    environment.change(RULINGS, lambda _: "<!doctype html><title>Sign in</title>")
    told("run", DOMAIN)
    assert "overrides" in told("quarantine", "list")
    shown = json.loads(told("quarantine", "show", "overrides"))
    assert "HTML" in shown["found"]
    assert "1 files removed" in told("quarantine", "purge", "overrides", shown["sha256"][:8])

    assert "all as recorded" in told("manifest", "verify")
    assert "nothing written" in told("manifest", "export")
    shutil.rmtree(environment.home.dagster)
    assert "known again, 0 tables made again" in told("manifest", "restore")
    assert json.loads(told("prune", "--dry-run", "--json"))["removed"] == []

    _first_file(environment.home.raw).unlink()
    assert "missing " in told("manifest", "verify", DOMAIN, code=1)


def _first_file(folder: Path) -> Path:
    return min(path for path in folder.rglob("*") if path.is_file())

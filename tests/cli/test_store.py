"""The verbs that manage stored files, called as on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.command_homes import call
from support.sample_home import DOMAIN, SampleHome

from etl_assets.storage.lock import lock

RULINGS = "analyst/advisory-not-applicable.csv"
RULING = "CVE-2026-900043,pebble,not_applicable,,code_not_in_use\n"


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_a_wrong_argument_is_refused_with_the_alternatives(
    empty_sample_env: SampleHome,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert call(*arguments) == 2

    assert message in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["rollback", "unpin", "forget"])
def test_a_decision_needs_its_reason(empty_sample_env: SampleHome, verb: str) -> None:
    assert call(verb, "kev") == 2


def test_an_empty_quarantine_is_reported_as_empty(
    empty_sample_env: SampleHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("quarantine", "list") == 0

    assert capsys.readouterr().out == "no file is in quarantine\n"


@pytest.mark.fault("two-runs")
def test_a_run_that_shall_not_wait_is_refused_while_another_works(
    empty_sample_env: SampleHome, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock(empty_sample_env.home.lock(DOMAIN), on_wait=lambda _: None):
        assert call("run", DOMAIN, "--no-wait") == 1

    assert f"{DOMAIN}.lock is held by process" in capsys.readouterr().err


def test_a_missing_manifest_cannot_be_restored(
    empty_sample_env: SampleHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("manifest", "restore", DOMAIN) == 1

    assert "expected the exported manifest, found none" in capsys.readouterr().err
    assert call("manifest", "restore") == 1
    assert "expected exported manifests, found none" in capsys.readouterr().err


@pytest.mark.long
def test_the_store_verbs_work_together(
    empty_sample_env: SampleHome, capsys: pytest.CaptureFixture[str]
) -> None:
    def output(*arguments: str, code: int = 0) -> str:
        assert call(*arguments) == code
        return capsys.readouterr().out

    output("run", DOMAIN)
    empty_sample_env.change(RULINGS, lambda text: text + RULING)
    output("run", DOMAIN)

    assert "pinned to" in output("rollback", "overrides", "--why", "a slip")
    assert "partial_success" in output("run", DOMAIN)
    assert "pinned" in output("status", DOMAIN)
    assert "is current again" in output("unpin", "overrides", "--why", "mended")
    assert f"{DOMAIN}: success" in output("run", DOMAIN)

    empty_sample_env.change(RULINGS, lambda _: "<!doctype html><title>Sign in</title>")
    output("run", DOMAIN)
    assert "overrides" in output("quarantine", "list")
    record = json.loads(output("quarantine", "show", "overrides"))
    assert "HTML" in record["found"]
    assert "1 files deleted" in output("quarantine", "purge", "overrides", record["sha256"][:8])

    assert "all as recorded" in output("manifest", "verify")
    assert "nothing written" in output("manifest", "export")
    shutil.rmtree(empty_sample_env.home.dagster)
    assert "restored, 0 tables rebuilt" in output("manifest", "restore")
    assert json.loads(output("prune", "--dry-run", "--json"))["removed"] == []

    _first_file(empty_sample_env.home.raw).unlink()
    assert "missing " in output("manifest", "verify", DOMAIN, code=1)


def _first_file(folder: Path) -> Path:
    return min(path for path in folder.rglob("*") if path.is_file())

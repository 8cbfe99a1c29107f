"""What a command says when a signal ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from support.orchard import Files, Orchard, create_project

from etl_assets.cli.interruption import (
    CHANGES_NOTHING,
    CONTINUES,
    MESSAGES,
    SignalReceived,
    describe_interruption,
    interruptible,
)
from etl_assets.cli.main import app


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("run", CONTINUES),
        ("backfill", CONTINUES),
        ("prune", CONTINUES),
        (None, CHANGES_NOTHING),
        ("status", CHANGES_NOTHING),
        ("explain", CHANGES_NOTHING),
        ("ui", MESSAGES["ui"]),
        ("demo", MESSAGES["demo"]),
    ],
)
def test_each_verb_says_what_became_of_its_work(verb: str | None, message: str) -> None:
    assert describe_interruption(verb) == message


def test_the_messages_are_of_verbs_that_exist() -> None:
    verbs = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

    assert verbs >= MESSAGES.keys()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_known_after_further_ones(number: signal.Signals) -> None:
    with interruptible() as first_signal:
        for each in (number, signal.SIGINT, signal.SIGTERM):
            with pytest.raises(SignalReceived):
                signal.raise_signal(each)

        assert first_signal() is number


@pytest.mark.fault("interrupted")
@pytest.mark.long
@pytest.mark.parametrize("verb", ["check", "probe", "diff"])
def test_a_verb_that_only_looks_says_that_nothing_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    orchard = Orchard(tmp_path / "live", project=create_project(tmp_path / "project"))
    orchard.serve(Files.create())
    orchard.write_env_file()
    monkeypatch.chdir(orchard.home.root)
    command = [sys.executable, "-m", "etl_assets.cli.main", verb, "orchard"]

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        # Its handler is installed, and importing Dagster takes longer.
        while process.poll() is None and not _handles(process.pid, signal.SIGTERM):
            time.sleep(0.01)
        process.terminate()
        errors = process.stderr.read() if process.stderr else ""

    assert process.returncode == 143
    assert errors.splitlines()[-1] == f"etl: {CHANGES_NOTHING}"


def _handles(pid: int, number: signal.Signals) -> bool:
    """True if a process has a handler for the signal."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    [caught] = [line.partition(":")[2] for line in lines if line.startswith("SigCgt:")]
    return bool(int(caught, 16) & 1 << (number - 1))

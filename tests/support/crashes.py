"""Run `etl` in a forked child that is killed, interrupted or refused at a write point.

The program that forks the children is `crash_process.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(__file__).with_name("crash_process.py")


@dataclass(frozen=True)
class CrashPoint:
    """An action at the write point with this number among those of its kind."""

    action: str = "nothing"
    kind: str = ""
    number: int = 0


@dataclass(frozen=True)
class CommandResult:
    """The exit code of a child (negative for a signal), its output, and its write points."""

    code: int
    output: str
    points: list[tuple[str, str, str]]


class WarmProcess:
    """A process that has all modules loaded and forks a child for each command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self, home: Path, command: Sequence[str], crash_point: CrashPoint | None = None
    ) -> CommandResult:
        order = {"home": str(home), "command": list(command), **vars(crash_point or CrashPoint())}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        points = [(kind, event, path) for kind, event, path in answer["points"]]
        return CommandResult(code=answer["code"], output=answer["output"], points=points)


@contextmanager
def start_warm_process(folder: Path) -> Iterator[WarmProcess]:
    """Run the process in `folder` for the block."""
    with subprocess.Popen(
        [sys.executable, str(PROGRAM)],
        cwd=folder,
        env={"PYTHONWARNINGS": "ignore"},  # no ETL_HOME: the current directory is the home
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield WarmProcess(process)
        assert process.stdin
        process.stdin.close()

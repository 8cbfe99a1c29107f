"""Runs of `etl` that are killed, interrupted or refused at a write point, in forked children.

What a child does to itself is `crash_process.py`; what must hold afterwards is the tests'.
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
class Strike:
    """What happens at the so-manieth write point of a kind."""

    how: str = "nothing"
    kind: str = ""
    number: int = 0


@dataclass(frozen=True)
class Ended:
    """How a child ended (a signal is negative), what it said, and the write points it came to."""

    code: int
    told: str
    points: list[tuple[str, str, str]]


class Warm:
    """A process that has everything loaded and forks a child for each run."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, home: Path, command: Sequence[str], strike: Strike | None = None) -> Ended:
        order = {"home": str(home), "command": list(command), **vars(strike or Strike())}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        points = [(kind, event, path) for kind, event, path in answer["points"]]
        return Ended(code=answer["code"], told=answer["told"], points=points)


@contextmanager
def warm(folder: Path) -> Iterator[Warm]:
    """The process while the block runs; it works in `folder`."""
    with subprocess.Popen(
        [sys.executable, str(PROGRAM)],
        cwd=folder,
        env={"PYTHONWARNINGS": "ignore"},  # no ETL_HOME: the current directory is the home
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Warm(process)
        assert process.stdin
        process.stdin.close()

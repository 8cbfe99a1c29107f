"""What a program costs: CPU seconds, wall seconds and peak memory of one child process.

The figures are those of the kernel for the child and the processes that it waited for. They are
compared in `bench.__main__`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one child process, and its output."""

    cpu_seconds: float
    wall_seconds: float
    peak_megabytes: float
    output: str


def measure(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> Cost:
    """Run a command to its end; raises RuntimeError with its error output if it fails."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            errors.seek(0)
            message = errors.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}:\n{message}")
        output.seek(0)
        return Cost(
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            wall_seconds=wall,
            peak_megabytes=usage.ru_maxrss * MAXRSS_BYTES / 1e6,
            output=output.read().decode(),
        )

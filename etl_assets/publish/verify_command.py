"""Run a declared command that looks at a candidate before it is published.

What follows from its exit code is the caller's. Whether a published set is intact is
`etl_assets.operations.verify`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from etl_assets.declarations.domain import VerifyCommand
from etl_assets.model.display_text import to_one_line

CANDIDATE_VARIABLE = "ETL_CANDIDATE"
TAIL_BYTES, TAIL_LINES = 4_000, 20
END_SECONDS = 10  # for the processes of a killed command to end


@dataclass(frozen=True)
class CommandResult:
    """The end of a command: what is wrong, or an empty text, and the last lines of its output."""

    fault: str
    output: Sequence[str]

    @property
    def passed(self) -> bool:
        return not self.fault

    def __str__(self) -> str:
        return "\n".join(filter(None, [self.fault, *self.output]))


def run_command(
    command: VerifyCommand,
    candidate: Path,
    folder: Path,
    environment: Mapping[str, str],
    scratch: Path,
) -> CommandResult:
    """Run the command in `folder` with a copy of the candidate's directory as its last argument.

    The copy is below `scratch`: files of the candidate may be links to published ones, so whatever
    the command did to them would reach readers. At its end, whatever ended it, every process of its
    group is killed.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    # Programs that left the group may still write to it.
    with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as temporary:
        copy = Path(temporary) / candidate.name
        try:
            shutil.copytree(candidate, copy)
        except OSError as error:
            return CommandResult(f"expected space for a copy of the candidate, found: {error}", [])
        return _run_on(copy, command, folder, environment)


def _run_on(
    copy: Path, command: VerifyCommand, folder: Path, environment: Mapping[str, str]
) -> CommandResult:
    # To a file, as a process that is left behind would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            with _start([*command.command, str(copy)], folder, environment, output) as process:
                exit_code = process.wait(command.timeout_seconds)
            fault = "" if exit_code == 0 else f"expected exit code 0, found {exit_code}"
        except subprocess.TimeoutExpired:
            fault = f"expected an end within {command.timeout_seconds:g} s, killed it"
        except OSError as error:
            fault = f"expected a program that can be started, found: {error}"
        return CommandResult(fault, _read_tail(output))


@contextmanager
def _start(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """The running command, in a process group of its own that is killed in the end."""
    process = subprocess.Popen(  # noqa: S603 - the operator declares it
        arguments,
        cwd=folder,
        env={**environment, CANDIDATE_VARIABLE: arguments[-1]},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError, PermissionError):  # no process of the group is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(END_SECONDS)


def _read_tail(output: IO[bytes]) -> list[str]:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - TAIL_BYTES))
    text = output.read().decode("utf-8", errors="replace")
    return [to_one_line(line) for line in text.splitlines()[-TAIL_LINES:]]

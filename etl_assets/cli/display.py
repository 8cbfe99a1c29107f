"""What a command shows on stderr while it works: log lines and progress, as text or as JSON.

Stdout has only the result. Importing this module must stay cheap.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Self

import typer

from etl_assets.model.display_text import MAX_NAMES, escape_control
from etl_assets.model.run_log import Kind, LogLine, SummaryLine, as_line, to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from etl_assets.model.records import Part

STYLES = {Kind.WARNING: "yellow", Kind.ERROR: "bold red", Kind.ROLLBACK: "yellow"}


class LogFormat(StrEnum):
    """How log lines are written to stderr."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Output:
    """The options of all verbs: `-v` adds 1 to the verbosity, and `-q` subtracts 1."""

    verbosity: int = 0
    log_format: LogFormat = LogFormat.TEXT

    @property
    def is_quiet(self) -> bool:
        return self.verbosity < 0

    @property
    def log_level(self) -> str | None:
        """The level of Python's loggers, or None for that of the settings."""
        return {1: "INFO"}.get(self.verbosity, "DEBUG" if self.verbosity > 1 else None)


# Of the command in progress: verbs are functions that typer calls with their own options only.
OUTPUT: ContextVar[Output] = ContextVar("output", default=Output())  # noqa: B039 - it is frozen


def print_log_line(line: LogLine) -> None:
    """Print a line that is no part of a run's log, such as an error of the command."""
    if OUTPUT.get().log_format is LogFormat.JSON:
        typer.echo(to_json(line, datetime.now(UTC), None), err=True)
    else:
        typer.echo(f"etl: {escape_control(line)}", err=True)


class EscapingFormatter(logging.Formatter):
    """Formats log records, which may quote data, without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_control(super().format(record))


class JsonFormatter(logging.Formatter):
    """Formats log records of Python's loggers as lines of the JSON log."""

    def format(self, record: logging.LogRecord) -> str:
        kind = Kind.PROGRESS
        if record.levelno >= logging.WARNING:
            kind = Kind.ERROR if record.levelno >= logging.ERROR else Kind.WARNING
        line = LogLine(record.getMessage(), kind, logger=record.name)
        return to_json(line, datetime.fromtimestamp(record.created, UTC), None)


class Display:
    """Prints the lines of a run to stderr, and on a terminal bars for what is in progress."""

    def __init__(
        self,
        console: Console | None = None,
        *,
        no_color: bool = False,
        output: Output | None = None,
    ) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True, highlight=False, no_color=no_color)
        self._output = output or OUTPUT.get()
        self._progress: Progress | None = None
        self._downloads: dict[Part, TaskID] = {}
        self._steps: dict[str, TaskID] = {}
        self._step = ("", "")
        self._counts: dict[tuple[str, ...], int] = {}

    @property
    def _is_text(self) -> bool:
        return self._output.log_format is LogFormat.TEXT

    def __enter__(self) -> Self:
        if self._console.is_terminal and self._is_text and not self._output.is_quiet:
            from rich.progress import BarColumn, Progress, TextColumn

            columns = ("{task.description}", BarColumn(), TextColumn("{task.fields[amount]}"))
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end_step()
        if self._progress:
            self._progress.stop()

    def print_line(self, text: str) -> None:
        """Print a line, above the bars if there are any; long lists of like lines are cut off."""
        line = as_line(text)
        if not self._is_text:
            run = line.fields.get("run")
            self._print(to_json(line, datetime.now(UTC), str(run) if run else None), None)
            return
        if self._is_hidden(line):
            return
        if line.step != self._step:
            self._end_step()
            self._step = line.step
        group = line.group
        count = self._counts[group] = self._counts.get(group, 0) + 1
        if self._output.verbosity > 0 or not group or count <= _shown_lines(group):
            self._print_text(line)

    def _is_hidden(self, line: LogLine) -> bool:
        if self._output.verbosity > 0:
            return False
        if self._output.is_quiet and line.kind not in {Kind.WARNING, Kind.ERROR}:
            return True
        return line.kind is Kind.START or isinstance(line, SummaryLine)

    def _end_step(self) -> None:
        """Print how many lines of each list were not shown."""
        for group, count in self._counts.items():
            more = count - _shown_lines(group) if group else 0
            if more > 0 and self._output.verbosity <= 0:
                self._print_text(LogLine(f"  and {more:,} more of {group[1]}, with -v"))
        self._counts = {}

    def _print_text(self, line: LogLine) -> None:
        style = STYLES.get(line.kind, "dim") if self._console.is_terminal else None
        indicator = f"{line.kind.indicator} " if self._output.verbosity > 1 else ""
        self._print(f"{indicator}{escape_control(line)}", style)

    def _print(self, text: str, style: str | None) -> None:
        # Markup would take the partition of `source[2024]` for a style; without soft_wrap, rich
        # breaks lines at 80 columns if stderr is a file.
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def update(self, part: Part, received_bytes: int, total_bytes: int | None) -> None:
        """Update the bar of a file; it disappears when the file is complete."""
        if self._progress is None:
            return
        if part not in self._downloads:
            name = escape_control(str(part))
            self._downloads[part] = self._progress.add_task(name, total=total_bytes, amount="")
        of = f"/{total_bytes / 1e6:.1f}" if total_bytes else ""
        self._progress.update(
            self._downloads[part],
            completed=received_bytes,
            total=total_bytes,
            amount=f"{received_bytes / 1e6:.1f}{of} MB",
            visible=received_bytes != total_bytes,
        )

    def advance(self, what: str, done: int, total: int) -> None:
        """Update the bar of a step, such as models; it disappears when all are done."""
        if self._progress is None:
            return
        if what not in self._steps:
            self._steps[what] = self._progress.add_task(what, total=total, amount="")
        self._progress.update(
            self._steps[what],
            completed=done,
            total=total,
            amount=f"{done:,}/{total:,}",
            visible=done < total,
        )


def _shown_lines(group: tuple[str, ...]) -> int:
    """Of the lines of one group: the same fault is shown once, a list of files a few times."""
    return 1 if group[0] == Kind.WARNING.value else MAX_NAMES

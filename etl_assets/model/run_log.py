"""The lines that a run logs: a text for the operator, and the same as fields for a machine.

How they are shown is the command's; this module decides nothing about levels that are printed.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from etl_assets.model.display_text import escape_control

LOG_FILE = "run_report.log.jsonl"  # with the prefix of all files of the report
MAX_LINES = 20_000  # kept for the log of a run
INFO, WARNING, ERROR = "info", "warning", "error"


class Kind(StrEnum):
    """What a line is about; each kind has a level, and an indicator for those who skim a log."""

    START = "start"
    PROGRESS = "progress"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"
    ROLLBACK = "rollback"
    NOTIFICATION = "notification"

    @property
    def level(self) -> str:
        return self.value if self in {Kind.WARNING, Kind.ERROR} else INFO

    @property
    def indicator(self) -> str:
        return INDICATORS[self]


INDICATORS = {
    Kind.START: "\N{ROCKET}",
    Kind.PROGRESS: "\N{BAR CHART}",
    Kind.SUCCESS: "\N{WHITE HEAVY CHECK MARK}",
    Kind.WARNING: "\N{WARNING SIGN}",
    Kind.ERROR: "\N{CROSS MARK}",
    Kind.ROLLBACK: "\N{ANTICLOCKWISE DOWNWARDS AND UPWARDS OPEN CIRCLE ARROWS}",
    Kind.NOTIFICATION: "\N{E-MAIL SYMBOL}",
}

StepProgress = Callable[[str, int, int], None]
"""Is called with what is made, such as `tables`, how many are done, and how many there are."""

Fields = dict[str, str | int | None]


def no_step_progress(what: str, done: int, total: int) -> None:
    """Show nothing."""


class LogLine(str):
    """A line as text, with its kind and fields, such as source, stage, decision and reason."""

    __slots__ = ("fields", "kind")

    kind: Kind
    fields: Fields

    def __new__(
        cls, text: str, kind: Kind = Kind.PROGRESS, /, **fields: str | int | None
    ) -> LogLine:
        line = super().__new__(cls, text)
        line.kind, line.fields = kind, fields
        return line

    @property
    def step(self) -> tuple[str, str]:
        """What the line belongs to: its domain and stage."""
        return str(self.fields.get("domain") or ""), str(self.fields.get("stage") or "")

    @property
    def group(self) -> tuple[str, ...]:
        """Equal for lines that say the same of several parts of one source; else empty.

        A fault that names the partition is the same fault as that of another partition.
        """
        source, _, rest = str(self.fields.get("source") or "").partition("[")
        partition = rest.removesuffix("]")
        if not partition:
            return ()
        reason = str(self.fields.get("reason") or "").replace(partition, "*")
        return (self.kind.value, source, str(self.fields.get("decision")), reason)


class SummaryLine(LogLine):
    """A line that the summary of the run repeats for the operator."""

    __slots__ = ()


def as_line(text: str, /, **fields: str | int | None) -> LogLine:
    """Return the text as a line; plain text is progress with these fields."""
    return text if isinstance(text, LogLine) else LogLine(text, **fields)


def to_json(line: LogLine, at: datetime, run: str | None) -> str:
    """Return a line of a log as one JSON object; all objects have the same first keys."""
    names = ("domain", "source", "stage", "decision", "reason")
    record: dict[str, Any] = {
        "at": at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "level": line.kind.level,
        "indicator": line.kind.indicator,
        "kind": line.kind.value,
        "run": run,
        **{name: line.fields.get(name) for name in names},
        "message": str(line),
    }
    record |= {name: value for name, value in line.fields.items() if name not in record}
    return escape_control(json.dumps(record, ensure_ascii=False))


@dataclass
class RunLog:
    """The lines of this process that no run has written yet, and the run that is in progress."""

    run: str | None = None
    _lines: deque[tuple[datetime, LogLine]] = field(default_factory=lambda: deque(maxlen=MAX_LINES))

    def add(self, line: LogLine) -> None:
        self._lines.append((datetime.now(UTC), line))

    def take(self, run: str) -> str:
        """Return the lines as JSON, one object a line, and forget them."""
        text = "".join(f"{to_json(line, at, run)}\n" for at, line in self._lines)
        self._lines.clear()
        return text

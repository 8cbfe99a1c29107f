"""A run report drawn as Markdown from its template; every value that comes from data is escaped.

What the report says is `etl_assets.model.report`; nothing is computed here but widths and words.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from etl_assets.model.report import Cell, RunReport, Section

BAR_CHARACTERS = 30
# Underscores inside a word are text to every parser that knows GitHub's Markdown.
MARKUP = re.compile(r"[\\`*{}\[\]#|~$]|(?<![A-Za-z0-9_])_+|_+(?![A-Za-z0-9_])")
LINE_STARTS = re.compile(r"^(\d+)([.)])(?=\s|$)|^([-+=>:])")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Drawn(str):
    """Text made by this module or its templates: not escaped again."""

    __slots__ = ()


def markdown(report: RunReport) -> str:
    """The report as GitHub-flavoured Markdown."""
    return (
        _environment().get_template("run_report.md.j2").render(report=report, run=report.manifest)
    )


def escape(value: object) -> str:
    """A value as Markdown text of one line that no parser takes for markup."""
    if isinstance(value, Drawn):
        return value
    text = CONTROL.sub(" ", str(value)).strip()
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return LINE_STARTS.sub(_escaped_start, MARKUP.sub(_escaped, text))


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\{character}" for character in match.group())


def _escaped_start(match: re.Match[str]) -> str:
    number, point, sign = match.groups()
    return f"{number}\\{point}" if number else f"\\{sign}"


def table(section: Section) -> Drawn:
    """The rows as a table; a drawn section gets a column of bars after its last one."""
    numbers = [_is_number_column(section, index) for index in range(len(section.columns))]
    bars = _bars(section) if section.kind != "table" else []
    head = [escape(name.replace("_", " ")) for name in section.columns] + ([""] if bars else [])
    rule = ["---:" if number else "---" for number in numbers] + (["---"] if bars else [])
    lines = [head, rule]
    for index, row in enumerate(section.rows):
        lines.append([_shown(cell) for cell in row] + ([bars[index]] if bars else []))
    return Drawn("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _is_number_column(section: Section, index: int) -> bool:
    return any(
        isinstance(row[index], int | float) and not isinstance(row[index], bool)
        for row in section.rows
    )


def _bars(section: Section) -> list[str]:
    sizes = [float(row[-1]) if isinstance(row[-1], int | float) else 0.0 for row in section.rows]
    largest = max([*sizes, 0.0]) or 1.0
    return [
        "█" * max(round(size / largest * BAR_CHARACTERS), 1 if size > 0 else 0) for size in sizes
    ]


def _shown(cell: Cell) -> str:
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.4g}"
    return escape(cell)


def age(hours: float | None) -> str:
    """Hours as a person says them: 40 min, 5 h, 3 d; '-' where unknown."""
    if hours is None:
        return "-"
    if hours < 0:
        return "0 min"
    if hours < 1:
        return f"{round(hours * 60)} min"
    return f"{round(hours)} h" if hours < 72 else f"{round(hours / 24)} d"


def moment(time: datetime | None) -> str:
    return "-" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(minutes)} min {int(rest)} s"


def size(number: int) -> str:
    amount = float(number)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def _finalized(value: object) -> str:
    return escape("-" if value is None else value)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("etl_assets.io", "templates"),
        autoescape=False,  # noqa: S701  # Markdown: _finalized escapes what the templates print
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "age": age,
        "duration": duration,
        "moment": moment,
        "shown": _drawn_shown,
        "size": size,
        "table": table,
    }
    return environment


def _drawn_shown(cell: Cell) -> Drawn:
    return Drawn(_shown(cell))

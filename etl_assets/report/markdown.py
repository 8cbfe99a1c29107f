"""A run report drawn as Markdown from its template; every value that comes from data is escaped.

What the report says is `etl_assets.report.report`; nothing is computed here but widths.
"""

from __future__ import annotations

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from etl_assets.report import charts, formatting, maps
from etl_assets.report.report import Cell, RunReport, Section

BAR_CHARACTERS = 30
# Underscores inside a word are text to every parser that knows GitHub's Markdown.
MARKUP = re.compile(r"[\\`*{}\[\]#|~$]|(?<![A-Za-z0-9_])_+|_+(?![A-Za-z0-9_])")
LINE_STARTS = re.compile(r"^(\d+)([.)])(?=\s|$)|^([-+=>:])")
# A code span takes everything literally but its own fence; parsers disagree on a pipe in a table.
BREAKS_CODE = re.compile(r"[`|\\]")


class Drawn(str):
    """Text made by this module or its templates: not escaped again."""

    __slots__ = ()


def render_markdown(report: RunReport) -> str:
    """The report as GitHub-flavoured Markdown."""
    return (
        _environment().get_template("run_report.md.j2").render(report=report, run=report.manifest)
    )


def escape(value: object) -> str:
    """A value as Markdown text of one line that no parser takes for markup."""
    if isinstance(value, Drawn):
        return value
    text = formatting.one_line(value)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return LINE_STARTS.sub(_escaped_start, MARKUP.sub(_escaped, text))


def code(value: object) -> Drawn:
    """An identifier as a code span; as plain text where a span could be broken."""
    text = formatting.one_line(value)
    return Drawn(escape(text) if not text or BREAKS_CODE.search(text) else f"`{text}`")


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\{character}" for character in match.group())


def _escaped_start(match: re.Match[str]) -> str:
    number, point, sign = match.groups()
    return f"{number}\\{point}" if number else f"\\{sign}"


def table(section: Section) -> Drawn:
    """The rows as a table; a bar section gets a column of bars after its last one.

    A map says how many places it shows, a graph each line in a sentence: a table of them is long.
    """
    if section.kind == "map":
        return Drawn(f"{len(section.rows):,} places, on the map in `run_report.html`.")
    if section.kind == "graph":
        return _lines(section)
    bars = _bars(section) if section.kind == "bar" else []
    head = [escape(formatting.heading(name)) for name in section.columns]
    rule = ["---:" if number else "---" for number in section.numeric]
    lines = [[*head, ""], [*rule, "---"]] if bars else [head, rule]
    for index, row in enumerate(section.rows):
        lines.append([_shown(cell) for cell in row] + ([bars[index]] if bars else []))
    return Drawn("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _lines(section: Section) -> Drawn:
    strips = maps.drawn_lines(section.rows)
    named = [(strip.line, [escape(stop.name) for stop in strip.stops]) for strip in strips]
    return Drawn("\n".join(f"- {escape(line)}: {', '.join(stops)}" for line, stops in named))


def _bars(section: Section) -> list[str]:
    lengths = charts.bars(section.sizes)
    return ["█" * max(round(pct * BAR_CHARACTERS / 100), pct > 0) for pct in lengths]


def _shown(cell: Cell) -> str:
    return escape(formatting.plain(cell)) if isinstance(cell, str) else formatting.plain(cell)


def _finalized(value: object) -> str:
    return escape(formatting.NOTHING if value is None else value)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("etl_assets.report", "templates"),
        autoescape=False,  # noqa: S701  # Markdown: _finalized escapes what the templates print
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "age": formatting.age,
        "check_label": formatting.check_label,
        "code": code,
        "drawn": Drawn,
        "duration": formatting.duration,
        "minute": formatting.minute,
        "moment": formatting.moment,
        "plural": formatting.plural,
        "shown": lambda cell: Drawn(_shown(cell)),
        "size": formatting.size,
        "table": table,
    }
    return environment

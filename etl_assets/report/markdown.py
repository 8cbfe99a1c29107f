"""Render a run report as Markdown, and escape data for Markdown.

The content is in `report.report`; nothing is computed here but the width of bars.
"""

from __future__ import annotations

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from etl_assets.model.display_text import format_count, to_one_line
from etl_assets.report import charts, formatting
from etl_assets.report.report import Cell, RunReport, Section

BAR_CHARACTERS = 30
# Underscores inside a word are text to every parser that knows GitHub's Markdown.
MARKUP = re.compile(r"[\\`*{}\[\]#|~$]|(?<![A-Za-z0-9_])_+|_+(?![A-Za-z0-9_])")
LINE_START = re.compile(r"^(\d+)([.)])(?=\s|$)|^([-+=>:])")
# A code span is literal up to its own fence; parsers disagree on a pipe in a table's code span.
BREAKS_CODE = re.compile(r"[`|\\]")


class Markdown(str):
    """Text that is Markdown already, from this module or the template: it is not escaped again."""

    __slots__ = ()


def render_markdown(report: RunReport) -> str:
    """The report as GitHub-flavoured Markdown."""
    template = _environment().get_template("run_report.md.j2")
    return template.render(report=report, run=report.manifest)


def escape(value: object) -> str:
    """A value as Markdown text of one line that no parser takes for markup."""
    if isinstance(value, Markdown):
        return value
    text = to_one_line(value)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = MARKUP.sub(lambda match: "".join(f"\\{sign}" for sign in match[0]), text)
    return LINE_START.sub(_escape_line_start, text)


def _escape_line_start(match: re.Match[str]) -> str:
    number, point, sign = match.groups()
    return f"{number}\\{point}" if number else f"\\{sign}"


def code(value: object) -> Markdown:
    """An identifier as a code span, or as escaped text if it could end the span."""
    text = to_one_line(value)
    if not text or BREAKS_CODE.search(text):
        return Markdown(escape(text))
    return Markdown(f"`{text}`")


def format_section(section: Section) -> Markdown:
    """The rows as a table; a bar section gets a column of bars after its last one.

    A map is only a number of places and a graph is a list item per strip, as tables of them are
    long.
    """
    if section.kind == "map":
        return Markdown(f"{len(section.rows):,} places, on the map in `run_report.html`.")
    if section.kind == "graph":
        items = []
        for strip in charts.lay_out_lines(section.rows):
            stops = ", ".join(escape(stop.name) for stop in strip.stops)
            items.append(f"- {escape(strip.line)}: {stops}")
        return Markdown("\n".join(items))
    table: list[list[str]] = [
        [escape(formatting.format_column(name)) for name in section.columns],
        ["---:" if is_numeric else "---" for is_numeric in section.numeric_columns],
    ]
    table.extend([_format_cell(cell) for cell in row] for row in section.rows)
    if section.kind == "bar" and section.rows:
        bars = [
            "█" * max(round(pct * BAR_CHARACTERS / 100), pct > 0)
            for pct in charts.bar_lengths(section.sizes)
        ]
        for cells, bar in zip(table, ["", "---", *bars], strict=True):
            cells.append(bar)
    return Markdown("\n".join(f"| {' | '.join(cells)} |" for cells in table))


def _format_cell(cell: Cell) -> Markdown:
    text = formatting.format_cell(cell)
    return Markdown(escape(text) if isinstance(cell, str) else text)


def _finalize(value: object) -> str:
    return escape(formatting.NO_VALUE if value is None else value)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("etl_assets.report", "templates"),
        autoescape=False,  # noqa: S701  # Markdown: _finalize escapes what the templates print
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "age": formatting.format_age,
        "cell": _format_cell,
        "check_name": formatting.format_check_name,
        "code": code,
        "plural": format_count,
        "duration": formatting.format_duration,
        "markdown": Markdown,
        "minute": formatting.format_minute,
        "format_section": format_section,
        "size": formatting.format_size,
        "time": formatting.format_time,
    }
    return environment

"""A run report drawn as one HTML file that asks no network: style and charts stand in it.

What the report says is `etl_assets.report.report`, how it looks is in the templates; every value is
escaped by autoescape, and nothing here marks text as safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from etl_assets.declarations.domain import Tone
from etl_assets.report import charts, formatting, maps
from etl_assets.report.report import Cell, RunReport


def render_html(report: RunReport) -> str:
    """The report as one HTML document, the same bytes for the same report."""
    return (
        _environment().get_template("run_report.html.j2").render(report=report, run=report.manifest)
    )


def link(file: str) -> str:
    """A file of the run's directory as a relative address, which no name turns into another one."""
    return "./" + quote(file)


def tone_of(cell: Cell, tones: Mapping[str, Tone]) -> Tone | None:
    return tones.get(cell) if isinstance(cell, str) else None


def all_toned(rows: Sequence[Sequence[Cell]], tones: Mapping[str, Tone]) -> bool:
    """Whether each row is a value with a colour of its own, and its number."""
    return all(len(row) == 2 and tone_of(row[0], tones) for row in rows)


def _by_asset(report: RunReport) -> list[tuple[str, list[str]]]:
    """The names of passed checks, per asset."""
    checks = sorted(report.passed_checks, key=lambda check: (check.asset, check.name))
    return [
        (asset, [check.name for check in found])
        for asset, found in groupby(checks, key=lambda check: check.asset)
    ]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("etl_assets.report", "templates"),
        autoescape=True,
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "age": formatting.age,
        "all_toned": all_toned,
        "bars": charts.bars,
        "by_asset": _by_asset,
        "check_label": formatting.check_label,
        "drawn_lines": maps.drawn_lines,
        "drawn_map": maps.drawn_map,
        "duration": formatting.duration,
        "heading": formatting.heading,
        "link": link,
        "minute": formatting.minute,
        "moment": formatting.moment,
        "plain": formatting.plain,
        "plural": formatting.plural,
        "points": charts.points,
        "share": formatting.share,
        "size": formatting.size,
        "slices": charts.slices,
        "tone_of": tone_of,
    }
    return environment


def _finalized(value: object) -> object:
    """Text of data without unseen characters; markup of the templates as it is."""
    if value is None:
        return formatting.NOTHING
    return formatting.UNSEEN.sub(" ", value) if type(value) is str else value

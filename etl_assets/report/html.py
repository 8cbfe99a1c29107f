"""Render a run report as one HTML file, with its style and charts inline and no network requests.

The content is in `report.report`, the look in the templates. Autoescape escapes every value, and
nothing here marks text as safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from etl_assets.declarations.domain import Tone
from etl_assets.model.display_text import INVISIBLE, format_count
from etl_assets.report import charts, formatting
from etl_assets.report.report import Cell, RunReport, normalize_term


def render_html(report: RunReport) -> str:
    """The report as one HTML document; equal reports give equal bytes."""
    template = _environment().get_template("run_report.html.j2")
    return template.render(report=report, run=report.manifest)


def relative_url(file: str) -> str:
    """A file of the run directory as a URL that cannot leave that directory by its name."""
    return "./" + quote(file)


def find_tone(cell: Cell, tones: Mapping[str, Tone]) -> Tone | None:
    return tones.get(cell) if isinstance(cell, str) else None


def have_tones(rows: Sequence[Sequence[Cell]], tones: Mapping[str, Tone]) -> bool:
    """True if each row is a value with a tone, and a number."""
    return all(len(row) == 2 and find_tone(row[0], tones) for row in rows)


def _group_passed_checks(report: RunReport) -> list[tuple[str, list[str]]]:
    """The names of passed checks by asset."""
    checks = sorted(report.passed_checks, key=lambda check: (check.asset, check.name))
    groups = []
    for asset, asset_checks in groupby(checks, key=lambda check: check.asset):
        groups.append((asset, [check.name for check in asset_checks]))
    return groups


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader(
            [
                PackageLoader("etl_assets.report", "templates"),
                # The palette is that of the site.
                PackageLoader("etl_assets.publish.site", "templates"),
            ]
        ),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "age": formatting.format_age,
        "bar_lengths": charts.bar_lengths,
        "cell": formatting.format_cell,
        "check_name": formatting.format_check_name,
        "column": formatting.format_column,
        "plural": format_count,
        "duration": formatting.format_duration,
        "find_tone": find_tone,
        "group_passed_checks": _group_passed_checks,
        "have_tones": have_tones,
        "lay_out_lines": charts.lay_out_lines,
        "lay_out_map": charts.lay_out_map,
        "line_points": charts.line_points,
        "minute": formatting.format_minute,
        "normalize_term": normalize_term,
        "relative_url": relative_url,
        "share": formatting.format_share,
        "size": formatting.format_size,
        "stack_segments": charts.stack_segments,
        "time": formatting.format_time,
    }
    return environment


def _finalize(value: object) -> object:
    """Remove invisible characters from text of the data; markup of the templates is unchanged."""
    if value is None:
        return formatting.NO_VALUE
    # Not `isinstance`: the templates' own output is Markup, a subclass of str.
    if type(value) is str:
        return INVISIBLE.sub(" ", value)
    return value

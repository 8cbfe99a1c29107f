"""Format numbers, ages, times and names for readers, in the same way in every form of the report.

Markup and its escaping are in the module of each form.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from etl_assets.model.display_text import to_one_line

if TYPE_CHECKING:
    from etl_assets.report.report import Cell

NO_VALUE = "-"
HOURS_PER_YEAR = 8766  # 365.25 days


def format_cell(cell: Cell) -> str:
    if cell is None or cell == "":
        return NO_VALUE
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        # `,.4g` would show 40000.0 as 4e+04.
        return f"{cell:,.0f}" if cell.is_integer() else f"{cell:,.4g}"
    return to_one_line(cell)


def format_column(column: str) -> str:
    return to_one_line(column.replace("_", " "))


def format_check_name(name: str, domain: str) -> str:
    """`gate_plants__trees_are_tall` as `Trees are tall`; names of dbt's own tests are unchanged."""
    match = re.fullmatch(rf"(?:(?:[a-z]+_)?{re.escape(domain)}__)?([a-z0-9_]+)", name)
    if match is None or "__" in match[1]:
        return to_one_line(name)
    return match[1].replace("_", " ").strip().capitalize()


def format_age(hours: float | None) -> str:
    """Hours in one unit: 40 min, 5 h, 3 d, 2.9 y."""
    if hours is None:
        return NO_VALUE
    if hours < 1:
        return f"{max(round(hours * 60), 0)} min"
    if hours < 72:
        return f"{round(hours)} h"
    if hours < 2 * HOURS_PER_YEAR:
        return f"{round(hours / 24)} d"
    return f"{hours / HOURS_PER_YEAR:.1f} y"


def format_time(time: datetime | None) -> str:
    if time is None:
        return NO_VALUE
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def format_minute(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def format_duration(seconds: float) -> str:
    """Seconds in at most two units: 2.5 s, 1 min 16 s, 2 h 1 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s"


def format_size(size_bytes: int) -> str:
    """Bytes in decimal units: 12 B, 12.3 kB."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    amount = size_bytes / 1000
    for unit in ("kB", "MB"):
        if amount < 1000:
            return f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def format_share(part: float, total: float) -> str:
    """A part in per cent; never 0 % for a small part, never 100 % for an incomplete one."""
    if total <= 0:
        return NO_VALUE
    pct = part * 100 / total
    if 0 < pct < 0.1:
        return "< 0.1 %"
    if 99.9 < pct < 100:
        return "> 99.9 %"
    return f"{pct:.1f} %"

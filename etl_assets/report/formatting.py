"""Numbers, ages, times and names as a person says them, the same in every form of the report.

Escaping for a form is that form's module; nothing here knows markup.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from etl_assets.report.report import Cell

NOTHING = "-"
# Control characters, line ends, and the marks that turn the direction of text around.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")


def one_line(value: object) -> str:
    """A value as text of one line without characters that cannot be seen."""
    return UNSEEN.sub(" ", str(value)).strip()


def plain(cell: Cell) -> str:
    """A cell as a person reads it."""
    if cell is None or cell == "":
        return NOTHING
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if cell.is_integer() else f"{cell:,.4g}"
    return one_line(cell)


def heading(column: str) -> str:
    return one_line(column.replace("_", " "))


def check_label(name: str, domain: str) -> str:
    """A check's name as words, without the domain in front; a compound one stays as it is."""
    own = re.fullmatch(rf"(?:(?:[a-z]+_)?{re.escape(domain)}__)?([a-z0-9_]+)", name)
    if own is None or "__" in own[1]:
        return one_line(name)
    return own[1].replace("_", " ").strip().capitalize()


def age(hours: float | None) -> str:
    """Hours as a person says them: 40 min, 5 h, 3 d, 2.9 y; a dash where unknown."""
    if hours is None:
        return NOTHING
    if hours < 1:
        return f"{max(round(hours * 60), 0)} min"
    if hours < 72:
        return f"{round(hours)} h"
    return f"{round(hours / 24)} d" if hours < 2 * 8766 else f"{hours / 8766:.1f} y"


def moment(time: datetime | None) -> str:
    return NOTHING if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def minute(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(number: int) -> str:
    amount = float(number)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def share(part: float, whole: float) -> str:
    """A part in per cent; what is there is never said to be nothing, nor what is not to be all."""
    if whole <= 0:
        return NOTHING
    pct = part * 100 / whole
    if 0 < pct < 0.1:
        return "< 0.1 %"
    return "> 99.9 %" if 99.9 < pct < 100 else f"{pct:.1f} %"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

"""Text as readers see it: data on one line, short lists of names, and the nearest name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches

# Control characters, line ends, and the marks that reverse the direction of text.
INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")
# C0 without tab and line feed, DEL, C1, marks of direction and invisible line breaks (Unicode's
# "Trojan source" characters), the byte order mark, and surrogates, which stdout cannot encode.
CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
MAX_NAMES = 5  # of a list in a message
COUNT_OF_OTHERS = re.compile(r"\s*and ([\d,]+) more\b")  # the last line of a list that is cut


def to_one_line(value: object) -> str:
    """A value as text of one line without invisible characters."""
    return INVISIBLE.sub(" ", str(value)).strip()


def escape_control(text: str) -> str:
    r"""Returns text with control characters as `\u001b`, which is also an escape of JSON.

    A name or a message in the data could otherwise move the cursor, set the window's title or hide
    what follows. Line breaks and tabs stay: lines are joined by them.
    """
    return CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def format_count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def format_hours(hours: float, *, decimals: int = 0) -> str:
    """`47.9 h` with `decimals`, and from 48 h on whole days: `3 days`."""
    return f"{hours:.{decimals}f} h" if hours < 48 else f"{hours / 24:.0f} days"


def list_some(names: Sequence[str], *, most: int = MAX_NAMES, separator: str = ", ") -> str:
    """The first names, and the number of the others: `a, b, c, d, e and 64 more`."""
    more = len(names) - most
    text = separator.join(names[:most])
    return f"{text} and {more:,} more" if more > 0 else text


def cut_lines(lines: Sequence[str]) -> list[str]:
    """The first line and a few more, and the number of the others.

    A line that is cut off, and itself says how many more there are, counts as that many.
    """
    matches = [(line, COUNT_OF_OTHERS.match(line)) for line in lines[1 + MAX_NAMES :]]
    more = sum(int(match[1].replace(",", "")) if match else 1 for _, match in matches)
    return [*lines[: 1 + MAX_NAMES], *([f"and {more:,} more"] if more > 0 else [])]


def align_columns(
    rows: Sequence[Sequence[str]], *, right: Collection[int] = (), widest: int | None = None
) -> list[str]:
    """The rows as lines whose columns have equal widths; those in `right` end at the same place.

    A cell that is wider than `widest` shifts the rest of its own line alone.
    """
    widths = [
        max((len(cell) for cell in column if widest is None or len(cell) <= widest), default=0)
        for column in zip(*rows, strict=True)
    ]
    signs = [">" if number in right else "<" for number in range(len(widths))]
    return [
        "  ".join(
            f"{cell:{sign}{width}}" for cell, sign, width in zip(row, signs, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`; did you mean x?` with the most similar names, or an empty string."""
    by_lower_case = {choice.lower(): choice for choice in choices}
    matches = get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.6)
    if not matches:
        return ""
    return f"; did you mean {' or '.join(by_lower_case[match] for match in matches)}?"

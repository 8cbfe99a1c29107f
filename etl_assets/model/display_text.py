"""Text as readers see it: data on one line, short lists of names, and the nearest name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

# Control characters, line ends, and the marks that reverse the direction of text.
INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")
MAX_NAMES = 5  # of a list in a message


def to_one_line(value: object) -> str:
    """A value as text of one line without invisible characters."""
    return INVISIBLE.sub(" ", str(value)).strip()


def list_some(names: Sequence[str]) -> str:
    """The first names, and the number of the others: `a, b, c, d, e and 64 more`."""
    more = len(names) - MAX_NAMES
    text = ", ".join(names[:MAX_NAMES])
    return f"{text} and {more:,} more" if more > 0 else text


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`; did you mean x?` with the most similar names, or an empty string."""
    by_lower_case = {choice.lower(): choice for choice in choices}
    matches = get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.6)
    if not matches:
        return ""
    return f"; did you mean {' or '.join(by_lower_case[match] for match in matches)}?"

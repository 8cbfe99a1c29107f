"""Text of the data as readers may see it, on one line."""

from __future__ import annotations

import re

# Control characters, line ends, and the marks that reverse the direction of text.
INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")


def to_one_line(value: object) -> str:
    """A value as text of one line without invisible characters."""
    return INVISIBLE.sub(" ", str(value)).strip()

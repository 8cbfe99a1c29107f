"""The order of Debian versions, after the manual page deb-version(7), and the marks in them.

Nothing here is shared with the SQL that sorts versions by a key; what a version proves about a
vulnerability is said in reading.py.
"""

from __future__ import annotations

import re
from functools import cmp_to_key
from typing import Any

DIGITS = re.compile(r"\d*")
OTHERS = re.compile(r"\D*")
REBUILD_MARK = re.compile(r"[+-]e\d+$")
RELEASE_MARK = re.compile(r"[+~](deb\d+)u\d+")


def compare(left: str, right: str) -> int:
    """Negative, zero or positive, as the left version is earlier, equal or later."""
    (left_epoch, *left_parts), (right_epoch, *right_parts) = _split(left), _split(right)
    if left_epoch != right_epoch:
        return left_epoch - right_epoch
    for one, other in zip(left_parts, right_parts, strict=True):
        if order := _compare_parts(one, other):
            return order
    return 0


def is_rebuild(version: str) -> bool:
    return REBUILD_MARK.search(version) is not None


def without_rebuild(version: str) -> str:
    return REBUILD_MARK.sub("", version)


def is_above(version: str, other: str) -> bool:
    """Whether one version is later than the other, rebuilt or not."""
    return compare(without_rebuild(version), without_rebuild(other)) > 0


def is_newer(version: str, other: str) -> bool:
    """The same, but of equal versions the vendor's rebuild is the newer one."""
    order = compare(without_rebuild(version), without_rebuild(other))
    return order > 0 or (order == 0 and is_rebuild(version) and not is_rebuild(other))


def rank(version: str) -> Any:
    """What min, max and sorted compare."""
    return cmp_to_key(compare)(without_rebuild(version))


def lineage(version: str) -> str:
    """Whose series of versions this is one of."""
    if is_rebuild(version):
        return "vendor"
    match = RELEASE_MARK.search(version)
    return match[1] if match else "plain"


def _split(version: str) -> tuple[int, str, str]:
    """Epoch, upstream version and revision; the last hyphen starts the revision."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, hyphen, revision = rest.rpartition("-")
    return (int(epoch), upstream, revision) if hyphen else (int(epoch), rest, "")


def _compare_parts(left: str, right: str) -> int:
    """Runs of other characters and runs of digits in turn, until one differs."""
    while left or right:
        (left_text, left), (right_text, right) = _take(OTHERS, left), _take(OTHERS, right)
        if order := _compare_texts(left_text, right_text):
            return order
        (left_digits, left), (right_digits, right) = _take(DIGITS, left), _take(DIGITS, right)
        if order := int(left_digits or 0) - int(right_digits or 0):
            return order
    return 0


def _take(run: re.Pattern[str], text: str) -> tuple[str, str]:
    match = run.match(text)
    end = match.end() if match else 0
    return text[:end], text[end:]


def _compare_texts(left: str, right: str) -> int:
    for place in range(max(len(left), len(right))):
        if order := _weight(left, place) - _weight(right, place):
            return order
    return 0


def _weight(text: str, place: int) -> int:
    """A tilde before the end, the end before letters, letters before all else."""
    if place >= len(text):
        return 0
    character = text[place]
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256

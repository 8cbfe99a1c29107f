"""The order of Debian versions according to deb-version(7), and the marks in them.

It shares nothing with the SQL macro deb_key. The rules on fixes are in reference_rules.py.
"""

from __future__ import annotations

import re
from functools import cmp_to_key
from typing import Any

DIGITS = re.compile(r"\d*")
OTHERS = re.compile(r"\D*")
REBUILD_MARK = re.compile(r"[+-]e\d+([+~][^-]*)?$")
RELEASE_MARK = re.compile(r"[+~](deb\d+)u\d+")


def compare(left: str, right: str) -> int:
    """Returns a negative number, zero or a positive one if left is lower, equal or higher."""
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
    """True if the version is higher than the other, apart from marks of rebuilds."""
    return compare(without_rebuild(version), without_rebuild(other)) > 0


def is_newer(version: str, other: str) -> bool:
    """Like is_above, but of equal versions the vendor's rebuild is newer."""
    order = compare(without_rebuild(version), without_rebuild(other))
    return order > 0 or (order == 0 and is_rebuild(version) and not is_rebuild(other))


def rank(version: str) -> Any:
    """Returns a sort key for min, max and sorted."""
    return cmp_to_key(compare)(without_rebuild(version))


def lineage(version: str) -> str:
    """Returns the series of the version: vendor, a release such as deb12, or plain."""
    if is_rebuild(version):
        return "vendor"
    match = RELEASE_MARK.search(version)
    return match[1] if match else "plain"


def _split(version: str) -> tuple[int, str, str]:
    """Returns epoch, upstream version and revision; the last hyphen begins the revision."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, hyphen, revision = rest.rpartition("-")
    return (int(epoch), upstream, revision) if hyphen else (int(epoch), rest, "")


def _compare_parts(left: str, right: str) -> int:
    """Compares runs of non-digits and runs of digits alternately, until one differs."""
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
    for index in range(max(len(left), len(right))):
        if order := _weight(left, index) - _weight(right, index):
            return order
    return 0


def _weight(text: str, index: int) -> int:
    """Orders a tilde before the end, the end before letters, letters before the rest."""
    if index >= len(text):
        return 0
    character = text[index]
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256

"""Whose data a document is made of, and under what terms.

Where a standard has room to say so is its writer's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from etl_assets.declarations.source import Source


@dataclass(frozen=True, slots=True)
class Attribution:
    """What the licence of one source asks to be named, in one line."""

    source: str
    text: str

    @classmethod
    def of(cls, source: Source) -> Self:
        licence = ", ".join(part for part in (source.licence.name, source.licence.url) if part)
        return cls(source.name, f"{source.licence.attribution.rstrip('.')}. Licence: {licence}")


def texts(attributions: Iterable[Attribution]) -> list[str]:
    """Each text once, in order: two files of one producer say the same."""
    return list(dict.fromkeys(attribution.text for attribution in attributions))

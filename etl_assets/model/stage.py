"""The stages of a run in the data's order, and a stretch of them.

What a stage does is said in `etl_assets.stages`; which asset belongs to which, in
`defs.asset_keys`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """One stage; what it makes, the next one starts from."""

    RAW = "raw"
    VALIDATED = "validated"
    TABLE = "table"
    MARTS = "marts"
    PUBLISH = "publish"


ORDER = tuple(Stage)
OF_SOURCES = frozenset({Stage.RAW, Stage.VALIDATED, Stage.TABLE})


@dataclass(frozen=True, slots=True)
class StageRange:
    """From one stage to another, both of them in it; all of them where nothing else is said."""

    first: Stage = Stage.RAW
    last: Stage = Stage.PUBLISH

    @classmethod
    def over(cls, stages: Iterable[Stage]) -> StageRange:
        """The shortest stretch that has all of the stages."""
        found = sorted(stages, key=ORDER.index)
        return cls(found[0], found[-1])

    def __iter__(self) -> Iterator[Stage]:
        return iter(ORDER[ORDER.index(self.first) : ORDER.index(self.last) + 1])

    def __str__(self) -> str:
        return f"stage {self.first}" if self.is_single else f"stages {self.first} to {self.last}"

    @property
    def is_single(self) -> bool:
        return self.first is self.last

    @property
    def asks(self) -> bool:
        """Whether remotes are asked."""
        return Stage.RAW in self

    @property
    def publishes(self) -> bool:
        return Stage.PUBLISH in self


WHOLE = StageRange()

"""Whether the place is fit to run: what was looked at, what was found, what to do about it.

Only the shape of the answer belongs here. Looking is `etl_assets.operations.health_machine`,
`etl_assets.operations.health_leftovers` and `etl_assets.operations.health`; how a source stands is
`etl_assets.marts.source_status`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, Self

from pydantic import AwareDatetime, Field, computed_field

from etl_assets.model.records import Record, RunStatus

TOLD = 5  # offenders of one finding by name; more of them by their number


class Level(StrEnum):
    """What a finding means for the next run: nothing, something to look at, or that it fails."""

    OK = "ok"
    WARN = "warn"
    ERROR = "error"


WORST_FIRST = (Level.ERROR, Level.WARN, Level.OK)
OVERALL: dict[Level, Literal["healthy", "degraded", "unfit"]] = {
    Level.OK: "healthy",
    Level.WARN: "degraded",
    Level.ERROR: "unfit",
}


class HealthFinding(Record):
    """One thing that was looked at."""

    level: Level
    what: str
    domain: str | None = None
    found: str
    expected: str = Field(default="", description="empty where all is well")
    advice: str = Field(default="", description="what to do; empty where all is well")

    @classmethod
    def ok(cls, what: str, found: str, domain: str | None = None) -> Self:
        return cls(level=Level.OK, what=what, domain=domain, found=found)

    @classmethod
    def of(
        cls,
        level: Level,
        what: str,
        found: str | Sequence[str],
        expected: str,
        advice: str,
        domain: str | None = None,
    ) -> Self:
        """Something that is not as it should be, in one line; of many offenders the first."""
        told = " ".join((found if isinstance(found, str) else first_of(found)).split("\n"))
        return cls(
            level=level, what=what, domain=domain, found=told, expected=expected, advice=advice
        )

    def __str__(self) -> str:
        word = self.level if self.level is Level.OK else self.level.upper()
        where = f"{self.domain}: " if self.domain else ""
        wanted = f"expected {self.expected}" if self.expected else ""
        told = "; ".join(text for text in (self.found, wanted, self.advice) if text)
        return f"{word:5} {where}{self.what}: {told}"


class DomainDates(Record):
    """When a domain last ran, how that ended, and since when its published set stands."""

    domain: str
    last_run_at: AwareDatetime | None = None
    last_run_status: RunStatus | None = None
    last_published_at: AwareDatetime | None = None
    quarantined: int = Field(default=0, ge=0, description="files that wait for a person")


class HealthReport(Record):
    """All findings, and what follows from the worst of them."""

    home: str | None = Field(default=None, description="None where the settings do not tell")
    checked_at: AwareDatetime
    free_bytes: int | None = Field(default=None, description="where the home lies")
    domains: list[DomainDates] = []
    findings: list[HealthFinding]

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def status(self) -> Literal["healthy", "degraded", "unfit"]:
        """`unfit` where a run would fail, `degraded` where something waits to be looked at."""
        levels = {finding.level for finding in self.findings}
        return OVERALL[next((level for level in WORST_FIRST if level in levels), Level.OK)]

    def lines(self) -> list[str]:
        return [*map(str, self.findings), self.status]


def first_of(texts: Sequence[str]) -> str:
    """The first of many, and how many more there are."""
    rest = f" and {len(texts) - TOLD} more" if len(texts) > TOLD else ""
    return ", ".join(texts[:TOLD]) + rest

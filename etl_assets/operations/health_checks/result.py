"""The report of `etl health`: findings, each with its level, what was expected and what to do.

The state of a single source is `etl_assets.marts.source_status`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, Self

from pydantic import AwareDatetime, Field, computed_field

from etl_assets.model.display_text import list_some
from etl_assets.model.records import Record, RunStatus


class Level(StrEnum):
    """What a finding means for the next run: it is unaffected, degraded, or fails."""

    OK = "ok"
    WARN = "warn"
    ERROR = "error"


class HealthFinding(Record):
    """The result of one look at the home, the machine or a domain."""

    level: Level
    what: str
    domain: str | None = None
    actual: str = Field(alias="found")
    expected: str = Field(default="", description="empty if the level is ok")
    advice: str = Field(default="", description="what to do; empty if the level is ok")

    @classmethod
    def ok(cls, what: str, actual: str, domain: str | None = None) -> Self:
        return cls(level=Level.OK, what=what, domain=domain, actual=actual)

    @classmethod
    def problem(
        cls,
        level: Level,
        what: str,
        actual: str | Sequence[str],
        *,
        expected: str,
        advice: str,
        domain: str | None = None,
    ) -> Self:
        """Return a finding on one line; of many offenders, the first are named."""
        text = actual if isinstance(actual, str) else list_some(actual)
        return cls(
            level=level,
            what=what,
            domain=domain,
            actual=text.replace("\n", " "),
            expected=expected,
            advice=advice,
        )

    def __str__(self) -> str:
        level = self.level if self.level is Level.OK else self.level.upper()
        subject = f"{self.domain}: {self.what}" if self.domain else self.what
        details = [self.actual]
        if self.expected:
            details.append(f"expected {self.expected}")
        if self.advice:
            details.append(self.advice)
        return f"{level:5} {subject}: {'; '.join(details)}"


class DomainDates(Record):
    """When a domain last ran and published, and how many of its files are in quarantine."""

    domain: str
    last_run_at: AwareDatetime | None = None
    last_run_status: RunStatus | None = None
    last_published_at: AwareDatetime | None = None
    quarantined: int = Field(default=0, ge=0, description="files to release or purge")


class HealthReport(Record):
    """All findings, and the overall status that the worst of them gives."""

    home: str | None = Field(default=None, description="None if the settings cannot be read")
    checked_at: AwareDatetime
    free_bytes: int | None = Field(default=None, description="on the file system of the home")
    domains: list[DomainDates] = []
    findings: list[HealthFinding]

    @computed_field  # type: ignore[prop-decorator]  # the form that pydantic documents
    @property
    def status(self) -> Literal["healthy", "degraded", "unfit"]:
        levels = {finding.level for finding in self.findings}
        if Level.ERROR in levels:
            return "unfit"
        return "degraded" if Level.WARN in levels else "healthy"

    def lines(self) -> list[str]:
        return [*map(str, self.findings), self.status]

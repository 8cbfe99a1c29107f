"""What a run report says, before anybody decides how it looks.

Gathering it is `etl_assets.report.gather`; drawing it is `etl_assets.report.markdown` and
`etl_assets.report.html`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from etl_assets.declarations.domain import Tone
from etl_assets.model.records import FetchStatus, Record, Sha256
from etl_assets.model.run_manifest import RunCheck, RunManifest

Cell = str | int | float | bool | None
Freshness = Literal["fresh", "ageing", "stale", "unknown"]


class Section(Record):
    """One declared section: a table, one drawn from its last column, or a map or graph of rows."""

    title: str
    kind: Literal["table", "bar", "line", "map", "graph"]
    columns: list[str]
    rows: list[tuple[Cell, ...]]
    total: int = Field(ge=0, description="rows there are; `rows` may show fewer")
    whole: float | None = Field(
        default=None, description="where rows were counted: the sum of all counts, shown or not"
    )
    note: str = ""
    strokes: list[tuple[Cell, ...]] = Field(default=[], description="of a map: what joins places")

    @property
    def sizes(self) -> list[float]:
        """What is drawn: the number in the last column, 0 where there is none."""
        return [float(row[-1]) if _is_number(row[-1]) else 0.0 for row in self.rows]  # type: ignore[arg-type]

    @property
    def numeric(self) -> list[bool]:
        """Per column, whether numbers stand in it."""
        return [any(_is_number(row[index]) for row in self.rows) for index in range(self.width)]

    @property
    def width(self) -> int:
        return len(self.columns)

    @property
    def unseen(self) -> int:
        return self.total - len(self.rows)


class SourceLine(Record):
    """One source over all its files as the manifest has them: how fresh, how much, what refused."""

    source: str
    title: str
    files: int = Field(ge=0)
    status: FetchStatus = Field(description="the worst of its files")
    contacted_at: AwareDatetime | None
    contact_age_hours: float | None
    content_at: AwareDatetime | None
    content_age_hours: float | None
    contact: Freshness = Field(default="unknown", description="its age by the declared limits")
    content: Freshness = Field(default="unknown", description="its age by the declared limits")
    rows: int = Field(ge=0)
    rejected: int = Field(ge=0)
    rejects_by_rule: dict[str, int] = Field(default_factory=dict)
    rejects_path: str = Field(default="", description="where refused rows lie, below the home")
    faults: list[str] = Field(default_factory=list)

    @property
    def is_served(self) -> bool:
        """Whether this run had the remote's word on it, and no older file in its place."""
        return self.status.is_served


class DocumentLine(Record):
    """One published document over all its files."""

    document: str
    title: str
    files: list[str] = Field(description="relative to the run's directory")
    rows: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    sha256: Sha256 | None = Field(default=None, description="of the file, where it is one")

    @property
    def opens(self) -> str:
        """What a link opens: the document itself, be it a directory, or its first file."""
        named = self.document in self.files
        within = any(file.startswith(f"{self.document}/") for file in self.files)
        return self.document if named or within or not self.files else self.files[0]


class RunReport(Record):
    """Everything that the report of a run shows."""

    title: str
    description: str = ""
    manifest: RunManifest
    sections: list[Section]
    sources: list[SourceLine]
    documents: list[DocumentLine] = Field(default_factory=list)
    tones: dict[str, Tone] = Field(default_factory=dict)

    @property
    def failed_checks(self) -> list[RunCheck]:
        """Blocking ones first."""
        found = self.manifest.failed_checks
        return sorted(found, key=lambda check: (check.severity, check.asset, check.name))

    @property
    def passed_checks(self) -> list[RunCheck]:
        return [check for check in self.manifest.checks if check.passed]

    @property
    def failures(self) -> int:
        return sum(check.severity == "error" for check in self.failed_checks)

    @property
    def warnings(self) -> int:
        return len(self.failed_checks) - self.failures

    @property
    def made(self) -> int:
        return sum(asset.outcome == "made" for asset in self.manifest.assets)

    @property
    def reused(self) -> int:
        return len(self.manifest.assets) - self.made

    @property
    def unserved(self) -> int:
        return sum(not source.is_served for source in self.sources)

    @property
    def stale(self) -> int:
        return sum(source.content == "stale" for source in self.sources)

    @property
    def rows(self) -> int:
        return sum(source.rows for source in self.sources)

    @property
    def rejected(self) -> int:
        return sum(source.rejected for source in self.sources)

    @property
    def unphased_seconds(self) -> float:
        """Time of the run that belongs to no phase: planning, start, conclusion."""
        phased = sum(phase.seconds for phase in self.manifest.phases)
        return max(self.manifest.seconds - phased, 0.0)


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)

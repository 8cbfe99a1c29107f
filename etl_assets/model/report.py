"""What a run report says, before anybody decides how it looks.

Gathering it is `etl_assets.stages.report`, drawing it `etl_assets.io.render`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from etl_assets.model.records import FetchStatus, Record
from etl_assets.model.run import RunManifest

Cell = str | int | float | bool | None


class Section(Record):
    """One declared section: a table, or one that is drawn from its last column."""

    title: str
    kind: Literal["table", "bar", "line"]
    columns: list[str]
    rows: list[tuple[Cell, ...]]
    total: int = Field(ge=0, description="rows there are; `rows` may show fewer")
    note: str = ""


class SourceLine(Record):
    """One source over all its files: how fresh, how much, how much refused."""

    source: str
    title: str
    files: int = Field(ge=0)
    status: FetchStatus = Field(description="the worst of its files")
    fetched_at: AwareDatetime | None
    contact_age_hours: float | None
    content_at: AwareDatetime | None
    content_age_hours: float | None
    rows: int = Field(ge=0)
    rejected: int = Field(ge=0)
    rejects_by_rule: dict[str, int] = Field(default_factory=dict)
    faults: list[str] = Field(default_factory=list)


class RunReport(Record):
    """Everything that the report of a run shows."""

    title: str
    manifest: RunManifest
    sections: list[Section]
    sources: list[SourceLine]
    document_titles: dict[str, str] = Field(default_factory=dict)

"""How a source stands: one row of what models, reports and `etl status` say of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from etl_assets.declarations.source import Source
from etl_assets.model.records import FetchResult, FetchStatus, Record, TableResult

WORST_FIRST = (
    FetchStatus.MISSING,
    FetchStatus.OUTAGE,
    FetchStatus.PINNED,
    FetchStatus.FETCHED,
    FetchStatus.UNCHANGED,
    FetchStatus.NOT_YET_PUBLISHED,
    FetchStatus.OFF,
)


class SourceHealth(Record):
    """A source over all its parts: the worst status, the newest times, the sums."""

    source: str
    title: str
    status: str
    fetched_at: datetime | None = Field(default=None, description="the last download")
    content_at: datetime | None = Field(default=None, description="as the content dates itself")
    rows: int = Field(ge=0)
    rejected: int = Field(ge=0)
    last_good_at: datetime | None = None
    source_sha256: str = Field(description="of the file; of several, joined by spaces in order")


def summarize_health(
    source: Source, fetches: Sequence[FetchResult], tables: Sequence[TableResult]
) -> SourceHealth:
    """Sum up a source's parts. A table that was refused counts as an outage."""
    statuses = {fetch.status for fetch in fetches}
    if any(table.fault for table in tables):
        statuses.add(FetchStatus.OUTAGE)
    # What is fresh and what is unchanged stand alike; only a contact differs, and contacts do not
    # change rows.
    worst = next((status for status in WORST_FIRST if status in statuses), FetchStatus.MISSING)
    files = [fetch.file for fetch in fetches if fetch.file]
    return SourceHealth(
        source=source.name,
        title=source.title,
        status="ok" if worst.is_served and worst is not FetchStatus.OFF else worst.value,
        fetched_at=max((file.fetched_at for file in files), default=None),
        content_at=max((t.table.content_at for t in tables if t.table.content_at), default=None),
        rows=sum(t.table.rows for t in tables),
        rejected=sum(t.table.rejected for t in tables),
        last_good_at=max((file.fetched_at for file in files), default=None),
        source_sha256=" ".join(t.table.source_sha256 for t in tables if t.table.source_sha256),
    )

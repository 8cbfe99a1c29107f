"""The state of one source over all its files, as models and `etl status` show it."""

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
    """A source over all its parts: the worst status, the latest times, sums of rows."""

    source: str
    title: str
    status: str
    fetched_at: datetime | None = Field(default=None, description="time of the last download")
    content_at: datetime | None = Field(
        default=None, description="the date that the content itself states"
    )
    rows: int = Field(ge=0)
    rejected: int = Field(ge=0)
    last_good_at: datetime | None = None
    source_sha256: str = Field(
        description="of the raw file; of several files, joined by spaces in order"
    )


def summarize_health(
    source: Source, fetches: Sequence[FetchResult], tables: Sequence[TableResult]
) -> SourceHealth:
    """Returns the health of a source over its parts. A refused table counts as an outage."""
    statuses = {fetch.status for fetch in fetches}
    if any(table.fault for table in tables):
        statuses.add(FetchStatus.OUTAGE)
    worst = next((status for status in WORST_FIRST if status in statuses), FetchStatus.MISSING)
    # FETCHED and UNCHANGED both become "ok": which of the two it was must not change any rows.
    is_ok = worst.is_served and worst is not FetchStatus.OFF
    fetched_at = max((fetch.file.fetched_at for fetch in fetches if fetch.file), default=None)
    return SourceHealth(
        source=source.name,
        title=source.title,
        status="ok" if is_ok else worst.value,
        fetched_at=fetched_at,
        content_at=max((t.table.content_at for t in tables if t.table.content_at), default=None),
        rows=sum(t.table.rows for t in tables),
        rejected=sum(t.table.rejected for t in tables),
        last_good_at=fetched_at,
        source_sha256=" ".join(t.table.source_sha256 for t in tables if t.table.source_sha256),
    )

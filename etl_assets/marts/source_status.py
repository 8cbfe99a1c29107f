"""The state of one source over all its files, and the age of its content.

Models, the report, `etl status`, `etl health` and the metrics of a monitor show the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from etl_assets.declarations.source import AgeVerdict, Freshness, Source
from etl_assets.model.records import FetchResult, FetchStatus, Record, TableResult
from etl_assets.model.run_manifest import age_hours

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


class ContentAge(Record):
    """How old the content of a source is at one time, as its declared `freshness` judges it."""

    level: AgeVerdict
    content_at: datetime | None = Field(
        default=None, description="the date that the content itself states, or else its remote"
    )
    age_hours: float | None = None
    warn_after_hours: float | None = Field(
        default=None, description="ageing above; None if the source is not declared"
    )
    fail_after_hours: float | None = Field(default=None, description="stale above")

    @property
    def is_old(self) -> bool:
        """True if the content is stale or ageing."""
        return self.level in {"ageing", "stale"}

    @property
    def limit_hours(self) -> float | None:
        """The limit that the age exceeds, or None if it exceeds none."""
        limits = {"ageing": self.warn_after_hours, "stale": self.fail_after_hours}
        return limits.get(self.level)


def judge_content(
    limits: Freshness | None, content_at: datetime | None, now: datetime
) -> ContentAge:
    """Returns the age of content at `now`; without limits or a date, its level is "unknown"."""
    age = age_hours(content_at, now)
    if limits is None:
        return ContentAge(level="unknown", content_at=content_at, age_hours=age)
    return ContentAge(
        level=limits.judge(age),
        content_at=content_at,
        age_hours=age,
        warn_after_hours=limits.warn_after_hours,
        fail_after_hours=limits.fail_after_hours,
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

"""How a domain stands: its sources with their ages, and its published set, for `etl status`.

Read from the event log and the published manifest; nothing is asked of a remote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from etl_assets.assets.health import read_tables
from etl_assets.assets.workplace import Workplace
from etl_assets.io import outputs
from etl_assets.model.domain import Domain
from etl_assets.model.health import SourceHealth
from etl_assets.model.run import RunManifest, age_hours


@dataclass(frozen=True, slots=True)
class Standing:
    """One domain's sources and published set."""

    domain: str
    sources: Sequence[SourceHealth]
    published: RunManifest | None
    directory: str

    def lines(self, now: datetime) -> list[str]:
        """A line for the published set, and one per source with the age of contact and content."""
        return [self._headline(now), *(_line(source, now) for source in self.sources)]

    def as_dict(self) -> dict[str, Any]:
        return {
            "domain": self.domain,
            "directory": self.directory,
            "published": self.published.model_dump(mode="json") if self.published else None,
            "sources": [source.model_dump(mode="json") for source in self.sources],
        }

    def _headline(self, now: datetime) -> str:
        if self.published is None:
            return f"{self.domain}: nothing is published yet"
        age = age_hours(self.published.as_of, now)
        return (
            f"{self.domain}: {self.published.status}, "
            f"as of {self.published.as_of:%Y-%m-%d %H:%M} UTC "
            f"({_hours(age)} ago), {len(self.published.documents)} documents in {self.directory}"
        )


def standing_of(instance: dg.DagsterInstance, place: Workplace, domain: Domain) -> Standing:
    published = outputs.published(place.home, domain.name)
    return Standing(
        domain=domain.name,
        sources=read_tables(instance, domain)[0],
        published=outputs.read_manifest(published) if published else None,
        directory=place.home.relative(published) if published else "",
    )


def _line(source: SourceHealth, now: datetime) -> str:
    rejected = f", {source.rejected:,} rejected" if source.rejected else ""
    return (
        f"  {source.source:16} {source.status:8} {source.rows:>10,} rows{rejected}; "
        f"fetched {_hours(age_hours(source.fetched_at, now))} ago, "
        f"content {_hours(age_hours(source.content_at, now))} old"
    )


def _hours(age: float | None) -> str:
    if age is None:
        return "unknown time"
    return f"{age:.1f} h" if age < 48 else f"{age / 24:.0f} days"

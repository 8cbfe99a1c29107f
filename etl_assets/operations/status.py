"""How a domain stands: its sources with their ages, its published set, its last run; `etl status`.

Read from the event log and the manifests of runs; nothing is asked of a remote.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from etl_assets.defs.context import DomainSession
from etl_assets.defs.model_state import read_tables
from etl_assets.marts.source_status import SourceHealth
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest, age_hours
from etl_assets.publish import run_directory


@dataclass(frozen=True, slots=True)
class DomainStatus:
    """One domain's sources, its published set, and how the last run ended."""

    domain: str
    sources: Sequence[SourceHealth]
    published: RunManifest | None
    directory: str
    last: RunManifest | None
    last_directory: str

    def lines(self, now: datetime) -> list[str]:
        """The published set, each source with its ages, and what the last run asks of a person."""
        return [
            self._headline(now),
            *(_line(source, now) for source in self.sources),
            *self._of_last(),
        ]

    def as_dict(self) -> dict[str, Any]:
        return {
            "domain": self.domain,
            "directory": self.directory,
            "published": self.published.model_dump(mode="json") if self.published else None,
            "sources": [source.model_dump(mode="json") for source in self.sources],
            "last_run": self.last.model_dump(mode="json") if self.last else None,
        }

    def _of_last(self) -> Iterator[str]:
        """The last run, where it has something to tell that the published set does not."""
        if self.last is None or (self.last.published and self.last.status is RunStatus.SUCCESS):
            return
        told = f": {self.last.note}" if self.last.note else ""
        yield f"  last run, {self.last_directory}: {self.last.status}{told}"
        yield from (f"  {action}" for action in self.last.next_actions)

    def _headline(self, now: datetime) -> str:
        if self.published is None:
            return f"{self.domain}: nothing is published yet"
        age = age_hours(self.published.as_of, now)
        return (
            f"{self.domain}: {self.published.status}, "
            f"as of {self.published.as_of:%Y-%m-%d %H:%M} UTC "
            f"({_hours(age)} ago), {len(self.published.documents)} documents in {self.directory}"
        )


def domain_status(session: DomainSession) -> DomainStatus:
    project, domain = session.project, session.domain
    published = run_directory.published_directory(project.home, domain.name)
    last = next(run_directory.list_runs(project.home, domain.name), None)
    return DomainStatus(
        domain=domain.name,
        sources=read_tables(session)[0],
        published=run_directory.read_manifest(published) if published else None,
        directory=project.home.relative(published) if published else "",
        last=run_directory.read_manifest(last) if last else None,
        last_directory=project.home.relative(last) if last else "",
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

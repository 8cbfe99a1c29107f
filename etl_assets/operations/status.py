"""The state of a domain, for `etl status`: sources with their ages, published set, last run.

It is read from the event log and run manifests; no remote is contacted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from etl_assets.defs.context import DomainSession
from etl_assets.defs.model_state import read_tables
from etl_assets.marts.source_status import SourceHealth
from etl_assets.model.home import Home
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.publish import run_directory


@dataclass(frozen=True, slots=True)
class DomainStatus:
    """The sources of a domain, and the manifests of its published set and its last run."""

    domain: str
    sources: Sequence[SourceHealth]
    published: RunManifest | None
    directory: str
    last: RunManifest | None
    last_directory: str

    def lines(self, now: datetime) -> list[str]:
        """Return the text for a terminal; ages are relative to `now`."""
        return [
            self._summary(now),
            *(_source_line(source, now) for source in self.sources),
            *self._last_run_lines(),
        ]

    def as_dict(self) -> dict[str, Any]:
        return {
            "domain": self.domain,
            "directory": self.directory,
            "published": _to_json(self.published),
            "sources": [source.model_dump(mode="json") for source in self.sources],
            "last_run": _to_json(self.last),
        }

    def _summary(self, now: datetime) -> str:
        if self.published is None:
            return f"{self.domain}: nothing is published yet"
        age = _format_age(self.published.as_of, now)
        return (
            f"{self.domain}: {self.published.status}, "
            f"as of {self.published.as_of:%Y-%m-%d %H:%M} UTC ({age} ago), "
            f"{self.published.file_count} documents in {self.directory}"
        )

    def _last_run_lines(self) -> Iterator[str]:
        """Yield how the last run ended, unless it succeeded and was not limited to some stages."""
        if self.last is None:
            return
        if self.last.status is RunStatus.SUCCESS and not self.last.is_partial:
            return
        note = f": {self.last.note}" if self.last.note else ""
        yield f"  last run, {self.last_directory}: {self.last.status}{note}"
        yield from (f"  {action}" for action in self.last.next_actions)


def domain_status(session: DomainSession) -> DomainStatus:
    home, name = session.home, session.domain.name
    published, directory = _read_manifest(home, session.published_directory())
    last, last_directory = _read_manifest(home, next(run_directory.list_runs(home, name), None))
    return DomainStatus(
        domain=name,
        sources=read_tables(session)[0],
        published=published,
        directory=directory,
        last=last,
        last_directory=last_directory,
    )


def _read_manifest(home: Home, directory: Path | None) -> tuple[RunManifest | None, str]:
    """Return the manifest in a run directory, and the directory relative to the home."""
    if directory is None:
        return None, ""
    return run_directory.read_manifest(directory), home.relative(directory)


def _to_json(manifest: RunManifest | None) -> dict[str, Any] | None:
    return manifest.model_dump(mode="json") if manifest else None


def _source_line(source: SourceHealth, now: datetime) -> str:
    fetched, content = "never fetched", "content undated"
    if source.fetched_at is not None:
        fetched = f"fetched {_format_age(source.fetched_at, now)} ago"
    if source.content_at is not None:
        content = f"content {_format_age(source.content_at, now)} old"
    rejected = f", {source.rejected:,} rejected" if source.rejected else ""
    return (
        f"  {source.source:16} {source.status:8} {source.rows:>10,} rows{rejected}; "
        f"{fetched}, {content}"
    )


def _format_age(moment: datetime, now: datetime) -> str:
    hours = (now - moment).total_seconds() / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"

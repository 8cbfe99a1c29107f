"""The state of a domain, for `etl status`: sources with their ages, published set, last run.

It is read from the event log and run manifests; no remote is contacted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Freshness
from etl_assets.ledger.state_cache import (
    DomainState,
    are_readable,
    keep_state,
    load_state,
    state_key,
)
from etl_assets.marts.source_status import (
    ContentAge,
    SourceHealth,
    judge_content,
    summarize_health,
)
from etl_assets.model.display_text import align_columns, format_hours
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import PublishedSet, RawFile, RunStatus, SourceName, Table
from etl_assets.model.run_manifest import (
    RunManifest,
    RunSource,
    newest_content_time,
)
from etl_assets.publish import run_directory

if TYPE_CHECKING:
    from etl_assets.defs.context import DomainSession
    from etl_assets.defs.event_log import EventLog


@dataclass(frozen=True, slots=True)
class DomainStatus:
    """The sources of a domain, and the manifests of its published set and its last run."""

    domain: str
    limits: Mapping[str, Freshness]
    sources: Sequence[SourceHealth]
    published: RunManifest | None
    directory: str
    last: RunManifest | None
    last_directory: str

    def lines(self, now: datetime) -> list[str]:
        """Return the text for a terminal; ages are relative to `now`."""
        return [
            self._summary(now),
            *self._source_lines(now),
            *self._last_run_lines(),
        ]

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """Return the JSON document; the freshness of a source is that at `now`."""
        return {
            "domain": self.domain,
            "directory": self.directory,
            "published": _to_json(self.published),
            "sources": [
                source.model_dump(mode="json")
                | {"freshness": self._judge(source, now).model_dump(mode="json")}
                for source in self.sources
            ],
            "last_run": _to_json(self.last),
            "stale_sources": self._stale_sources(),
        }

    def _summary(self, now: datetime) -> str:
        if self.published is None:
            return f"{self.domain}: nothing is published yet"
        age = _format_age(self.published.as_of, now)
        return (
            f"{self.domain}: {self.published.status}, "
            f"as of {self.published.as_of:%Y-%m-%d %H:%M} UTC ({age} ago), "
            f"{self.published.file_count} documents in {self.directory}"
            + (f", {self.published.mirror_note}" if self.published.mirror else "")
        )

    def _last_run_lines(self) -> Iterator[str]:
        """Yield how the last run ended, unless all of it was good: as its report says it."""
        if self.last is None:
            return
        stale = self._stale_sources()
        is_good = self.last.status is RunStatus.SUCCESS and not self.last.is_partial
        if is_good and not self.last.failed_checks and not stale:
            return
        note = f": {self.last.note}" if self.last.note else ""
        yield f"  last run, {self.last_directory}: {self.last.headline(len(stale))}{note}"
        yield from (f"  {line}" for line in self.last.list_warnings())
        yield from (f"  {action}" for action in self.last.next_actions)

    def _stale_sources(self) -> list[str]:
        """Return the sources whose content was stale at the logical time of the last run."""
        if self.last is None:
            return []
        files: dict[SourceName, list[RunSource]] = {}
        for file in self.last.sources:
            files.setdefault(file.source, []).append(file)
        ages = {
            each.name: judge_content(
                self.limits.get(each.name), newest_content_time(files[each]), self.last.as_of
            )
            for each in files
        }
        return [name for name, age in ages.items() if age.level == "stale"]

    def _judge(self, source: SourceHealth, now: datetime) -> ContentAge:
        return judge_content(self.limits.get(source.source), source.content_at, now)

    def _source_lines(self, now: datetime) -> list[str]:
        cells = [
            [
                f"  {source.source}",
                self._state(source, now),
                f"{source.rows:,} rows",
                self._ages(source, now),
            ]
            for source in self.sources
        ]
        return align_columns(cells, right={2})

    def _state(self, source: SourceHealth, now: datetime) -> str:
        """Return the status, or the level of old content: "ok" is what was fetched, not its age."""
        age = self._judge(source, now)
        return age.level if source.status == "ok" and age.is_old else source.status

    def _ages(self, source: SourceHealth, now: datetime) -> str:
        fetched, content = "never fetched", "content undated"
        if source.fetched_at is not None:
            fetched = f"fetched {_format_age(source.fetched_at, now)} ago"
        if source.content_at is not None:
            content = f"content {_format_age(source.content_at, now)} old"
            age = self._judge(source, now)
            if age.limit_hours is not None:
                content += f", {age.level} after {format_hours(age.limit_hours)}"
        rejected = f"{source.rejected:,} rejected; " if source.rejected else ""
        return f"{rejected}{fetched}, {content}"


def domain_status(session: DomainSession) -> DomainStatus:
    home = session.home
    dagster_home = session.project.settings.event_log_folder
    state = read_state(session.event_log, home, dagster_home, session.domain)
    return _status_of(home, session.domain, state.health)


def status_from_cache(home: Home, dagster_home: Path | None, domain: Domain) -> DomainStatus | None:
    """Return the status from the cache of the event log, or None if that is not current."""
    if not are_readable(dagster_home):
        return None
    state = load_state(home, domain.name, state_key(home, dagster_home, domain))
    return _status_of(home, domain, state.health) if state else None


def read_state(
    event_log: EventLog, home: Home, dagster_home: Path | None, domain: Domain
) -> DomainState:
    """Return what the event log says of the domain, and keep it in the cache."""
    from etl_assets.defs import asset_keys
    from etl_assets.operations.manifest import find_lost_parts

    key = state_key(home, dagster_home, domain)
    health: list[SourceHealth] = []
    raw_files: list[RawFile] = []
    tables: list[Table] = []
    states = event_log.read_sources(domain.sources.values())
    for source in domain.sources.values():
        state = states[source.name]
        results = [state.tables[part] for part in sorted(state.tables, key=lambda part: part or "")]
        health.append(summarize_health(source, list(state.fetches.values()), results))
        raw_files += [fetch.file for fetch in state.fetches.values() if fetch.file]
        tables += [result.table for result in results]
    published = event_log.latest_record(asset_keys.published_key(domain), PublishedSet)
    try:
        lost = find_lost_parts(home, domain, event_log, states)
    except HomeError:
        lost = {}  # the check of the ledger names the damaged manifest
    switches = event_log.automation_switches()
    names = [asset_keys.sensor_name(domain), *asset_keys.schedule_names(domain)]
    recorded = DomainState(
        health=health,
        raw_files=raw_files,
        tables=tables,
        link=published.link if published else None,
        unfinished_runs=event_log.unfinished_runs(domain.name),
        lost=sorted(str(domain.sources[name].part(part)) for name in lost for part in lost[name]),
        automation={name: switches.get(name) for name in names},
        run_count=event_log.run_count(),
    )
    if key == state_key(home, dagster_home, domain):  # nothing was recorded meanwhile
        keep_state(home, domain.name, key, recorded)
    return recorded


def _status_of(home: Home, domain: Domain, health: Sequence[SourceHealth]) -> DomainStatus:
    name = domain.name
    published, directory = _read_manifest(home, run_directory.published_directory(home, name))
    last, last_directory = _read_manifest(home, next(run_directory.list_runs(home, name), None))
    return DomainStatus(
        domain=name,
        limits={source.name: source.freshness for source in domain.sources.values()},
        sources=health,
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


def _format_age(moment: datetime, now: datetime) -> str:
    return format_hours((now - moment).total_seconds() / 3600, decimals=1)

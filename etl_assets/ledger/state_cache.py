"""A cache of what the event log says of a domain, so that looking at a home imports no Dagster.

Its loss, or a cache that another version wrote, costs time alone: it counts only as long as the
files that it was read from are the same, and is made again from the event log.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from pydantic import Field, ValidationError

from etl_assets.declarations.domain import Domain
from etl_assets.marts.source_status import SourceHealth
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import PublishedLink, RawFile, Record, Table
from etl_assets.storage.atomic_write import write_text

DATABASES = ("history/runs.db", "history/runs/index.db")
SCHEDULES = "schedules/schedules.db"  # the switches of sensors and schedules
FORMAT = "2"


class DomainState(Record):
    """What the event log says of a domain, for the verbs that only look."""

    health: list[SourceHealth]
    raw_files: list[RawFile] = []
    tables: list[Table] = []
    link: PublishedLink | None = None
    unfinished_runs: list[str] = []
    lost: list[str] = []
    automation: dict[str, bool | None] = Field(
        default={}, description="sensors and schedules; null if neither switched on nor off"
    )
    run_count: int = 0


class CachedState(Record):
    """A state with the key of the files that it was read from."""

    key: str
    state: DomainState


def state_key(home: Home, dagster_home: Path | None, domain: Domain) -> str | None:
    """Returns a digest of all that the state depends on; None if it cannot be cached.

    Files are known by their size and modification time, which every commit of SQLite changes. An
    event log in PostgreSQL has none: then `dagster_home` is None.
    """
    if dagster_home is None:
        return None
    digest = hashlib.sha256(f"{FORMAT} {version('etl-assets')}".encode())
    digest.update(domain.model_dump_json(by_alias=True).encode())
    for source in domain.sources.values():
        digest.update(source.model_dump_json(by_alias=True).encode())
    try:
        for path in _files_of_state(home, dagster_home, domain.name):
            stat = path.stat()
            digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}\n".encode())
    except OSError:
        return None
    return digest.hexdigest()


def _files_of_state(home: Home, dagster_home: Path, domain: str) -> Iterator[Path]:
    for name in (*DATABASES, SCHEDULES):
        database = dagster_home / name
        if name != SCHEDULES or database.exists():
            yield database
        # What is committed may still be in the write-ahead log, if another process uses it.
        log = database.with_name(f"{database.name}-wal")
        if log.exists() and log.stat().st_size:
            yield log
    yield dagster_home / "dagster.yaml"
    yield from sorted(home.manifests.glob(f"{domain}_*.json"))


def load_state(home: Home, domain: str, key: str | None) -> DomainState | None:
    """Returns the cached state if it has this key."""
    try:
        cached = CachedState.model_validate_json(home.event_log_cache(domain).read_bytes())
    except (OSError, ValidationError):
        return None
    return cached.state if key is not None and cached.key == key else None


def keep_state(home: Home, domain: str, key: str | None, state: DomainState) -> None:
    """Writes the cache; a home that cannot be written has none."""
    if key is None or not home.event_log_cache(domain).parent.is_dir():
        return
    try:
        text = CachedState(key=key, state=state).model_dump_json()
        write_text(home.event_log_cache(domain), text)
    except (OSError, HomeError):
        return


def are_readable(dagster_home: Path | None) -> bool:
    """True if SQLite can read the tables of the event log: a cache must not hide that it cannot."""
    if dagster_home is None:
        return False
    for name in DATABASES:
        path = dagster_home / name
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
                connection.execute("select count(*) from sqlite_master").fetchone()
        except (sqlite3.Error, ValueError):
            return False
    return True

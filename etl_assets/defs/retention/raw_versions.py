"""The versions of each part's raw file, and which of them retention no longer keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from etl_assets.declarations.domain import Domain, Retention
from etl_assets.defs.event_log import EventLog
from etl_assets.model.records import FetchResult, Part, RawFile


def list_versions(history: Iterable[FetchResult]) -> list[RawFile]:
    """Return every distinct file of a part's fetches, which begin with the newest."""
    versions: dict[str, RawFile] = {}
    for fetch in history:
        # The file of a pin is an older fetch, which has a record of its own.
        if fetch.file and fetch.pin is None:
            versions.setdefault(fetch.file.sha256, fetch.file)
    return list(versions.values())


def versions_by_part(event_log: EventLog, domain: Domain) -> dict[Part, list[RawFile]]:
    """Return every distinct file that was fetched for each part, the newest first."""
    versions = {}
    states = event_log.read_sources(domain.sources.values())
    for source in domain.sources.values():
        histories = event_log.fetch_histories(source)
        for partition in states[source.name].fetches:
            versions[source.part(partition)] = list_versions(histories[partition])
    return versions


def digests_in_use(event_log: EventLog, domain: Domain) -> set[str]:
    """Return the SHA-256 of every raw file that the domain's last records refer to.

    These files are never removed, however old they are.
    """
    digests: set[str] = set()
    for state in event_log.read_sources(domain.sources.values()).values():
        files: list[RawFile | None] = []
        for fetch in state.fetches.values():
            files += [fetch.file, fetch.pin.replaced_file if fetch.pin else None]
        files += [validation.file for validation in state.validated.values()]
        digests |= {file.sha256 for file in files if file}
        for result in state.tables.values():
            digests |= {result.table.source_sha256, result.refused_sha256 or ""}
    return digests - {""}


def list_old_versions(
    versions: Sequence[RawFile], retention: Retention, now: datetime
) -> Iterator[tuple[RawFile, str]]:
    """Yield the versions beyond the declared number or age, with the reason.

    `versions` starts with the newest. The age of a version is the time since it was replaced.
    """
    for number, version in enumerate(versions[1:], start=1):
        days = (now - versions[number - 1].fetched_at).days
        if number >= retention.versions:
            yield version, f"beyond {retention.versions} versions"
        elif days >= retention.days:
            yield version, f"replaced {days} days ago"

"""Delete raw files and run directories that retention no longer keeps and that nothing needs.

For `etl prune`; what a domain keeps is declared in `retention` of its `_domain.yaml`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from etl_assets.declarations.domain import Domain, Retention
from etl_assets.defs.context import ProjectSession
from etl_assets.fetch import raw_store
from etl_assets.ledger.manifest import load_manifests
from etl_assets.ledger.references import digests_of_run
from etl_assets.model.home import Home
from etl_assets.model.records import RawFile, Record
from etl_assets.model.run_manifest import MANIFEST_FILE, MARTS
from etl_assets.operations.manifest import digests_in_use, versions_by_part
from etl_assets.publish import run_directory
from etl_assets.storage.hashing import hash_file

OLD_RUN = "an old run"
UNLISTED = "listed in no record"


class Removed(Record):
    """A file or directory that was removed, with the bytes that this freed."""

    path: str = Field(description="relative to ETL_HOME")
    why: str
    size_bytes: int = Field(ge=0, description="0 if other hard links keep the bytes")

    def __str__(self) -> str:
        return f"{self.path}: {self.why}, {self.size_bytes:,} bytes"


def prune(
    session: ProjectSession, names: Sequence[str], *, now: datetime, dry_run: bool
) -> list[Removed]:
    """Remove what the named domains no longer keep; with `dry_run`, only return it.

    With all domains, also removes stored files that no record lists, once they are older than the
    longest declared age. While a domain has faults in its declarations, no raw file is removed, as
    that domain may need it. The caller holds the locks of all domains.
    """
    home, domains = session.project.home, session.project.domains
    runs: list[Path] = []
    for name in names:
        runs += list_old_runs(home, domains[name])
    files: dict[Path, str] = {}
    if broken := session.project.broken:
        session.project.echo(f"no raw file is removed, as {', '.join(broken)} may need it")
    else:
        files = _list_old_files(session, names, set(runs), now)
    removed = [
        Removed(path=home.relative(path), why=OLD_RUN, size_bytes=freed_bytes)
        for path, freed_bytes in run_directory.measure_freed_bytes(runs).items()
    ]
    removed += [
        Removed(path=home.relative(path), why=reason, size_bytes=path.stat().st_size)
        for path, reason in sorted(files.items())
    ]
    if not dry_run:
        for name in names:
            run_directory.finish_removals(home, name)
        # Runs first: as long as one exists, the files that its manifest lists must exist too.
        for path in runs:
            run_directory.remove(path)
        for path in files:
            raw_store.delete_file(home, path)
    return removed


def list_old_runs(home: Home, domain: Domain) -> list[Path]:
    """Return the run directories beyond the declared number that nothing needs, oldest first."""
    directories = run_directory.list_directories(home, domain.name)
    published = run_directory.published_directory(home, domain.name)
    keep_runs = domain.retention.keep_runs
    kept_runs = directories[:keep_runs] + ([published] if published else [])
    needed = {*kept_runs, *_list_base_runs(domain, kept_runs, directories)}
    return [path for path in reversed(directories[keep_runs:]) if path not in needed]


def _list_base_runs(
    domain: Domain, kept_runs: Sequence[Path], directories: Sequence[Path]
) -> Iterator[Path]:
    """Yield directories with the histories that kept runs were built from, as replay needs them."""
    needed_histories: set[str] = set()
    for path in kept_runs:
        if (path / MANIFEST_FILE).exists():
            needed_histories |= run_directory.read_manifest(path).histories
    digests: dict[int, str] = {}  # by inode, because most runs link the same file
    for directory in [*kept_runs, *directories]:
        file = directory / MARTS / f"{domain.history}.parquet"
        if not needed_histories or not file.exists():
            continue
        inode = file.stat().st_ino
        if inode not in digests:
            digests[inode] = hash_file(file)
        if digests[inode] in needed_histories:
            needed_histories.discard(digests[inode])
            yield directory


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


def _list_old_files(
    session: ProjectSession, names: Collection[str], old_runs: AbstractSet[Path], now: datetime
) -> dict[Path, str]:
    """Return the stored files to remove once `old_runs` are removed, with the reasons.

    The raw store is shared: a file is kept if any part of any domain needs it.
    """
    home, domains = session.project.home, session.project.domains
    needed = set(_list_referenced_digests(home, old_runs))
    reasons_by_domain: dict[str, dict[str, str]] = {}
    for domain in domains.values():
        needed |= digests_in_use(session.event_log, domain)
        reasons_by_domain[domain.name] = {}
        for part, versions in versions_by_part(session.event_log, domain).items():
            old_versions = {
                version.sha256: f"{part}: {reason}"
                for version, reason in list_old_versions(versions, domain.retention, now)
            }
            reasons_by_domain[domain.name] |= old_versions
            needed |= {version.sha256 for version in versions} - set(old_versions)
    reasons: dict[str, str] = {}
    for name in names:
        reasons |= reasons_by_domain[name]
    recorded = set[str]().union(*reasons_by_domain.values())
    is_every_domain = set(names) == set(domains)
    files = {}
    for path in raw_store.stored_files(home):
        sha256 = path.name
        if sha256 in needed:
            continue
        if sha256 in reasons:
            files[path] = reasons[sha256]
        elif is_every_domain and sha256 not in recorded:
            age = now - datetime.fromtimestamp(path.stat().st_mtime, UTC)
            if age.days >= max(domain.retention.days for domain in domains.values()):
                files[path] = UNLISTED
    return files


def _list_referenced_digests(home: Home, old_runs: AbstractSet[Path]) -> Iterator[str]:
    """Yield the digests in manifests that stay, also of domains that are not declared here."""
    for _, _, manifest in load_manifests(home):
        for record in manifest.records.values():
            yield from record.raw_digests
    for name in run_directory.list_domains(home):
        for directory in run_directory.list_runs(home, name):
            if directory not in old_runs:
                yield from digests_of_run(directory)

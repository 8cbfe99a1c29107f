"""Pruning: raw versions and directories of runs that retention lets go and that nothing needs.

What is beyond the declared bounds is chosen in `operations.retention_rules`; removing is `io`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path

from etl_assets.declarations.domain import Domain
from etl_assets.defs.context import ProjectContext, ProjectSession
from etl_assets.fetch import raw_store
from etl_assets.ledger.manifest import load_manifests
from etl_assets.ledger.references import digests_of_run
from etl_assets.model.run_manifest import MANIFEST_FILE, MARTS
from etl_assets.operations import retention_rules
from etl_assets.operations.manifest_verify import all_versions, in_use
from etl_assets.operations.store_results import Removed
from etl_assets.publish import run_directory
from etl_assets.storage.hashing import hash_file

OLD_RUN = "an old run"
UNNAMED = "named by no record"


def prune(
    session: ProjectSession,
    names: Sequence[str],
    *,
    now: datetime,
    dry_run: bool,
) -> list[Removed]:
    """What went of the domains, or with `dry_run` would go; the caller holds every domain's lock.

    With all domains, stored files that no record names go too, once they are older than any
    declared age.
    """
    project = session.project
    runs = [path for name in names for path in _runs(project, project.domains[name])]
    files = _Versions(session, now).to_remove(names, set(runs))
    removed = [
        *(
            _removed(project, path, OLD_RUN, freed)
            for path, freed in run_directory.measure_freed_bytes(runs).items()
        ),
        *(_removed(project, path, why, path.stat().st_size) for path, why in sorted(files.items())),
    ]
    if not dry_run:
        _remove(project, names, runs, files)
    return removed


def _remove(
    project: ProjectContext, names: Sequence[str], runs: Iterable[Path], files: Iterable[Path]
) -> None:
    """Runs first: while one is there, what its manifest names is there."""
    for name in names:
        run_directory.finish_removals(project.home, name)
    for path in runs:
        run_directory.remove(path)
    for path in files:
        raw_store.delete_file(project.home, path)


def _removed(project: ProjectContext, path: Path, why: str, freed: int) -> Removed:
    return Removed(path=project.home.relative(path), why=why, size_bytes=freed)


def _runs(project: ProjectContext, domain: Domain) -> list[Path]:
    """Directories of runs that go, the oldest first."""
    directories = run_directory.list_directories(project.home, domain.name)
    published = run_directory.published_directory(project.home, domain.name)
    kept = directories[: domain.retention.keep_runs] + ([published] if published else [])
    needed = {*kept, *_bases(domain, kept, directories)}
    return list(reversed(retention_rules.runs_to_remove(directories, domain.retention, needed)))


def _bases(domain: Domain, kept: Sequence[Path], directories: Sequence[Path]) -> Iterator[Path]:
    """Directories with a published history that a kept run was built from: to replay it."""
    whole = [path for path in kept if (path / MANIFEST_FILE).exists()]
    wanted = {sha256 for path in whole for sha256 in run_directory.read_manifest(path).histories}
    hashed: dict[int, str] = {}  # most runs link one file
    for directory in [*kept, *directories]:
        file = directory / MARTS / f"{domain.history}.parquet"
        if not wanted or not file.exists():
            continue
        inode = file.stat().st_ino
        if inode not in hashed:
            hashed[inode] = hash_file(file)
        if hashed[inode] in wanted:
            wanted.discard(hashed[inode])
            yield directory


class _Versions:
    """Every version of every domain, for the raw store is one for all."""

    def __init__(self, session: ProjectSession, now: datetime) -> None:
        event_log, project = session.event_log, session.project
        self._home, self._domains, self._now = project.home, project.domains, now
        self._in_use: set[str] = set()
        self._kept: set[str] = set()
        self._beyond: dict[str, dict[str, str]] = {}
        for domain in project.domains.values():
            self._in_use |= in_use(event_log, domain)
            beyond = self._beyond.setdefault(domain.name, {})
            for part, versions in all_versions(event_log, domain).items():
                going = {
                    version.sha256: f"{part}: {why}"
                    for version, why in retention_rules.versions_to_remove(
                        versions, domain.retention, now
                    )
                }
                beyond |= going
                self._kept |= {version.sha256 for version in versions} - set(going)

    def to_remove(self, names: Collection[str], runs: AbstractSet[Path]) -> dict[Path, str]:
        """Stored files that go, each with why, once the directories `list_runs` are gone."""
        needed = self._in_use | self._kept | set(self._named(runs))
        going = {sha256: why for name in names for sha256, why in self._beyond[name].items()}
        is_whole = set(names) == set(self._domains)
        return {
            path: why
            for path in raw_store.stored_files(self._home)
            if path.name not in needed
            and (why := going.get(path.name) or (self._why_unnamed(path) if is_whole else ""))
        }

    def _named(self, going: AbstractSet[Path]) -> Iterator[str]:
        """Digests in manifests that stay, also of domains that are declared elsewhere."""
        for _, _, manifest in load_manifests(self._home):
            for record in manifest.records.values():
                yield from record.raw_digests
        for name in run_directory.list_domains(self._home):
            for directory in run_directory.list_runs(self._home, name):
                if directory not in going:
                    yield from digests_of_run(directory)

    def _why_unnamed(self, path: Path) -> str:
        known = any(path.name in beyond for beyond in self._beyond.values())
        days = max(domain.retention.days for domain in self._domains.values())
        age = self._now - datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return UNNAMED if not known and age.days >= days else ""

"""Which run directories, raw files and scratch folders retention no longer keeps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from pathlib import Path

from etl_assets.declarations.domain import Domain
from etl_assets.defs.context import ProjectSession
from etl_assets.defs.retention.raw_versions import (
    digests_in_use,
    list_old_versions,
    versions_by_part,
)
from etl_assets.fetch import raw_store
from etl_assets.ledger.manifest import load_manifests
from etl_assets.model.home import Home
from etl_assets.model.records import Part, RawFile
from etl_assets.model.run_manifest import MANIFEST_FILE, MARTS
from etl_assets.publish import run_directory
from etl_assets.storage.signatures import Signatures

UNLISTED = "listed in no record"
# `etl diff` and `etl replay` remove their own; only one that was killed leaves it.
SCRATCH_AGE = timedelta(days=1)


def list_old_runs(
    home: Home,
    domain: Domain,
    published: Path | None,
    *,
    unfinished: AbstractSet[str] = frozenset(),
) -> list[Path]:
    """Return the run directories beyond the declared number that nothing needs, oldest first.

    `unfinished` are the names of those that a run of Dagster's pages still writes to.
    """
    directories = run_directory.list_directories(home, domain.name)
    keep_runs = domain.retention.keep_runs
    kept_runs = directories[:keep_runs] + ([published] if published else [])
    old_runs = [
        path
        for path in directories[keep_runs:]
        if path != published and path.name not in unfinished
    ]
    if not old_runs:
        return []
    # Without reading the manifests as records, which takes seconds.
    manifests = [path / MANIFEST_FILE for path in kept_runs]
    texts = [file.read_bytes() for file in manifests if file.is_file()]
    needed = {path for path in old_runs if _is_left_in_place(path, texts)}
    needed |= set(_list_base_runs(home, domain, kept_runs, old_runs, texts))
    return [path for path in reversed(old_runs) if path not in needed]


def _is_left_in_place(directory: Path, texts: Sequence[bytes]) -> bool:
    """Return True if a kept run had nothing to do, and left the set of this directory in place."""
    entry = f'"published_set": "{directory.name}"'.encode()
    return any(entry in text for text in texts)


def _list_base_runs(
    home: Home,
    domain: Domain,
    kept_runs: Sequence[Path],
    old_runs: Sequence[Path],
    texts: Sequence[bytes],
) -> Iterator[Path]:
    """Yield old runs with a history that a kept run was built from, as replay needs it.

    `texts` are the manifests of the kept runs.
    """
    signatures = Signatures.load(home.signatures(domain.name))
    stored: set[str] = set()
    for directory in [*kept_runs, *old_runs]:
        file = directory / MARTS / f"{domain.history}.parquet"
        if not file.is_file():
            continue
        digest = signatures.digest(file)
        is_needed = digest not in stored and any(digest.encode() in text for text in texts)
        stored.add(digest)
        if is_needed and directory not in kept_runs:
            yield directory
    signatures.save()


def list_old_files(
    session: ProjectSession, names: Collection[str], old_runs: AbstractSet[Path], now: datetime
) -> dict[Path, str]:
    """Return the stored files to remove once `old_runs` are removed, with the reasons.

    The raw store is shared: a file is kept if any part of any domain needs it.
    """
    home, domains = session.project.home, session.project.domains
    needed = set[str]()
    reasons: dict[str, str] = {}
    recorded = set[str]()
    for domain in domains.values():
        needed |= digests_in_use(session.event_log, domain)
        versions_of_parts = versions_by_part(session.event_log, domain)
        old_versions = old_version_reasons(domain, versions_of_parts, now)
        for versions in versions_of_parts.values():
            needed |= {version.sha256 for version in versions} - set(old_versions)
        recorded |= set(old_versions)
        if domain.name in names:
            reasons |= old_versions
    files = {}
    is_every_domain = set(names) == set(domains)
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
    needed_digests = find_named_digests(home, {path.name for path in files}, old_runs)
    return {path: reason for path, reason in files.items() if path.name not in needed_digests}


def old_version_reasons(
    domain: Domain, versions_of_parts: dict[Part, list[RawFile]], now: datetime
) -> dict[str, str]:
    """Return the reason for each digest that is an old version of a part."""
    return {
        version.sha256: f"{part}: {reason}"
        for part, versions in versions_of_parts.items()
        for version, reason in list_old_versions(versions, domain.retention, now)
    }


def find_named_digests(
    home: Home, digests: Collection[str], old_runs: AbstractSet[Path] = frozenset()
) -> set[str]:
    """Return those of the digests that manifests name, also of domains not declared here."""
    result: set[str] = set()
    if not digests:
        return result
    for _, _, manifest in load_manifests(home):
        for record in manifest.records.values():
            result |= set(record.raw_digests) & set(digests)
    for name in run_directory.list_domains(home):
        for directory in run_directory.list_runs(home, name):
            if directory not in old_runs:
                text = (directory / MANIFEST_FILE).read_bytes()
                result |= {digest for digest in digests if digest.encode() in text}
    return result


def list_old_scratch(home: Home, domain: Domain, now: datetime) -> list[Path]:
    """Return the temporary builds of the domain that a killed command left."""
    return [
        path
        for path in sorted(home.scratch.glob(f"{domain.name}.*/"))
        if now - datetime.fromtimestamp(path.stat().st_mtime, UTC) >= SCRATCH_AGE
    ]

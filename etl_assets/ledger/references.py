"""Which raw files the manifests refer to: those of stored files, and those of runs.

References in the event log are collected in `etl_assets.operations.manifest`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from etl_assets.ledger.manifest import load_manifests
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.run_manifest import MANIFEST_FILE
from etl_assets.publish import run_directory

ADVICE = "`etl run` repairs the published set, and `etl prune --damaged` removes any other run"


def references(home: Home, domain: str | None = None) -> dict[str, list[str]]:
    """Returns the manifests that refer to each raw file, by its SHA-256.

    Without a domain, includes every domain that has files in this home, declared or not. Raises
    HomeError if a manifest is damaged.
    """
    manifests_by_digest: dict[str, list[str]] = {}
    for path, digests in (*_ledger_digests(home, domain), *_run_digests(home, domain)):
        for sha256 in sorted(digests):
            manifests_by_digest.setdefault(sha256, []).append(home.relative(path))
    return manifests_by_digest


def digests_of_run(directory: Path) -> set[str]:
    """Returns the SHA-256 of every raw file that a run was made from."""
    return {s.sha256 for s in run_directory.read_manifest(directory).sources if s.sha256}


def _ledger_digests(home: Home, domain: str | None) -> Iterator[tuple[Path, set[str]]]:
    for name, path, manifest in load_manifests(home):
        if domain in {None, name}:
            records = manifest.records.values()
            yield path, set[str]().union(*(record.raw_digests for record in records))


def _run_digests(home: Home, domain: str | None) -> Iterator[tuple[Path, set[str]]]:
    for name in [domain] if domain else run_directory.list_domains(home):
        for directory in run_directory.list_runs(home, name):
            try:
                digests = digests_of_run(directory)
            except HomeError as error:
                raise HomeError(f"{error}; {ADVICE}") from error
            yield directory / MANIFEST_FILE, digests

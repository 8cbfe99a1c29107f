"""Which raw files are named by what is kept as files: exported ledgers, and manifests of runs.

What the event log names beside them, only `etl_assets.assets` can read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from etl_assets.ledger import files
from etl_assets.model.home import Home
from etl_assets.model.run_manifest import MANIFEST_FILE
from etl_assets.publish import run_directory


def references(home: Home, domain: str | None = None) -> dict[str, list[str]]:
    """Digests, each with the manifests that name it; HomeError for a damaged manifest.

    Without a domain, those of every domain that ever worked in this home.
    """
    found: dict[str, list[str]] = {}
    for path, digests in (*_of_ledgers(home, domain), *_of_runs(home, domain)):
        for sha256 in sorted(digests):
            found.setdefault(sha256, []).append(home.relative(path))
    return found


def digests_of_run(directory: Path) -> set[str]:
    """Raw files that a run was made from."""
    return {s.sha256 for s in run_directory.read_manifest(directory).sources if s.sha256}


def _of_ledgers(home: Home, domain: str | None) -> Iterator[tuple[Path, set[str]]]:
    for name, path, manifest in files.load_all(home):
        if domain in {None, name}:
            yield path, {sha256 for record in manifest.records.values() for sha256 in record.named}


def _of_runs(home: Home, domain: str | None) -> Iterator[tuple[Path, set[str]]]:
    for name in [domain] if domain else run_directory.list_domains(home):
        for directory in run_directory.list_runs(home, name):
            yield directory / MANIFEST_FILE, digests_of_run(directory)

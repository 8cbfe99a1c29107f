"""The event log as files: what is exported to manifests/ after a published run, or when asked.

The event log stays the book; reading and writing the files is `ledger.manifest`.
"""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import read_sources
from etl_assets.ledger.manifest import (
    DownloadRecord,
    IngestionRecord,
    ManifestRecord,
    Process,
    ValidationRecord,
    export_manifest,
    load_manifest,
    manifest_file,
)
from etl_assets.model.errors import HomeError

DISTRIBUTION = "etl-assets"


def export_ledger(
    instance: dg.DagsterInstance, place: ProjectContext, domain: Domain, at: datetime
) -> list[str]:
    """Write the manifests that changed; returns their processes."""
    etl_version = version(DISTRIBUTION)
    written = []
    for process, records in _records(instance, domain).items():
        changed = export_manifest(
            place.home, domain.name, process, records, etl_version=etl_version, at=at
        )
        written += [process.value] if changed else []
    return written


def export_asked(
    instance: dg.DagsterInstance, place: ProjectContext, domain: Domain, at: datetime
) -> list[str]:
    """The same when a person asks for it; HomeError where an event log that was lost would win."""
    standing = load_manifest(place.home, domain.name, Process.DOWNLOAD)
    if standing and standing.records and not _records(instance, domain)[Process.DOWNLOAD]:
        path = manifest_file(place.home, domain.name, Process.DOWNLOAD)
        raise HomeError(
            f"{path}: expected an event log that knows the {len(standing.records)} files named "
            f"there, found an empty one; `etl manifest restore {domain.name}` gives them back"
        )
    return export_ledger(instance, place, domain, at)


def _records(instance: dg.DagsterInstance, domain: Domain) -> dict[Process, list[ManifestRecord]]:
    found: dict[Process, list[ManifestRecord]] = {process: [] for process in Process}
    for state in read_sources(instance, domain.sources.values()).values():
        found[Process.DOWNLOAD] += [
            DownloadRecord(file=fetch.file, pin=fetch.pin)
            for fetch in state.fetches.values()
            if fetch.file
        ]
        found[Process.VALIDATION] += [
            ValidationRecord(
                file=v.file,
                verdict=v.verdict,
                stands_in=v.stands_in,
                code_version=v.code_version,
            )
            for v in state.validated.values()
            if v.file and v.verdict
        ]
        found[Process.INGESTION] += [
            IngestionRecord.of(v.file, state.tables[part])
            for part, v in state.validated.items()
            if v.file and part in state.tables
        ]
    return found

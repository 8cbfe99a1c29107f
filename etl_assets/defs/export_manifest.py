"""The event log exported to manifests/, after a run that publishes and on request.

Reading and writing the files is `etl_assets.ledger.manifest`.
"""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version

from etl_assets.defs.context import DomainSession
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


def export_ledger(session: DomainSession, at: datetime) -> list[str]:
    """Write the manifests that changed, and return their processes."""
    name, etl_version = session.domain.name, version(DISTRIBUTION)
    written = []
    for process, records in _manifest_records(session).items():
        if export_manifest(session.home, name, process, records, etl_version=etl_version, at=at):
            written.append(process.value)
    return written


def export_on_request(session: DomainSession, at: datetime) -> list[str]:
    """Do the same, but raise HomeError if a lost event log would overwrite the manifests."""
    home, name = session.home, session.domain.name
    exported = load_manifest(home, name, Process.DOWNLOAD)
    if exported and exported.records and not _manifest_records(session)[Process.DOWNLOAD]:
        path = manifest_file(home, name, Process.DOWNLOAD)
        raise HomeError(
            f"{path}: expected an event log that has the {len(exported.records)} files named "
            f"there, found an empty one; `etl manifest restore {name}` rebuilds it"
        )
    return export_ledger(session, at)


def _manifest_records(session: DomainSession) -> dict[Process, list[ManifestRecord]]:
    records: dict[Process, list[ManifestRecord]] = {process: [] for process in Process}
    for state in session.read_sources().values():
        for fetch in state.fetches.values():
            if fetch.file:
                records[Process.DOWNLOAD].append(DownloadRecord(file=fetch.file, pin=fetch.pin))
        for partition, validation in state.validated.items():
            file, verdict = validation.file, validation.verdict
            if file and verdict:
                record = ValidationRecord(
                    file=file,
                    verdict=verdict,
                    is_fallback=validation.is_fallback,
                    code_version=validation.code_version,
                )
                records[Process.VALIDATION].append(record)
            if file and partition in state.tables:
                table = state.tables[partition]
                records[Process.INGESTION].append(IngestionRecord.of(file, table))
    return records

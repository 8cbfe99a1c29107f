"""The event log as files: what is exported to manifests/ after a published run.

The event log stays the book; reading and writing the files is `io.ledger`.
"""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version

import dagster as dg

from etl_assets.assets import keys
from etl_assets.assets.state import standing
from etl_assets.assets.workplace import Workplace
from etl_assets.io import ledger
from etl_assets.model.declaration import Domain
from etl_assets.model.ledger import (
    DownloadRecord,
    IngestionRecord,
    ManifestRecord,
    Process,
    ValidationRecord,
)
from etl_assets.model.records import Fetch, Tabulated, Validated

DISTRIBUTION = "etl-assets"


def export_ledger(
    instance: dg.DagsterInstance, place: Workplace, domain: Domain, at: datetime
) -> list[str]:
    """Write the manifests that changed; returns their processes."""
    etl_version = version(DISTRIBUTION)
    written = []
    for process, records in _records(instance, domain).items():
        changed = ledger.export(
            place.home, domain.name, process, records, etl_version=etl_version, at=at
        )
        written += [process.value] if changed else []
    return written


def _records(instance: dg.DagsterInstance, domain: Domain) -> dict[Process, list[ManifestRecord]]:
    found: dict[Process, list[ManifestRecord]] = {process: [] for process in Process}
    for source in domain.sources.values():
        partitioned = source.partitions is not None
        fetches = standing(instance, keys.raw_key(source), Fetch, partitioned=partitioned)
        judged = standing(instance, keys.validated_key(source), Validated, partitioned=partitioned)
        tables = standing(instance, keys.table_key(source), Tabulated, partitioned=partitioned)
        found[Process.DOWNLOAD] += [
            DownloadRecord.of(fetch.file) for fetch in fetches.values() if fetch.file
        ]
        found[Process.VALIDATION] += [
            ValidationRecord.of(v.file, v.verdict, version=v.code_version)
            for v in judged.values()
            if v.file and v.verdict and v.verdict.ok
        ]
        found[Process.INGESTION] += [
            IngestionRecord.of(v.file, tables[part].table)
            for part, v in judged.items()
            if v.file and part in tables and tables[part].table.source_sha256 == v.file.sha256
        ]
    return found

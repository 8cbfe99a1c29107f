"""The event log of a domain, rebuilt from its exported ledger and the stores.

For an empty one only: what an event log says is never overwritten. Writing the ledger is
`etl_assets.defs.export_manifest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys, raw, tables, validated
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.event_log import EventLog
from etl_assets.fetch import raw_store
from etl_assets.ledger.manifest import (
    DownloadRecord,
    IngestionRecord,
    ManifestRecord,
    Process,
    ValidationRecord,
    load_manifest,
    load_manifests,
    manifest_file,
)
from etl_assets.model.errors import ContentError, HomeError, UsageError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    Part,
    RawFile,
    Reason,
    StoredState,
    TableResult,
    ValidationResult,
)
from etl_assets.operations.store_results import Restored
from etl_assets.storage.hashing import hash_file
from etl_assets.tables import tabulate

R = TypeVar("R", bound=ManifestRecord)
Records = Mapping[Process, Mapping[str, ManifestRecord]]
ADVICE = {
    StoredState.MISSING: "is missing: the next run fetches it",
    StoredState.DAMAGED: "is damaged: the next run fetches it",
}


def restore(session: DomainSession) -> Restored:
    """Give the event log what the ledger says; raises where it knows the domain, or there is none.

    A table whose file is gone or is another one is made again from its raw file.
    """
    event_log, project, domain = session.event_log, session.project, session.domain
    states = event_log.read_sources(domain.sources.values())
    if known := sorted(name for name, state in states.items() if state.fetches):
        raise UsageError(
            f"{domain.name}: expected an event log that knows none of its files, found those of "
            f"{', '.join(known)}; restore is for an empty DAGSTER_HOME"
        )
    restoring = _Restoring(event_log, project, _load(project.home, domain))
    for source in domain.sources.values():
        restoring.restore(source)
    return restoring.told(domain)


def exported(project: ProjectContext) -> list[str]:
    """The declared domains that have a ledger; raises HomeError where none has."""
    found = {name for name, _, _ in load_manifests(project.home)} & set(project.domains)
    if not found:
        raise HomeError(f"{project.home.manifests}: expected exported ledgers, found none")
    return sorted(found)


def _load(home: Home, domain: Domain) -> Records:
    found = {process: load_manifest(home, domain.name, process) for process in Process}
    if found[Process.DOWNLOAD] is None:
        path = manifest_file(home, domain.name, Process.DOWNLOAD)
        raise HomeError(f"{path}: expected the exported ledger, found none; put it back")
    return {process: manifest.records if manifest else {} for process, manifest in found.items()}


class _Restoring:
    """One restoration, with what it has done."""

    def __init__(self, event_log: EventLog, project: ProjectContext, records: Records) -> None:
        self._event_log, self._project, self._records = event_log, project, records
        self._heard: set[str] = set()
        self._files: list[str] = []
        self._tables: list[str] = []
        self._made: list[str] = []
        self._unheard: list[str] = []

    def restore(self, source: Source) -> None:
        """Everything of one source, in the order in which it was made."""
        fetches = [self._fetch(r) for r in self._of(source, DownloadRecord, Process.DOWNLOAD)]
        files = {fetch.part: fetch.file for fetch in fetches}
        judged = [
            _with_file(record.result, files)
            for record in self._of(source, ValidationRecord, Process.VALIDATION)
        ]
        ingested = self._of(source, IngestionRecord, Process.INGESTION)
        made = [table for record in ingested if (table := self._table(source, record.result))]
        by_partition = {fetch.part.partition: fetch for fetch in fetches}
        log, key = self._event_log, asset_keys.raw_key(source)
        for partition, fetch in by_partition.items():
            log.report_outcome(key, partition, raw.raw_outcome(fetch))
        if by_partition:
            log.report_checks(source, key, raw.CHECKS, by_partition, by_partition)
        key = asset_keys.validated_key(source)
        validations = {record.part.partition: record for record in judged}
        for partition, validation in validations.items():
            outcome = validated.validated_outcome(validation, reused=True)
            log.report_outcome(key, partition, outcome)
        if validations:
            log.report_checks(source, key, validated.CHECKS, validations, by_partition)
        key = asset_keys.table_key(source)
        results = {table.part.partition: table for table in made}
        for partition, table in results.items():
            log.report_outcome(key, partition, tables.table_outcome(table, reused=True))
        if results:
            log.report_checks(source, key, tables.CHECKS, results, by_partition)

    def told(self, domain: Domain) -> Restored:
        strangers = sorted(set(self._records[Process.DOWNLOAD]) - self._heard)
        return Restored(
            domain=domain.name,
            files=self._files,
            tables=self._tables,
            made=self._made,
            unheard=[*self._unheard, *(f"{key}: is not declared any more" for key in strangers)],
        )

    def _of(self, source: Source, kind: type[R], process: Process) -> list[R]:
        return [
            record
            for record in self._records[process].values()
            if isinstance(record, kind)
            and record.part.source == source.full_name
            and (record.part.partition is None) == (source.partitions is None)
        ]

    def _fetch(self, record: DownloadRecord) -> FetchResult:
        self._heard.add(record.key)
        file, pin = record.file, record.pin
        found = raw_store.verify(self._project.home, file.sha256)
        if found is StoredState.PRESENT:
            self._files.append(record.key)
        else:
            self._unheard.append(f"{record.key}: {file.path} {ADVICE[found]}")
        return FetchResult(
            part=record.part,
            status=FetchStatus.PINNED if pin else FetchStatus.UNCHANGED,
            decision=Decision(part=record.part, fetch=False, reason=Reason.RESTORED),
            file=file,
            fault=str(pin) if pin else None,
            pin=pin,
        )

    def _table(self, source: Source, record: TableResult) -> TableResult | None:
        """The record of a table that stands, made again if need be; None where it cannot be."""
        path = self._project.home.root / record.table.path
        if path.exists() and hash_file(path) == record.table.sha256:
            self._tables.append(str(record.part))
            return record
        made_of = record.table.source_sha256
        if not made_of or raw_store.verify(self._project.home, made_of) is not StoredState.PRESENT:
            self._unheard.append(f"{record.part}: its table is lost: the next run makes it")
            return None
        try:
            table = tabulate.tabulate(
                self._project.home,
                source,
                record.part,
                self._project.home.raw_file(made_of),
                made_of,
                code_version=tabulate.code_version(source),
            )
        except ContentError as error:
            self._unheard.append(f"{record.part}: its table cannot be made again: {error}")
            return None
        self._made.append(str(record.part))
        dated = table.content_at or record.table.content_at
        return record.model_copy(update={"table": table.model_copy(update={"content_at": dated})})


def _with_file(record: ValidationResult, files: Mapping[Part, RawFile | None]) -> ValidationResult:
    """The download itself, which knows more, where it is the very file that was judged good."""
    file = files.get(record.part)
    is_same = file is not None and record.file is not None and file.sha256 == record.file.sha256
    return record.model_copy(update={"file": file}) if is_same else record

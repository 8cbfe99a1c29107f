"""The event log of a domain, rebuilt from its exported ledger and the stores.

For an empty one only: what an event log says is never overwritten. Writing the ledger is
`etl_assets.defs.export_manifest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys, raw, tables, validated
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import read_sources
from etl_assets.defs.materialize import PartOutcome, evaluation_of, event_of
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


def restore(instance: dg.DagsterInstance, place: ProjectContext, domain: Domain) -> Restored:
    """Give the event log what the ledger says; raises where it knows the domain, or there is none.

    A table whose file is gone or is another one is made again from its raw file.
    """
    states = read_sources(instance, domain.sources.values())
    if known := sorted(name for name, state in states.items() if state.fetches):
        raise UsageError(
            f"{domain.name}: expected an event log that knows none of its files, found those of "
            f"{', '.join(known)}; restore is for an empty DAGSTER_HOME"
        )
    restoring = _Restoring(instance, place, _load(place.home, domain))
    for source in domain.sources.values():
        restoring.restore(source)
    return restoring.told(domain)


def exported(place: ProjectContext) -> list[str]:
    """The declared domains that have a ledger; raises HomeError where none has."""
    found = {name for name, _, _ in load_manifests(place.home)} & set(place.domains)
    if not found:
        raise HomeError(f"{place.home.manifests}: expected exported ledgers, found none")
    return sorted(found)


def _load(home: Home, domain: Domain) -> Records:
    found = {process: load_manifest(home, domain.name, process) for process in Process}
    if found[Process.DOWNLOAD] is None:
        path = manifest_file(home, domain.name, Process.DOWNLOAD)
        raise HomeError(f"{path}: expected the exported ledger, found none; put it back")
    return {process: manifest.records if manifest else {} for process, manifest in found.items()}


class _Restoring:
    """One restoration, with what it has done."""

    def __init__(
        self, instance: dg.DagsterInstance, place: ProjectContext, records: Records
    ) -> None:
        self._instance, self._place, self._records = instance, place, records
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
        self._report(
            asset_keys.raw_key(source),
            raw.CHECK,
            {fetch.part: raw.outcome_of(source, fetch) for fetch in fetches},
        )
        self._report(
            asset_keys.validated_key(source),
            validated.CHECK,
            {
                record.part: validated.outcome_of(record, reused=True, complaint=_fault(record))
                for record in judged
            },
        )
        self._report(
            asset_keys.table_key(source),
            tables.CHECK,
            {table.part: tables.outcome_of(source, table, reused=True) for table in made},
        )

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
        found = raw_store.verify(self._place.home, file.sha256)
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
        path = self._place.home.root / record.table.path
        if path.exists() and hash_file(path) == record.table.sha256:
            self._tables.append(str(record.part))
            return record
        made_of = record.table.source_sha256
        if not made_of or raw_store.verify(self._place.home, made_of) is not StoredState.PRESENT:
            self._unheard.append(f"{record.part}: its table is lost: the next run makes it")
            return None
        try:
            table = tabulate.tabulate(
                self._place.home,
                source,
                record.part,
                self._place.home.raw_file(made_of),
                made_of,
                code_version=tabulate.code_version(source),
            )
        except ContentError as error:
            self._unheard.append(f"{record.part}: its table cannot be made again: {error}")
            return None
        self._made.append(str(record.part))
        dated = table.content_at or record.table.content_at
        return record.model_copy(update={"table": table.model_copy(update={"content_at": dated})})

    def _report(self, key: dg.AssetKey, check: str, outcomes: Mapping[Part, PartOutcome]) -> None:
        for part, outcome in outcomes.items():
            self._instance.report_runless_asset_event(event_of(key, part.partition, outcome))
        if outcomes:
            found = evaluation_of(key, check, outcomes.values())
            self._instance.report_runless_asset_event(found)


def _with_file(record: ValidationResult, files: Mapping[Part, RawFile | None]) -> ValidationResult:
    """The download itself, which knows more, where it is the very file that was judged good."""
    file = files.get(record.part)
    is_same = file is not None and record.file is not None and file.sha256 == record.file.sha256
    return record.model_copy(update={"file": file}) if is_same else record


def _fault(record: ValidationResult) -> str | None:
    return f"{record.verdict}; the last good file stands in" if record.stands_in else None

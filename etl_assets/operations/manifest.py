"""Verify the raw store, and restore the event log, from the manifests under `manifests/`.

For `etl manifest verify` and `restore`; exporting them is `etl_assets.defs.export_manifest`, and
their format is `etl_assets.ledger.manifest`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

from pydantic import Field

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys, raw, tables, validated
from etl_assets.defs.context import DomainSession, ProjectContext, ProjectSession
from etl_assets.defs.event_log import EventLog, SourceState
from etl_assets.defs.retention.raw_versions import digests_in_use, versions_by_part
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
from etl_assets.ledger.references import references
from etl_assets.model.display_text import MAX_NAMES, format_count
from etl_assets.model.errors import ContentError, HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    Reason,
    Record,
    StoredState,
    TableResult,
    ValidationResult,
)
from etl_assets.operations.verify import Fault, StoreFault, find_altered_files
from etl_assets.storage.hashing import has_sha256
from etl_assets.tables import tabulate

R = TypeVar("R", bound=ManifestRecord)
Records = Mapping[Process, Mapping[str, ManifestRecord]]
STATE_MESSAGES = {
    StoredState.MISSING: "is missing: the next run fetches it",
    StoredState.DAMAGED: "is damaged: the next run fetches it",
}


class Verification(Record):
    """The result of hashing the files of a home."""

    files: int = Field(ge=0, description="raw files that are listed in a manifest")
    size_bytes: int = Field(ge=0, description="of the raw files")
    other_files: int = Field(
        default=0, ge=0, description="tables, files of run directories and copies of histories"
    )
    faults: list[StoreFault]

    def lines(self) -> list[str]:
        count = len(self.faults)
        result = format_count(count, "fault") if count else "all as recorded"
        raw_files = f"{self.files} raw files, {self.size_bytes:,} bytes"
        lines = [f"{raw_files}, and {self.other_files:,} other files: {result}"]
        lines += map(str, self.faults[:MAX_NAMES])
        if count > MAX_NAMES:
            lines.append(f"and {count - MAX_NAMES:,} more, with --json")
        kinds = {fault.fault for fault in self.faults}
        if kinds & {Fault.MISSING, Fault.ALTERED}:
            lines.append("the next run fetches or makes again what it needs")
        if any(fault.path.startswith("outputs/") for fault in self.faults):
            lines.append(
                "`etl prune --damaged` removes damaged run directories but the published set"
            )
        if Fault.ORPHANED in kinds:
            lines.append("`etl prune` removes orphaned files once they are old")
        return lines


class RestoreResult(Record):
    """What was restored into the event log of a domain."""

    domain: str
    files: list[str] = Field(description="parts whose raw file is stored")
    tables: list[str] = Field(description="parts whose table is stored")
    rebuilt_tables: list[str] = Field(
        alias="made", description="parts whose table was built from the raw file"
    )
    problems: list[str] = Field(
        alias="unheard", description="what was not restored, with the reason"
    )

    def lines(self) -> list[str]:
        summary = (
            f"{self.domain}: {len(self.files)} raw files and {len(self.tables)} tables restored, "
            f"{len(self.rebuilt_tables)} tables rebuilt"
        )
        return [summary, *(f"  {problem}" for problem in self.problems)]


def verify_store(session: ProjectSession, domain: Domain | None) -> Verification:
    """Hash the raw files that the manifests of one domain, or of all, list, and all other files.

    Looks for orphans in the whole store, files that neither a manifest nor the event log lists,
    unless a domain has faults in its declarations: the event log may list files of that domain.
    """
    home = session.project.home
    all_references = references(home)
    listed_files = references(home, domain.name) if domain else all_references
    size_bytes = 0
    faults = []
    for sha256, manifests in sorted(listed_files.items()):
        path = home.raw_file(sha256)
        if path.exists():
            size_bytes += path.stat().st_size
        state = raw_store.verify(home, sha256)
        if state is not StoredState.PRESENT:
            fault = Fault.MISSING if state is StoredState.MISSING else Fault.ALTERED
            faults.append(StoreFault(path=home.relative(path), fault=fault, named_by=manifests))
    if broken := session.project.broken:
        session.project.say(f"orphans are not looked for, as {', '.join(broken)} may need them")
    else:
        faults += _find_orphans(session, all_references)
    domains = [domain] if domain else session.project.domains.values()
    other_files = 0
    for each in domains:
        count, altered = find_altered_files(session.for_domain(each.name))
        other_files += count
        faults += altered
    return Verification(
        files=len(listed_files), size_bytes=size_bytes, other_files=other_files, faults=faults
    )


def _find_orphans(session: ProjectSession, listed_digests: Collection[str]) -> Iterator[StoreFault]:
    """Yield the stored files whose digest neither `listed_digests` nor the event log has."""
    home, recorded_digests = session.project.home, set(listed_digests)
    for domain in session.project.domains.values():
        recorded_digests |= digests_in_use(session.event_log, domain)
        for versions in versions_by_part(session.event_log, domain).values():
            recorded_digests |= {version.sha256 for version in versions}
    for path in raw_store.stored_files(home):
        # A file in another folder than that of its digest is never read.
        if path.name not in recorded_digests or path != home.raw_file(path.name):
            yield StoreFault(path=home.relative(path), fault=Fault.ORPHANED)


def list_exported_domains(project: ProjectContext) -> list[str]:
    """Return the declared domains that have manifests; raises HomeError if there are none."""
    declared = project.domains.keys() | project.broken.keys()
    names = {name for name, _, _ in load_manifests(project.home)} & declared
    if not names:
        raise HomeError(f"{project.home.manifests}: expected exported manifests, found none")
    return sorted(names)


def find_lost_parts(
    home: Home, domain: Domain, event_log: EventLog, states: Mapping[str, SourceState]
) -> dict[str, set[str | None]]:
    """Return the partitions whose record in the event log is missing or older, by source name.

    The manifests are written after the event log: a newer record in them, or a decision that the
    event log never had, means that the event log, or a part of it, was lost. Raises HomeError if a
    manifest is damaged.
    """
    lost: dict[str, set[str | None]] = {}
    for process in (Process.DOWNLOAD, Process.INGESTION):
        manifest = load_manifest(home, domain.name, process)
        for record in manifest.records.values() if manifest else ():
            source = domain.sources.get(record.part.source.name)
            if source is None:
                continue
            is_partitioned = record.part.partition is not None
            if is_partitioned != (source.partitions is not None):
                continue  # it was partitioned otherwise at that time
            if _is_newer(event_log, source, record, states[source.name]):
                lost.setdefault(source.name, set()).add(record.part.partition)
    return lost


def _is_newer(
    event_log: EventLog, source: Source, record: ManifestRecord, state: SourceState
) -> bool:
    """Return True if a record of a manifest is newer than that of the event log."""
    partition = record.part.partition
    fetch = state.fetches.get(partition)
    if fetch is not None and fetch.status is FetchStatus.FORGOTTEN:
        return False  # a forgotten part is left out of the next manifest
    if isinstance(record, IngestionRecord):
        return _has_other_acceptance(event_log, source, record, state.tables.get(partition))
    if not isinstance(record, DownloadRecord):
        return False
    return fetch is None or _is_newer_fetch(event_log, source, record, fetch)


def _is_newer_fetch(
    event_log: EventLog, source: Source, record: DownloadRecord, fetch: FetchResult
) -> bool:
    if record.pin is not None and record.pin != fetch.pin:
        # An event log that has the pin knows what became of it.
        history = event_log.fetch_history(source, record.part.partition)
        return all(earlier.pin != record.pin for earlier in history)
    if fetch.pin is not None:
        return False  # its file is an earlier one
    if fetch.file is None or record.file.fetched_at > fetch.file.fetched_at:
        return fetch.status is not FetchStatus.MISSING
    return False


def _has_other_acceptance(
    event_log: EventLog, source: Source, record: IngestionRecord, table: TableResult | None
) -> bool:
    """Return True if the operator accepted a file, and the event log never had that decision."""
    unknown = set(record.accepted) - set(table.accepted if table else [])
    if not unknown:
        return False
    key, partition = asset_keys.table_key(source), record.part.partition
    for earlier in event_log.record_history(key, partition, TableResult):
        unknown -= set(earlier.accepted)
    return bool(unknown)


def restore(session: DomainSession) -> RestoreResult:
    """Add the records that the event log has lost, from the manifests of the domain.

    A table whose file is missing or altered is rebuilt from its raw file. Raises HomeError if there
    is no manifest.
    """
    domain, home = session.domain, session.home
    lost = find_lost_parts(home, domain, session.event_log, session.read_sources())
    restorer = _Restorer(session.event_log, home, _load_records(home, domain))
    for source in domain.sources.values():
        if source.name in lost:
            restorer.restore(source, lost[source.name])
    return restorer.result(domain)


def _load_records(home: Home, domain: Domain) -> Records:
    manifests = {process: load_manifest(home, domain.name, process) for process in Process}
    if manifests[Process.DOWNLOAD] is None:  # the other two only refer to downloads
        path = manifest_file(home, domain.name, Process.DOWNLOAD)
        raise HomeError(f"{path}: expected the exported manifest, found none; put it back")
    return {p: manifest.records if manifest else {} for p, manifest in manifests.items()}


class _Restorer:
    """Restores one source after the other, and collects what was restored."""

    def __init__(self, event_log: EventLog, home: Home, records: Records) -> None:
        self._event_log, self._home, self._records = event_log, home, records
        self._files: list[str] = []
        self._tables: list[str] = []
        self._rebuilt_tables: list[str] = []
        self._problems: list[str] = []

    def restore(self, source: Source, partitions: Collection[str | None]) -> None:
        """Report the records of some partitions of a source in the order of its stages."""
        log = self._event_log
        fetches = {
            record.part.partition: self._fetch_result(record)
            for record in self._records_of(source, DownloadRecord, Process.DOWNLOAD, partitions)
        }
        key = asset_keys.raw_key(source)
        for partition, fetch in fetches.items():
            log.report_outcome(key, partition, raw.raw_outcome(fetch))
        if fetches:
            log.report_checks(source, key, raw.CHECKS, fetches, fetches)

        validations = {}
        for validation_record in self._records_of(
            source, ValidationRecord, Process.VALIDATION, partitions
        ):
            partition = validation_record.part.partition
            download = fetches.get(partition)
            validations[partition] = _with_download(validation_record.result, download)
        key = asset_keys.validated_key(source)
        for partition, validation in validations.items():
            outcome = validated.validated_outcome(validation, reused=True)
            log.report_outcome(key, partition, outcome)
        if validations:
            log.report_checks(source, key, validated.CHECKS, validations, fetches)

        results = {}
        for ingestion_record in self._records_of(
            source, IngestionRecord, Process.INGESTION, partitions
        ):
            result = self._table_result(source, ingestion_record.result)
            if result:
                results[result.part.partition] = result
        key = asset_keys.table_key(source)
        for partition, result in results.items():
            log.report_outcome(key, partition, tables.table_outcome(result, reused=True))
        if results:
            log.report_checks(source, key, tables.CHECKS, results, fetches)

    def result(self, domain: Domain) -> RestoreResult:
        undeclared = sorted(
            key
            for key, record in self._records[Process.DOWNLOAD].items()
            if record.part.source.name not in domain.sources
        )
        return RestoreResult(
            domain=domain.name,
            files=self._files,
            tables=self._tables,
            rebuilt_tables=self._rebuilt_tables,
            problems=[*self._problems, *(f"{key}: is no longer declared" for key in undeclared)],
        )

    def _records_of(
        self,
        source: Source,
        kind: type[R],
        process: Process,
        partitions: Collection[str | None],
    ) -> list[R]:
        return [
            record
            for record in self._records[process].values()
            if isinstance(record, kind)
            and record.part.source == source.full_name
            and record.part.partition in partitions
        ]

    def _fetch_result(self, record: DownloadRecord) -> FetchResult:
        file, pin = record.file, record.pin
        state = raw_store.verify(self._home, file.sha256)
        if state is StoredState.PRESENT:
            self._files.append(record.key)
        else:
            self._problems.append(f"{record.key}: {file.path} {STATE_MESSAGES[state]}")
        return FetchResult(
            part=record.part,
            status=FetchStatus.PINNED if pin else FetchStatus.UNCHANGED,
            # Not served by the remote: the next run probes it, and fetches what has changed.
            decision=Decision(part=record.part, fetch=False, reason=Reason.RESTORED),
            file=file,
            fault=str(pin) if pin else None,
            pin=pin,
        )

    def _table_result(self, source: Source, record: TableResult) -> TableResult | None:
        """Return the record of a stored or rebuilt table, or None if it cannot be rebuilt."""
        home, part = self._home, record.part
        if all(has_sha256(home.root / path, d) for path, d in record.table.files.items()):
            self._tables.append(str(part))
            return record
        sha256 = record.table.source_sha256
        if not raw_store.is_intact(home, sha256):
            self._problems.append(f"{part}: its table is lost: the next run builds it")
            return None
        raw_path, version = home.raw_file(sha256), tabulate.code_version(source)
        try:
            table = tabulate.tabulate(home, source, part, raw_path, sha256, code_version=version)
        except ContentError as error:
            self._problems.append(f"{part}: its table cannot be rebuilt: {error}")
            return None
        self._rebuilt_tables.append(str(part))
        # If the content states no date, the run recorded the Last-Modified of the file.
        content_at = table.content_at or record.table.content_at
        table = table.model_copy(update={"content_at": content_at})
        return record.model_copy(update={"table": table})


def _with_download(validation: ValidationResult, fetch: FetchResult | None) -> ValidationResult:
    """Return the validation with the file of the download, whose record has more fields."""
    file = fetch.file if fetch else None
    if file and validation.file and file.sha256 == validation.file.sha256:
        return validation.model_copy(update={"file": file})
    return validation

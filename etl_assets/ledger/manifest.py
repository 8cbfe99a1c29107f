"""The ledger as files: what was downloaded, validated and ingested, a record per file of a source.

Reading and writing them is `etl_assets.ledger.files`. The event log remains the book; these are its
export, keyed by source and partition so that two sources with equal bytes keep two records, and
complete enough to rebuild from them what the event log said last.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from etl_assets.model.records import (
    OperatorDecision,
    Part,
    Pin,
    RawFile,
    Record,
    Sha256,
    SourceName,
    Table,
    TableResult,
    ValidationResult,
    Verdict,
)


def _inside(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError("must be relative to ETL_HOME and stay inside it")
    return path


RelativePath = Annotated[str, BeforeValidator(_inside), Field(min_length=1)]


class Process(StrEnum):
    """The processes that keep a ledger; each has its file."""

    DOWNLOAD = "download"
    VALIDATION = "validation"
    INGESTION = "ingestion"


class ManifestRecord(Record):
    """One stored file of one source: what every process says of it."""

    source_id: SourceName
    dataset: str = Field(description="the table that the file becomes, or a part of")
    partition: str | None = None
    checksum: Sha256
    file_path: RelativePath = Field(description="relative to ETL_HOME")
    file_size: int = Field(gt=0, description="bytes")
    url: str
    etag: str | None = None
    last_modified: AwareDatetime | None = None
    ts_downloaded: AwareDatetime
    version: str = Field(description="of the code that made this record's file")

    @property
    def key(self) -> str:
        return str(self.part)

    @property
    def part(self) -> Part:
        return Part(source=self.source_id, partition=self.partition)

    @property
    def named(self) -> set[str]:
        """Digests of the raw files that the record speaks of."""
        return {self.checksum}

    def _file(self, **known: Any) -> RawFile:
        """The stored file, as far as every process knows it."""
        return RawFile(
            part=self.part,
            sha256=self.checksum,
            size_bytes=self.file_size,
            path=self.file_path,
            url=self.url,
            etag=self.etag,
            last_modified=self.last_modified,
            fetched_at=self.ts_downloaded,
            **known,
        )


class DownloadRecord(ManifestRecord):
    """A download, with what is needed to decide on the next one."""

    published_checksum: str | None = Field(default=None, description="as a digest file stated it")
    attempts: int = Field(default=1, ge=1)
    last_status: int | None = None
    waited_seconds: float = Field(default=0, ge=0)
    verdict: Verdict | None = Field(default=None, description="as the file was received")
    pin: Pin | None = Field(default=None, description="a person's, in the place of the remote's")

    @classmethod
    def of(cls, file: RawFile, pin: Pin | None = None) -> Self:
        return cls.model_validate(
            _common(file)
            | {
                "version": file.code_version,
                "published_checksum": file.published_sha256,
                "attempts": file.attempts,
                "last_status": file.last_status,
                "waited_seconds": file.waited_seconds,
                "verdict": file.verdict,
                "pin": pin,
            }
        )

    @property
    def named(self) -> set[str]:
        held = self.pin.held if self.pin else None
        return {self.checksum, *([held.sha256] if held else [])}

    @property
    def file(self) -> RawFile:
        return self._file(
            published_sha256=self.published_checksum,
            attempts=self.attempts,
            last_status=self.last_status,
            waited_seconds=self.waited_seconds,
            verdict=self.verdict,
            code_version=self.version,
        )


class ValidationRecord(ManifestRecord):
    """The file that later stages read, and the word on the newest one: most often the same."""

    valid: bool = Field(description="the newest file; else the one that is named here stands in")
    expected: str
    found: str
    where: str = ""
    unpacked_size: int | None = Field(default=None, ge=0, description="bytes")
    judged_checksum: Sha256 = Field(description="of the newest file")
    rules_version: str = ""
    download_version: str
    accepted: OperatorDecision | None = None
    stands_in: bool = False

    @classmethod
    def of(cls, file: RawFile, verdict: Verdict, *, version: str, stands_in: bool = False) -> Self:
        return cls.model_validate(
            _common(file)
            | {
                "version": version,
                "valid": verdict.ok,
                "expected": verdict.expected,
                "found": verdict.found,
                "where": verdict.where,
                "unpacked_size": verdict.unpacked_bytes,
                "judged_checksum": verdict.sha256,
                "rules_version": verdict.code_version,
                "download_version": file.code_version,
                "accepted": verdict.accepted,
                "stands_in": stands_in,
            }
        )

    @property
    def validated(self) -> ValidationResult:
        verdict = Verdict(
            part=self.part,
            sha256=self.judged_checksum,
            ok=self.valid,
            expected=self.expected,
            found=self.found,
            where=self.where,
            unpacked_bytes=self.unpacked_size,
            code_version=self.rules_version,
            accepted=self.accepted,
        )
        return ValidationResult(
            part=self.part,
            file=self._file(code_version=self.download_version),
            verdict=verdict,
            stands_in=self.stands_in,
            code_version=self.version,
        )


class IngestionRecord(ManifestRecord):
    """The table that a stored file became, or the last one where that file was refused as a table.

    `table_checksum` is of the parquet file, `source_checksum` of the raw file that it was made of.
    """

    table_path: RelativePath
    table_checksum: Sha256
    source_checksum: str = Field(pattern=r"^([0-9a-f]{64})?$", description="empty: made of no file")
    records: int = Field(ge=0)
    rows: int = Field(ge=0)
    rejected: int = Field(ge=0)
    duplicates: int = Field(default=0, ge=0)
    rejects_by_rule: dict[str, int] = {}
    first_rejects: list[str] = []
    rejects_path: RelativePath | None = None
    unknown_fields: list[str] = []
    unknown_values: dict[str, dict[str, int]] = {}
    content_at: AwareDatetime | None = None
    fault: str | None = Field(default=None, description="why the file did not become the table")
    accepted: list[OperatorDecision] = []
    baseline: Table | None = None

    @classmethod
    def of(cls, file: RawFile, made: TableResult) -> Self:
        table = made.table
        return cls.model_validate(
            _common(file)
            | {
                "version": table.code_version,
                "table_path": table.path,
                "table_checksum": table.sha256,
                "source_checksum": table.source_sha256,
                "records": table.records,
                "rows": table.rows,
                "rejected": table.rejected,
                "duplicates": table.duplicates,
                "rejects_by_rule": table.rejects_by_rule,
                "first_rejects": table.first_rejects,
                "rejects_path": table.rejects_path,
                "unknown_fields": table.unknown_fields,
                "unknown_values": table.unknown_values,
                "content_at": table.content_at,
                "fault": made.fault,
                "accepted": made.accepted,
                "baseline": made.baseline,
            }
        )

    @property
    def named(self) -> set[str]:
        return {self.checksum, *([self.source_checksum] if self.source_checksum else [])}

    @property
    def tabulated(self) -> TableResult:
        table = Table(
            part=self.part,
            path=self.table_path,
            sha256=self.table_checksum,
            source_sha256=self.source_checksum,
            records=self.records,
            rows=self.rows,
            rejected=self.rejected,
            duplicates=self.duplicates,
            rejects_by_rule=self.rejects_by_rule,
            first_rejects=self.first_rejects,
            unknown_fields=self.unknown_fields,
            unknown_values=self.unknown_values,
            content_at=self.content_at,
            rejects_path=self.rejects_path,
            code_version=self.version,
        )
        return TableResult(
            part=self.part,
            table=table,
            fault=self.fault,
            refused_sha256=self.checksum if self.fault else None,
            accepted=self.accepted,
            baseline=self.baseline,
        )


class ManifestMetadata(Record):
    """What a manifest is of, and when it last changed."""

    process: Process
    etl_version: str
    root_dir: str = Field(default=".", description="ETL_HOME; record paths are relative to it")
    total_records: int = Field(ge=0)
    ts_created: AwareDatetime
    ts_updated: AwareDatetime


R = TypeVar("R", bound=ManifestRecord)


class Manifest(Record, Generic[R]):
    """A ledger file: metadata, and records by `source_id[partition]`."""

    metadata: ManifestMetadata
    records: dict[str, R] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if astray := sorted(key for key, record in self.records.items() if record.key != key):
            raise ValueError(f"records stand under another file's key: {', '.join(astray)}")
        if (total := self.metadata.total_records) != len(self.records):
            raise ValueError(f"total_records is {total}, but there are {len(self.records)} records")
        return self


MANIFESTS: dict[Process, type[Manifest[Any]]] = {
    Process.DOWNLOAD: Manifest[DownloadRecord],
    Process.VALIDATION: Manifest[ValidationRecord],
    Process.INGESTION: Manifest[IngestionRecord],
}


def _common(file: RawFile) -> dict[str, object]:
    return {
        "source_id": file.part.source,
        "dataset": file.part.source.name,
        "partition": file.part.partition,
        "checksum": file.sha256,
        "file_path": file.path,
        "file_size": file.size_bytes,
        "url": file.url,
        "etag": file.etag,
        "last_modified": file.last_modified,
        "ts_downloaded": file.fetched_at,
    }

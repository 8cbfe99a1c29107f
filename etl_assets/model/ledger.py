"""The ledger as files: what was downloaded, validated and ingested, a record per file of a source.

Reading and writing them is `etl_assets.io.ledger`. The event log remains the book; these are its
export, keyed by source and partition so that two sources with equal bytes keep two records.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from etl_assets.model.records import Part, RawFile, Record, Sha256, Table, Verdict


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

    source_id: str = Field(description="full name, domain.source")
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
        return str(Part(source=self.source_id, partition=self.partition))


class DownloadRecord(ManifestRecord):
    """A download, with what is needed to decide on the next one."""

    published_checksum: str | None = Field(default=None, description="as a digest file stated it")
    attempts: int = Field(default=1, ge=1)

    @classmethod
    def of(cls, file: RawFile) -> Self:
        return cls.model_validate(
            _common(file)
            | {
                "version": file.code_version,
                "published_checksum": file.published_sha256,
                "attempts": file.attempts,
            }
        )


class ValidationRecord(ManifestRecord):
    """The word on a stored file."""

    valid: bool
    expected: str
    found: str
    where: str = ""
    unpacked_size: int | None = Field(default=None, ge=0, description="bytes")

    @classmethod
    def of(cls, file: RawFile, verdict: Verdict, *, version: str) -> Self:
        return cls.model_validate(
            _common(file)
            | {
                "version": version,
                "valid": verdict.ok,
                "expected": verdict.expected,
                "found": verdict.found,
                "where": verdict.where,
                "unpacked_size": verdict.unpacked_bytes,
            }
        )


class IngestionRecord(ManifestRecord):
    """The table that a stored file became; `table_checksum` is of the parquet file."""

    table_path: RelativePath
    table_checksum: Sha256
    records: int = Field(ge=0)
    rows: int = Field(ge=0)
    rejected: int = Field(ge=0)
    rejects_path: RelativePath | None = None

    @classmethod
    def of(cls, file: RawFile, table: Table) -> Self:
        return cls.model_validate(
            _common(file)
            | {
                "version": table.code_version,
                "table_path": table.path,
                "table_checksum": table.sha256,
                "records": table.records,
                "rows": table.rows,
                "rejected": table.rejected,
                "rejects_path": table.rejects_path,
            }
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
        "dataset": file.part.source.rpartition(".")[2],
        "partition": file.part.partition,
        "checksum": file.sha256,
        "file_path": file.path,
        "file_size": file.size_bytes,
        "url": file.url,
        "etag": file.etag,
        "last_modified": file.last_modified,
        "ts_downloaded": file.fetched_at,
    }

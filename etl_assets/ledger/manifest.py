"""The manifests of stored files, `manifests/<domain>_<process>.manifest.json`: format, read, write.

They export the event log, completely enough to restore it. Its records are those of
`etl_assets.model.records`; the manifest of one run is `etl_assets.model.run_manifest`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import (
    AwareDatetime,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    OperatorDecision,
    Part,
    Pin,
    RawFile,
    Record,
    StoredFile,
    Table,
    TableResult,
    ValidationResult,
    Verdict,
)
from etl_assets.storage.atomic_write import atomic_file

ADVICE = (
    "Put the file back from a backup, or move it away and run again: "
    "the run exports it again from the event log."
)


class Process(StrEnum):
    """The processes that keep a manifest."""

    DOWNLOAD = "download"
    VALIDATION = "validation"
    INGESTION = "ingestion"


class ManifestRecord(Record):
    """What one process recorded about one stored file.

    A manifest stores it as one flat object, in names that differ from those of the records inside.
    pydantic's aliases rename a field but do not flatten a nested record, so `FIELDS` maps each
    stored name to the place of its value.
    """

    FIELDS: ClassVar[Mapping[str, str]]
    PARTS: ClassVar[Sequence[str]] = ("file.part",)

    file: StoredFile

    @property
    def part(self) -> Part:
        return self.file.part

    @property
    def key(self) -> str:
        # Not the digest: two sources with equal bytes have two records.
        return str(self.part)

    @property
    def raw_digests(self) -> set[str]:
        """SHA-256 of every raw file that the record refers to."""
        return {self.file.sha256}

    @model_serializer(mode="wrap")
    def _flatten(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        nested = serialize(self)
        flat = {
            "source_id": str(self.part.source),
            "dataset": self.part.source.name,
            "partition": self.part.partition,
        }
        for name, place in self.FIELDS.items():
            *parents, last = place.split(".")
            fields = nested
            for parent in parents:
                fields = fields[parent]
            # A record leaves some fields out while they are empty.
            if last in fields:
                flat[name] = fields[last]
        return flat

    @model_validator(mode="before")
    @classmethod
    def _nest(cls, value: object) -> object:
        if not isinstance(value, dict) or "file" in value:
            return value
        flat = dict(value)
        flat.pop("dataset", None)  # the last part of source_id
        nested: dict[str, Any] = {}
        for name, field in (("source_id", "source"), ("partition", "partition")):
            if name in flat:
                part_value = flat.pop(name)
                for part in cls.PARTS:
                    _put(nested, f"{part}.{field}", part_value)
        for name, place in cls.FIELDS.items():
            if name in flat:
                _put(nested, place, flat.pop(name))
        return nested | flat  # pydantic refuses the names that are left

    @classmethod
    def stored_place(cls, place: Sequence[int | str]) -> tuple[int | str, ...]:
        """Returns where a manifest stores the value at a place in this record."""
        names = {tuple(nested.split(".")): name for name, nested in cls.FIELDS.items()}
        for part in cls.PARTS:
            names[(*part.split("."), "source")] = "source_id"
            names[(*part.split("."), "partition")] = "partition"
        for length in range(len(place), 0, -1):
            if name := names.get(tuple(map(str, place[:length]))):
                return (name, *place[length:])
        return tuple(place)


def _put(nested: dict[str, Any], place: str, value: object) -> None:
    *parents, last = place.split(".")
    for parent in parents:
        nested = nested.setdefault(parent, {})
    nested[last] = value


# The order of the names is the order in the file.
_FILE_FIELDS = {
    "checksum": "file.sha256",
    "file_path": "file.path",
    "file_size": "file.size_bytes",
    "url": "file.url",
    "etag": "file.etag",
    "last_modified": "file.last_modified",
    "ts_downloaded": "file.fetched_at",
}


class DownloadRecord(ManifestRecord):
    """A download, with what decides on the next one."""

    FIELDS = {
        **_FILE_FIELDS,
        "version": "file.code_version",
        "published_checksum": "file.published_sha256",
        "attempts": "file.attempts",
        "last_status": "file.last_status",
        "waited_seconds": "file.waited_seconds",
        "verdict": "file.verdict",
        "pin": "pin",
    }

    file: RawFile
    pin: Pin | None = None

    @property
    def raw_digests(self) -> set[str]:
        replaced = self.pin.replaced_file if self.pin else None
        return {self.file.sha256} | ({replaced.sha256} if replaced else set())


class ValidationRecord(ManifestRecord):
    """The file that later stages read, and the verdict on the newest file, often the same one."""

    FIELDS = {
        **_FILE_FIELDS,
        "version": "code_version",
        "valid": "verdict.ok",
        "expected": "verdict.expected",
        "found": "verdict.found",
        "where": "verdict.where",
        "unpacked_size": "verdict.unpacked_bytes",
        "judged_checksum": "verdict.sha256",
        "rules_version": "verdict.code_version",
        "download_version": "file.code_version",
        "accepted": "verdict.accepted",
        "stands_in": "is_fallback",
    }
    PARTS = ("file.part", "verdict.part")

    file: RawFile
    verdict: Verdict
    is_fallback: bool = False
    code_version: str

    @property
    def result(self) -> ValidationResult:
        return ValidationResult(
            part=self.part,
            file=self.file,
            verdict=self.verdict,
            is_fallback=self.is_fallback,
            code_version=self.code_version,
        )


class IngestionRecord(ManifestRecord):
    """A validated file and its table; if the file was refused, the last good table."""

    FIELDS = {
        **_FILE_FIELDS,
        "version": "table.code_version",
        "table_path": "table.path",
        "table_checksum": "table.sha256",
        "source_checksum": "table.source_sha256",
        "records": "table.records",
        "rows": "table.rows",
        "rejected": "table.rejected",
        "duplicates": "table.duplicates",
        "first_duplicates": "table.first_duplicates",
        "rejects_by_rule": "table.rejects_by_rule",
        "first_rejects": "table.first_rejects",
        "rejects_path": "table.rejects_path",
        "rejects_checksum": "table.rejects_sha256",
        "unknown_fields": "table.unknown_fields",
        "unknown_values": "table.unknown_values",
        "refused_values": "table.refused_values",
        "first_refused_values": "table.first_refused_values",
        "content_at": "table.content_at",
        "fault": "fault",
        "accepted": "accepted",
        "baseline": "baseline",
    }
    PARTS = ("file.part", "table.part")

    table: Table
    # `refused_sha256` of the result is not stored: it is the digest of `file` if there is a fault.
    fault: str | None = None
    accepted: list[OperatorDecision] = []
    baseline: Table | None = None

    @classmethod
    def of(cls, file: StoredFile, result: TableResult) -> Self:
        return cls(
            file=file,
            table=result.table,
            fault=result.fault,
            accepted=result.accepted,
            baseline=result.baseline,
        )

    @property
    def result(self) -> TableResult:
        return TableResult(
            part=self.part,
            table=self.table,
            fault=self.fault,
            refused_sha256=self.file.sha256 if self.fault else None,
            accepted=self.accepted,
            baseline=self.baseline,
        )

    @property
    def raw_digests(self) -> set[str]:
        source = self.table.source_sha256
        return {self.file.sha256} | ({source} if source else set())


class ManifestMetadata(Record):
    """The head of a manifest."""

    process: Process
    etl_version: str
    root_dir: str = Field(default=".", description="ETL_HOME; record paths are relative to it")
    total_records: int = Field(ge=0)
    ts_created: AwareDatetime
    ts_updated: AwareDatetime


R = TypeVar("R", bound=ManifestRecord)


class Manifest(Record, Generic[R]):
    """A manifest: metadata, and records by `source_id[partition]`."""

    metadata: ManifestMetadata
    records: dict[str, R] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_keys_and_total(self) -> Self:
        if wrong := sorted(key for key, record in self.records.items() if record.key != key):
            raise ValueError(f"records have another file's key: {', '.join(wrong)}")
        if (total := self.metadata.total_records) != len(self.records):
            raise ValueError(f"total_records is {total}, but there are {len(self.records)} records")
        return self


RECORD_TYPES: dict[Process, type[ManifestRecord]] = {
    Process.DOWNLOAD: DownloadRecord,
    Process.VALIDATION: ValidationRecord,
    Process.INGESTION: IngestionRecord,
}
MANIFEST_TYPES: dict[Process, type[Manifest[Any]]] = {
    Process.DOWNLOAD: Manifest[DownloadRecord],
    Process.VALIDATION: Manifest[ValidationRecord],
    Process.INGESTION: Manifest[IngestionRecord],
}


def manifest_file(home: Home, domain: str, process: Process) -> Path:
    return home.manifests / f"{domain}_{process}.manifest.json"


def load_manifest(home: Home, domain: str, process: Process) -> Manifest[ManifestRecord] | None:
    """Returns the manifest, or None if there is none; raises HomeError if it is damaged.

    A damaged manifest is never taken for an empty one.
    """
    path = manifest_file(home, domain, process)
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        manifest: Manifest[ManifestRecord] = MANIFEST_TYPES[process].model_validate(
            json.loads(text)
        )
    except UnicodeDecodeError as error:
        raise _damaged(path, 1, "UTF-8 text", str(error)) from error
    except OSError as error:  # such as a folder in its place
        raise _damaged(path, 1, "a file that can be read", error.strerror or str(error)) from error
    except json.JSONDecodeError as error:
        raise _damaged(path, error.lineno, "JSON", error.msg) from error
    except ValidationError as error:
        raise _invalid(path, text, RECORD_TYPES[process], error) from error
    if manifest.metadata.process is not process:
        raise _damaged(path, 1, f"the process {process}", str(manifest.metadata.process))
    return manifest


def load_manifests(home: Home) -> Iterator[tuple[str, Path, Manifest[ManifestRecord]]]:
    """Yields the domain, file and content of every manifest, of undeclared domains too.

    Raises HomeError if one is damaged.
    """
    for process in Process:
        suffix = f"_{process}.manifest.json"
        for path in sorted(home.manifests.glob(f"*{suffix}")):
            domain = path.name.removesuffix(suffix)
            manifest = load_manifest(home, domain, process)
            if manifest is not None:
                yield domain, path, manifest


def export_manifest(
    home: Home,
    domain: str,
    process: Process,
    records: Iterable[ManifestRecord],
    *,
    etl_version: str,
    at: datetime,
) -> bool:
    """Writes the manifest if its records or the version changed; returns True if it was written."""
    rows = {
        record.key: record.model_dump(mode="json")
        for record in sorted(records, key=lambda record: record.key)
    }
    current = load_manifest(home, domain, process)
    if (
        current
        and current.metadata.etl_version == etl_version
        # Rows are compared: a record from the event log has more fields than a manifest stores.
        and current.model_dump(mode="json")["records"] == rows
    ):
        return False
    metadata = ManifestMetadata(
        process=process,
        etl_version=etl_version,
        total_records=len(rows),
        ts_created=current.metadata.ts_created if current else at,
        ts_updated=at,
    )
    document = {"metadata": metadata.model_dump(mode="json"), "records": rows}
    with atomic_file(manifest_file(home, domain, process)) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return True


def _invalid(
    path: Path, text: str, record_type: type[ManifestRecord], error: ValidationError
) -> HomeError:
    lines = []
    for problem in error.errors():
        place = problem["loc"]
        if place[:1] == ("records",):
            place = (*place[:2], *record_type.stored_place(place[2:]))
        field = ".".join(map(str, place)) or "the manifest"
        line = _line_of(text, place)
        lines.append(
            f"{path}:{line}: {field}: {problem['msg']}, found {str(problem['input'])[:80]!r}"
        )
    # A source_id is in several records inside, and fails in each of them.
    return HomeError("\n".join([*dict.fromkeys(lines), ADVICE]))


def _line_of(text: str, place: Sequence[int | str]) -> int:
    """Returns the line of the innermost key of a place that the text has."""
    position = 0
    for key in place:
        next_position = text.find(f"{json.dumps(str(key))}:", position)
        if next_position < 0:
            break
        position = next_position
    return text.count("\n", 0, position) + 1


def _damaged(path: Path, line: int, expected: str, actual: str) -> HomeError:
    return HomeError(f"{path}:{line}: expected {expected}, found {actual}\n{ADVICE}")

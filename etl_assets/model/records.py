"""Frozen records of the files of a source, one kind for each stage, and of what was built of them.

They are the results of the stages and the metadata of materializations. Nothing here decides
anything or reads a file; the records of one run are in `etl_assets.model.run_manifest`.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import CoreSchema, core_schema

from etl_assets.model.errors import UsageError

SHA256 = r"^[0-9a-f]{64}$"
Sha256 = Annotated[str, Field(pattern=SHA256)]


def parse_digits(text: str, *, least: int = 1) -> str:
    """The first digits of a SHA-256 that the operator named, as they are recorded.

    Raises UsageError if they are too few, too many, or no hexadecimal digits.
    """
    digits = text.strip().lower()
    if not re.fullmatch(rf"[0-9a-f]{{{least},64}}", digits):
        actual = f"{len(digits)} digits" if re.fullmatch("[0-9a-f]{65,}", digits) else repr(text)
        raise UsageError(f"SHA256: expected {least} to 64 hexadecimal digits, found {actual}")
    return digits


def _check_relative(path: str) -> str:
    # A home can be moved, and a record that was edited must not name a file outside of it.
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError("must be relative to ETL_HOME and stay inside it")
    return path


RelativePath = Annotated[
    str,
    Field(min_length=1, description="relative to ETL_HOME"),
    AfterValidator(_check_relative),
]


SOURCE_SHA256 = "source_sha256"  # the column of a table that names the raw file of a row


class Record(BaseModel):
    """Base of every record."""

    # The alias of a field is its stored name: event logs and manifests of earlier versions have
    # it, so a field can be renamed, and its alias cannot.
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, serialize_by_alias=True
    )


@dataclass(frozen=True, slots=True, order=True)
class SourceName:
    """The full name of a source, written and serialized as `domain.name`."""

    domain: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the name in a text; raises ValueError unless it is `domain.name`."""
        domain, _, name = text.partition(".")
        if not domain or not name:
            raise ValueError(f"expected domain.source, found {text!r}")
        return cls(domain, name)

    def __str__(self) -> str:
        return f"{self.domain}.{self.name}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> CoreSchema:
        # Without this, pydantic would store a dataclass as an object of two fields.
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def _validate(cls, value: object) -> Self:
        return value if isinstance(value, cls) else cls.parse(str(value))


class Part(Record):
    """One file of a source: the source, and the partition if the source has partitions."""

    source: SourceName
    partition: str | None = None

    def __str__(self) -> str:
        return str(self.source) if self.partition is None else f"{self.source}[{self.partition}]"


# No server had a file to date before the Web. Zip archives and reproducible builds date their files
# 1970, 1980 or 1985, which says nothing about the content.
EARLIEST_LAST_MODIFIED = datetime(1990, 1, 1, tzinfo=UTC)
MAX_CLOCK_SKEW = timedelta(minutes=5)


def credible_date(moment: datetime | None, now: datetime) -> datetime | None:
    """Returns a Last-Modified; None if it cannot be when the file was last changed."""
    if moment is None or not EARLIEST_LAST_MODIFIED <= moment <= now + MAX_CLOCK_SKEW:
        return None
    return moment


class Validators(Record):
    """What identifies the version of a remote file, from headers and a digest file."""

    etag: str | None = None
    last_modified: datetime | None = None
    size_bytes: int | None = None
    published_sha256: str | None = Field(
        default=None, description="from a digest file of the remote"
    )


class Probe(Record):
    """The result of asking a remote about one file without downloading it."""

    part: Part
    url: str
    probed_at: datetime
    validators: Validators | None = Field(
        default=None, description="None if the remote was not reached"
    )
    published: bool = Field(default=True, description="False if the remote has no such file")
    fault: str | None = None


class Reason(StrEnum):
    """The reason to fetch a file, or not to."""

    # The values are stored in event logs, so they are never reworded.
    FORCED = "force_refresh"
    NO_RECORD = "no record"
    LAST_WAS_OUTAGE = "last fetch was an outage"
    FILE_MISSING = "stored file missing"
    FILE_DAMAGED = "stored file damaged"
    CODE_CHANGED = "code version changed"
    DIGEST_CHANGED = "published digest changed"
    ETAG_CHANGED = "ETag changed"
    LAST_MODIFIED_CHANGED = "Last-Modified changed"
    LENGTH_CHANGED = "length changed"
    ETAG_GONE = "ETag no longer stated"
    NO_VALIDATOR = "no validator, minimum interval passed"
    PROBE_FAILED = "probe failed"
    UP_TO_DATE = "up to date"
    NOT_YET_PUBLISHED = "not yet published"
    PINNED = "pinned"
    ALREADY_STORED = "held, not asked for"
    UNPINNED = "unpinned"
    RELEASED = "released from quarantine"
    RESTORED = "restored from the manifest"
    REQUESTS_DUE = "requests without an answer"
    REQUESTS_CHANGED = "other requests than last time"
    OFF = "nothing more is asked"
    FORGOTTEN = "forgotten"


class StoredState(StrEnum):
    """The state of a recorded file in the raw store."""

    PRESENT = "present"
    MISSING = "missing"
    DAMAGED = "damaged"


class Decision(Record):
    """Whether to fetch a file, and why."""

    part: Part
    fetch: bool
    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        verb = "fetch" if self.fetch else "keep"
        return f"{self.part}: {verb}, {self.reason}{f' ({self.detail})' if self.detail else ''}"


class OperatorDecision(Record):
    """A decision of the operator about one file, which is bound to its digest."""

    sha256: Sha256
    by: str = Field(min_length=1)
    why: str = ""
    at: datetime

    def __str__(self) -> str:
        why = f": {self.why}" if self.why else ""
        return f"{self.sha256[:12]}, {self.by} on {self.at:%Y-%m-%d %H:%M} UTC{why}"


class HistoryDecision(Record):
    """The decision of the operator to begin a new history."""

    by: str = Field(min_length=1)
    why: str = Field(min_length=1)
    at: AwareDatetime


class Verdict(Record):
    """The result of validating one stored file."""

    part: Part
    sha256: Sha256
    ok: bool
    expected: str
    actual: str = Field(alias="found")
    unpacked_bytes: int | None = None
    where: str = ""
    code_version: str = Field(default="", description="of the validation rules")
    accepted: OperatorDecision | None = Field(
        default=None, description="of the operator, if the rules would have refused the file"
    )

    def __str__(self) -> str:
        separator = ", " if self.where else ": "
        return f"{self.part}{separator}{self.problem_text}"

    @property
    def problem_text(self) -> str:
        """What was expected and found, and where in the file."""
        where = f"{self.where}: " if self.where else ""
        return f"{where}expected {self.expected}, found {self.actual}"


class StoredFile(Record):
    """A file in the raw store, and what its remote said about it."""

    part: Part
    sha256: Sha256
    size_bytes: int = Field(gt=0)  # an empty file is refused before it is stored
    path: RelativePath
    url: str
    etag: str | None = None
    last_modified: AwareDatetime | None = None
    published_sha256: str | None = None
    fetched_at: AwareDatetime


class RawFile(StoredFile):
    """A stored file, and how it was downloaded."""

    attempts: int = Field(default=1, ge=1)
    last_status: int | None = None
    waited_seconds: float = Field(default=0, ge=0)
    verdict: Verdict | None = Field(default=None, description="of the content, from the download")
    code_version: str


class Pin(Record):
    """An earlier file that the operator chose instead of the one that the remote serves."""

    decision: OperatorDecision = Field(alias="ruling")
    replaced_file: RawFile | None = Field(
        default=None, alias="held", description="used again once the pin is removed"
    )

    def __str__(self) -> str:
        return f"pinned to {self.decision}"


class FetchStatus(StrEnum):
    """The outcome of one file in one run."""

    FETCHED = "fetched"
    UNCHANGED = "unchanged"
    OUTAGE = "outage"
    MISSING = "missing"
    NOT_YET_PUBLISHED = "not_yet_published"
    PINNED = "pinned"
    OFF = "off"
    FORGOTTEN = "forgotten"

    @property
    def is_served(self) -> bool:
        """True if the file is the one that the remote serves, and not an earlier one."""
        # A file that is not yet published, switched off or forgotten is missing on purpose.
        return self not in {FetchStatus.OUTAGE, FetchStatus.MISSING, FetchStatus.PINNED}


class FetchResult(Record):
    """The result of the raw stage for one file: the stored version to use, and its status."""

    part: Part
    status: FetchStatus
    decision: Decision
    file: RawFile | None = Field(
        default=None, description="the last good one if the status is outage"
    )
    fault: str | None = None
    warning: str | None = Field(
        default=None, description="for the operator, though it is no outage"
    )
    attempts: int = Field(default=0, ge=0, description="requests for the file in this run")
    last_status: int | None = None
    waited_seconds: float = Field(default=0, ge=0)
    pin: Pin | None = Field(default=None, description="while it is set, nothing is fetched")


class ValidationResult(Record):
    """The file that later stages read: the newest download, or the last good one."""

    part: Part
    file: RawFile | None = Field(default=None, description="None if no file was ever valid")
    verdict: Verdict | None = Field(default=None, description="on the newest download")
    is_fallback: bool = Field(
        default=False,
        alias="stands_in",
        description="True if the newest download was refused, and `file` is the last good one",
    )
    code_version: str


class TableResult(Record):
    """The table that models read: of the validated file, or the last good one."""

    part: Part
    table: Table
    fault: str | None = Field(
        default=None, description="why the newest file could not be tabulated"
    )
    refused_sha256: str | None = Field(default=None, description="the raw file that was refused")
    accepted: list[OperatorDecision] = Field(
        default=[], description="files that may shrink the table by more than the limit"
    )
    baseline: Table | None = Field(
        default=None,
        description="the table before a pin, to compare the next one with once it is removed",
    )


class QuarantinedFile(Record):
    """A refused file in quarantine, and why it was refused; stored as JSON next to it."""

    part: Part
    sha256: Sha256
    size_bytes: int = Field(ge=0)
    path: RelativePath
    url: str
    where: str = ""
    expected: str
    actual: str = Field(alias="found")
    quarantined_at: datetime

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        return (
            f"{self.part} {self.sha256[:12]} {self.quarantined_at:%Y-%m-%d %H:%M} UTC: "
            f"{where}expected {self.expected}, found {self.actual}"
        )


class ModelBuild(Record):
    """A dbt model in the warehouse: what it was built from, and its parquet copy."""

    model: str
    version: str = Field(description="digest over the code and every table that the model reads")
    as_of: AwareDatetime = Field(description="logical time of the run that built it")
    history_sha256: Sha256 | None = Field(
        default=None, description="of the published history that it was built from"
    )
    sha256: Sha256 | None = Field(default=None, description="of the parquet copy, if it has one")
    rows: int | None = Field(default=None, ge=0)
    last_moment: AwareDatetime | None = Field(
        default=None,
        description="of the domain's model of moments: the last one that a build was due to",
    )
    next_moment: AwareDatetime | None = Field(
        default=None, description="of the same model: the first one after `as_of`"
    )

    warehouse_sha256: Sha256 | None = Field(
        default=None, description="of the database file after the step that recorded this"
    )
    full_build_at: AwareDatetime | None = Field(
        default=None,
        description="logical time of the last build of all models for all keys, after that step;"
        " null if the domain declares no key",
    )

    def moment_at(self, time: datetime) -> datetime | None:
        """The last moment up to `time` at which a build became due.

        The build of this record may have been ahead of `time`, if it was not published.
        """
        moments = (self.next_moment, self.last_moment)
        return next((each for each in moments if each is not None and each <= time), None)


MIXED = "mixed"  # the code version of a set whose models were built by different versions


class PublishedLink(Record):
    """One published manifest: a link of the domain's chain of published sets.

    The digests make a set, or a history, that was replaced by an older one recognizable.
    """

    directory: str = Field(
        pattern=r"^\d{8}_\d{6}(_\d+)?$", description="name of the run's directory"
    )
    sequence: int = Field(ge=0, description="position among the domain's runs")
    manifest_sha256: Sha256
    history_sha256: Sha256 | None = Field(description="of the set's history; null if it has none")
    as_of: AwareDatetime


class PublishedSet(Record):
    """The published set: its directory and the versions of what it was built from."""

    directory: str = Field(description="name of the run's directory")
    tables: dict[str, str] = Field(description="version of the table of each source")
    code_version: str
    marts: dict[str, Sha256] = Field(description="of each mart's parquet file")
    warehouse_sha256: Sha256 | None = Field(
        default=None, description="of the database that the marts were built in"
    )
    documents: str = Field(default="", description="unused; records of older versions have it")
    link: PublishedLink | None = Field(
        default=None, description="of its manifest; null in a record of an older version"
    )
    signing_key: str | None = Field(default=None, description="fingerprint; null if not signed")


class Reject(Record):
    """One rejected row or record."""

    where: str = Field(description="line, record id or sheet and row")
    column: str | None = None
    rule: str
    expected: str
    actual: str = Field(alias="found")
    row: str = Field(description="the row as read, as JSON, cut at 2,000 characters")


class Table(Record):
    """One parquet table of a source file: its valid rows, and counts of the rejected ones."""

    part: Part
    path: RelativePath
    sha256: Sha256 = Field(description="of the parquet file")
    source_sha256: str = Field(
        pattern=r"^([0-9a-f]{64})?$", description="of the raw file; empty if there was none"
    )
    records: int = Field(ge=0, description="records read from the file")
    rows: int = Field(ge=0)
    rejected: int = Field(ge=0)
    duplicates: int = Field(
        default=0, ge=0, description="rows dropped because a later or newer one has their key"
    )
    first_duplicates: list[str] = Field(
        default=[],
        description="the first of these rows, each with its record, its key and the record kept",
        exclude_if=operator.not_,
    )
    rejects_by_rule: dict[str, int] = {}
    first_rejects: list[str] = Field(
        default=[], description="the first rejected rows, each with place, column and reason"
    )
    unknown_fields: list[str] = []
    unknown_values: dict[str, dict[str, int]] = Field(
        default={}, description="by column, the count of each value that is not declared"
    )
    refused_values: dict[str, int] = Field(
        default={},
        description="by column, the count of values that are not read as they are: invalid ones,"
        " texts that are no versions, and cells with an error",
        exclude_if=operator.not_,
    )
    first_refused_values: list[str] = Field(
        default=[],
        description="the first of these values, each with place, column and reading",
        exclude_if=operator.not_,
    )
    filled_columns: list[str] = Field(
        default=[],
        description="the optional columns of the contract in which a row has a value",
        exclude_if=operator.not_,
    )
    lost_columns: list[str] = Field(
        default=[],
        description="the optional columns that the file lacks, and that had values before",
        exclude_if=operator.not_,
    )
    content_at: AwareDatetime | None = None
    rejects_path: RelativePath | None = None
    rejects_sha256: Sha256 | None = Field(
        default=None, description="of the file of rejects", exclude_if=operator.not_
    )
    code_version: str

    @property
    def files(self) -> dict[str, str]:
        """The SHA-256 of the parquet file, and of the file of rejects, by path."""
        files = {self.path: self.sha256}
        if self.rejects_path and self.rejects_sha256:  # older versions recorded the path alone
            files[self.rejects_path] = self.rejects_sha256
        return files


class RunStatus(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    PARTIAL_SUCCESS = "partial_success"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

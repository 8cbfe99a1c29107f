"""What is known of a file on its way: frozen records that the stages return.

Each record is the metadata of one materialization; `as_metadata` of a record and the record itself
say the same. Nothing here decides or touches a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import CoreSchema, core_schema

SHA256 = r"^[0-9a-f]{64}$"
Sha256 = Annotated[str, Field(pattern=SHA256)]


def _check_relative(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError("must be relative to ETL_HOME and stay inside it")
    return path


RelativePath = Annotated[
    str,
    Field(min_length=1, description="relative to ETL_HOME"),
    AfterValidator(_check_relative),
]


class Record(BaseModel):
    """Base of every record: frozen and complete."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, order=True)
class SourceName:
    """The full name of a source, written and serialized as `domain.name`."""

    domain: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name in a text; raises ValueError unless it is `domain.name`."""
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


class Validators(Record):
    """What a remote says of a file without sending it."""

    etag: str | None = None
    last_modified: datetime | None = None
    size_bytes: int | None = None
    published_sha256: str | None = Field(default=None, description="as a digest file states it")


class Probe(Record):
    """One question to a remote and its answer."""

    part: Part
    url: str
    probed_at: datetime
    validators: Validators | None = Field(
        default=None, description="None: the remote was not reached"
    )
    published: bool = Field(
        default=True, description="False: the remote says there is no such file"
    )
    fault: str | None = None


class Reason(StrEnum):
    """Why a file is fetched, or why not."""

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
    HELD = "held, not asked for"
    UNPINNED = "unpinned"
    RELEASED = "released from quarantine"
    RESTORED = "restored from the manifest"
    REQUESTS_DUE = "requests without an answer"
    REQUESTS_CHANGED = "other requests than last time"
    OFF = "nothing more is asked"
    FORGOTTEN = "forgotten"


class StoredState(StrEnum):
    """What the raw store holds under a record's name."""

    PRESENT = "present"
    MISSING = "missing"
    DAMAGED = "damaged"


class Decision(Record):
    """Whether a part is to be fetched, and why."""

    part: Part
    fetch: bool
    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        verb = "fetch" if self.fetch else "keep"
        return f"{self.part}: {verb}, {self.reason}{f' ({self.detail})' if self.detail else ''}"


class OperatorDecision(Record):
    """What a person decided on one content, bound to its digest."""

    sha256: Sha256
    by: str = Field(min_length=1)
    why: str = ""
    at: datetime

    def __str__(self) -> str:
        why = f": {self.why}" if self.why else ""
        return f"{self.sha256[:12]}, {self.by} on {self.at:%Y-%m-%d %H:%M} UTC{why}"


class Verdict(Record):
    """The validate stage's word on one stored file."""

    part: Part
    sha256: Sha256
    ok: bool
    expected: str
    found: str
    unpacked_bytes: int | None = None
    where: str = ""
    code_version: str = Field(default="", description="of the rules that judged")
    accepted: OperatorDecision | None = Field(
        default=None, description="a person's word, where the rules would have refused the file"
    )

    def __str__(self) -> str:
        where = ", ".join(text for text in (str(self.part), self.where) if text)
        return f"{where}: expected {self.expected}, found {self.found}"


class StoredFile(Record):
    """A file in the raw store, and what its remote said about it."""

    part: Part
    sha256: Sha256
    size_bytes: int = Field(gt=0)
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
    verdict: Verdict | None = Field(default=None, description="on the content, as it was received")
    code_version: str


class Pin(Record):
    """An earlier file that a person has put in the place of what the remote serves."""

    ruling: OperatorDecision
    held: RawFile | None = Field(
        default=None, description="what stood before; it stands again without the pin"
    )

    def __str__(self) -> str:
        return f"pinned to {self.ruling}"


class FetchStatus(StrEnum):
    """What came of one part in one run."""

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
        """Whether the remote gave its word, and no older file stands in for it."""
        return self not in {FetchStatus.OUTAGE, FetchStatus.MISSING, FetchStatus.PINNED}


class FetchResult(Record):
    """The raw stage's word on one part: the file that stands now, and how fresh that is."""

    part: Part
    status: FetchStatus
    decision: Decision
    file: RawFile | None = Field(
        default=None, description="the last good one where status is outage"
    )
    fault: str | None = None
    warning: str | None = Field(
        default=None, description="what a person should know of, though it is no outage"
    )
    attempts: int = Field(default=0, ge=0, description="requests for the file in this run")
    last_status: int | None = None
    waited_seconds: float = Field(default=0, ge=0)
    pin: Pin | None = Field(default=None, description="while there is one, nothing is fetched")


class ValidationResult(Record):
    """The file of one part that later stages may read: this download, or the last good one."""

    part: Part
    file: RawFile | None = Field(default=None, description="None: nothing good was ever held")
    verdict: Verdict | None = Field(default=None, description="on the newest download, good or bad")
    stands_in: bool = Field(default=False, description="the newest download was refused")
    code_version: str


class TableResult(Record):
    """The table of one part that models may read: of this file, or the last good one."""

    part: Part
    table: Table
    fault: str | None = Field(
        default=None, description="why the newest file did not become the table"
    )
    refused_sha256: str | None = Field(default=None, description="the raw file that was refused")
    accepted: list[OperatorDecision] = Field(
        default=[], description="files that may be smaller than the limits allow"
    )
    baseline: Table | None = Field(
        default=None,
        description="the table that stood before a pin: without it, the next is compared with this",
    )


class QuarantinedFile(Record):
    """Why a file was set aside: the JSON that lies beside it."""

    part: Part
    sha256: Sha256
    size_bytes: int = Field(ge=0)
    path: str = Field(description="relative to ETL_HOME")
    url: str
    where: str = ""
    expected: str
    found: str
    quarantined_at: datetime

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        return (
            f"{self.part} {self.sha256[:12]} {self.quarantined_at:%Y-%m-%d %H:%M} UTC: "
            f"{where}expected {self.expected}, found {self.found}"
        )


class ModelBuild(Record):
    """A model as it stands in the warehouse: from which code and tables, and its copy outside."""

    model: str
    version: str = Field(description="digest over the code and every table that the model reads")
    as_of: AwareDatetime = Field(description="logical time of the run that built it")
    history_sha256: Sha256 | None = Field(
        default=None, description="of the published history that it was built from"
    )
    sha256: Sha256 | None = Field(default=None, description="of the parquet copy, where it has one")
    rows: int | None = Field(default=None, ge=0)


MIXED = "mixed"  # the code version of a set in which models are older than tables or code


class PublishedSet(Record):
    """The published set: its directory, and the versions of everything it was made from."""

    directory: str = Field(description="name of the run's directory")
    tables: dict[str, str] = Field(description="version of each source's table")
    code_version: str
    marts: dict[str, Sha256] = Field(description="of each mart's parquet file")


class Reject(Record):
    """One row or record that was refused, with where it stood and why."""

    where: str = Field(description="line, record id or sheet and row")
    column: str | None = None
    rule: str
    expected: str
    found: str
    row: str = Field(description="the row as read, as JSON, cut at 2,000 characters")


class Table(Record):
    """The tabulate stage's word on one part: rows that hold under the contract, others counted."""

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
        default=0, ge=0, description="rows set aside because a later or newer one has their key"
    )
    rejects_by_rule: dict[str, int] = {}
    first_rejects: list[str] = Field(
        default=[], description="the first refused rows, each with place, column and reason"
    )
    unknown_fields: list[str] = []
    unknown_values: dict[str, dict[str, int]] = Field(
        default={}, description="by column, how often a value occurs that is not among the known"
    )
    content_at: AwareDatetime | None = None
    rejects_path: RelativePath | None = None
    code_version: str


class RunStatus(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    PARTIAL_SUCCESS = "partial_success"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

"""What one run did, as its `manifest.json` says: frozen records, complete enough to repeat the run.

Where the file lies and how it is written is `etl_assets.publish.run_directory`; the ledger of files
over all runs is `etl_assets.ledger.manifest`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from etl_assets.model.phases import PipelineResult
from etl_assets.model.records import FetchStatus, Part, Record, RunStatus, Sha256, SourceName

MANIFEST_FILE = "manifest.json"
MARTS = "marts"


class RunSource(Record):
    """One file of a source in this run: its identity, its freshness and what came of it."""

    source: SourceName
    partition: str | None = None
    status: FetchStatus
    sha256: Sha256 | None = Field(default=None, description="of the raw file that was used")
    etag: str | None = None
    last_modified: AwareDatetime | None = None
    url: str | None = None
    fetched_at: AwareDatetime | None = None
    contacted_at: AwareDatetime | None = Field(
        default=None, description="when the remote last gave an answer, be it that nothing changed"
    )
    content_at: AwareDatetime | None = Field(
        default=None, description="the date that the content itself states"
    )
    rows: int | None = Field(default=None, ge=0)
    rejected: int | None = Field(default=None, ge=0)
    rejects_by_rule: dict[str, int] = Field(default_factory=dict)
    fault: str | None = None
    refused_sha256: Sha256 | None = Field(
        default=None, description="of the newest raw file, where no table could be made of it"
    )

    @property
    def part(self) -> Part:
        return Part(source=self.source, partition=self.partition)

    @property
    def name(self) -> str:
        return str(self.part)


class RunAsset(Record):
    """One asset of the run: whether work was done for it, and the version that stands now."""

    key: str = Field(description="parts of the asset key, joined by '/'")
    partition: str | None = None
    outcome: Literal["made", "reused"]
    data_version: str


class RunCheck(Record):
    """One verdict on an asset."""

    asset: str
    name: str
    passed: bool
    severity: Literal["error", "warn"]
    description: str = ""


class RunPhase(Record):
    """How long one phase took."""

    name: str
    seconds: float = Field(ge=0)


class PublishedFile(Record):
    """One published file, and how many of the model's rows it carries."""

    document: str = Field(
        description="the file that the domain declares; one document may be several files"
    )
    file: str = Field(description="relative to the run's directory")
    sha256: Sha256
    size_bytes: int = Field(ge=0)
    rows: int = Field(ge=0, description="0 for a file that only points to others")


class RunMart(Record):
    """One mart of the run, and what it was built from beside tables; an earlier run may have."""

    model: str
    sha256: Sha256
    rows: int = Field(ge=0)
    as_of: AwareDatetime = Field(description="logical time of the run that built it")
    history_sha256: Sha256 | None = Field(
        default=None, description="of the published history that it was built from"
    )


class DocumentContent(Record):
    """Which rows one declared document was written from, and for which moment; perhaps long ago."""

    document: str
    as_of: AwareDatetime = Field(description="logical time of the run that wrote it")
    mart: RunMart
    sources: list[str] | None = Field(
        default=None,
        description="by name, those that had rows then and are named in it; null: all of its model",
    )


class AcceptedChange(Record):
    """A refusal that a person has looked at and overruled, bound to what was looked at."""

    what: str = Field(description="the check or the source that refused")
    sha256: Sha256 = Field(description="of the candidate or of the source's file")


class RunManifest(Record):
    """One run from its sources to what it published."""

    run_id: str
    domain: str
    status: RunStatus
    published: bool
    as_of: AwareDatetime = Field(description="the run's logical time; ages are computed from it")
    started_at: AwareDatetime
    finished_at: AwareDatetime
    code_version: str
    note: str = Field(default="", description="one line for a person: why this status")
    answers: list[str] = Field(
        default_factory=list, description="what waits for a person, each with what to do"
    )
    history_sha256: Sha256 | None = Field(
        default=None, description="of the published history that the run started from"
    )
    sources: list[RunSource] = Field(default_factory=list)
    assets: list[RunAsset] = Field(default_factory=list)
    checks: list[RunCheck] = Field(default_factory=list)
    phases: list[RunPhase] = Field(default_factory=list)
    documents: list[PublishedFile] = Field(default_factory=list)
    marts: list[RunMart] = Field(default_factory=list)
    contents: list[DocumentContent] = Field(default_factory=list)
    accepted_changes: list[AcceptedChange] = Field(default_factory=list)
    result: PipelineResult | None = Field(default=None, description="what the two phases came to")

    @property
    def seconds(self) -> float:
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def outages(self) -> list[RunSource]:
        """Sources that were served from an earlier file, or not at all."""
        return [source for source in self.sources if not source.status.is_served]

    @property
    def histories(self) -> set[str]:
        """Digests of every published history that something in this run was built from."""
        marts = [*self.marts, *(content.mart for content in self.contents)]
        named = {self.history_sha256, *(mart.history_sha256 for mart in marts)}
        return {sha256 for sha256 in named if sha256}

    @property
    def is_partial(self) -> bool:
        """Whether the run ended well and before it published, as it was asked to."""
        return not self.published and self.status in {RunStatus.SUCCESS, RunStatus.PARTIAL_SUCCESS}

    @property
    def failed_checks(self) -> list[RunCheck]:
        return [check for check in self.checks if not check.passed]


def age_hours(of: datetime | None, as_of: datetime) -> float | None:
    """Hours from a moment to the run's logical time; None where the moment is unknown."""
    return None if of is None else (as_of - of).total_seconds() / 3600

"""The records of one run: its `manifest.json`, from the sources to the published files.

Reading and writing the file is in `etl_assets.publish.run_directory`; the manifests of stored files
over all runs are in `etl_assets.ledger.manifest`.
"""

from __future__ import annotations

import hashlib
import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field, field_validator

from etl_assets.model.display_text import MAX_NAMES, align_columns, cut_lines, format_count
from etl_assets.model.records import (
    FetchStatus,
    HistoryDecision,
    Part,
    Pin,
    PublishedLink,
    Record,
    RunStatus,
    Sha256,
    SourceName,
)
from etl_assets.model.run_changes import RunChanges

MANIFEST_FILE = "manifest.json"
INDEX_FILE = "index.jsonl"
PUBLIC_KEY_FILE = "signing_key.asc"
MARTS = "marts"
MADE_FROM_SAMPLES = "made from samples, not from real feeds"
READ_FROM_MIRROR = "read from a mirror, not from the remotes"
# As in the names of steps, which differ from the values of `Stage`: see `stage_of_step`.
COLLECT_STEPS = ("raw", "validated", "tables")
LOAD_STEPS = ("marts", "publish")


class RunSource(Record):
    """One file of a source in this run: which version was used, and how fresh it is."""

    source: SourceName
    partition: str | None = None
    status: FetchStatus
    sha256: Sha256 | None = Field(default=None, description="of the raw file that was used")
    etag: str | None = None
    last_modified: AwareDatetime | None = None
    url: str | None = None
    fetched_at: AwareDatetime | None = None
    contacted_at: AwareDatetime | None = Field(
        default=None, description="last answer of the remote, also one that reports no change"
    )
    content_at: AwareDatetime | None = Field(
        default=None, description="the date in the content itself"
    )
    rows: int | None = Field(default=None, ge=0)
    rejected: int | None = Field(default=None, ge=0)
    rejects_by_rule: dict[str, int] = Field(default_factory=dict)
    fault: str | None = None
    refused_sha256: Sha256 | None = Field(
        default=None, description="of the newest raw file, if no table could be made of it"
    )
    pin: Pin | None = Field(
        default=None, description="of the operator, while it lasts", exclude_if=operator.not_
    )

    @property
    def part(self) -> Part:
        return Part(source=self.source, partition=self.partition)

    @property
    def name(self) -> str:
        return str(self.part)

    @property
    def content_time(self) -> datetime | None:
        """What dates the content: itself, or else the remote."""
        return self.content_at or self.last_modified


class RunAsset(Record):
    """One asset of the run, whether it was made or reused, and its data version."""

    key: str = Field(description="parts of the asset key, joined by '/'")
    partition: str | None = None
    outcome: Literal["made", "reused"]
    data_version: str


class FailingRows(Record):
    """The first rows that fail a check, as text: a small table with the names of its columns."""

    columns: list[str]
    rows: list[list[str]]

    def lines(self) -> list[str]:
        """Return the table for a terminal."""
        return align_columns([self.columns, *self.rows]) if self.rows else []


class RunCheck(Record):
    """The result of one asset check."""

    asset: str
    name: str
    passed: bool
    severity: Literal["error", "warn"]
    description: str = ""
    rows: FailingRows | None = Field(
        default=None,
        description="the first failing rows, which are at the end of the description too",
        exclude_if=operator.not_,
    )
    failures: int | None = Field(
        default=None, ge=0, description="number of failing rows", exclude_if=operator.not_
    )

    @property
    def verdict(self) -> str:
        """The result on one line for a terminal, and what was found below it."""
        result = "ok" if self.passed else self.severity.upper()
        reason = f": {self.description}" if self.description and not self.passed else ""
        return f"{result:5} {self.asset}: {self.name}{reason}"

    def lines(self, *, is_whole: bool = False) -> list[str]:
        """Returns the verdict with the first failing rows, or lines, and the number of the others.

        With `is_whole`, all are returned that the check has.
        """
        text = self.verdict.splitlines()
        if self.passed or self.rows is None:
            return text if is_whole else cut_lines(text)
        number = len(self.rows.rows) if is_whole else MAX_NAMES
        shown = FailingRows(columns=self.rows.columns, rows=self.rows.rows[:number])
        more = max(self.failures or 0, len(self.rows.rows)) - len(shown.rows)
        return [*text[:1], *shown.lines(), *([f"and {more:,} more"] if more > 0 else [])]

    @property
    def sentences(self) -> list[str]:
        """The description without its table of rows, line by line."""
        lines = self.description.splitlines()
        return cut_lines(lines) if self.rows is None else lines[:1]

    @property
    def more_rows(self) -> int:
        """The number of failing rows that are not shown."""
        return max((self.failures or 0) - len(self.rows.rows), 0) if self.rows else 0


class RunPhase(Record):
    """The duration of one step."""

    name: str
    seconds: float = Field(ge=0)


class PublishedFile(Record):
    """One published file and its number of rows; the set's index has one of each file."""

    document: str = Field(
        description="the file that the domain declares; one document may be several files; empty "
        "for a mart"
    )
    file: str = Field(description="relative to the run's directory")
    sha256: Sha256
    size_bytes: int = Field(ge=0)
    rows: int = Field(ge=0, description="0 for an index of other files")


class RunDocument(Record):
    """One declared document of the set, over all of its files."""

    document: str
    files: int = Field(ge=1)
    first_file: str = Field(
        description="the file of the document's own name, if there is one, relative to the run's "
        "directory"
    )
    sha256: Sha256 = Field(
        description="of its file; if there are several, over their names and digests"
    )
    size_bytes: int = Field(ge=0)
    rows: int = Field(ge=0)


class RunMart(Record):
    """One mart of the run, possibly built by an earlier run."""

    model: str
    sha256: Sha256
    rows: int = Field(ge=0)
    as_of: AwareDatetime = Field(description="logical time of the run that built it")
    history_sha256: Sha256 | None = Field(
        default=None, description="of the published history that it was built from"
    )


class DocumentContent(Record):
    """The marts that one declared document was written from, possibly by an earlier run."""

    document: str
    as_of: AwareDatetime = Field(description="logical time of the run that wrote it")
    mart: RunMart
    further_marts: list[RunMart] = Field(default=[], description="those of `also_from`")
    sources: list[str] | None = Field(
        default=None,
        description="sources named in it, those that had rows then; null: all of its model",
    )
    signing_key: str | None = Field(
        default=None,
        description="fingerprint of the key that it names, if its format names one",
        exclude_if=operator.not_,
    )

    @property
    def marts(self) -> list[RunMart]:
        """The mart whose rows it has, then the further ones."""
        return [self.mart, *self.further_marts]


class AcceptedChange(Record):
    """A refusal that the operator overruled, for one exact content."""

    what: str = Field(description="the check or the source that refused")
    sha256: Sha256 = Field(description="of the candidate or of the source's file")


class CollectorResult(Record):
    """The first phase, from remotes to tables; an error if a file is missing or unreadable."""

    status: Literal["success", "error"]
    component: Literal["collect"] = "collect"
    files_processed: int = Field(ge=0, description="files that the tables are made of")
    files_fetched: int = Field(ge=0, description="of those, the ones that this run downloaded")
    records_count: int = Field(ge=0, description="records of all files, rejected ones included")
    execution_time: str = Field(description="HH:MM:SS")
    healing_actions: list[str] = Field(description="earlier files that were used, and why")


class LoaderResult(Record):
    """The second phase, from tables to the published set; skipped if there was nothing to load."""

    status: Literal["success", "error", "skipped"]
    component: Literal["load"] = "load"
    tables_created: int = Field(ge=0, description="tables that the published set is made of")
    data_validation: Literal["passed", "failed", "not_run"]
    execution_time: str = Field(description="HH:MM:SS")


class PipelineResult(Record):
    """The results of both phases."""

    overall_status: RunStatus
    collector_result: CollectorResult
    loader_result: LoaderResult
    timestamp: AwareDatetime


class SetSigning(Record):
    """The OpenPGP key that a set is signed with."""

    key: str = Field(description="fingerprint of the primary key")
    files: int = Field(ge=0, description="files with a signature beside them, SHA256SUMS aside")


class RowCounts(Record):
    """The rows of a section of the report, counted by value."""

    title: str
    values: dict[str, int]


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
    note: str = Field(default="", description="one line for the operator: the reason of the status")
    next_actions: list[str] = Field(
        default_factory=list,
        alias="answers",
        description="next actions for the operator, one line each",
    )
    history_sha256: Sha256 | None = Field(
        default=None, description="of the published history that the run started from"
    )
    sequence: int = Field(
        default=0,
        ge=0,
        description="position among the domain's runs, whatever the clock says; 0 in a manifest of "
        "an older version",
    )
    previous: PublishedLink | None = Field(
        default=None, description="the published set that this one replaced"
    )
    new_history: HistoryDecision | None = Field(
        default=None, description="why the history of this set does not continue the last one"
    )
    published_set: str | None = Field(
        default=None,
        description="name of the directory that readers see after a run that had nothing to do",
    )
    index_sha256: Sha256 | None = Field(
        default=None, description="of the index, which lists the files of the set"
    )
    signing: SetSigning | None = Field(
        default=None, description="how the set is signed", exclude_if=operator.not_
    )
    overrides: dict[str, Any] = Field(
        default_factory=dict,
        description="values of the settings file in place of declared ones, by their paths",
        exclude_if=operator.not_,
    )
    mirror: Literal["mirror", "samples"] | None = Field(
        default=None,
        description="what the sources were read from in place of their remotes; not its address, "
        "which is of the machine",
        exclude_if=operator.not_,
    )
    sources: list[RunSource] = Field(default_factory=list)
    assets: list[RunAsset] = Field(default_factory=list)
    checks: list[RunCheck] = Field(default_factory=list)
    phases: list[RunPhase] = Field(default_factory=list)
    documents: list[RunDocument] = Field(default_factory=list)
    marts: list[RunMart] = Field(default_factory=list)
    contents: list[DocumentContent] = Field(default_factory=list)
    accepted_changes: list[AcceptedChange] = Field(default_factory=list)
    result: PipelineResult | None = Field(default=None, description="the results of both phases")
    directory: str = Field(
        default="", description="name of the run's directory", exclude_if=operator.not_
    )
    changes: RunChanges | None = Field(
        default=None,
        description="differences from the set that was published before",
        exclude_if=operator.not_,
    )

    counts: RowCounts | None = Field(
        default=None,
        description="of the first section of the report that counts rows by a few values",
        exclude_if=operator.not_,
    )

    @property
    def seconds(self) -> float:
        return (self.finished_at - self.started_at).total_seconds()

    @field_validator("documents", mode="before")
    @classmethod
    def _summarize_files(cls, value: object) -> object:
        """Summarize the documents of a manifest that lists every file, as older versions did."""
        if not isinstance(value, list) or not any("file" in entry for entry in value):
            return value
        return summarize_files([PublishedFile.model_validate(entry) for entry in value])

    @property
    def file_count(self) -> int:
        """The number of files of all documents."""
        return sum(document.files for document in self.documents)

    @property
    def is_unchanged(self) -> bool:
        """True if the run found nothing to do, and left the published set as it was."""
        return self.published_set is not None

    @property
    def outages(self) -> list[RunSource]:
        """Sources for which an earlier file was used, or none."""
        return [source for source in self.sources if not source.status.is_served]

    @property
    def histories(self) -> set[str]:
        """Digests of every published history that a mart of this run was built from."""
        marts = [*self.marts, *(mart for content in self.contents for mart in content.marts)]
        digests = {self.history_sha256, *(mart.history_sha256 for mart in marts)}
        return {sha256 for sha256 in digests if sha256}

    def headline(self, stale_sources: int) -> str:
        """The status in words, with what is wrong although the run ended well."""
        text = self.status.value.replace("_", " ").capitalize()
        counts = [(len(self.failed_checks) - len(self.warnings), "error")]
        counts.append((len(self.warnings), "warning"))
        problems = [format_count(number, noun) for number, noun in counts if number]
        if problems:
            text += f" with {' and '.join(problems)}"
        text += f", {self.publication}"
        if stale_sources:
            noun = "source has" if stale_sources == 1 else "sources have"
            text += f"; {stale_sources} {noun} stale content"
        return text

    def list_warnings(self) -> Iterator[str]:
        """Yields the first line of the first warnings, and where all of them are."""
        for check in self.warnings[:MAX_NAMES]:
            yield check.verdict.partition("\n")[0]
        if more := len(self.warnings[MAX_NAMES:]):
            count = format_count(more, "more warning")
            yield f"and {count}, in the report and by `etl check {self.domain}`"

    @property
    def mirror_note(self) -> str:
        """What the sources were read from, if it was not their remotes; else empty."""
        if self.mirror is None:
            return ""
        return MADE_FROM_SAMPLES if self.mirror == "samples" else READ_FROM_MIRROR

    @property
    def publication(self) -> str:
        """What the run did to the published set, in a few words."""
        if self.is_unchanged:
            return "the published set is unchanged"
        return "published" if self.published else "not published"

    @property
    def is_partial(self) -> bool:
        """True if the run was limited to stages before publish, and succeeded."""
        # Any other run that does not publish has failed or was interrupted.
        is_success = self.status in {RunStatus.SUCCESS, RunStatus.PARTIAL_SUCCESS}
        return is_success and not self.published and not self.is_unchanged

    @property
    def failed_checks(self) -> list[RunCheck]:
        return [check for check in self.checks if not check.passed]

    @property
    def warnings(self) -> list[RunCheck]:
        return [check for check in self.failed_checks if check.severity == "warn"]

    def with_result(self) -> RunManifest:
        """Returns a copy whose `result` summarizes its sources, steps and checks."""
        return self.model_copy(update={"result": summarize_run(self)})


def summarize_files(files: Iterable[PublishedFile]) -> list[RunDocument]:
    """Returns one record per document, in the order of the first file of each."""
    files_by_document: dict[str, list[PublishedFile]] = {}
    for file in files:
        files_by_document.setdefault(file.document, []).append(file)
    return [
        RunDocument(
            document=document,
            files=len(parts),
            # The same for linked files, which are in another order.
            first_file=min((p.file for p in parts), key=lambda file: (file != document, file)),
            sha256=digest_files(parts),
            size_bytes=sum(part.size_bytes for part in parts),
            rows=sum(part.rows for part in parts),
        )
        for document, parts in files_by_document.items()
    ]


def digest_files(files: Iterable[PublishedFile]) -> str:
    """Returns the file's SHA-256 if there is one, else one over all names and digests."""
    lines = sorted(f"{file.sha256}  {file.file}\n" for file in files)
    if len(lines) == 1:
        return lines[0].partition(" ")[0]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def newest_content_time(files: Iterable[RunSource]) -> datetime | None:
    """Returns the time that dates the content of a source over its files; None if no file has."""
    return max((file.content_time for file in files if file.content_time), default=None)


def age_hours(moment: datetime | None, as_of: datetime) -> float | None:
    """Returns the hours from a moment to the run's logical time, or None if it is unknown."""
    return None if moment is None else (as_of - moment).total_seconds() / 3600


def stage_of_step(domain: str, step: str) -> str:
    """Returns the stage in a step's name, `<domain>_<stage>` or `<domain>_<stage>_<wave>`.

    A wave is a step for sources whose requests come from the rows of an earlier wave.
    """
    return re.sub(r"_[0-9]+$", "", step.removeprefix(f"{domain}_"))


def summarize_run(manifest: RunManifest) -> PipelineResult:
    """Returns the results of both phases."""
    return PipelineResult(
        overall_status=manifest.status,
        collector_result=_summarize_collect(manifest),
        loader_result=_summarize_load(manifest),
        timestamp=manifest.finished_at,
    )


def _summarize_collect(manifest: RunManifest) -> CollectorResult:
    sources = manifest.sources
    has_faults = any(s.status in {FetchStatus.OUTAGE, FetchStatus.MISSING} for s in sources)
    # A run that neither started to load nor was limited to earlier stages failed in this phase.
    has_ended = (
        manifest.published
        or manifest.is_partial
        or manifest.is_unchanged
        or bool(_step_seconds(manifest, LOAD_STEPS))
    )
    made = {(asset.key, asset.partition) for asset in manifest.assets if asset.outcome == "made"}
    fetched = [
        source
        for source in sources
        if source.status is FetchStatus.FETCHED
        and (f"{source.source.domain}/{source.source.name}_raw", source.partition) in made
    ]
    return CollectorResult(
        status="error" if has_faults or not has_ended else "success",
        files_processed=sum(source.sha256 is not None for source in sources),
        files_fetched=len(fetched),
        records_count=sum((source.rows or 0) + (source.rejected or 0) for source in sources),
        execution_time=_format_clock(_step_seconds(manifest, COLLECT_STEPS)),
        healing_actions=list(_healing_actions(sources)),
    )


def _summarize_load(manifest: RunManifest) -> LoaderResult:
    seconds = _step_seconds(manifest, LOAD_STEPS)
    if manifest.published or manifest.is_unchanged:
        tables = {source.source for source in manifest.sources if source.rows is not None}
        return LoaderResult(
            status="success",
            tables_created=len(tables),
            data_validation="passed",
            execution_time=_format_clock(seconds),
        )
    # A step of the load that was started and published nothing failed, or the gate refused.
    has_failed = bool(seconds) and not manifest.is_partial
    return LoaderResult(
        status="error" if has_failed else "skipped",
        tables_created=0,
        data_validation="failed" if has_failed else "not_run",
        execution_time=_format_clock(seconds),
    )


def _healing_actions(sources: Iterable[RunSource]) -> Iterator[str]:
    for source in sources:
        if source.status.is_served or not source.sha256:
            continue
        if source.refused_sha256:
            # `fetched_at` is of the refused file here, not of the one whose rows are used.
            action = f"used the rows of the last good file, {source.sha256}"
        elif source.fetched_at:
            action = f"used the last good file of {source.fetched_at:%Y-%m-%d %H:%M} UTC"
        else:
            action = "used the last good file"
        yield f"{source.name}: {action}: {source.fault or source.status}"


def _step_seconds(manifest: RunManifest, stages: Sequence[str]) -> list[float]:
    """Returns the duration of each step of the stages that was started."""
    return [
        phase.seconds
        for phase in manifest.phases
        if stage_of_step(manifest.domain, phase.name) in stages
    ]


def _format_clock(seconds: Iterable[float]) -> str:
    minutes, rest = divmod(round(sum(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest:02}"

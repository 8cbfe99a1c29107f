"""What a run came to in its two phases: collecting files into tables, loading them into a set.

All of it follows from the run's manifest; nothing is looked up here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime, Field

from etl_assets.model.records import FetchStatus, Record, RunStatus

if TYPE_CHECKING:
    from etl_assets.model.run_manifest import RunManifest, RunSource

COLLECT = ("raw", "validated", "tables")
LOAD = ("marts", "publish")
WAVE = re.compile(r"_[0-9]+$")
FAULTY = frozenset({FetchStatus.OUTAGE, FetchStatus.MISSING})


class CollectorResult(Record):
    """From the remotes to tables: an error where a file could not be had, or not be read."""

    status: Literal["success", "error"]
    component: Literal["collect"] = "collect"
    files_processed: int = Field(ge=0, description="files that tables stand on")
    files_fetched: int = Field(ge=0, description="of those, the ones that this run brought")
    records_count: int = Field(ge=0, description="records of all files, the refused ones too")
    execution_time: str = Field(description="HH:MM:SS")
    healing_actions: list[str] = Field(description="what stands in for what, and why")


class LoaderResult(Record):
    """From tables to the published set; skipped where there was nothing good to load."""

    status: Literal["success", "error", "skipped"]
    component: Literal["load"] = "load"
    tables_created: int = Field(ge=0, description="tables that the published set is made of")
    data_validation: Literal["passed", "failed", "not_run"]
    execution_time: str = Field(description="HH:MM:SS")


class PipelineResult(Record):
    """Both phases and what follows from them."""

    overall_status: RunStatus
    collector_result: CollectorResult
    loader_result: LoaderResult
    timestamp: AwareDatetime


def result_of(manifest: RunManifest) -> PipelineResult:
    """The result of a run, from what its manifest says of sources, phases and checks."""
    return PipelineResult(
        overall_status=manifest.status,
        collector_result=_collected(manifest),
        loader_result=_loaded(manifest),
        timestamp=manifest.finished_at,
    )


def _collected(manifest: RunManifest) -> CollectorResult:
    sources = manifest.sources
    is_broken = any(source.status in FAULTY for source in sources)
    has_ended = manifest.published or manifest.is_partial or bool(_seconds(manifest, LOAD))
    return CollectorResult(
        status="error" if is_broken or not has_ended else "success",
        files_processed=sum(source.sha256 is not None for source in sources),
        files_fetched=_fetched(manifest),
        records_count=sum((source.rows or 0) + (source.rejected or 0) for source in sources),
        execution_time=_clock(_seconds(manifest, COLLECT)),
        healing_actions=list(_healed(sources)),
    )


def _loaded(manifest: RunManifest) -> LoaderResult:
    seconds = _seconds(manifest, LOAD)
    if manifest.published:
        tables = {source.source for source in manifest.sources if source.rows is not None}
        return LoaderResult(
            status="success",
            tables_created=len(tables),
            data_validation="passed",
            execution_time=_clock(seconds),
        )
    has_failed = bool(seconds) and not manifest.is_partial
    return LoaderResult(
        status="error" if has_failed else "skipped",
        tables_created=0,
        data_validation="failed" if has_failed else "not_run",
        execution_time=_clock(seconds),
    )


def _fetched(manifest: RunManifest) -> int:
    """Files for which a download was made and found to be new."""
    made = {(asset.key, asset.partition) for asset in manifest.assets if asset.outcome == "made"}
    return sum(
        (f"{source.source.domain}/{source.source.name}_raw", source.partition) in made
        for source in manifest.sources
        if source.status is FetchStatus.FETCHED
    )


def _healed(sources: Iterable[RunSource]) -> Iterable[str]:
    for source in sources:
        if not source.status.is_served and source.sha256:
            why = source.fault or source.status
            yield f"{source.name}: {_stand_in(source)}: {why}"


def _stand_in(source: RunSource) -> str:
    """What is used; where the newest file was refused as a table, its time is not that one's."""
    if source.refused_sha256:
        return f"the rows of its last good file, {source.sha256}, stand in"
    of = f" of {source.fetched_at:%Y-%m-%d %H:%M} UTC" if source.fetched_at else ""
    return f"the last good file{of} stands in"


def _seconds(manifest: RunManifest, phases: Iterable[str]) -> list[float]:
    """How long each of the phases took that were begun."""
    wanted = set(phases)
    return [p.seconds for p in manifest.phases if stage_of(manifest.domain, p.name) in wanted]


def stage_of(domain: str, step: str) -> str:
    """The stage of a run's step; sources that ask from other sources' tables have further ones."""
    return WAVE.sub("", step.removeprefix(f"{domain}_"))


def _clock(seconds: Iterable[float]) -> str:
    minutes, rest = divmod(round(sum(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest:02}"

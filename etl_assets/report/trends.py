"""How the numbers of a domain went over its kept runs, for the report of the newest one.

Manifests are read in part and without validation: a report of sixty runs must not cost seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec
from pydantic import AwareDatetime, Field

from etl_assets.model.records import Record, RunStatus
from etl_assets.model.run_manifest import MANIFEST_FILE, RowCounts, RunManifest
from etl_assets.report.formatting import format_duration, format_size

MAX_RUNS = 60
SHOWN_RUNS = 12  # in the table
MAX_VALUES = 12  # of a section whose rows are counted
MAX_COLUMNS = 3  # of it; the last one has the count


class TrendRun(Record):
    """One run that had something to do; a number that it does not have is None."""

    directory: str
    started_at: AwareDatetime
    status: RunStatus
    published: bool
    seconds: float
    rows: int = Field(ge=0)
    rejected: int = Field(ge=0)
    size_bytes: int | None = Field(description="of its documents, if it published them")
    failures: int = Field(ge=0, description="checks that failed, warnings included")
    counts: RowCounts | None = None


class Trend(Record):
    """One number over the runs that have it, the oldest first."""

    title: str
    section: str = Field(default="", description="the one whose rows are counted")
    values: list[float]
    shown: list[str] = Field(description="the values as text")

    @property
    def is_constant(self) -> bool:
        return len(set(self.values)) == 1


class _Part(msgspec.Struct):
    rows: int | None = None
    rejected: int | None = None
    size_bytes: int = 0


class _Check(msgspec.Struct):
    passed: bool


class _Counts(msgspec.Struct):
    title: str
    values: dict[str, int]


class _Manifest(msgspec.Struct):
    """The fields of a manifest that count here."""

    status: str
    published: bool
    started_at: datetime
    finished_at: datetime
    published_set: str | None = None
    sources: list[_Part] = []
    documents: list[_Part] = []
    checks: list[_Check] = []
    counts: _Counts | None = None


_decoder = msgspec.json.Decoder(_Manifest)


def read_runs(directories: Iterable[Path]) -> list[TrendRun]:
    """The runs in these directories, newest first, as far as they had something to do.

    Returns the oldest first. A manifest that cannot be read is left out: `etl stats` names it.
    """
    runs = []
    for directory in islice(directories, MAX_RUNS):
        try:
            manifest = _decoder.decode((directory / MANIFEST_FILE).read_bytes())
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if manifest.published_set is None:
            runs.append(_summarize(directory.name, manifest))
    return runs[::-1]


def add_run(
    runs: Sequence[TrendRun], manifest: RunManifest, counts: RowCounts | None
) -> list[TrendRun]:
    """The earlier runs and the one that the report is of, unless that had nothing to do."""
    if manifest.is_unchanged:
        return list(runs)
    data = manifest.model_copy(update={"counts": counts}).model_dump_json().encode()
    return [*runs, _summarize(manifest.directory, _decoder.decode(data))]


def _summarize(directory: str, manifest: _Manifest) -> TrendRun:
    counts = manifest.counts
    return TrendRun(
        directory=directory,
        started_at=manifest.started_at,
        status=RunStatus(manifest.status),
        published=manifest.published,
        seconds=(manifest.finished_at - manifest.started_at).total_seconds(),
        rows=sum(part.rows or 0 for part in manifest.sources),
        rejected=sum(part.rejected or 0 for part in manifest.sources),
        size_bytes=sum(part.size_bytes for part in manifest.documents)
        if manifest.published
        else None,
        failures=sum(not check.passed for check in manifest.checks),
        counts=RowCounts(title=counts.title, values=counts.values) if counts else None,
    )


def list_trends(runs: Sequence[TrendRun]) -> list[Trend]:
    """The numbers that at least two runs have: of each run, then the counted rows by value."""

    def trend(
        title: str,
        get: Callable[[TrendRun], float | None],
        show: Callable[[float], str] = lambda value: f"{value:,.0f}",
        section: str = "",
    ) -> Trend:
        values = [value for run in runs if (value := get(run)) is not None]
        shown = [show(value) for value in values]
        return Trend(title=title, section=section, values=values, shown=shown)

    trends = [
        trend("Rows read", lambda run: run.rows),
        trend("Rows rejected", lambda run: run.rejected),
        trend("Documents", lambda run: run.size_bytes, lambda size: format_size(int(size))),
        trend("Duration", lambda run: run.seconds, format_duration),
        trend("Checks that failed", lambda run: run.failures),
    ]
    newest = next((run.counts for run in reversed(runs) if run.counts), None)
    if newest:
        trends += [
            trend(value, partial(_count, newest, value), section=newest.title)
            for value in newest.values
        ]
    return [each for each in trends if len(each.values) > 1]


def _count(newest: RowCounts, value: str, run: TrendRun) -> int | None:
    """The rows of a value in a run that counted the same section; a value may be new."""
    if run.counts is None or run.counts.title != newest.title:
        return None
    return run.counts.values.get(value, 0)

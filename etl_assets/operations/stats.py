"""Statistics over the runs of a domain that are kept, for `etl stats`.

Every number comes from the directories of the runs, and of notifications from their record in the
home; the event log is slower to read and is not used.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import AwareDatetime, Field

from etl_assets.model.check_names import present_names
from etl_assets.model.display_text import align_columns
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import Record, RunStatus, SourceName
from etl_assets.model.run_log import ERROR, INFO, LOG_FILE, WARNING
from etl_assets.model.run_manifest import (
    COLLECT_STEPS,
    LOAD_STEPS,
    RunCheck,
    RunManifest,
    RunSource,
    newest_content_time,
    stage_of_step,
)
from etl_assets.notify.notification import load_sent
from etl_assets.publish import run_directory

LEVELS = {ERROR: "errors", WARNING: "warnings", INFO: "other lines"}

MAX_CHECK_LINES = 10  # in the text; the JSON has every failed check


class Seconds(Record):
    """How long something took, over the runs that did it."""

    runs: int = Field(ge=1)
    median: float = Field(ge=0)
    slowest: float = Field(ge=0)
    slowest_run: str = Field(description="directory name")

    @classmethod
    def summarize(cls, seconds_by_run: Mapping[str, float]) -> Seconds | None:
        """Return the median and the slowest run, or None if `seconds_by_run` is empty."""
        if not seconds_by_run:
            return None
        slowest_run = max(seconds_by_run, key=seconds_by_run.__getitem__)
        return cls(
            runs=len(seconds_by_run),
            median=round(statistics.median(seconds_by_run.values()), 3),
            slowest=round(seconds_by_run[slowest_run], 3),
            slowest_run=slowest_run,
        )


class PhaseStats(Record):
    """One of the two phases of a run, over the runs that started it."""

    phase: Literal["collect", "load"]
    runs: int = Field(ge=0)
    succeeded: int = Field(ge=0)
    success_pct: float | None = Field(default=None, description="None if no run started it")
    seconds: Seconds | None = Field(default=None, description="over the runs that ran a step of it")


class SourceStats(Record):
    """One source with all its partitions: its row counts over time, and its failures."""

    source: SourceName
    runs: int = Field(ge=0, description="runs whose manifest lists the source")
    fallback_runs: int = Field(ge=0, alias="stood_in", description="runs that used an earlier file")
    missing: int = Field(ge=0, description="runs in which a file was missing, with no fallback")
    last_fault: str | None = Field(default=None, description="the newest error message")
    first_rows: int | None = None
    last_rows: int | None = None
    first_rejected: int | None = None
    last_rejected: int | None = None
    content_at: AwareDatetime | None = Field(
        default=None, description="what dates the content of the newest run that has the source"
    )


class CheckStats(Record):
    """A check that failed at least once."""

    asset: str
    name: str
    severity: Literal["error", "warn"]
    failed: int = Field(ge=1)
    runs: int = Field(ge=1, description="runs whose manifest has a verdict of the check")


class DomainStats(Record):
    """The statistics of one domain."""

    domain: str
    runs: int = Field(ge=0)
    since: AwareDatetime | None = Field(default=None, description="start of the oldest run")
    until: AwareDatetime | None = Field(default=None, description="start of the newest run")
    unreadable: list[str] = Field(
        default=[], alias="unread", description="manifests that failed to load"
    )
    last_status: RunStatus | None = Field(default=None, description="of the newest run")
    last_published: AwareDatetime | None = Field(
        default=None, description="end of the newest run that published"
    )
    by_status: dict[str, int] = {}
    success_pct: float | None = None
    published_pct: float | None = Field(
        default=None, description="of the runs that were started to publish"
    )
    partial_runs: int = Field(
        default=0,
        alias="halfway",
        description="runs limited to stages before publish",
    )
    unchanged_runs: int = Field(
        default=0, alias="unmoved", description="runs that had no step to run"
    )
    fallback_runs: int = Field(
        default=0, alias="healed", description="runs that used an earlier file"
    )
    attention_runs: int = Field(
        default=0, alias="asked", description="runs that need action by the operator"
    )
    seconds: Seconds | None = Field(default=None, description="whole runs that ran a step")
    seconds_unchanged: Seconds | None = Field(default=None, alias="seconds_unmoved")
    phases: list[PhaseStats] = []
    steps: dict[str, Seconds] = {}
    messages: dict[str, int] = Field(
        default={}, description="lines that kept runs logged, by their level"
    )
    notifications_sent: int = Field(default=0, ge=0, description="of all runs so far")
    notifications_failed: int = Field(
        default=0, ge=0, description="attempts of all runs so far, each of which is made again"
    )
    sources: list[SourceStats] = []
    checks: list[CheckStats] = Field(default=[], description="the most frequent failures first")

    def lines(self) -> list[str]:
        """Return the text for a terminal, with at most `MAX_CHECK_LINES` checks."""
        unreadable = [f"  cannot be read: {fault}" for fault in self.unreadable]
        if not self.runs:
            return [f"{self.domain}: no run is kept", *unreadable]
        return [
            *self._summary_lines(),
            *unreadable,
            *self._duration_lines(),
            *self._source_lines(),
            *self._check_lines(),
        ]

    def _summary_lines(self) -> Iterator[str]:
        yield (
            f"{self.domain}: runs kept: {self.runs}, {self.since:%Y-%m-%d %H:%M} to"
            f" {self.until:%Y-%m-%d %H:%M} UTC"
        )
        statuses = ", ".join(f"{count} {status}" for status, count in self.by_status.items())
        published = "-" if self.published_pct is None else f"{self.published_pct:g} %"
        yield f"  {statuses}: success {self.success_pct:g} %, published {published}"
        line = (
            f"  nothing changed: {self.unchanged_runs}, earlier file used: {self.fallback_runs},"
            f" action needed: {self.attention_runs}"
        )
        if self.partial_runs:
            line += f", limited to earlier stages: {self.partial_runs}"
        yield line
        logged = [
            f"{self.messages[level]:,} {noun}"
            for level, noun in LEVELS.items()
            if self.messages.get(level)
        ]
        sent = f"{self.notifications_sent:,} sent, {self.notifications_failed:,} failed"
        yield f"  logged: {', '.join(logged) or 'nothing'}; notifications: {sent}"

    def _duration_lines(self) -> Iterator[str]:
        rows = [["", "succeeded", "median", "slowest", ""]]
        for phase in self.phases:
            rate = f"{phase.succeeded} of {phase.runs}"
            rows.append([f"  {phase.phase}", rate, *_format_seconds(phase.seconds)])
        for name, seconds in self.steps.items():
            rows.append([f"    {name}", "", *_format_seconds(seconds)])
        rows.append(["  whole run", "", *_format_seconds(self.seconds)])
        if self.seconds_unchanged:
            rows.append(["  run, nothing changed", "", *_format_seconds(self.seconds_unchanged)])
        yield from align_columns(rows, right={1, 2, 3})

    def _source_lines(self) -> Iterator[str]:
        cells = [["  source", "rows first -> last", "rejected", "fallback", ""]]
        cells += [
            [
                f"  {source.source.name}",
                _format_trend(source.first_rows, source.last_rows),
                _format_trend(source.first_rejected, source.last_rejected),
                f"{source.fallback_runs} of {source.runs}" if source.fallback_runs else "-",
                f"missing in {source.missing}" if source.missing else "",
            ]
            for source in self.sources
        ]
        yield from align_columns(cells, right={1, 2, 3})

    def _check_lines(self) -> Iterator[str]:
        if self.checks:
            yield "  checks that failed most"
        for check in self.checks[:MAX_CHECK_LINES]:
            share = f"{check.failed} of {check.runs}"
            yield f"  {share:>12} {check.severity.upper():5} {check.asset}: {check.name}"
        if len(self.checks) > MAX_CHECK_LINES:
            yield f"  {'':12} and {len(self.checks) - MAX_CHECK_LINES} more, with --json"


def _format_seconds(seconds: Seconds | None) -> list[str]:
    """Return the median, the slowest, and the run that was the slowest."""
    if seconds is None:
        return ["-", "-", ""]
    return [f"{seconds.median:.1f} s", f"{seconds.slowest:.1f} s", seconds.slowest_run]


def _format_trend(first: int | None, last: int | None) -> str:
    if first is None or last is None:
        return "-"
    return f"{first:,}" if first == last else f"{first:,} -> {last:,}"


class _Line(msgspec.Struct):
    """A line of a run's log, as far as it counts here."""

    level: str


_line_decoder = msgspec.json.Decoder(_Line)


@dataclass(frozen=True, slots=True)
class _Run:
    """One kept run: the name of its directory and its manifest."""

    name: str
    manifest: RunManifest

    def stage_seconds(self) -> dict[str, float]:
        """Return the seconds of each stage that ran, in the order in which they ran."""
        seconds: dict[str, float] = {}
        for phase in self.manifest.phases:
            stage = stage_of_step(self.manifest.domain, phase.name)
            seconds[stage] = seconds.get(stage, 0) + phase.seconds
        return seconds


def count(home: Home, domain: str, *, last: int | None = None) -> DomainStats:
    """Return the statistics of all kept runs of the domain, or of its `last` newest ones."""
    runs, unreadable = _read_runs(home, domain, last)
    if not runs:
        return DomainStats(domain=domain, runs=0, unreadable=unreadable)
    manifests = [run.manifest for run in runs]
    statuses = Counter(manifest.status.value for manifest in manifests)
    published = sum(manifest.published for manifest in manifests)
    notifications = load_sent(home.notifications(domain))
    partial = sum(manifest.is_partial for manifest in manifests)
    fallbacks = sum(any(map(_is_fallback, manifest.sources)) for manifest in manifests)
    unchanged = {run.name: run.manifest.seconds for run in runs if not run.manifest.phases}
    changed = {run.name: run.manifest.seconds for run in runs if run.manifest.phases}
    return DomainStats(
        domain=domain,
        runs=len(runs),
        since=manifests[0].started_at,
        until=manifests[-1].started_at,
        unreadable=unreadable,
        last_status=manifests[-1].status,
        last_published=max((m.finished_at for m in manifests if m.published), default=None),
        by_status=dict(statuses.most_common()),
        success_pct=_percent(statuses[RunStatus.SUCCESS.value], len(runs)),
        published_pct=_percent(published, len(runs) - partial),
        partial_runs=partial,
        unchanged_runs=len(unchanged),
        fallback_runs=fallbacks,
        attention_runs=sum(bool(manifest.next_actions) for manifest in manifests),
        seconds=Seconds.summarize(changed),
        seconds_unchanged=Seconds.summarize(unchanged),
        phases=_count_phases(runs),
        steps=_step_seconds(runs),
        messages=_count_messages(home.outputs(domain) / run.name for run in runs),
        notifications_sent=notifications.sent_count if notifications else 0,
        notifications_failed=notifications.failed_count if notifications else 0,
        sources=_count_sources(manifests),
        checks=_count_checks(manifests),
    )


def _read_runs(home: Home, domain: str, last: int | None) -> tuple[list[_Run], list[str]]:
    """Return the runs, the oldest first, and the error of each manifest that cannot be read."""
    runs, unreadable = [], []
    newest_first = list(islice(run_directory.list_runs(home, domain), last))
    for directory in reversed(newest_first):
        try:
            runs.append(_Run(directory.name, run_directory.read_manifest(directory)))
        except HomeError as error:
            unreadable.append(str(error))
    return runs, unreadable


def _count_messages(directories: Iterable[Path]) -> dict[str, int]:
    """Return the number of lines of each level in the logs of the runs; a run may have none."""
    levels: Counter[str] = Counter()
    for directory in directories:
        try:
            lines = (directory / LOG_FILE).read_bytes().splitlines()
        except OSError:
            continue
        for line in lines:
            with suppress(msgspec.MsgspecError):
                levels[_line_decoder.decode(line).level] += 1
    return dict(levels)


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def _count_phases(runs: Sequence[_Run]) -> list[PhaseStats]:
    collected, loaded = [], []
    for manifest in (run.manifest for run in runs):
        if manifest.result:
            collected.append(manifest.result.collector_result.status)
            if manifest.phases:  # a run that changed nothing repeats the last result of the load
                loaded.append(manifest.result.loader_result.status)
    load_starts = len(loaded) - loaded.count("skipped")
    return [
        PhaseStats(
            phase="collect",
            runs=len(collected),
            succeeded=collected.count("success"),
            success_pct=_percent(collected.count("success"), len(collected)),
            seconds=_seconds_in(runs, COLLECT_STEPS),
        ),
        PhaseStats(
            phase="load",
            runs=load_starts,
            succeeded=loaded.count("success"),
            success_pct=_percent(loaded.count("success"), load_starts),
            seconds=_seconds_in(runs, LOAD_STEPS),
        ),
    ]


def _step_seconds(runs: Sequence[_Run]) -> dict[str, Seconds]:
    steps: dict[str, Seconds] = {}
    for run in runs:
        for stage in run.stage_seconds():
            if stage not in steps and (seconds := _seconds_in(runs, [stage])):
                steps[stage] = seconds
    return steps


def _seconds_in(runs: Sequence[_Run], stages: Sequence[str]) -> Seconds | None:
    """Return how long the stages took together, over the runs that ran at least one of them."""
    seconds_by_run = {}
    for run in runs:
        seconds = [s for stage, s in run.stage_seconds().items() if stage in stages]
        if seconds:
            seconds_by_run[run.name] = sum(seconds)
    return Seconds.summarize(seconds_by_run)


def _count_sources(manifests: Sequence[RunManifest]) -> list[SourceStats]:
    """Return the statistics of each source that a manifest lists, in the order of their names."""
    runs_by_source: dict[SourceName, list[list[RunSource]]] = {}
    for manifest in manifests:
        parts_by_source: dict[SourceName, list[RunSource]] = {}
        for part in manifest.sources:
            parts_by_source.setdefault(part.source, []).append(part)
        for name, parts in parts_by_source.items():
            runs_by_source.setdefault(name, []).append(parts)
    return [_count_source(name, runs) for name, runs in sorted(runs_by_source.items())]


def _count_source(name: SourceName, runs: Sequence[Sequence[RunSource]]) -> SourceStats:
    """Return the statistics of one source; `runs` has its partitions in each run, oldest first."""
    last_fault = None
    with_rows = []
    for parts in runs:
        for part in parts:
            last_fault = part.fault or last_fault
        if any(part.rows is not None for part in parts):
            with_rows.append(parts)
    rows: dict[str, int] = {}
    if with_rows:
        first, last = with_rows[0], with_rows[-1]
        rows = {
            "first_rows": sum(part.rows or 0 for part in first),
            "last_rows": sum(part.rows or 0 for part in last),
            "first_rejected": sum(part.rejected or 0 for part in first),
            "last_rejected": sum(part.rejected or 0 for part in last),
        }
    return SourceStats(
        source=name,
        runs=len(runs),
        fallback_runs=sum(any(map(_is_fallback, parts)) for parts in runs),
        missing=sum(any(map(_is_missing, parts)) for parts in runs),
        last_fault=last_fault,
        content_at=next(filter(None, map(newest_content_time, reversed(runs))), None),
        **rows,
    )


def _is_fallback(part: RunSource) -> bool:
    return not part.status.is_served and part.sha256 is not None


def _is_missing(part: RunSource) -> bool:
    return not part.status.is_served and part.sha256 is None


def _count_checks(manifests: Sequence[RunManifest]) -> list[CheckStats]:
    verdicts: Counter[tuple[str, str]] = Counter()
    failures: Counter[tuple[str, str]] = Counter()
    severities = {}  # of the newest failure: a declaration may have changed it
    newest = next((manifest.checks for manifest in reversed(manifests) if manifest.checks), [])
    present = {(check.asset, check.name) for check in newest}

    def present_name(domain: str, check: RunCheck) -> tuple[str, str]:
        names = present_names(check.asset, check.name, domain)
        return next((each for each in names if each in present), (check.asset, check.name))

    for manifest in manifests:
        for check in manifest.checks:
            name = present_name(manifest.domain, check)
            verdicts[name] += 1
            if not check.passed:
                failures[name] += 1
                severities[name] = check.severity
    checks = [
        CheckStats(
            asset=asset,
            name=check_name,
            severity=severities[asset, check_name],
            failed=failed,
            runs=verdicts[asset, check_name],
        )
        for (asset, check_name), failed in failures.items()
    ]
    return sorted(
        checks, key=lambda check: (-check.failed, check.severity, check.asset, check.name)
    )

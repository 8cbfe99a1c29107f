"""How a domain's runs went over time: counts, rates and times over the manifests that are kept.

Only the shape of the answer belongs here; counting is `etl_assets.operations.stats`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import AwareDatetime, Field

from etl_assets.model.records import Record

TOLD = 10  # checks in the text; JSON has all


class Seconds(Record):
    """How long something took, over the runs that did it."""

    runs: int = Field(ge=1)
    median: float = Field(ge=0)
    slowest: float = Field(ge=0)
    slowest_run: str = Field(description="name of its directory")


class PhaseStats(Record):
    """One of the two phases of a run, over the runs that began it."""

    phase: Literal["collect", "load"]
    runs: int = Field(ge=0)
    succeeded: int = Field(ge=0)
    success_pct: float | None = Field(default=None, description="None where no run began it")
    seconds: Seconds | None = Field(default=None, description="of runs in which work was done")


class SourceStats(Record):
    """One source over all its parts: how much it had first and last, and how often it failed."""

    source: str
    runs: int = Field(ge=0, description="runs whose manifest tells of it")
    stood_in: int = Field(ge=0, description="runs that were served from an earlier file")
    missing: int = Field(ge=0, description="runs that had nothing of a part of it")
    last_fault: str | None = Field(default=None, description="the newest word on why")
    first_rows: int | None = None
    last_rows: int | None = None
    first_rejected: int | None = None
    last_rejected: int | None = None


class CheckStats(Record):
    """A check that failed at least once."""

    asset: str
    name: str
    severity: Literal["error", "warn"]
    failed: int = Field(ge=1)
    runs: int = Field(ge=1, description="in which it was evaluated, or its last word stood")


class DomainStats(Record):
    """All that is counted of one domain."""

    domain: str
    runs: int = Field(ge=0)
    since: AwareDatetime | None = Field(default=None, description="start of the first of them")
    until: AwareDatetime | None = Field(default=None, description="start of the last of them")
    unread: list[str] = Field(default=[], description="manifests that cannot be read, with why")
    by_status: dict[str, int] = {}
    success_pct: float | None = None
    published_pct: float | None = Field(
        default=None, description="of the runs that were asked to publish"
    )
    halfway: int = Field(default=0, description="runs that were asked to end before they publish")
    unmoved: int = Field(default=0, description="runs in which nothing moved, so no step ran")
    healed: int = Field(default=0, description="runs in which an earlier file stood in")
    asked: int = Field(default=0, description="runs that asked something of a person")
    seconds: Seconds | None = Field(default=None, description="of whole runs in which steps ran")
    seconds_unmoved: Seconds | None = None
    phases: list[PhaseStats] = []
    steps: dict[str, Seconds] = {}
    sources: list[SourceStats] = []
    checks: list[CheckStats] = Field(default=[], description="the most frequent first")

    def lines(self) -> list[str]:
        """The same for a terminal; checks only the most frequent."""
        unread = [f"  cannot be read: {told}" for told in self.unread]
        if not self.runs:
            return [f"{self.domain}: no run is kept", *unread]
        return [
            *self._headline(),
            *unread,
            *self._times(),
            *self._sources(),
            *self._checks(),
        ]

    def _headline(self) -> Iterator[str]:
        told = ", ".join(f"{count} {status}" for status, count in self.by_status.items())
        yield (
            f"{self.domain}: runs kept: {self.runs}, {self.since:%Y-%m-%d %H:%M} to"
            f" {self.until:%Y-%m-%d %H:%M} UTC"
        )
        published = "-" if self.published_pct is None else f"{self.published_pct:g} %"
        yield f"  {told}: success {self.success_pct:g} %, published {published}"
        halfway = f", ended before publishing, as asked: {self.halfway}" if self.halfway else ""
        yield (
            f"  nothing moved: {self.unmoved}, served from an earlier file: {self.healed},"
            f" a person was asked: {self.asked}{halfway}"
        )

    def _times(self) -> Iterator[str]:
        yield f"  {'':24} {'succeeded':>12} {'median':>10} {'slowest':>10}"
        for phase in self.phases:
            rate = f"{phase.succeeded} of {phase.runs}"
            yield f"  {phase.phase:24} {rate:>12}{_timed(phase.seconds)}"
        for name, seconds in self.steps.items():
            yield f"    {name:22} {'':12}{_timed(seconds)}"
        yield f"  {'whole run':24} {'':12}{_timed(self.seconds)}"
        if self.seconds_unmoved:
            yield f"  {'run, nothing moved':24} {'':12}{_timed(self.seconds_unmoved)}"

    def _sources(self) -> Iterator[str]:
        names = [each.source.removeprefix(f"{self.domain}.") for each in self.sources]
        width = max(24, *map(len, names))
        yield f"  {'source':{width}} {'rows first -> last':>27} {'rejected':>15} {'stood in':>10}"
        for name, each in zip(names, self.sources, strict=True):
            rows = _course(each.first_rows, each.last_rows)
            rejected = _course(each.first_rejected, each.last_rejected)
            stood_in = f"{each.stood_in} of {each.runs}" if each.stood_in else "-"
            missing = f", missing in {each.missing}" if each.missing else ""
            yield f"  {name:{width}} {rows:>27} {rejected:>15} {stood_in:>10}{missing}"

    def _checks(self) -> Iterator[str]:
        if self.checks:
            yield "  checks that failed most"
        for check in self.checks[:TOLD]:
            share = f"{check.failed} of {check.runs}"
            yield f"  {share:>12} {check.severity.upper():5} {check.asset}: {check.name}"
        if len(self.checks) > TOLD:
            yield f"  {'':12} and {len(self.checks) - TOLD} more, with --json"


def _timed(seconds: Seconds | None) -> str:
    if seconds is None:
        return f" {'-':>10} {'-':>10}"
    median, slowest = f"{seconds.median:.1f} s", f"{seconds.slowest:.1f} s"
    return f" {median:>10} {slowest:>10}  {seconds.slowest_run}"


def _course(first: int | None, last: int | None) -> str:
    if first is None or last is None:
        return "-"
    return f"{first:,}" if first == last else f"{first:,} -> {last:,}"

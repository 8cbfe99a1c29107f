"""Count how a domain's runs went, from the manifests of those that are kept.

Manifests tell all that is counted, and cost less to read than the event log. How the answer looks
is `etl_assets.operations.stats_result`.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.phases import COLLECT, LOAD, stage_of
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest, RunSource
from etl_assets.operations.stats_result import (
    CheckStats,
    DomainStats,
    PhaseStats,
    Seconds,
    SourceStats,
)
from etl_assets.publish import run_directory


@dataclass(frozen=True, slots=True)
class _Told:
    """One run: the name of its directory and what its manifest says."""

    name: str
    manifest: RunManifest

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of each stage that ran, in the order of the steps."""
        found: dict[str, float] = {}
        for phase in self.manifest.phases:
            stage = stage_of(self.manifest.domain, phase.name)
            found[stage] = found.get(stage, 0) + phase.seconds
        return found


def count(home: Home, domain: str, *, last: int | None = None) -> DomainStats:
    """All kept runs, or the last so many, from the oldest to the newest."""
    told, unread = _read(list(islice(run_directory.list_runs(home, domain), last)))
    if not told:
        return DomainStats(domain=domain, runs=0, unread=unread)
    manifests = [run.manifest for run in told]
    moved = [run for run in told if run.manifest.phases]
    halfway = sum(manifest.is_partial for manifest in manifests)
    statuses = Counter(manifest.status.value for manifest in manifests)
    return DomainStats(
        domain=domain,
        runs=len(told),
        since=manifests[0].started_at,
        until=manifests[-1].started_at,
        unread=unread,
        by_status=dict(statuses.most_common()),
        success_pct=_percent(statuses[RunStatus.SUCCESS.value], len(told)),
        published_pct=_percent(sum(m.published for m in manifests), len(told) - halfway),
        halfway=halfway,
        unmoved=len(told) - len(moved),
        healed=sum(any(map(_stood_in, m.sources)) for m in manifests),
        asked=sum(bool(m.answers) for m in manifests),
        seconds=_seconds((run, run.manifest.seconds) for run in moved),
        seconds_unmoved=_seconds((r, r.manifest.seconds) for r in told if r not in moved),
        phases=[_collect(told), _load(moved)],
        steps=_steps(moved),
        sources=_sources(manifests),
        checks=_checks(manifests),
    )


def _read(directories: Sequence[Path]) -> tuple[list[_Told], list[str]]:
    """The runs from the oldest on, and why the others cannot be read."""
    told, unread = [], []
    for directory in reversed(directories):
        try:
            told.append(_Told(directory.name, run_directory.read_manifest(directory)))
        except HomeError as error:
            unread.append(str(error))
    return told, unread


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def _seconds(taken: Iterable[tuple[_Told, float]]) -> Seconds | None:
    found = list(taken)
    if not found:
        return None
    slowest, most = max(found, key=lambda each: each[1])
    return Seconds(
        runs=len(found),
        median=round(statistics.median(seconds for _, seconds in found), 3),
        slowest=round(most, 3),
        slowest_run=slowest.name,
    )


def _collect(told: Sequence[_Told]) -> PhaseStats:
    results = [run.manifest.result for run in told]
    ended = [result.collector_result.status for result in results if result]
    seconds = _of_stages(told, COLLECT)
    return _phase("collect", len(ended), ended.count("success"), seconds)


def _load(told: Sequence[_Told]) -> PhaseStats:
    results = [run.manifest.result for run in told]
    ended = [result.loader_result.status for result in results if result]
    begun = len(ended) - ended.count("skipped")
    return _phase("load", begun, ended.count("success"), _of_stages(told, LOAD))


def _phase(
    phase: Literal["collect", "load"], runs: int, succeeded: int, seconds: Seconds | None
) -> PhaseStats:
    return PhaseStats(
        phase=phase,
        runs=runs,
        succeeded=succeeded,
        success_pct=_percent(succeeded, runs),
        seconds=seconds,
    )


def _of_stages(told: Sequence[_Told], stages: Sequence[str]) -> Seconds | None:
    """The stages together, over the runs in which at least one of them ran."""
    taken = ((run, [s for stage, s in run.stages.items() if stage in stages]) for run in told)
    return _seconds((run, sum(seconds)) for run, seconds in taken if seconds)


def _steps(moved: Sequence[_Told]) -> dict[str, Seconds]:
    names = dict.fromkeys(stage for run in moved for stage in run.stages)
    timed = {
        name: _seconds((run, run.stages[name]) for run in moved if name in run.stages)
        for name in names
    }
    return {name: seconds for name, seconds in timed.items() if seconds}


def _sources(manifests: Sequence[RunManifest]) -> list[SourceStats]:
    names = sorted({source.source for manifest in manifests for source in manifest.sources})
    return [_source(name, manifests) for name in names]


def _source(name: str, manifests: Sequence[RunManifest]) -> SourceStats:
    every = [[part for part in manifest.sources if part.source == name] for manifest in manifests]
    parts = [of_run for of_run in every if of_run]
    filled = [of_run for of_run in parts if any(part.rows is not None for part in of_run)]
    faults = [part.fault for of_run in parts for part in of_run if part.fault]
    return SourceStats(
        source=name,
        runs=len(parts),
        stood_in=sum(any(map(_stood_in, of_run)) for of_run in parts),
        missing=sum(any(map(_is_missing, of_run)) for of_run in parts),
        last_fault=faults[-1] if faults else None,
        first_rows=_sum(filled[:1], lambda part: part.rows),
        last_rows=_sum(filled[-1:], lambda part: part.rows),
        first_rejected=_sum(filled[:1], lambda part: part.rejected),
        last_rejected=_sum(filled[-1:], lambda part: part.rejected),
    )


def _sum(
    of_run: Sequence[Sequence[RunSource]], value: Callable[[RunSource], int | None]
) -> int | None:
    return sum(value(part) or 0 for part in of_run[0]) if of_run else None


def _stood_in(part: RunSource) -> bool:
    return not part.status.is_served and part.sha256 is not None


def _is_missing(part: RunSource) -> bool:
    return not part.status.is_served and part.sha256 is None


def _checks(manifests: Sequence[RunManifest]) -> list[CheckStats]:
    evaluated = Counter((c.asset, c.name) for m in manifests for c in m.checks)
    failed = Counter((c.asset, c.name) for m in manifests for c in m.failed_checks)
    severity = {(c.asset, c.name): c.severity for m in manifests for c in m.failed_checks}
    found = [
        CheckStats(
            asset=asset,
            name=name,
            severity=severity[asset, name],
            failed=times,
            runs=evaluated[asset, name],
        )
        for (asset, name), times in failed.items()
    ]
    return sorted(found, key=lambda check: (-check.failed, check.severity, check.asset, check.name))

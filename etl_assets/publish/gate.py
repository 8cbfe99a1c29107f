"""Whether a candidate may be published: how far it is from what is published, and all verdicts.

The verdicts were reached elsewhere, by a stage or by SQL; what a refusal leads to is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from etl_assets.declarations.domain import GateCheck, StateLimits
from etl_assets.model.errors import Incomparable, Problem
from etl_assets.model.run_manifest import RunCheck, RunManifest, RunSource
from etl_assets.publish.gate_result import SHOWN_OFFENDERS, GateFinding, GateVerdict
from etl_assets.publish.run_directory import count_rows
from etl_assets.publish.table_diff import RowChange, diff_tables, find_lost_groups

ADVICE = "look at the candidate; if it is right, run again with --accept-changes"


def describe_limits(check: GateCheck) -> dict[str, str]:
    """The names of a declared check's measures, each with what it expects."""
    floor = f", or {check.floor:,} rows" if check.floor else ""
    wanted = {"vanished": f"at most {check.max_vanished_pct:g} % of rows to vanish{floor}"}
    if check.group:
        wanted["groups_vanished"] = (
            f"no {check.group} of {check.whole_group_min:,} rows or more to vanish whole"
        )
    if states := check.states:
        wanted["silenced"] = (
            f"at most {states.max_silenced_pct:g} % of rows to go from affected to silent{floor}"
        )
        wanted["flipped"] = (
            f"at most {states.max_flipped_pct:g} % of rows to change their state otherwise{floor}"
        )
    return {f"{check.model}_{measure}": text for measure, text in wanted.items()}


def compare_model(
    check: GateCheck, published: Path | None, candidate: Path, *, appeared: AbstractSet[str]
) -> list[GateFinding]:
    """One finding per measure; `appeared` are sources that had no rows in the published set."""
    limits = describe_limits(check)
    if published is None or not published.exists():
        return [_unmeasured(name, limit, refused=False) for name, limit in limits.items()]
    states = check.states
    columns = [states.column] if states else []
    along = [name for name in (states and states.decided_by,) if name]
    try:
        pairs = diff_tables(
            published, candidate, key=check.key, columns=columns or check.key, along=along
        )
        lost = (
            find_lost_groups(
                published, candidate, group=check.group, at_least=check.whole_group_min
            )
            if check.group
            else {}
        )
    except Incomparable as error:
        return [_unmeasured(name, str(error), refused=True) for name in limits]
    return _findings(check, pairs, lost, count_rows(published), appeared)


def _findings(
    check: GateCheck,
    pairs: Sequence[RowChange],
    lost: dict[str, int],
    rows: int,
    appeared: AbstractSet[str],
) -> list[GateFinding]:
    limits = describe_limits(check)
    vanished = [pair.name for pair in pairs if pair.after is None]
    found = {"vanished": (vanished, check.max_vanished_pct)}
    if states := check.states:
        counted = [pair for pair in pairs if _counts(pair, states, appeared)]
        silenced = [pair for pair in counted if _is_silenced(pair, states)]
        found["silenced"] = ([_told(p, states) for p in silenced], states.max_silenced_pct)
        others = [_told(p, states) for p in counted if not _is_silenced(p, states)]
        found["flipped"] = (others, states.max_flipped_pct)
    findings = [
        _share(name, limits[name], offenders, rows, pct, check.floor)
        for measure, (offenders, pct) in found.items()
        if (name := f"{check.model}_{measure}")
    ]
    if check.group:
        findings.append(_groups(check, limits, lost, rows))
    return findings


def _counts(pair: RowChange, states: StateLimits, appeared: AbstractSet[str]) -> bool:
    """Whether a row changed its state, and not because a source was heard for the first time."""
    if pair.before is None or pair.after is None:
        return False
    source = pair.after[states.decided_by] if states.decided_by else None
    return pair.before[states.column] != pair.after[states.column] and source not in appeared


def _is_silenced(pair: RowChange, states: StateLimits) -> bool:
    return (
        pair.before is not None
        and pair.after is not None
        and pair.before[states.column] in states.affected
        and pair.after[states.column] in states.silent
    )


def _told(pair: RowChange, states: StateLimits) -> str:
    before, after = pair.before or {}, pair.after or {}
    return f"{pair.name} ({before.get(states.column)} -> {after.get(states.column)})"


def _share(
    name: str, limit: str, offenders: list[str], rows: int, max_pct: float, floor: int
) -> GateFinding:
    count = len(offenders)
    share = count * 100 / rows if rows else 0.0
    return GateFinding(
        check=name,
        limit=limit,
        found=f"{count:,} of {rows:,} ({share:.2f} %)",
        count=count,
        of=rows,
        refused=count > floor and share > max_pct,
        offenders=offenders[:SHOWN_OFFENDERS],
    )


def _groups(
    check: GateCheck, limits: dict[str, str], lost: dict[str, int], rows: int
) -> GateFinding:
    name = f"{check.model}_groups_vanished"
    return GateFinding(
        check=name,
        limit=limits[name],
        found=f"{len(lost):,}",
        count=len(lost),
        of=rows,
        refused=bool(lost),
        offenders=[f"{group} ({size:,} rows)" for group, size in lost.items()][:SHOWN_OFFENDERS],
    )


def _unmeasured(name: str, why: str, *, refused: bool) -> GateFinding:
    limit, found = ("columns to compare", why) if refused else (why, "nothing published before")
    return GateFinding(check=name, limit=limit, found=found, refused=refused)


def judge_candidate(
    checks: Iterable[RunCheck],
    incomplete: Sequence[Problem] = (),
    findings: Iterable[GateFinding] = (),
    *,
    accept: bool = False,
    advice: str = ADVICE,
) -> GateVerdict:
    """Refuse where a check of severity error failed, a document lost rows, or a limit is exceeded.

    Only the last may be accepted by a person, and only where nothing else speaks against it.
    """
    failed = [check for check in checks if not check.passed]
    hard = [_line(check) for check in failed if check.severity == "error"]
    hard += [str(problem) for problem in incomplete]
    exceeded = [finding for finding in findings if finding.refused]
    accepted = exceeded if accept and not hard else []
    return GateVerdict(
        refused_by=hard + [str(finding) for finding in exceeded if finding not in accepted],
        warned_by=[_line(check) for check in failed if check.severity == "warn"],
        accepted=[finding.check for finding in accepted],
        advice=advice if exceeded and not hard and not accepted else "",
    )


def is_same_candidate(
    refused: RunManifest,
    *,
    code_version: str,
    history_sha256: str | None,
    sources: Iterable[RunSource],
) -> bool:
    """Whether a refused candidate was made from exactly this: files, history and code.

    Its bytes cannot be compared: they name the logical time of the run that made them.
    """

    def files(of: Iterable[RunSource]) -> set[tuple[str, str | None]]:
        return {(source.name, source.sha256) for source in of}

    return (
        refused.code_version == code_version
        and refused.history_sha256 == history_sha256
        and files(refused.sources) == files(sources)
    )


def names_with_rows(sources: Iterable[RunSource]) -> set[str]:
    """The names, within their domain, of sources that had rows."""
    return {source.source.name for source in sources if source.rows}


def _line(check: RunCheck) -> str:
    return f"{check.asset}: {check.name}{f': {check.description}' if check.description else ''}"

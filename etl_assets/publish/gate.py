"""The gate: measure how far a candidate is from the published set, and decide if it may replace it.

Failed checks and incomplete documents are found elsewhere; what follows from a refusal is the
caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from pydantic import Field

from etl_assets.declarations.domain import Coverage, GateCheck, StateLimits
from etl_assets.model.errors import ColumnMismatchError, Problem
from etl_assets.model.records import Record
from etl_assets.model.run_manifest import RunCheck, RunManifest, RunSource
from etl_assets.publish.table_diff import RowChange, count_keys, diff_tables, find_lost_groups
from etl_assets.storage.sql_quoting import quote_name

if TYPE_CHECKING:
    import duckdb

MAX_OFFENDERS = 20
NAMED_ROWS = 5  # of those without a value
ADVICE = "look at the candidate; if it is right, run again with --accept-changes"


class GateFinding(Record):
    """One measure of the difference between a candidate and the published set, and its limit."""

    check: str
    limit: str = Field(description="the limit as text")
    found: str
    count: int = Field(default=0, ge=0, description="rows, or groups of rows, that differ")
    of: int = Field(default=0, ge=0, description="rows that are published")
    refused: bool
    warned: bool = Field(default=False, description="a limit that warns is exceeded")
    note: str = Field(default="", description="why nothing was measured, if that is as declared")
    offenders: list[str] = Field(
        default=[], description=f"at most {MAX_OFFENDERS}, in the order of their keys"
    )

    def __str__(self) -> str:
        text = f"{self.check}: expected {self.limit}, found {self.found}"
        if self.offenders:
            text += f": {', '.join(self.offenders)}"
        if self.offenders and self.count > len(self.offenders):
            text += f" and {self.count - len(self.offenders):,} more"
        return text


class GateVerdict(Record):
    """The gate's decision on a candidate, with every reason against it."""

    refused_by: list[str] = Field(description="one line for each reason to refuse")
    warned_by: list[str] = []
    accepted: list[str] = Field(
        default=[], description="checks whose exceeded limits the operator accepted"
    )
    advice: str = Field(default="", description="what the operator can do about a refusal")

    @property
    def passed(self) -> bool:
        return not self.refused_by

    def __str__(self) -> str:
        if self.passed:
            text = f"passed, {len(self.warned_by)} warnings"
            return f"{text}, accepted: {', '.join(self.accepted)}" if self.accepted else text
        lines = [line for line in (*self.refused_by, self.advice) if line]
        return "refused:\n" + "\n".join(f"  {line}" for line in lines)


def describe_limits(check: GateCheck) -> dict[str, str]:
    """The limit of each measure of a declared check, as text, by the name of its finding."""
    floor = f", or {check.floor:,} rows" if check.floor else ""
    limits = {"vanished": f"at most {check.max_vanished_pct:g} % of rows to vanish{floor}"}
    if check.group:
        limits["groups_vanished"] = (
            f"no {check.group} of {check.whole_group_min:,} rows or more to lose all rows"
        )
    if states := check.states:
        limits["silenced"] = (
            f"at most {states.max_silenced_pct:g} % of rows to go from affected to silent{floor}"
        )
        limits["flipped"] = (
            f"at most {states.max_flipped_pct:g} % of rows to change their state otherwise{floor}"
        )
    return {f"{check.model}_{measure}": text for measure, text in limits.items()}


def compare_model(
    connection: duckdb.DuckDBPyConnection,
    check: GateCheck,
    published: Path | None,
    candidate: Path,
    *,
    appeared: AbstractSet[str],
) -> list[GateFinding]:
    """One finding per measure; `appeared` are sources that had no rows in the published set.

    Without a published model nothing is measured, and nothing is refused.
    """
    limits = describe_limits(check)
    if published is None or not published.exists():
        return [
            GateFinding(check=name, limit=limit, found="nothing published before", refused=False)
            for name, limit in limits.items()
        ]
    columns, extra_columns = list(check.key), []
    if states := check.states:
        columns = [states.column]
        extra_columns = [states.decided_by] if states.decided_by else []
    lost_groups = {}
    try:
        changes = diff_tables(
            connection,
            published,
            candidate,
            key=check.key,
            columns=columns,
            extra_columns=extra_columns,
            ignore_case=check.ignore_case,
            only_with=check.only_with,
        )
        rows = count_keys(connection, published, check.key, check.only_with)
        if check.group:
            lost_groups = find_lost_groups(
                connection,
                published,
                candidate,
                group=check.group,
                at_least=check.whole_group_min,
                ignore_case=check.ignore_case,
            )
    except ColumnMismatchError as error:
        return [
            GateFinding(check=name, limit="columns to compare", found=str(error), refused=True)
            for name in limits
        ]
    vanished = [change.name for change in changes if change.after is None]
    findings = [_share_finding(check, "vanished", vanished, check.max_vanished_pct, rows)]
    if states := check.states:
        silenced, flipped = _split_state_changes(changes, states, appeared)
        findings += [
            _share_finding(check, "silenced", silenced, states.max_silenced_pct, rows),
            _share_finding(check, "flipped", flipped, states.max_flipped_pct, rows),
        ]
    if check.group:
        findings.append(_lost_groups_finding(check, lost_groups, rows))
    return findings


def coverage_name(coverage: Coverage) -> str:
    return f"{coverage.model}_{coverage.column}_coverage"


def describe_coverage(coverage: Coverage) -> str:
    return (
        f"at least {coverage.warn:.0%} of rows with a value of {coverage.source},"
        f" refused below {coverage.floor:.0%}"
    )


def measure_coverage(
    connection: duckdb.DuckDBPyConnection, coverage: Coverage, model: Path, *, is_on: bool
) -> GateFinding:
    """Return the share of a model's rows that have a value in the enriched column.

    A model without rows counts as covered.

    Nothing is measured unless `is_on`: a source that is switched off enriches no row.
    """
    name, limit = coverage_name(coverage), describe_coverage(coverage)
    if not is_on:
        note = f"not applicable, {coverage.source} is off"
        return GateFinding(check=name, limit=limit, found="nothing", refused=False, note=note)
    known_columns = pq.read_schema(model).names if model.exists() else []
    if missing := {coverage.key, coverage.column}.difference(known_columns):
        found = f"no {' and no '.join(sorted(missing))} in {coverage.model}"
        return GateFinding(check=name, limit=limit, found=found, refused=True)
    columns = [f"{quote_name(coverage.key)}::varchar", f"{quote_name(coverage.column)} is null"]
    rows = sorted(
        connection.read_parquet(model.as_posix()).project(", ".join(columns)).fetchall(), key=str
    )
    without = [str(key) for key, is_missing in rows if is_missing]
    covered = len(rows) - len(without)
    share = covered / len(rows) if rows else 1.0
    is_low = share < coverage.warn
    return GateFinding(
        check=name,
        limit=limit,
        found=f"{covered:,} of {len(rows):,} ({share:.1%})" + (", without" if is_low else ""),
        count=len(without),
        of=len(rows),
        refused=share < coverage.floor,
        warned=is_low,
        offenders=without[:NAMED_ROWS] if is_low else [],
    )


def _split_state_changes(
    changes: Sequence[RowChange], states: StateLimits, appeared: AbstractSet[str]
) -> tuple[list[str], list[str]]:
    """Rows that went from an affected to a silent state, and rows that changed otherwise."""
    silenced: list[str] = []
    flipped: list[str] = []
    for change in changes:
        if change.before is None or change.after is None:
            continue
        before, after = change.before[states.column], change.after[states.column]
        # A source with its first rows may change many states, and rightly so.
        source = change.after.get(states.decided_by or "")
        if before == after or source in appeared:
            continue
        text = f"{change.name} ({before} -> {after})"
        if before in states.affected and after in states.silent:
            silenced.append(text)
        else:
            flipped.append(text)
    return silenced, flipped


def _share_finding(
    check: GateCheck, measure: str, offenders: list[str], max_pct: float, rows: int
) -> GateFinding:
    """The finding of a measure that is limited to a share of the published rows."""
    name = f"{check.model}_{measure}"
    count = len(offenders)
    share = count * 100 / rows if rows else 0.0
    return GateFinding(
        check=name,
        limit=describe_limits(check)[name],
        found=f"{count:,} of {rows:,} ({share:.2f} %)",
        count=count,
        of=rows,
        # A few rows of a small model are a large share; up to `floor` rows never refuse.
        refused=count > check.floor and share > max_pct,
        offenders=offenders[:MAX_OFFENDERS],
    )


def _lost_groups_finding(check: GateCheck, lost_groups: dict[str, int], rows: int) -> GateFinding:
    name = f"{check.model}_groups_vanished"
    offenders = [f"{group} ({size:,} rows)" for group, size in lost_groups.items()]
    return GateFinding(
        check=name,
        limit=describe_limits(check)[name],
        found=f"{len(offenders):,}",
        count=len(offenders),
        of=rows,
        refused=bool(offenders),
        offenders=offenders[:MAX_OFFENDERS],
    )


def judge_candidate(
    checks: Iterable[RunCheck],
    incomplete: Sequence[Problem] = (),
    findings: Iterable[GateFinding] = (),
    *,
    accept: bool = False,
    advice: str = ADVICE,
) -> GateVerdict:
    """Refuse if a check of severity error failed, a document is incomplete, or a limit is exceeded.

    The operator may accept exceeded limits only, and only if there is no other reason to refuse.
    """
    failed = [check for check in checks if not check.passed]
    errors = [_format_check(check) for check in failed if check.severity == "error"]
    errors += [str(problem) for problem in incomplete]
    findings = list(findings)
    exceeded = [finding for finding in findings if finding.refused]
    warned = [str(finding) for finding in findings if finding.warned and not finding.refused]
    accepted = exceeded if accept and not errors else []
    refused = [] if accepted else exceeded
    return GateVerdict(
        refused_by=errors + [str(finding) for finding in refused],
        warned_by=[_format_check(check) for check in failed if check.severity == "warn"] + warned,
        accepted=[finding.check for finding in accepted],
        advice=advice if refused and not errors else "",
    )


def is_same_candidate(
    refused: RunManifest,
    *,
    code_version: str,
    history_sha256: str | None,
    sources: Iterable[RunSource],
) -> bool:
    """True if a refused candidate was made from the same files, history and code.

    Its bytes cannot be compared, as they contain the logical time of its run.
    """
    files = {(source.name, source.sha256) for source in sources}
    refused_files = {(source.name, source.sha256) for source in refused.sources}
    return (
        refused.code_version == code_version
        and refused.history_sha256 == history_sha256
        and refused_files == files
    )


def names_with_rows(sources: Iterable[RunSource]) -> set[str]:
    """The names, within their domain, of sources that had rows."""
    return {source.source.name for source in sources if source.rows}


def _format_check(check: RunCheck) -> str:
    description = f": {check.description}" if check.description else ""
    return f"{check.asset}: {check.name}{description}"

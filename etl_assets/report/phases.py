"""The reports of the two phases of a run as plain text: collecting sources, and loading them.

They need no reader but a terminal, and each is complete without the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from etl_assets.model.display_text import MAX_NAMES, align_columns, format_count, to_one_line
from etl_assets.model.run_manifest import COLLECT_STEPS, LOAD_STEPS, RunCheck, stage_of_step
from etl_assets.report.formatting import (
    format_age,
    format_duration,
    format_size,
    format_time,
)
from etl_assets.report.report import RunReport


def render_collect(report: RunReport) -> str:
    """Returns the report of the first phase: which files were used, and what is wrong with them."""
    run = report.manifest
    lines = _first_lines(report, "collecting", COLLECT_STEPS)
    if run.result:
        collected = run.result.collector_result
        lines += [
            f"status       {collected.status}",
            f"files        {collected.files_processed:,}, of which {collected.files_fetched:,} new",
            f"records      {collected.records_count:,}, of which {report.rejected:,} rejected",
        ]
    if run.mirror:
        lines.append(f"sources      {run.mirror_note}")
    rows = [["source", "status", "rows", "rejected", "files", "contact", "content"]]
    rows += [
        [
            source.source,
            source.status.value,
            f"{source.rows:,}",
            f"{source.rejected:,}",
            f"{source.files:,}",
            format_age(source.contact_age_hours),
            format_age(source.content_age_hours),
        ]
        for source in report.sources
    ]
    lines += _titled(
        "Sources", align_columns(rows) if report.sources else ["No source was checked."]
    )
    if run.result and run.result.collector_result.healing_actions:
        lines += _titled("Earlier files", _cut(run.result.collector_result.healing_actions))
    sources = {source.source.replace(".", "/") for source in report.sources}
    lines += _failed_checks(report, [c for c in report.failed_checks if _source_of(c) in sources])
    return "\n".join(lines) + "\n"


def render_load(report: RunReport) -> str:
    """Returns the report of the second phase: what was built, checked and published."""
    run = report.manifest
    lines = _first_lines(report, "loading", LOAD_STEPS)
    if run.result:
        loaded = run.result.loader_result
        lines += [
            f"status       {loaded.status}",
            f"tables       {loaded.tables_created:,}",
            f"validation   {loaded.data_validation.replace('_', ' ')}",
        ]
    lines.append(f"assets       {report.made_assets:,} made, {report.reused_assets:,} reused")
    if run.changes:
        lines += _titled(f"Changed since {run.changes.since}", run.changes.lines() or ["nothing"])
    marts = [["mart", "rows"], *([mart.model, f"{mart.rows:,}"] for mart in run.marts)]
    lines += _titled("Marts", align_columns(marts) if run.marts else [])
    documents = [["document", "files", "rows", "size"]]
    documents += [
        [each.document, f"{each.files:,}", f"{each.rows:,}", format_size(each.size_bytes)]
        for each in report.documents
    ]
    lines += _titled(
        "Documents",
        align_columns(documents) if report.documents else ["No document was written."],
    )
    sources = {source.source.replace(".", "/") for source in report.sources}
    checks = [check for check in report.failed_checks if _source_of(check) not in sources]
    lines += _failed_checks(report, checks)
    return "\n".join(lines) + "\n"


def _first_lines(report: RunReport, phase: str, steps: Sequence[str]) -> list[str]:
    run = report.manifest
    seconds = sum(p.seconds for p in run.phases if stage_of_step(run.domain, p.name) in steps)
    lines = [
        f"{to_one_line(report.title)}: {phase}, run {run.directory or run.run_id}",
        "",
        f"run          {run.status.value.replace('_', ' ')}, {run.publication}",
        f"as of        {format_time(run.as_of)}",
        f"started      {format_time(run.started_at)}",
        f"time         {format_duration(seconds)}",
    ]
    return [*lines, f"note         {to_one_line(run.note)}"] if run.note else lines


def _source_of(check: RunCheck) -> str:
    """Returns the table of the source that a check belongs to, such as `orchard/trees`."""
    return check.asset.removesuffix("_raw").removesuffix("_validated")


def _failed_checks(report: RunReport, checks: Sequence[RunCheck]) -> list[str]:
    lines = []
    for check in checks:
        mark = "FAILED" if check.severity == "error" else "warning"
        first, *others = check.description.splitlines() or [""]
        lines += [f"{mark}  {check.asset}: {check.name}", f"  {first}"]
        lines += [f"    {line}" for line in (others if check.rows else _cut(others))]
    title = f"Checks: {format_count(len(checks), 'failure')}"
    if not report.manifest.checks:
        return _titled("Checks", ["No check was evaluated."])
    return _titled(title, lines or ["all passed"])


def _cut(lines: Sequence[str]) -> list[str]:
    """Returns the first lines, and the number of the others."""
    more = len(lines) - MAX_NAMES
    return [*lines[:MAX_NAMES], *([f"and {more:,} more"] if more > 0 else [])]


def _titled(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)] if lines else []

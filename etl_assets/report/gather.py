"""Gather what the report of a run shows: its manifest, declared sections and source health.

Ages are relative to the run's `as_of`, so that a report can be made again. The look is in
`report.html` and `report.markdown`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path

import duckdb

from etl_assets.declarations.domain import Domain, ReportSection
from etl_assets.marts.source_status import WORST_FIRST, judge_content
from etl_assets.model.display_text import format_count
from etl_assets.model.errors import BuildError
from etl_assets.model.home import Home
from etl_assets.model.records import SourceName
from etl_assets.model.run_log import LOG_FILE
from etl_assets.model.run_manifest import RunManifest, RunSource, age_hours, newest_content_time
from etl_assets.report import html, markdown, phases, trends
from etl_assets.report.report import Cell, DocumentLine, RunReport, Section, SourceLine
from etl_assets.report.trends import TrendRun
from etl_assets.storage.atomic_write import write_text
from etl_assets.storage.duckdb_connection import connect
from etl_assets.storage.sql_quoting import quote_name

MARKDOWN_FILE = "run_report.md"
HTML_FILE = "run_report.html"
COLLECT_FILE = "run_report.collect.txt"
LOAD_FILE = "run_report.load.txt"
FILES = (MARKDOWN_FILE, HTML_FILE, COLLECT_FILE, LOAD_FILE)
RUN_FILES = (*FILES, LOG_FILE)
AGE_COLUMN = "age_days"
ID_COLUMN = re.compile(r"(\w+_)?id\d*")


def write_report(
    domain: Domain,
    manifest: RunManifest,
    marts: Path,
    run_dir: Path,
    earlier_runs: Sequence[TrendRun] = (),
) -> RunReport:
    """Write the run's report to its directory, whole in two forms, and as text per phase."""
    report = gather_report(domain, manifest, marts)
    runs = trends.add_run(earlier_runs, manifest, report.counts)
    report = report.model_copy(update={"runs": runs})
    write_text(run_dir / MARKDOWN_FILE, markdown.render_markdown(report))
    write_text(run_dir / HTML_FILE, html.render_html(report))
    write_text(run_dir / COLLECT_FILE, phases.render_collect(report))
    write_text(run_dir / LOAD_FILE, phases.render_load(report))
    return report


def gather_report(domain: Domain, manifest: RunManifest, marts: Path) -> RunReport:
    """Everything that the report shows; a section of a model that was not built has a note."""
    return RunReport(
        title=domain.title,
        description=domain.description,
        manifest=manifest,
        sections=read_sections(domain.report, marts, manifest.as_of),
        sources=summarize_sources(domain, manifest),
        documents=summarize_documents(domain, manifest),
        tones=domain.tones,
        published_rows=_count_published(domain, marts),
        changed_rows=_count_changed(domain, manifest, marts),
    )


def _count_published(domain: Domain, marts: Path) -> int | None:
    """The rows of the model that `etl explain` explains."""
    path = marts / f"{domain.explain.model}.parquet" if domain.explain else None
    if path is None or not path.exists():
        return None
    with connect() as connection:
        return _read_number(connection.read_parquet(path.as_posix()), "count(*)")


def _count_changed(domain: Domain, manifest: RunManifest, marts: Path) -> int | None:
    """The periods of the history that begin with this run; None if nothing was published before."""
    if domain.explain is None or (history := domain.explain.history) is None:
        return None
    path = marts / f"{history.model}.parquet"
    if not path.exists():
        return None
    if manifest.is_unchanged:
        return 0
    if manifest.changes is None:
        return None  # every row of a first set is new, which is no change
    with connect() as connection:
        periods = _only_at(connection.read_parquet(path.as_posix()), history.since, manifest.as_of)
        return _read_number(periods, "count(*)")


def read_sections(declared: Sequence[ReportSection], marts: Path, as_of: datetime) -> list[Section]:
    """The declared sections, each read from the parquet file of its model."""
    with connect() as connection:
        return [_read_section(connection, section, marts, as_of) for section in declared]


def _read_section(
    connection: duckdb.DuckDBPyConnection, declared: ReportSection, marts: Path, as_of: datetime
) -> Section:
    path = marts / f"{declared.model}.parquet"
    if not path.exists():
        return Section(
            title=declared.title,
            kind=declared.kind,
            columns=declared.count_by or declared.columns,
            rows=[],
            total=0,
            note=f"{declared.model} was not built in this run",
        )
    try:
        model = _filter_rows(declared, connection.read_parquet(path.as_posix()), as_of)
        counted_rows = None
        if declared.count_by:
            names = ", ".join(map(quote_name, declared.count_by))
            rows = model.aggregate(f'{names}, count(*) as "count"', names)
            counted_rows = _read_number(rows, 'coalesce(sum("count"), 0)')
            rows = rows.order(names if declared.kind == "line" else f'"count" desc, {names}')
        else:
            shown = list(declared.columns)
            if declared.aged_by:
                shown.append(AGE_COLUMN)
            rows = model.project(", ".join(map(quote_name, shown)))
            if declared.defines:
                rows = rows.distinct().order(", ".join(map(quote_name, shown)))
        total = _read_number(rows, "count(*)")
        offset = 0
        if declared.kind == "line":
            # The newest points of a line are its last rows.
            offset = max(total - declared.limit, 0)
        return Section(
            title=declared.title,
            kind=declared.kind,
            columns=rows.columns,
            rows=[
                tuple(map(_to_cell, rows.columns, row))
                for row in rows.limit(declared.limit, offset).fetchall()
            ],
            total=total,
            counted_rows=counted_rows,
            defines=declared.defines,
            map_lines=_read_map_lines(connection, declared, marts),
        )
    except duckdb.Error as error:
        raise BuildError(
            f"report: {declared.title}: {path.name} cannot be read as declared: {error}"
        ) from error


def _filter_rows(
    declared: ReportSection, model: duckdb.DuckDBPyRelation, as_of: datetime
) -> duckdb.DuckDBPyRelation:
    """The rows that the section is about; with `aged_by`, with their age and the oldest first."""
    if declared.at:
        model = _only_at(model, declared.at, as_of)
    if declared.only_with:
        # As text, empty lists of all types are equal; null is never `not in`.
        model = model.filter(f"cast({quote_name(declared.only_with)} as varchar) not in ('', '[]')")
    if declared.aged_by:
        day = f"cast({quote_name(declared.aged_by)} as date)"
        today = f"date '{as_of.astimezone(UTC):%Y-%m-%d}'"
        order = ", ".join([f"{AGE_COLUMN} desc", *map(quote_name, declared.columns)])
        model = (
            model.project(f"*, date_diff('day', {day}, {today}) as {AGE_COLUMN}")
            .filter(f"{AGE_COLUMN} > {declared.over_days}")
            .order(order)
        )
    return model


def _only_at(
    model: duckdb.DuckDBPyRelation, column: str, as_of: datetime
) -> duckdb.DuckDBPyRelation:
    """The rows whose time is that of the run."""
    moment = duckdb.ConstantExpression(as_of.astimezone(UTC).replace(tzinfo=None))
    return model.filter(duckdb.ColumnExpression(column).cast(duckdb.sqltypes.TIMESTAMP) == moment)


def _read_map_lines(
    connection: duckdb.DuckDBPyConnection, declared: ReportSection, marts: Path
) -> list[tuple[Cell, ...]]:
    """The lines between the places of a map; none if their model was not built."""
    if declared.joined_by is None:
        return []
    path = marts / f"{declared.joined_by.model}.parquet"
    if not path.exists():
        return []
    names = ", ".join(map(quote_name, declared.joined_by.columns))
    rows = connection.read_parquet(path.as_posix()).project(names).fetchall()
    return [tuple(map(_simplify, row)) for row in rows]


def _read_number(relation: duckdb.DuckDBPyRelation, expression: str) -> int:
    [(value,)] = relation.aggregate(expression).fetchall()
    return int(value)


def summarize_sources(domain: Domain, manifest: RunManifest) -> list[SourceLine]:
    """One line per source, in the order of their names."""
    by_name = sorted(manifest.sources, key=lambda source: source.source)
    return [
        _summarize_source(domain, name, list(files), manifest.as_of)
        for name, files in groupby(by_name, key=lambda source: source.source)
    ]


def _summarize_source(
    domain: Domain, name: SourceName, files: list[RunSource], as_of: datetime
) -> SourceLine:
    declared = domain.sources.get(name.name)
    contacted_at = _latest(file.contacted_at or file.fetched_at for file in files)
    contact_age = age_hours(contacted_at, as_of)
    limits = declared.freshness if declared else None
    content = judge_content(limits, newest_content_time(files), as_of)
    rejects_by_rule: dict[str, int] = {}
    for file in files:
        for rule, count in file.rejects_by_rule.items():
            rejects_by_rule[rule] = rejects_by_rule.get(rule, 0) + count
    return SourceLine(
        source=str(name),
        title=declared.title if declared else str(name),
        files=len(files),
        status=min((file.status for file in files), key=WORST_FIRST.index),
        contacted_at=contacted_at,
        contact_age_hours=contact_age,
        content_at=content.content_at,
        content_age_hours=content.age_hours,
        contact=limits.judge(contact_age) if limits else "unknown",
        content=content.level,
        rows=sum(file.rows or 0 for file in files),
        rejected=sum(file.rejected or 0 for file in files),
        rejects_by_rule=dict(sorted(rejects_by_rule.items())),
        rejects_path=Home(Path()).rejects_file(domain.name, name.name, None).parent.as_posix(),
        faults=list(_list_faults(files)),
    )


def _list_faults(files: Iterable[RunSource]) -> Iterator[str]:
    """Yield each fault once, with the first file that has it and the number of the others."""
    alike: dict[str, list[RunSource]] = {}
    for file in files:
        if file.fault:
            text = file.fault.replace(file.name, "")
            alike.setdefault(text.replace(file.partition or file.name, "*"), []).append(file)
    for same in alike.values():
        fault = same[0].fault or ""
        # Some faults begin with the name of the file already.
        text = fault if fault.startswith(same[0].name) else f"{same[0].name}: {fault}"
        more = len(same) - 1
        yield f"{text}; the same fault of {format_count(more, 'other file')}" if more else text


def summarize_documents(domain: Domain, manifest: RunManifest) -> list[DocumentLine]:
    """One line per document, in the order in which they were written."""
    titles = {document.file: document.title for document in domain.documents}
    return [
        DocumentLine(
            document=document.document,
            title=titles.get(document.document, ""),
            files=document.files,
            first_file=document.first_file,
            rows=document.rows,
            size_bytes=document.size_bytes,
            sha256=document.sha256 if document.files == 1 else None,
            folder=f"../{manifest.published_set}/" if manifest.published_set else "",
        )
        for document in manifest.documents
    ]


def _latest(times: Iterable[datetime | None]) -> datetime | None:
    return max((time for time in times if time is not None), default=None)


def _to_cell(column: str, value: object) -> Cell:
    """A value as a cell; a number in an id column is text, as it is no amount to format."""
    if isinstance(value, int) and ID_COLUMN.fullmatch(column):
        return str(value)
    return _simplify(value)


def _simplify(value: object) -> Cell:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return ", ".join(str(_simplify(part)) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_simplify(part)}" for name, part in value.items())
    return str(value)

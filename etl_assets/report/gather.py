"""What the report of a run says: the manifest, the declared sections and the health of the sources.

Ages are computed from the run's as_of, so that a report can be made again. How it looks is not
decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path

import duckdb

from etl_assets.declarations.domain import Domain, ReportSection
from etl_assets.declarations.source import Source
from etl_assets.marts.source_status import WORST_FIRST
from etl_assets.model.errors import BuildError
from etl_assets.model.home import Home
from etl_assets.model.records import SourceName
from etl_assets.model.run_manifest import RunManifest, RunSource, age_hours
from etl_assets.report import html, markdown
from etl_assets.report.report import (
    Cell,
    DocumentLine,
    Freshness,
    RunReport,
    Section,
    SourceLine,
)
from etl_assets.storage.atomic_write import write_text
from etl_assets.storage.sql_quoting import quote_name

MARKDOWN_FILE = "run_report.md"
HTML_FILE = "run_report.html"
FILES = (MARKDOWN_FILE, HTML_FILE)
AGE = "age_days"
IDENTIFIER = re.compile(r"(\w+_)?id\d*")


def write_report(domain: Domain, manifest: RunManifest, marts: Path, run_dir: Path) -> RunReport:
    """The run's report in its own directory, as Markdown and as one HTML file."""
    report = gather_report(domain, manifest, marts)
    write_text(run_dir / MARKDOWN_FILE, markdown.render_markdown(report))
    write_text(run_dir / HTML_FILE, html.render_html(report))
    return report


def gather_report(domain: Domain, manifest: RunManifest, marts: Path) -> RunReport:
    """All that the report shows; a section whose model was not built says so."""
    return RunReport(
        title=domain.title,
        description=domain.description,
        manifest=manifest,
        sections=read_sections(domain.report, marts, manifest.as_of),
        sources=summarize_sources(domain, manifest),
        documents=summarize_documents(domain, manifest),
        tones=domain.tones,
    )


def read_sections(charts: Sequence[ReportSection], marts: Path, as_of: datetime) -> list[Section]:
    """The declared sections, each read from its model's parquet file."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        return [_section(connection, chart, marts, as_of) for chart in charts]


def _section(
    connection: duckdb.DuckDBPyConnection, chart: ReportSection, marts: Path, as_of: datetime
) -> Section:
    path = marts / f"{chart.model}.parquet"
    if not path.exists():
        note = f"{chart.model} was not built in this run"
        return Section(
            title=chart.title,
            kind=chart.kind,
            columns=chart.count_by or chart.columns,
            rows=[],
            total=0,
            note=note,
        )
    try:
        section = _read(chart, connection.read_parquet(path.as_posix()), as_of)
        return section.model_copy(update={"strokes": _strokes(connection, chart, marts)})
    except duckdb.Error as error:
        raise BuildError(
            f"report: {chart.title}: {path.name} cannot be read so: {error}"
        ) from error


def _strokes(
    connection: duckdb.DuckDBPyConnection, chart: ReportSection, marts: Path
) -> list[tuple[Cell, ...]]:
    """What joins the places of a map; nothing where its model was not built."""
    path = marts / f"{chart.joined_by.model}.parquet" if chart.joined_by else None
    if path is None or chart.joined_by is None or not path.exists():
        return []
    names = ", ".join(quote_name(name) for name in chart.joined_by.columns)
    rows = connection.read_parquet(path.as_posix()).project(names).fetchall()
    return [tuple(_cell(value) for value in row) for row in rows]


def _read(chart: ReportSection, model: duckdb.DuckDBPyRelation, as_of: datetime) -> Section:
    wanted = _chosen(chart, model, as_of)
    whole = None
    if chart.count_by:
        names = ", ".join(quote_name(name) for name in chart.count_by)
        wanted = wanted.aggregate(f'{names}, count(*) as "count"', names)
        whole = _number(wanted, 'coalesce(sum("count"), 0)')
        wanted = wanted.order(names if chart.kind == "line" else f'"count" desc, {names}')
    else:
        shown = [*chart.columns, *([AGE] if chart.aged_by else [])]
        wanted = wanted.project(", ".join(quote_name(name) for name in shown))
    total = _number(wanted, "count(*)")
    # What a line shows last is what is new.
    skipped = max(total - chart.limit, 0) if chart.kind == "line" else 0
    return Section(
        title=chart.title,
        kind=chart.kind,
        columns=wanted.columns,
        rows=[
            tuple(map(_cell_of, wanted.columns, row))
            for row in wanted.limit(chart.limit, skipped).fetchall()
        ],
        total=total,
        whole=whole,
    )


def _chosen(
    chart: ReportSection, model: duckdb.DuckDBPyRelation, as_of: datetime
) -> duckdb.DuckDBPyRelation:
    """The rows that the section is about; aged ones with their age, the oldest first."""
    if chart.at:
        moment = duckdb.ConstantExpression(as_of.astimezone(UTC).replace(tzinfo=None))
        column = duckdb.ColumnExpression(chart.at).cast(duckdb.sqltypes.TIMESTAMP)
        model = model.filter(column == moment)
    if chart.only_with:
        model = model.filter(f"cast({quote_name(chart.only_with)} as varchar) not in ('', '[]')")
    if chart.aged_by:
        day = f"cast({quote_name(chart.aged_by)} as date)"
        days = f"date_diff('day', {day}, date '{as_of.astimezone(UTC):%Y-%m-%d}') as {AGE}"
        order = ", ".join([f"{AGE} desc", *(quote_name(name) for name in chart.columns)])
        model = model.project(f"*, {days}").filter(f"{AGE} > {chart.over_days}").order(order)
    return model


def _number(relation: duckdb.DuckDBPyRelation, of: str) -> int:
    [(value,)] = relation.aggregate(of).fetchall()
    return int(value)


def summarize_sources(domain: Domain, manifest: RunManifest) -> list[SourceLine]:
    """One line per source, by name; the files of a partitioned one are summed."""
    by_name = sorted(manifest.sources, key=lambda source: source.source)
    return [
        _source_line(domain, name, list(files), manifest.as_of)
        for name, files in groupby(by_name, key=lambda source: source.source)
    ]


def _source_line(
    domain: Domain, source: SourceName, files: list[RunSource], as_of: datetime
) -> SourceLine:
    declared = domain.sources.get(source.name)
    content_at = _newest(file.content_at or file.last_modified for file in files)
    contacted_at = _newest(file.contacted_at or file.fetched_at for file in files)
    contact_age, content_age = age_hours(contacted_at, as_of), age_hours(content_at, as_of)
    rejects = Home(Path()).rejects_file(domain.name, source.name, None).parent
    return SourceLine(
        source=str(source),
        title=declared.title if declared else str(source),
        files=len(files),
        status=min((file.status for file in files), key=WORST_FIRST.index),
        contacted_at=contacted_at,
        contact_age_hours=contact_age,
        content_at=content_at,
        content_age_hours=content_age,
        contact=freshness(declared, contact_age),
        content=freshness(declared, content_age),
        rows=sum(file.rows or 0 for file in files),
        rejected=sum(file.rejected or 0 for file in files),
        rejects_by_rule=_summed(file.rejects_by_rule for file in files),
        rejects_path=rejects.as_posix(),
        faults=[_fault(file) for file in files if file.fault],
    )


def _fault(file: RunSource) -> str:
    text = file.fault or ""
    return text if text.startswith(file.name) else f"{file.name}: {text}"


def freshness(source: Source | None, hours: float | None) -> Freshness:
    """An age by the limits that the source declares."""
    if source is None or hours is None:
        return "unknown"
    if hours > source.freshness.fail_after_hours:
        return "stale"
    return "ageing" if hours > source.freshness.warn_after_hours else "fresh"


def summarize_documents(domain: Domain, manifest: RunManifest) -> list[DocumentLine]:
    """One line per document, in the order in which they were written."""
    titles = {document.file: document.title for document in domain.documents}
    lines = []
    for name, group in groupby(manifest.documents, key=lambda written: written.document):
        files = list(group)
        lines.append(
            DocumentLine(
                document=name,
                title=titles.get(name, ""),
                files=[file.file for file in files],
                rows=sum(file.rows for file in files),
                size_bytes=sum(file.size_bytes for file in files),
                sha256=files[0].sha256 if len(files) == 1 else None,
            )
        )
    return lines


def _newest(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for rule, number in count.items():
            total[rule] = total.get(rule, 0) + number
    return dict(sorted(total.items()))


def _cell_of(column: str, value: object) -> Cell:
    """The number of a thing is its name, and no amount: it is shown digit by digit."""
    is_name = isinstance(value, int) and IDENTIFIER.fullmatch(column)
    return str(value) if is_name else _cell(value)


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return ", ".join(str(_cell(part)) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_cell(part)}" for name, part in value.items())
    return str(value)

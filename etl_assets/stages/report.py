"""What the report of a run says: the manifest, the declared sections and the health of the sources.

Ages are computed from the run's as_of, so that a report can be made again. How it looks is not
decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb

from etl_assets.io.files import appear
from etl_assets.io.render import markdown
from etl_assets.model.declaration import Chart, Domain
from etl_assets.model.errors import BuildError
from etl_assets.model.records import FetchStatus
from etl_assets.model.report import Cell, RunReport, Section, SourceLine
from etl_assets.model.run import RunManifest, RunSource, age_hours

REPORT_FILE = "run_report.md"
FROM_BEST_TO_WORST = (
    FetchStatus.UNCHANGED,
    FetchStatus.FETCHED,
    FetchStatus.NOT_YET_PUBLISHED,
    FetchStatus.OUTAGE,
    FetchStatus.MISSING,
)


def write_report(domain: Domain, manifest: RunManifest, marts: Path, run_dir: Path) -> Path:
    """The run's report in Markdown, in its own directory."""
    target = run_dir / REPORT_FILE
    with appear(target) as temporary:
        temporary.write_text(markdown(gather(domain, manifest, marts)), encoding="utf-8")
    return target


def gather(domain: Domain, manifest: RunManifest, marts: Path) -> RunReport:
    """All that the report shows; a section whose model was not built says so."""
    return RunReport(
        title=f"{domain.title}: run {manifest.run_id}",
        manifest=manifest,
        sections=[section(chart, marts, manifest.as_of) for chart in domain.report],
        sources=source_health(domain, manifest),
        document_titles={document.file: document.title for document in domain.documents},
    )


def section(chart: Chart, marts: Path, as_of: datetime) -> Section:
    """One declared section, read from the model's parquet file."""
    path = marts / f"{chart.model}.parquet"
    columns = [*chart.count_by, "count"] if chart.count_by else chart.columns
    if not path.exists():
        note = f"{chart.model} was not built in this run"
        return Section(
            title=chart.title, kind=chart.kind, columns=columns, rows=[], total=0, note=note
        )
    rows = _query(chart, path, as_of)
    return Section(
        title=chart.title,
        kind=chart.kind,
        columns=columns,
        rows=[tuple(_cell(value) for value in row) for row in rows[: chart.limit]],
        total=len(rows),
    )


def _query(chart: Chart, path: Path, as_of: datetime) -> list[tuple[Any, ...]]:
    try:
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            relation = connection.read_parquet(path.as_posix())
            if chart.at:
                moment = duckdb.ConstantExpression(as_of.astimezone(UTC).replace(tzinfo=None))
                column = duckdb.ColumnExpression(chart.at).cast(duckdb.sqltypes.TIMESTAMP)
                relation = relation.filter(column == moment)
            if chart.count_by:
                names = ", ".join(_quoted(name) for name in chart.count_by)
                relation = relation.aggregate(f"{names}, count(*) as n", names)
                return relation.order(f"n desc, {names}").fetchall()
            return relation.project(", ".join(_quoted(name) for name in chart.columns)).fetchall()
    except duckdb.Error as error:
        raise BuildError(
            f"report: {chart.title}: {path.name} cannot be read so: {error}"
        ) from error


def source_health(domain: Domain, manifest: RunManifest) -> list[SourceLine]:
    """One line per source, by name; the files of a partitioned one are summed."""
    by_name = sorted(manifest.sources, key=lambda source: source.source)
    return [
        _health(domain, name, list(files), manifest.as_of)
        for name, files in groupby(by_name, key=lambda source: source.source)
    ]


def _health(domain: Domain, name: str, files: list[RunSource], as_of: datetime) -> SourceLine:
    declared = domain.sources.get(name.rpartition(".")[2])
    fetched_at = _newest(file.fetched_at for file in files)
    content_at = _newest(file.content_at or file.last_modified for file in files)
    return SourceLine(
        source=name,
        title=declared.title if declared else name,
        files=len(files),
        status=max((file.status for file in files), key=FROM_BEST_TO_WORST.index),
        fetched_at=fetched_at,
        contact_age_hours=age_hours(fetched_at, as_of),
        content_at=content_at,
        content_age_hours=age_hours(content_at, as_of),
        rows=sum(file.rows or 0 for file in files),
        rejected=sum(file.rejected or 0 for file in files),
        rejects_by_rule=_summed(file.rejects_by_rule for file in files),
        faults=[f"{file.name}: {file.fault}" for file in files if file.fault],
    )


def _newest(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for rule, number in count.items():
            total[rule] = total.get(rule, 0) + number
    return dict(sorted(total.items()))


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


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

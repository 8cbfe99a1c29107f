"""The content of a run report, without its look.

It is gathered in `report.gather`, and rendered in `report.markdown` and `report.html`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import AwareDatetime, Field

from etl_assets.declarations.domain import Tone
from etl_assets.declarations.source import AgeVerdict
from etl_assets.model.records import FetchStatus, Record, Sha256
from etl_assets.model.run_manifest import RowCounts, RunCheck, RunManifest
from etl_assets.report.formatting import format_cell
from etl_assets.report.trends import (
    MAX_COLUMNS,
    MAX_VALUES,
    SHOWN_RUNS,
    Trend,
    TrendRun,
    list_trends,
)

Cell = str | int | float | bool | None


class Section(Record):
    """One declared section: a table, a chart of its last column, or a map or graph of its rows."""

    title: str
    kind: Literal["table", "bar", "line", "map", "graph"]
    columns: list[str]
    rows: list[tuple[Cell, ...]]
    total: int = Field(ge=0, description="number of rows; `rows` may contain fewer")
    counted_rows: float | None = Field(
        default=None, description="if rows of a model were counted: the sum of all counts"
    )
    note: str = ""
    defines: list[str] = Field(default=[], description="columns whose values are terms")
    map_lines: list[tuple[Cell, ...]] = Field(
        default=[], description="of a map: the lines between its places"
    )

    @property
    def sizes(self) -> list[float]:
        """The values of a chart: the numbers in the last column, 0 for anything else."""
        last_cells = [row[-1] for row in self.rows]
        return [float(cell) if is_number(cell) else 0.0 for cell in last_cells]  # type: ignore[arg-type]

    @property
    def numeric_columns(self) -> list[bool]:
        """For each column, whether it contains a number."""
        flags = [False] * len(self.columns)
        for row in self.rows:
            for index, cell in enumerate(row):
                flags[index] = flags[index] or is_number(cell)
        return flags

    @property
    def hidden_rows(self) -> int:
        return self.total - len(self.rows)


class SourceLine(Record):
    """One source, summed over its files in the manifest."""

    source: str
    title: str
    files: int = Field(ge=0)
    status: FetchStatus = Field(description="the worst of its files")
    contacted_at: AwareDatetime | None
    contact_age_hours: float | None
    content_at: AwareDatetime | None
    content_age_hours: float | None
    contact: AgeVerdict = Field(default="unknown", description="by the declared limits")
    content: AgeVerdict = Field(default="unknown", description="by the declared limits")
    rows: int = Field(ge=0)
    rejected: int = Field(ge=0)
    rejects_by_rule: dict[str, int] = Field(default_factory=dict)
    rejects_path: str = Field(
        default="", description="where rejected rows are stored, relative to the home"
    )
    faults: list[str] = Field(default_factory=list)

    @property
    def is_served(self) -> bool:
        """False if an earlier file, or none, was used instead of what the remote has."""
        return self.status.is_served


class DocumentLine(Record):
    """One published document, summed over its files."""

    document: str
    title: str
    files: int = Field(ge=1)
    first_file: str = Field(description="relative to the run directory")
    rows: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    sha256: Sha256 | None = Field(default=None, description="if the document is one file")

    folder: str = Field(
        default="", description="of the set, relative to the report: empty, or with a slash"
    )

    @property
    def link_target(self) -> str:
        """The document itself if it is a file or a directory, else its first file."""
        is_directory = self.first_file.startswith(f"{self.document}/")
        return self.folder + (self.document if is_directory else self.first_file)


class RunReport(Record):
    """Everything that the report of a run shows."""

    title: str
    description: str = ""
    manifest: RunManifest
    sections: list[Section]
    sources: list[SourceLine]
    documents: list[DocumentLine] = Field(default_factory=list)
    tones: dict[str, Tone] = Field(default_factory=dict)
    published_rows: int | None = Field(
        default=None, description="rows of the model that is explained, if the domain has one"
    )
    changed_rows: int | None = Field(
        default=None, description="periods of its history that begin with this run"
    )

    runs: list[TrendRun] = Field(
        default_factory=list, description="kept runs that had something to do, this one included"
    )

    @property
    def counts(self) -> RowCounts | None:
        """The first section that counts rows by a few values, such as their states."""
        for section in self.sections:
            is_whole = section.kind == "bar" and section.counted_rows and not section.hidden_rows
            if is_whole and len(section.rows) <= MAX_VALUES and len(section.columns) <= MAX_COLUMNS:
                values = {
                    ", ".join(format_cell(cell) for cell in row[:-1]): int(size)
                    for row, size in zip(section.rows, section.sizes, strict=True)
                }
                return RowCounts(title=section.title, values=values)
        return None

    @cached_property
    def trends(self) -> list[Trend]:
        return list_trends(self.runs)

    @property
    def newest_runs(self) -> list[TrendRun]:
        """The runs that the table of them shows, newest first."""
        return self.runs[: -SHOWN_RUNS - 1 : -1]

    @cached_property
    def terms(self) -> dict[str, str]:
        """The anchor of the row that explains a term, by the term as `normalize_term` writes it."""
        anchors: dict[str, str] = {}
        for number, section in enumerate(self.sections, start=1):
            for index, row in enumerate(section.rows, start=1):
                for column, cell in zip(section.columns, row, strict=True):
                    if column in section.defines and isinstance(cell, str):
                        anchors.setdefault(normalize_term(cell), f"s{number}-r{index}")
        return anchors

    @property
    def headline(self) -> str:
        """The status in words, with what is wrong although the run ended well."""
        return self.manifest.headline(self.stale_sources)

    @property
    def failed_checks(self) -> list[RunCheck]:
        """Errors before warnings."""
        failed = self.manifest.failed_checks
        return sorted(failed, key=lambda check: (check.severity, check.asset, check.name))

    @property
    def passed_checks(self) -> list[RunCheck]:
        return [check for check in self.manifest.checks if check.passed]

    @property
    def errors_count(self) -> int:
        return sum(check.severity == "error" for check in self.failed_checks)

    @property
    def warnings_count(self) -> int:
        return len(self.failed_checks) - self.errors_count

    @property
    def made_assets(self) -> int:
        return sum(asset.outcome == "made" for asset in self.manifest.assets)

    @property
    def reused_assets(self) -> int:
        return len(self.manifest.assets) - self.made_assets

    @property
    def outdated_sources(self) -> int:
        """Sources for which an earlier file, or none, was used."""
        return sum(not source.is_served for source in self.sources)

    @property
    def stale_sources(self) -> int:
        return sum(source.content == "stale" for source in self.sources)

    @property
    def rows(self) -> int:
        return sum(source.rows for source in self.sources)

    @property
    def rejected(self) -> int:
        return sum(source.rejected for source in self.sources)

    @property
    def other_seconds(self) -> float:
        """Time of the run outside of its phases: planning, start and end."""
        phases = sum(phase.seconds for phase in self.manifest.phases)
        return max(self.manifest.seconds - phases, 0.0)


def normalize_term(text: str) -> str:
    """A code and its words are the same term: UPSTREAM_FIX and upstream fix."""
    return text.replace("_", " ").lower()


def is_number(cell: Cell) -> bool:
    # bool is a subclass of int.
    return isinstance(cell, int | float) and not isinstance(cell, bool)

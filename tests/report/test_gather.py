"""What the report of a run gathers from its manifest, its marts and its sources."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.report_runs import NOON, a_manifest
from support.table_declarations import contract, source
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from etl_assets.declarations.domain import Domain, ReportSection
from etl_assets.model.errors import BuildError
from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import (
    PublishedFile,
    RunAsset,
    RunCheck,
    RunDocument,
    RunPhase,
    RunSource,
    summarize_files,
)
from etl_assets.report import gather
from etl_assets.report.report import Section

DAY = timedelta(days=1)


class Markdown(SingleFileSnapshotExtension):
    """A snapshot as one Markdown file."""

    _write_mode = WriteMode.TEXT
    file_extension = "md"


def a_declared_section(**declared: Any) -> ReportSection:
    return ReportSection.model_validate({"title": "Plants", "from": "mart_plants"} | declared)


def read_section(declared: ReportSection, marts: Path) -> Section:
    [section] = gather.read_sections([declared], marts, NOON)
    return section


def a_domain(*sections: ReportSection) -> Domain:
    return Domain(
        title="Plants", description="All plants", owner="team:garden", schedule="0 5 * * *",
        report=list(sections), name="plants",
    )  # fmt: skip


@pytest.fixture
def marts(tmp_path: Path) -> Path:
    table = pa.table(
        {
            "plant": ["ash", "elm", "fir", "oak"],
            "state": ["alive", "dead", "alive", "alive"],
            "changed_at": pa.array([NOON, NOON - DAY, NOON - DAY, NOON], pa.timestamp("us", "UTC")),
            "heights_m": [[1.5], [], [2.0, 3.0], None],
            "place": [{"lon": 1.5}, None, None, None],
            "planted_on": [NOON.date(), None, None, None],
        }
    )
    pq.write_table(table, tmp_path / "mart_plants.parquet")
    return tmp_path


def test_rows_are_counted_by_a_column_the_most_first(marts: Path) -> None:
    section = read_section(a_declared_section(count_by=["state"], kind="bar"), marts)

    assert section.columns == ["state", "count"]
    assert section.rows == [("alive", 3), ("dead", 1)]


def test_only_rows_of_the_run_are_shown_if_a_time_column_is_declared(marts: Path) -> None:
    section = read_section(a_declared_section(columns=["plant"], at="changed_at"), marts)

    assert section.rows == [("ash",), ("oak",)]


def test_a_long_section_is_cut_and_counted(marts: Path) -> None:
    section = read_section(a_declared_section(columns=["plant"], limit=3), marts)

    assert (len(section.rows), section.total) == (3, 4)


def test_the_sum_of_counts_includes_rows_that_are_cut(marts: Path) -> None:
    section = read_section(a_declared_section(count_by=["plant"], limit=1), marts)

    assert (section.rows, section.total, section.counted_rows, section.hidden_rows) == (
        [("ash", 1)],
        4,
        4,
        3,
    )


def test_a_line_is_in_order_and_keeps_its_last_rows(marts: Path) -> None:
    section = read_section(a_declared_section(count_by=["plant"], kind="line", limit=2), marts)

    assert section.rows == [("fir", 1), ("oak", 1)]


@pytest.mark.parametrize(
    ("column", "plants"),
    [("heights_m", ["ash", "fir"]), ("planted_on", ["ash"])],
    ids=["an empty list is no value", "null is no value"],
)
def test_only_rows_with_a_value_are_shown_if_declared(
    marts: Path, column: str, plants: list[str]
) -> None:
    section = read_section(a_declared_section(columns=["plant"], only_with=column), marts)

    assert [row[0] for row in section.rows] == plants


def test_rows_are_ordered_by_age_oldest_first(marts: Path) -> None:
    section = read_section(a_declared_section(columns=["plant"], aged_by="changed_at"), marts)

    assert section.columns == ["plant", "age_days"]
    assert section.rows == [("elm", 1), ("fir", 1), ("ash", 0), ("oak", 0)]


def test_only_rows_older_than_the_limit_are_shown(marts: Path) -> None:
    declared = a_declared_section(count_by=["state"], aged_by="changed_at", over_days=0)

    assert read_section(declared, marts).rows == [("alive", 1), ("dead", 1)]


def test_values_of_every_type_become_cells(marts: Path) -> None:
    columns = ["changed_at", "heights_m", "place", "planted_on"]

    section = read_section(a_declared_section(columns=columns), marts)

    assert section.rows[0] == ("2026-03-01 12:00:00", "1.5", "lon: 1.5", "2026-03-01")
    assert section.rows[2][1] == "2.0, 3.0"


def test_a_number_in_an_id_column_is_not_formatted(tmp_path: Path) -> None:
    table = pa.table({"plant_id64": [2_000], "height_cm": [2_000]})
    pq.write_table(table, tmp_path / "mart_plants.parquet")

    section = read_section(a_declared_section(columns=["plant_id64", "height_cm"]), tmp_path)

    assert section.rows == [("2000", 2_000)]


def test_a_model_that_was_not_built_is_noted(tmp_path: Path) -> None:
    section = read_section(a_declared_section(columns=["plant"]), tmp_path)

    assert section.note == "mart_plants was not built in this run"


def test_a_missing_column_names_the_section(marts: Path) -> None:
    with pytest.raises(
        BuildError, match=r"report: Plants: mart_plants\.parquet cannot be read as declared"
    ):
        read_section(a_declared_section(columns=["colour"]), marts)


def test_quotes_in_a_column_name_are_not_sql(marts: Path) -> None:
    with pytest.raises(BuildError, match="cannot be read as declared"):
        read_section(a_declared_section(columns=['plant" from read_text("/etc/passwd") --']), marts)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        pytest.param({}, "either columns or count_by", id="neither"),
        pytest.param(
            {"columns": ["a"], "count_by": ["b"]}, "either columns or count_by", id="both"
        ),
        pytest.param(
            {"columns": ["a"], "kind": "bar"}, "a label and a number", id="bar of one column"
        ),
    ],
)
def test_a_section_that_cannot_be_drawn_is_refused(declared: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a_declared_section(**declared)


def test_the_files_of_a_source_are_one_line_with_the_worst_status() -> None:
    files = [
        RunSource(source="plants.trees", partition="2024", status=FetchStatus.FETCHED, rows=3,
                  rejected=1, rejects_by_rule={"height": 1}, fetched_at=NOON - DAY),
        RunSource(source="plants.trees", partition="2025", status=FetchStatus.OUTAGE, rows=2,
                  fetched_at=NOON - 2 * DAY, content_at=NOON - 5 * DAY, fault="timed out"),
    ]  # fmt: skip

    [line] = gather.summarize_sources(a_domain(), a_manifest(sources=files))

    assert line.status is FetchStatus.OUTAGE
    assert (line.files, line.rows, line.rejected) == (2, 5, 1)
    assert (line.contact_age_hours, line.content_age_hours) == (24, 120)
    assert line.rejects_by_rule == {"height": 1}
    assert line.faults == ["plants.trees[2025]: timed out"]


def test_a_contact_without_a_new_file_counts() -> None:
    file = RunSource(source="plants.trees", status=FetchStatus.UNCHANGED,
                     fetched_at=NOON - 9 * DAY, contacted_at=NOON - DAY)  # fmt: skip

    [line] = gather.summarize_sources(a_domain(), a_manifest(sources=[file]))

    assert line.contact_age_hours == 24


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(None, "unknown"), (24.0, "fresh"), (25.0, "ageing"), (73.0, "stale")],
)
def test_an_age_is_judged_by_the_declared_limits(hours: float | None, expected: str) -> None:
    limits = {"warn_after_hours": 24, "fail_after_hours": 72}
    trees = source(contract("tree"), {"name": "csv"}, freshness=limits)

    assert trees.freshness.judge(hours) == expected


def test_a_fault_names_its_file_once() -> None:
    files = [
        RunSource(source="plants.trees", partition=year, status=FetchStatus.OUTAGE, fault=fault)
        for year, fault in [("2024", "timed out"), ("2025", "plants.trees[2025]: empty")]
    ]

    [line] = gather.summarize_sources(a_domain(), a_manifest(sources=files))

    assert line.faults == ["plants.trees[2024]: timed out", "plants.trees[2025]: empty"]


def test_the_files_of_a_document_are_one_line() -> None:
    documents = [
        PublishedFile(
            document="all", file=f"all/{name}", sha256=name * 64, size_bytes=10, rows=rows
        )
        for name, rows in (("a", 3), ("b", 0))
    ]

    manifest = a_manifest(documents=summarize_files(documents))

    [line] = gather.summarize_documents(a_domain(), manifest)

    assert (line.files, line.first_file, line.rows, line.size_bytes) == (2, "all/a", 3, 20)
    assert line.sha256 is None


def test_a_full_report_reads_as_recorded(marts: Path, snapshot: SnapshotAssertion) -> None:
    manifest = a_manifest(
        status=RunStatus.PARTIAL_SUCCESS,
        note="trees were served from the last good file",
        sources=[
            RunSource(source="plants.trees", status=FetchStatus.OUTAGE, rows=1200, rejected=2,
                      fetched_at=NOON - DAY, content_at=NOON - 4 * DAY, fault="timed out",
                      rejects_by_rule={"height_m: minimum": 2}),
        ],
        assets=[RunAsset(key="plants/trees", outcome="made", data_version="1")],
        checks=[
            RunCheck(asset="plants/trees", name="fresh", passed=False, severity="warn",
                     description="1 d old"),
            RunCheck(asset="plants/trees", name="valid", passed=True, severity="error"),
        ],
        phases=[RunPhase(name="probe", seconds=0.25)],
        documents=[RunDocument(document="trees.json", files=1, first_file="trees.json",
                               sha256="a" * 64, size_bytes=12345, rows=4)],
    )  # fmt: skip
    sections = [
        a_declared_section(title="States", count_by=["state"], kind="bar"),
        a_declared_section(columns=["plant"], limit=1),
    ]

    gather.write_report(a_domain(*sections), manifest, marts, marts)

    written = (marts / gather.MARKDOWN_FILE).read_text(encoding="utf-8")
    assert written == snapshot(extension_class=Markdown)


def test_an_empty_run_has_a_report(tmp_path: Path) -> None:
    gather.write_report(a_domain(), a_manifest(), tmp_path, tmp_path)

    for file in gather.FILES:
        text = (tmp_path / file).read_text(encoding="utf-8")
        missing = "document was written" if file == gather.LOAD_FILE else "source was checked"
        assert f"No {missing}." in text
        assert "No check was evaluated." in text


def test_the_same_manifest_gives_the_same_bytes(marts: Path, tmp_path: Path) -> None:
    domain = a_domain(
        a_declared_section(count_by=["state"], kind="bar"), a_declared_section(columns=["plant"])
    )
    twice = [tmp_path / "one", tmp_path / "two"]

    for folder in twice:
        gather.write_report(domain, a_manifest(), marts, folder)

    one, two = ([(folder / file).read_bytes() for file in gather.FILES] for folder in twice)
    assert one == two

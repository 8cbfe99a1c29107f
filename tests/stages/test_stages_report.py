"""The report of a run: what it gathers, and that data cannot write markup into it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.io import render
from etl_assets.model.declaration import Chart, Domain
from etl_assets.model.errors import BuildError
from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run import RunAsset, RunCheck, RunManifest, RunPhase, RunSource, Written
from etl_assets.stages import report

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def a_chart(**declared: Any) -> Chart:
    return Chart.model_validate({"title": "Plants", "from": "mart_plants"} | declared)


def a_domain(*charts: Chart) -> Domain:
    return Domain(
        title="Plants", description="All plants", owner="team:garden", schedule="0 5 * * *",
        report=list(charts), name="plants",
    )  # fmt: skip


def a_manifest(**changes: Any) -> RunManifest:
    values: dict[str, Any] = {
        "run_id": "20260301_120000", "domain": "plants", "status": RunStatus.SUCCESS,
        "published": True, "as_of": NOON, "started_at": NOON,
        "finished_at": NOON + timedelta(seconds=75), "code_version": "1",
    }  # fmt: skip
    return RunManifest(**(values | changes))


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
    found = report.section(a_chart(count_by=["state"], kind="bar"), marts, NOON)

    assert found.columns == ["state", "count"]
    assert found.rows == [("alive", 3), ("dead", 1)]


def test_only_rows_of_the_run_are_shown_where_a_time_is_named(marts: Path) -> None:
    found = report.section(a_chart(columns=["plant"], at="changed_at"), marts, NOON)

    assert found.rows == [("ash",), ("oak",)]


def test_a_long_section_is_cut_and_counted(marts: Path) -> None:
    found = report.section(a_chart(columns=["plant"], limit=3), marts, NOON)

    assert (len(found.rows), found.total) == (3, 4)


def test_values_of_every_type_become_cells(marts: Path) -> None:
    columns = ["changed_at", "heights_m", "place", "planted_on"]

    found = report.section(a_chart(columns=columns), marts, NOON)

    assert found.rows[0] == ("2026-03-01 12:00:00", "1.5", "lon: 1.5", "2026-03-01")
    assert found.rows[2][1] == "2.0, 3.0"


def test_a_model_that_was_not_built_is_said_to_be_missing(tmp_path: Path) -> None:
    found = report.section(a_chart(columns=["plant"]), tmp_path, NOON)

    assert found.note == "mart_plants was not built in this run"


def test_a_column_that_is_not_there_names_the_section(marts: Path) -> None:
    with pytest.raises(BuildError, match=r"report: Plants: mart_plants\.parquet cannot be read so"):
        report.section(a_chart(columns=["colour"]), marts, NOON)


def test_a_name_with_quotes_is_a_name_and_no_sql(marts: Path) -> None:
    with pytest.raises(BuildError, match="cannot be read so"):
        report.section(a_chart(columns=['plant" from read_text("/etc/passwd") --']), marts, NOON)


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
def test_a_section_that_cannot_be_drawn_is_no_declaration(declared: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a_chart(**declared)


def test_the_files_of_a_source_are_one_line_with_the_worst_status() -> None:
    files = [
        RunSource(source="plants.trees", partition="2024", status=FetchStatus.FETCHED, rows=3,
                  rejected=1, rejects_by_rule={"height": 1}, fetched_at=NOON - DAY),
        RunSource(source="plants.trees", partition="2025", status=FetchStatus.OUTAGE, rows=2,
                  fetched_at=NOON - 2 * DAY, content_at=NOON - 5 * DAY, fault="timed out"),
    ]  # fmt: skip

    [health] = report.source_health(a_domain(), a_manifest(sources=files))

    assert health.status is FetchStatus.OUTAGE
    assert (health.files, health.rows, health.rejected) == (2, 5, 1)
    assert (health.contact_age_hours, health.content_age_hours) == (24, 120)
    assert health.rejects_by_rule == {"height": 1}
    assert health.faults == ["plants.trees[2025]: timed out"]


def test_a_full_report_reads_as_recorded(marts: Path) -> None:
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
        documents=[Written(document="trees.json", file="trees.json", sha256="a" * 64,
                           size_bytes=12345, rows=4)],
    )  # fmt: skip
    charts = [
        a_chart(title="States", count_by=["state"], kind="bar"),
        a_chart(columns=["plant"], limit=1),
    ]

    path = report.write_report(a_domain(*charts), manifest, marts, marts)

    assert path.read_text(encoding="utf-8") == EXPECTED.read_text(encoding="utf-8")


def test_an_empty_run_still_has_a_report(tmp_path: Path) -> None:
    text = report.write_report(a_domain(), a_manifest(), tmp_path, tmp_path).read_text()

    assert "No source was looked at." in text
    assert "No check was evaluated." in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("a|b", r"a\|b", id="table cell"),
        pytest.param("[x](javascript:y)", r"\[x\](javascript:y)", id="link"),
        pytest.param("<script>&", "&lt;script&gt;&amp;", id="markup"),
        pytest.param("1. one\n# two", r"1\. one \# two", id="list and heading"),
        pytest.param("- _a_b*c`d", r"\- \_a_b\*c\`d", id="emphasis"),
        pytest.param("a\\", "a\\\\", id="backslash at the end of a cell"),
        pytest.param("\u2028x\x1b[0m", r"x \[0m", id="control characters"),
    ],
)
def test_data_cannot_write_markup(value: str, expected: str) -> None:
    assert render.escape(value) == expected


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(None, "-"), (-1.0, "0 min"), (0.5, "30 min"), (30.0, "30 h"), (240.0, "10 d")],
)
def test_an_age_is_said_in_one_unit(hours: float | None, expected: str) -> None:
    assert render.age(hours) == expected


@pytest.mark.parametrize(
    ("number", "expected"), [(12, "12 B"), (12_345, "12.3 kB"), (3 * 10**9, "3.0 GB")]
)
def test_a_size_is_said_in_one_unit(number: int, expected: str) -> None:
    assert render.size(number) == expected


EXPECTED = Path(__file__).parent / "expected_run_report.md"

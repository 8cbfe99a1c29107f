"""How numbers went over the kept runs, as the report of the newest one shows it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.report_runs import NOON, a_manifest, a_report, a_section

from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import (
    RowCounts,
    RunCheck,
    RunDocument,
    RunManifest,
    RunSource,
)
from etl_assets.report.html import render_html
from etl_assets.report.markdown import render_markdown
from etl_assets.report.report import RunReport
from etl_assets.report.trends import MAX_RUNS, SHOWN_RUNS, add_run, read_runs

STATES = RowCounts(title="States", values={"alive": 3, "dead": 1})


def a_run(number: int, **changes: Any) -> RunManifest:
    """A run of a day that read ten rows a day, and rejected one row in each."""
    at = NOON + timedelta(days=number)
    source = RunSource(
        source="plants.trees", status=FetchStatus.FETCHED, rows=10 * number, rejected=1
    )
    document = RunDocument(
        document="trees.json", files=1, first_file="trees.json", sha256="a" * 64,
        size_bytes=1000 * number, rows=3,
    )  # fmt: skip
    values = {
        "run_id": f"run{number}", "directory": f"2026030{number}_120000", "as_of": at,
        "started_at": at, "finished_at": at + timedelta(seconds=number), "sources": [source],
        "documents": [document], "counts": STATES,
        "checks": [RunCheck(asset="plants/trees", name="tall", passed=False, severity="warn")],
    }  # fmt: skip
    return a_manifest(**(values | changes))


def keep(folder: Path, *manifests: RunManifest) -> list[Path]:
    """Write the manifests to directories; returns these, the newest first."""
    directories = []
    for number, manifest in enumerate(manifests):
        directory = folder / f"{number:03}"
        directory.mkdir()
        (directory / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
        directories.append(directory)
    return directories[::-1]


def report_after(folder: Path, *manifests: RunManifest, **changes: Any) -> RunReport:
    """The report of the last run, with the trends over all of them."""
    *earlier, last = manifests
    report = a_report(manifest=last, **changes)
    runs = add_run(read_runs(keep(folder, *earlier)), last, report.counts or last.counts)
    return report.model_copy(update={"runs": runs})


def shown(report: RunReport) -> dict[str, list[str]]:
    return {trend.title: trend.shown for trend in report.trends}


def test_the_numbers_of_each_run_are_listed_from_the_oldest(tmp_path: Path) -> None:
    report = report_after(tmp_path, a_run(1), a_run(2), a_run(3))

    assert shown(report) == {
        "Rows read": ["10", "20", "30"],
        "Rows rejected": ["1", "1", "1"],
        "Documents": ["1.0 kB", "2.0 kB", "3.0 kB"],
        "Duration": ["1.0 s", "2.0 s", "3.0 s"],
        "Checks that failed": ["1", "1", "1"],
        "alive": ["3", "3", "3"],
        "dead": ["1", "1", "1"],
    }


@pytest.mark.parametrize(
    ("second", "rows", "documents"),
    [
        ({"published": False, "published_set": "x"}, ["10", "30"], ["1.0 kB", "3.0 kB"]),
        (
            {"published": False, "status": RunStatus.FAILED},
            ["10", "20", "30"],
            ["1.0 kB", "3.0 kB"],
        ),
        ({"sources": []}, ["10", "0", "30"], ["1.0 kB", "2.0 kB", "3.0 kB"]),
        ({"documents": []}, ["10", "20", "30"], ["1.0 kB", "0 B", "3.0 kB"]),
    ],
    ids=["unchanged", "failed", "no sources", "no documents"],
)
def test_a_run_counts_with_the_numbers_that_it_has(
    tmp_path: Path, second: dict[str, Any], rows: list[str], documents: list[str]
) -> None:
    report = report_after(tmp_path, a_run(1), a_run(2, **second), a_run(3))

    assert shown(report)["Rows read"] == rows
    assert shown(report)["Documents"] == documents


@pytest.mark.parametrize(
    ("earlier", "alive", "oak"),
    [
        (RowCounts(title="States", values={"alive": 2}), ["2", "3"], ["0", "9"]),
        (RowCounts(title="Kinds", values={"alive": 2}), None, None),
        (None, None, None),
    ],
    ids=["a new value", "another section", "an older version"],
)
def test_the_counts_of_one_section_are_compared(
    tmp_path: Path, earlier: RowCounts | None, alive: list[str] | None, oak: list[str] | None
) -> None:
    now = RowCounts(title="States", values={"alive": 3, "oak": 9})

    report = report_after(tmp_path, a_run(1, counts=earlier), a_run(2, counts=now))

    assert shown(report).get("alive") == alive
    assert shown(report).get("oak") == oak


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": 1}', "\x00"])
def test_a_damaged_manifest_is_left_out(tmp_path: Path, text: str) -> None:
    directories = keep(tmp_path, a_run(1), a_run(2), a_run(3))
    (directories[1] / "manifest.json").write_text(text, encoding="utf-8")

    assert [run.rows for run in read_runs(directories)] == [10, 30]


@pytest.mark.parametrize(("count", "rows"), [(0, 0), (1, 1), (20, SHOWN_RUNS)])
def test_the_reports_show_trends_of_at_least_two_runs(
    tmp_path: Path, count: int, rows: int
) -> None:
    report = report_after(tmp_path, *[a_run(n + 1) for n in range(count + 1)])

    page, text = render_html(report), render_markdown(report)

    assert ('id="trends"' in page, "## Trends" in text) == (count > 0, count > 0)
    assert page.count('<svg class="curve spark"') == (7 if count else 0)
    assert page.count('/run_report.html">2026-') == min(rows, SHOWN_RUNS - 1)
    assert text.count("| success |") == (min(count + 1, SHOWN_RUNS) if count else 0)


def test_no_more_than_the_newest_runs_are_read(tmp_path: Path) -> None:
    directories = keep(tmp_path, *[a_run(number) for number in range(1, MAX_RUNS + 4)])

    assert next(run.rows for run in read_runs(directories)) == 40


@pytest.mark.parametrize(
    ("sections", "counts"),
    [
        ([a_section("bar")], {"alive": 3, "dead": 1}),
        ([a_section("table"), a_section("bar")], {"alive": 3, "dead": 1}),
        (
            [
                a_section(
                    "bar", columns=["state", "is_late", "count"], rows=[("a", True, 2)], total=1
                )
            ],
            {"a, yes": 2},
        ),
        ([a_section("bar", counted_rows=None)], None),
        ([a_section("bar", columns=["x", "y", "z", "count"], rows=[(1, 2, 3, 4)], total=1)], None),
        ([a_section("bar", total=3)], None),
        ([a_section("bar", rows=[(str(n), n) for n in range(13)], total=13)], None),
        ([], None),
    ],
    ids=[
        "bar",
        "second",
        "two columns",
        "no count",
        "three columns",
        "cut off",
        "many values",
        "none",
    ],
)
def test_the_counted_rows_are_of_the_first_section_with_few_values(
    sections: list[Any], counts: dict[str, int] | None
) -> None:
    found = a_report(sections=sections).counts

    assert (found.values if found else None) == counts

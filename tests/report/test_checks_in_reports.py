"""What a report says of failed checks, of codes, and of changes since the set before."""

from __future__ import annotations

import pytest
from support.report_runs import a_manifest, a_report, a_section, a_source

from etl_assets.declarations.domain import Domain
from etl_assets.model.records import FetchStatus
from etl_assets.model.run_changes import CountChange, RunChanges
from etl_assets.model.run_manifest import FailingRows, RunCheck, RunSource
from etl_assets.report.gather import summarize_sources
from etl_assets.report.html import render_html
from etl_assets.report.markdown import render_markdown
from etl_assets.report.phases import render_collect, render_load
from etl_assets.report.report import RunReport

PLANTS = Domain(
    title="Plants", description="All plants", owner="team:garden", schedule="0 5 * * *",
    name="plants",
)  # fmt: skip
ROWS = FailingRows(columns=["tree", "height_m"], rows=[["elm", "0.4"], ["<ash>", "0.2"]])


def failed(failures: int = 2, **changes: object) -> RunCheck:
    lines = [f"{failures} found: A tree is too small.", *ROWS.lines()]
    values = {
        "asset": "plants/stg_trees", "name": "gate_plants__trees_are_tall", "passed": False,
        "severity": "warn", "description": "\n".join(lines), "rows": ROWS, "failures": failures,
    }  # fmt: skip
    return RunCheck.model_validate(values | changes)


def report_of(*checks: RunCheck, **changes: object) -> RunReport:
    return a_report(manifest=a_manifest(checks=list(checks), **changes))


def test_failing_rows_are_a_table_with_the_names_of_its_columns() -> None:
    page = render_html(report_of(failed()))

    assert '<th scope="col">height m</th>' in page
    assert ">0.4</td>" in page
    assert "&lt;ash&gt;" in page
    assert page.count("A tree is too small") == 1


@pytest.mark.parametrize(
    ("failures", "more"), [(2, ""), (3, "and 1 more"), (66, "and 64 more")], ids=str
)
def test_rows_that_are_not_shown_are_counted(failures: int, more: str) -> None:
    report = report_of(failed(failures))

    for text in (render_html(report), render_markdown(report)):
        assert ("more</p>" in text or "\nand " in text) == bool(more)
        assert more in text


def test_markdown_has_the_table_below_the_list_of_checks() -> None:
    text = render_markdown(report_of(failed()))

    assert "| warning | Trees are tall | 2 found: A tree is too small. |" in text
    assert "| tree | height_m |" in text


@pytest.mark.parametrize(
    ("checks", "sources", "headline"),
    [
        ([], [], "Success, published"),
        ([failed()], [], "Success with 1 warning, published"),
        ([failed(), failed(asset="plants/x")], [], "Success with 2 warnings, published"),
        (
            [failed(), failed(severity="error", asset="plants/x")],
            [],
            "Success with 1 error and 1 warning, published",
        ),
        ([], [a_source()], "Success, published; 1 source has stale content"),
        (
            [],
            [a_source(), a_source("nuts")],
            "Success, published; 2 sources have stale content",
        ),
    ],
    ids=["good", "warning", "warnings", "error", "stale", "two stale"],
)
def test_the_headline_tells_warnings_and_stale_content(
    checks: list[RunCheck], sources: list[object], headline: str
) -> None:
    report = a_report(manifest=a_manifest(checks=checks), sources=sources)

    assert f">{headline}</p>" in render_html(report)
    assert f"**{headline}**" in render_markdown(report)


def test_a_code_links_to_the_row_that_explains_it() -> None:
    rules = a_section(
        columns=["rule", "title"], rows=[("R1", "Rejected"), ("R2", "Fixed")], defines=["rule"]
    )
    trees = a_section(columns=["tree", "decided_by"], rows=[("elm", "R2"), ("ash", "R9")])

    page = render_html(a_report(sections=[trees, rules]))

    assert '<a href="#s2-r2">R2</a>' in page
    assert '<tr id="s2-r2">' in page
    assert page.count('<a href="#s2-') == 1


CHANGES = RunChanges(
    since="20260228_120000",
    sources=[CountChange(name="plants.trees", before=10, after=12)],
    marts=[CountChange(name="mart_trees", before=None, after=7)],
    documents=["trees.json"],
    failed_checks=["plants/stg_trees: unique"],
    passed_checks=[],
)


def test_a_report_says_what_changed_since_the_set_before() -> None:
    report = report_of(changes=CHANGES, directory="20260301_120000")

    page = render_html(report)
    assert '<a href="./../20260228_120000/run_report.html">20260228_120000</a>' in page
    assert "Checks that fail now" in page
    assert "Checks that pass now" not in page
    assert "- 1 source: plants.trees (10 -&gt; 12 rows)" in render_markdown(report)
    assert "1 mart: mart_trees (new, 7 rows)" in render_load(report)


def test_each_phase_has_a_report_with_its_own_checks() -> None:
    of_source = failed(asset="plants/trees", name="contract")
    report = a_report(manifest=a_manifest(checks=[failed(), of_source]), sources=[a_source()])

    collect, load = render_collect(report), render_load(report)

    assert "plants/trees: contract" in collect
    assert "plants/trees: contract" not in load
    assert "plants/stg_trees: gate_plants__trees_are_tall" in load
    assert "      tree   height_m\n      elm    0.4\n" in load


@pytest.mark.parametrize(("count", "more"), [(1, ""), (5, ""), (6, "and 1 more")], ids=str)
def test_what_the_operator_can_do_is_below_the_headline(count: int, more: str) -> None:
    actions = [f"look at file {number}" for number in range(count)]
    report = report_of(answers=actions)

    for text in (render_html(report), render_markdown(report)):
        assert text.count("look at file") == min(count, 5)
        assert more in text


def test_the_same_fault_of_many_files_is_told_once() -> None:
    files = [
        RunSource(
            source="plants.trees",
            partition=str(year),
            status=FetchStatus.OUTAGE,
            fault=f"trees_{year}.csv: no such file",
        )
        for year in range(2002, 2027)
    ]
    other = files[0].model_copy(update={"partition": "1999", "fault": "HTTP 500"})

    [line] = summarize_sources(PLANTS, a_manifest(sources=[*files, other]))

    assert line.faults == [
        "plants.trees[2002]: trees_2002.csv: no such file; the same fault of 24 other files",
        "plants.trees[1999]: HTTP 500",
    ]

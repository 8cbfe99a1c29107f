"""The HTML report is a valid page without network requests, for any data."""

from __future__ import annotations

import re
from functools import cached_property
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise

import pytest
from support.report_runs import (
    NOON,
    a_manifest,
    a_report,
    a_report_that_says,
    a_result,
    a_section,
    a_source,
)

from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import RunCheck, RunPhase
from etl_assets.report.html import relative_url, render_html
from etl_assets.report.report import DocumentLine, RunReport, Section

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = (
    """"'><script>alert(1)</script><img src=http://evil.example/x onerror=a()>{{ 7 * 7 }}&lt;"""
)
PALETTE = files("etl_assets.publish.site") / "templates" / "palette.css"
STYLE = PALETTE.read_text(encoding="utf-8")


class Page(HTMLParser):
    """A parsed page: its elements, its text, and its unclosed tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.unclosed: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.unclosed[-1:] != ["style"]:
            self.texts.append(data)

    def values(self, *names: str) -> list[str]:
        return [attrs[n] or "" for _, attrs in self.elements for n in names if n in attrs]

    def tags(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @cached_property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def a_full_report() -> RunReport:
    checks = [
        RunCheck(asset="plants/trees", name="gate_plants__all_are_green", passed=False,
                 severity="warn", description="2 rows"),
        RunCheck(asset="plants/trees", name="fetched", passed=False, severity="error"),
        RunCheck(asset="plants/trees", name="valid", passed=True, severity="error"),
    ]  # fmt: skip
    return a_report(
        manifest=a_manifest(
            checks=checks, phases=[RunPhase(name="build", seconds=60)], result=a_result("ferns")
        ),
        sections=[a_section("bar"), a_section("line"), a_section("table", total=9)],
        sources=[a_source(), a_source("ferns", status=FetchStatus.OUTAGE, faults=["timed out"])],
        tones={"alive": "good", "dead": "bad"},
    )


@pytest.mark.parametrize("report", [a_full_report(), a_report_that_says(HOSTILE), a_report()],
                         ids=["full", "hostile", "empty"])  # fmt: skip
def test_the_page_is_valid_and_self_contained(report: RunReport) -> None:
    page = Page(render_html(report))
    ids = page.values("id")

    assert page.unclosed == []
    assert len(ids) == len(set(ids))
    assert {tag for tag, _ in page.elements} & {"script", "img", "iframe", "object"} == set()
    assert [name for _, attrs in page.elements for name in attrs if name.startswith("on")] == []
    assert [v for v in page.values("src", "href") if not v.startswith(("#", "data:", "./"))] == []
    assert "url(" not in STYLE
    assert "@import" not in STYLE


@pytest.mark.fault("hostile-text")
def test_hostile_text_is_shown_as_text() -> None:
    page = Page(render_html(a_report_that_says(HOSTILE)))

    assert page.text.count(HOSTILE) > 15


@pytest.mark.fault("hostile-text")
def test_characters_that_reverse_text_are_not_shown() -> None:
    text = render_html(a_report(title="a\u202eb\x00c\u2066d"))

    assert "<h1>a b c d</h1>" in text


def test_the_same_report_is_the_same_bytes() -> None:
    assert render_html(a_full_report()) == render_html(a_full_report())


def test_every_table_has_headers_and_every_chart_a_title_and_description() -> None:
    page = Page(render_html(a_full_report()))
    charts = [svg for svg in page.tags("svg") if svg.get("aria-hidden") != "true"]

    assert {head["scope"] for head in page.tags("th")} == {"col", "row"}
    assert charts
    for chart in charts:
        label_ids = (chart["aria-labelledby"] or "").split()
        assert len(label_ids) == 2
        assert set(label_ids) <= set(page.values("id"))


def test_headings_go_down_one_level_at_a_time() -> None:
    report = a_report(sections=[a_section()], sources=[a_source(rejected=1)])

    levels = [
        int(tag[1]) for tag, _ in Page(render_html(report)).elements if re.fullmatch(r"h[1-6]", tag)
    ]

    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_failed_checks_come_before_warnings_and_passed_ones_are_folded() -> None:
    text = render_html(a_full_report())

    places = [text.index(word) for word in (">Fetched<", ">All are green<", "<details>", ">Valid<")]

    assert places == sorted(places[:2]) + places[2:]
    assert text.index("<details>", places[1]) < text.index(">Valid<")


@pytest.mark.parametrize(
    ("status", "published", "expected"),
    [
        (RunStatus.SUCCESS, True, "Success, published"),
        (RunStatus.PARTIAL_SUCCESS, True, "Partial success, published"),
        (RunStatus.FAILED, False, "Failed, not published"),
        (RunStatus.INTERRUPTED, False, "Interrupted, not published"),
    ],
)
def test_the_outcome_is_written_out(status: RunStatus, published: bool, expected: str) -> None:
    report = a_report(manifest=a_manifest(status=status, published=published))

    assert expected in Page(render_html(report)).text


def test_values_with_a_tone_are_drawn_as_one_stacked_bar() -> None:
    page = Page(
        render_html(a_report(sections=[a_section("bar")], tones={"alive": "good", "dead": "bad"}))
    )

    parts = [rect for rect in page.tags("rect") if rect.get("class") in {"good", "bad"}]

    assert [part["width"] for part in parts] == ["75.0%", "25.0%"]


def test_bars_without_tones_are_drawn_in_their_rows() -> None:
    page = Page(render_html(a_report(sections=[a_section("bar")])))

    widths = [rect["width"] for rect in page.tags("rect") if rect.get("class") != "track"]

    assert widths == ["100.0%", "33.33%"]


def test_a_line_of_one_point_is_a_dot() -> None:
    page = Page(render_html(a_report(sections=[a_section("line", rows=[("2026", 3)], total=1)])))

    drawn = [path["d"] for path in page.tags("path") if path.get("class") == "dots"]

    assert drawn == ["M500.0 0.0h0"]


def test_content_that_is_too_old_is_marked_and_dated() -> None:
    text = render_html(a_report(sources=[a_source()]))

    assert 'title="2026-02-20 12:00:00 UTC, stale">9 d' in text


def test_a_digest_is_cut_and_complete_in_its_title() -> None:
    line = DocumentLine(document="a.json", title="A", files=1, first_file="a.json", rows=1,
                        size_bytes=9, sha256="b" * 64)  # fmt: skip

    text = render_html(a_report(documents=[line]))

    assert f'<code title="{"b" * 64}">{"b" * 12}</code>' in text
    assert '<a href="./a.json">a.json</a>' in text


@pytest.mark.parametrize(
    ("first_file", "folder", "opened"),
    [
        pytest.param("a/x.json", "", "a", id="a directory"),
        pytest.param("a", "", "a", id="a file"),
        pytest.param("x.json", "", "x.json", id="another name"),
        pytest.param("a", "../20260301_120000/", "../20260301_120000/a", id="of an earlier run"),
    ],
)
def test_a_document_links_to_an_existing_file(first_file: str, folder: str, opened: str) -> None:
    line = DocumentLine(
        document="a", title="", files=1, first_file=first_file, rows=0, size_bytes=0, folder=folder
    )

    assert line.link_target == opened


@pytest.mark.parametrize(
    ("file", "address"),
    [
        ("osv/all.zip", "./osv/all.zip"),
        ("javascript:alert(1)", "./javascript%3Aalert%281%29"),
        ('a b"<>?#', "./a%20b%22%3C%3E%3F%23"),
        ("//evil.example/x", ".///evil.example/x"),
    ],
)
def test_a_link_stays_in_the_run_directory(file: str, address: str) -> None:
    assert relative_url(file) == address


def _colours(scheme: str) -> dict[str, str]:
    """The custom colours of `light`, or of `dark` where it sets its own."""
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part))
                   for part in STYLE.split("prefers-color-scheme: dark", 1))  # fmt: skip
    return light if scheme == "light" else light | dark


def _contrast(one: str, other: str) -> float:
    """As WCAG 2.2 defines it: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lighter, darker = sorted([luminance(one), luminance(other)], reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "least"),
    [
        *(
            (text, 4.5)
            for text in ("ink", "soft", "accent", "good-text", "waiting-text", "bad-text")
        ),
        *((mark, 3.0) for mark in ("good", "neutral", "waiting", "open", "bad", "mark")),
    ],
)
def test_colours_have_enough_contrast_to_every_background(
    scheme: str, name: str, least: float
) -> None:
    colours = _colours(scheme)

    contrasts = {ground: _contrast(colours[name], colours[ground]) for ground in ("card", "page")}

    assert min(contrasts.values()) >= least, contrasts


def test_the_date_of_the_page_is_that_of_the_run() -> None:
    text = render_html(a_report())

    assert f'datetime="{NOON.isoformat()}">2026-03-01 12:00 UTC</time>' in text


MAPPED = [("Elm & Oak", 103.8, 1.3, True), ("<Fir>", 103.9, 1.4, False)]


def test_a_map_and_a_line_diagram_escape_their_names() -> None:
    columns = ["name", "longitude", "latitude", "large"]
    map_lines = [(103.8, 1.3, 103.9, 1.4, "#ff0000")]
    shown = Section(
        title="Places", kind="map", columns=columns, rows=MAPPED, total=2, map_lines=map_lines
    )
    lines = Section(
        title="Lines",
        kind="graph",
        columns=["line", "from", "to", "color"],
        rows=[("<Red>", "Elm & Oak", "<Fir>", "#ff0000")],
        total=1,
    )

    page = render_html(a_report(sections=[shown, lines]))

    assert page.count("<circle") == 4
    assert '<text x="' in page
    assert "--tone: #ff0000" in page
    assert "Elm &amp; Oak" in page
    assert "<Fir>" not in page
    assert "<Red>" not in page


def test_each_phase_is_shown_with_its_healing_actions() -> None:
    page = Page(
        render_html(
            a_report(manifest=a_manifest(result=a_result("ferns: an earlier file was used")))
        )
    )

    assert "collect error 3 files, 2 of them new; 1,200 records 00:00:04" in page.text
    assert "load success 2 tables; data validation passed 00:00:06" in page.text
    assert "ferns: an earlier file was used" in page.text

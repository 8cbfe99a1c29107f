"""The HTML report in a real browser: what it shows, what it asks for, and on a small screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import needs_browser, render_page
from support.misbehaving_server import MisbehavingServer, run_misbehaving_server
from support.report_runs import a_manifest, a_report, a_report_that_says, a_section, a_source

from etl_assets.model.run_manifest import RunCheck, RunPhase
from etl_assets.report.html import render_html

pytestmark = [pytest.mark.long, needs_browser]

PAGE = "/run_report.html"
# Another page of the same server holds the report in a frame as wide as a phone, and measures it.
FRAME = f"""<!doctype html><iframe src="{PAGE}" style="width: 390px; height: 800px"></iframe>
<p id="found"></p><script>
document.querySelector("iframe").onload = event => {{
  const root = event.target.contentDocument.documentElement;
  document.querySelector("#found").textContent = root.scrollWidth + " of " + root.clientWidth;
}};
</script>"""
WIDE = "a-name-that-no-telephone-can-show-in-one-line-and-nobody-would-give-" * 3


@pytest.fixture
def pages() -> Iterator[MisbehavingServer]:
    with run_misbehaving_server() as server:
        yield server


def test_the_page_shows_the_summary_and_asks_for_nothing_else(
    pages: MisbehavingServer, tmp_path: Path
) -> None:
    checks = [RunCheck(asset="trees", name="tall", passed=False, severity="warn")]
    report = a_report(manifest=a_manifest(checks=checks), sources=[a_source()])
    pages.publish(PAGE, render_html(report).encode())

    shown = render_page(pages.url + PAGE, tmp_path)

    assert "Success with 1 warning, published; 1 source has stale content" in shown
    assert re.search(r"Duration</dt><dd[^>]*>1 min 15 s<", shown)
    assert [seen.path for seen in pages.requests] == [PAGE]


def test_a_request_of_a_page_would_be_seen(pages: MisbehavingServer, tmp_path: Path) -> None:
    pages.publish(PAGE, b"<!doctype html><img src=/leak.png>")

    render_page(pages.url + PAGE, tmp_path)

    assert pages.requests_for("/leak.png")


def test_markup_in_data_is_text_to_the_browser(pages: MisbehavingServer, tmp_path: Path) -> None:
    leak = f"{pages.url}/leak.png"
    hostile = f"\"'><script>document.title='taken'</script><img src={leak} onerror=1><style>*"
    pages.publish(PAGE, render_html(a_report_that_says(hostile)).encode())

    shown = render_page(pages.url + PAGE, tmp_path)

    assert "<title>taken" not in shown
    assert "<script" not in shown
    assert pages.requests_for("/leak.png") == []


def test_a_phone_need_not_scroll_the_page_sideways(
    pages: MisbehavingServer, tmp_path: Path
) -> None:
    long_row = (WIDE, 3)
    phases = [RunPhase(name=WIDE, seconds=1)]
    checks = [RunCheck(asset=WIDE, name=WIDE, passed=False, severity="warn", description=WIDE)]
    report = a_report(
        title=WIDE[:80],
        manifest=a_manifest(note=WIDE, run_id=WIDE, phases=phases, checks=checks),
        sections=[a_section("table", rows=[long_row]), a_section("bar", rows=[long_row])],
        sources=[a_source(WIDE, title=WIDE, faults=[WIDE])],
    )
    pages.publish(PAGE, render_html(report).encode())
    pages.publish("/frame.html", FRAME.encode())

    shown = render_page(f"{pages.url}/frame.html", tmp_path)

    widths = re.search(r'id="found">(\d+) of (\d+)<', shown)
    assert widths, shown
    assert int(widths[1]) <= int(widths[2]) <= 390

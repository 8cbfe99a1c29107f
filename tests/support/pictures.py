"""Takes the pictures of README and docs: an asset graph, the report of a run, a page of the site.

`make pictures` runs it: a sample is run in a temporary home, and Chromium renders the pages.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import ClassVar

from support.browser import CHROMIUM, FLAGS
from support.sample_home import SampleHome

GRAPH_DOMAIN = "molding"
STARTUP_SECONDS = 90


class GraphHome(SampleHome):
    """The home whose asset graph is shown."""

    name: ClassVar[str] = GRAPH_DOMAIN


def screenshot(url: str, target: Path, *, width: int, height: int, seconds: int) -> None:
    """Write the page as a PNG, after `seconds` of the page's own time."""
    with tempfile.TemporaryDirectory() as profile:
        flags = [
            *(CHROMIUM or "", *FLAGS, f"--user-data-dir={profile}", "--hide-scrollbars"),
            *(f"--window-size={width},{height}", f"--virtual-time-budget={seconds * 1000}"),
            f"--screenshot={target}",
        ]
        subprocess.run([*flags, url], check=True, timeout=180, capture_output=True)


def pictures_of_run(folder: Path, report: Path, site: Path) -> None:
    sample = SampleHome.create_with_run(folder)
    page = sample.latest / "run_report.html"
    screenshot(page.as_uri(), report, width=1100, height=900, seconds=5)
    copy = shutil.copytree(sample.latest / "site", folder / "site")
    pages = sorted((copy / "packages").glob("*.html"))
    largest = max(pages, key=lambda path: path.stat().st_size)
    text = largest.read_text(encoding="utf-8")
    largest.chmod(0o644)
    largest.write_text(text.replace("<details>", "<details open>"), encoding="utf-8")
    screenshot(largest.as_uri(), site, width=1100, height=900, seconds=5)


def picture_of_graph(folder: Path, target: Path) -> None:
    sample = GraphHome.create_with_run(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    etl = Path(sys.executable).parent / "etl"
    server = subprocess.Popen(
        [etl, "ui", "--port", str(port)],
        env=sample.settings.child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    page = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{page}/server_info")
        screenshot(
            f"{page}/locations/etl_assets/asset-groups/{GRAPH_DOMAIN}_sources/lineage",
            target,
            width=1600,
            height=900,
            seconds=30,
        )
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_for(url: str) -> None:
    """Returns when the URL answers; raises TimeoutError after STARTUP_SECONDS."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(url)


if __name__ == "__main__":
    images = Path(sys.argv[1])
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        pictures_of_run(Path(work) / "run", images / "report.png", images / "site.png")
        picture_of_graph(Path(work) / "graph", images / "graph.png")

"""A headless browser for tests of HTML pages; it connects to this machine only."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def render_page(url: str, folder: Path, *flags: str, seconds: int = 20) -> str:
    """Return the DOM of the page after its scripts have run; the profile is kept in `folder`.

    The seconds are virtual time of the page: one that only waits may use them up at once.
    """
    result = subprocess.run(
        [
            CHROMIUM or "", *FLAGS, f"--user-data-dir={folder / 'browser'}",
            f"--virtual-time-budget={seconds * 1000}", *flags, "--dump-dom", url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )  # fmt: skip
    return result.stdout

"""A real browser without a window, for tests that look at pages; it talks to this machine only."""

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


def rendered(url: str, folder: Path, *flags: str, seconds: int = 20) -> str:
    """The page's document after its scripts have run; the profile is kept in `folder`.

    The seconds are the page's own: one that waits for its workers may spend them in a moment.
    """
    shown = subprocess.run(
        [
            CHROMIUM or "", *FLAGS, f"--user-data-dir={folder / 'browser'}",
            f"--virtual-time-budget={seconds * 1000}", *flags, "--dump-dom", url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )  # fmt: skip
    return shown.stdout

"""Takes the pictures of README and docs: Dagster's pages, the report of a run, a page of the site.

`make pictures` runs it: samples are run in temporary homes, and Chromium renders the pages.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from support.browser import CHROMIUM, FLAGS
from support.pages import serve_pages
from support.sample_home import SampleHome

DARK = "--blink-settings=preferredColorScheme=0"
PHONE_WIDTH = 390
# A window of Chromium is wider than a phone, so the page is in a frame of its width.
PHONE = f"""<!doctype html><style>body {{{{ margin: 0 }}}}</style>
<iframe src="{{}}" style="border: 0; width: {PHONE_WIDTH}px; height: 900px"></iframe>"""


class PagesHome(SampleHome):
    """The home whose pages are shown."""

    name: ClassVar[str] = "molding"


@dataclass(frozen=True, slots=True)
class Picture:
    """A page and how it is shown."""

    name: str
    url: str
    width: int = 1100
    height: int = 900
    seconds: int = 5
    """Of the page's own time, before the picture is taken."""
    flags: Sequence[str] = ()

    def take(self, folder: Path) -> None:
        """Write the picture as a PNG into a folder."""
        with tempfile.TemporaryDirectory() as profile:
            flags = [
                *(CHROMIUM or "", *FLAGS, f"--user-data-dir={profile}", "--hide-scrollbars"),
                *(f"--window-size={self.width},{self.height}", *self.flags),
                f"--virtual-time-budget={self.seconds * 1000}",
                f"--screenshot={folder / self.name}.png",
            ]
            subprocess.run([*flags, self.url], check=True, timeout=180, capture_output=True)


def pictures_of_report(sample: SampleHome, folder: Path) -> Iterator[Picture]:
    """Yield the report of the last run on a desktop, on a phone and in the dark."""
    report = (sample.latest / "run_report.html").as_uri()
    phone = folder / "phone.html"
    phone.write_text(PHONE.format(report), encoding="utf-8")
    yield Picture("report", report)
    yield Picture("report-phone", phone.as_uri(), width=PHONE_WIDTH)
    yield Picture("report-dark", report, flags=[DARK])


def picture_of_site(sample: SampleHome, folder: Path) -> Picture:
    """Return the largest page of the site, with everything unfolded."""
    copy = shutil.copytree(sample.latest / "site", folder / "site")
    largest = max(sorted((copy / "packages").glob("*.html")), key=lambda path: path.stat().st_size)
    text = largest.read_text(encoding="utf-8")
    largest.chmod(0o644)
    largest.write_text(text.replace("<details>", "<details open>"), encoding="utf-8")
    return Picture("site", largest.as_uri())


def pictures_of_pages(url: str, run_id: str) -> Iterator[Picture]:
    """Yield the pages of Dagster that an operator looks at."""
    domain = PagesHome.name
    pages = {
        "overview": "overview",
        "graph": f"locations/etl_assets/asset-groups/{domain}_sources/lineage",
        "asset": f"assets/{domain}/mart_order_progress?view=overview",
        "checks": f"assets/{domain}/int_product_records?view=checks",
        "run": f"runs/{run_id}",
    }
    for name, page in pages.items():
        yield Picture(name, f"{url}/{page}", width=1600, seconds=30)


def take_pictures(folder: Path) -> list[Picture]:
    """Write every picture into a folder, and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[Picture] = []
    with tempfile.TemporaryDirectory() as work:
        sample = SampleHome.create_with_run(Path(work) / "run")
        for picture in (
            *pictures_of_report(sample, Path(work)),
            picture_of_site(sample, Path(work)),
        ):
            picture.take(folder)
            taken.append(picture)
        shown = PagesHome.create_with_run(Path(work) / "pages")
        with serve_pages(shown.settings) as pages:
            [run, *_] = pages.runs()
            for picture in pictures_of_pages(pages.url, run["runId"]):
                picture.take(folder)
                taken.append(picture)
    return taken


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]))

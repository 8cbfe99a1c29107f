"""`make living RUNS=300`: many runs of a small domain that changes each time, and what they leave.

Prints the size of the home beside raw files, Dagster's run records and events, and the CPU seconds
of each run; draws them as a diagram. The last ten runs alternate with the first ten of a new home,
so that the speed of the machine cancels out. The domain is that of the tests.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from support.living import FIRST_YEAR, YEARLY, LivingOrchard
from support.misbehaving_server import run_misbehaving_server

from etl_assets.defs.launch import open_event_log
from etl_assets.model.home import Home
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import plan_run

PAIRS = 10
MOVING_YEAR, RUNS_PER_MOVE = FIRST_YEAR + 1, 25
WIDTH, HEIGHT, MARGIN = 640, 150, 40
COLOR = "#1f6f8b"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A home after a run, and what the run cost."""

    run: int
    home_bytes: int  # without raw files
    run_directories: int
    run_records: int
    events: int
    cpu_seconds: float

    def __str__(self) -> str:
        return (
            f"{self.run:5} {self.home_bytes / 1e6:9.2f} {self.run_directories:11} "
            f"{self.run_records:11} {self.events:7} {self.cpu_seconds:7.2f}"
        )


def main(runs: int, diagram: Path | None, keep_runs: int | None = None) -> None:
    """Run the domain, print a line for each run and the comparison, and draw the diagram.

    `keep_runs` in place of the default shows the trend after fewer runs.
    """
    with tempfile.TemporaryDirectory() as folder, run_misbehaving_server() as server:
        old = LivingOrchard(Path(folder) / "old", server)
        if keep_runs is not None:
            old.declare_retention(keep_runs=keep_runs)
        print("  run  home, MB directories run records  events   CPU s")
        measurements = []
        for number in range(1, runs - PAIRS + 1):
            measurements.append(measure(old, number))
            print(measurements[-1], flush=True)
        new = LivingOrchard(Path(folder) / "new", server)
        measure(new, 1)  # a first run builds everything
        pairs = []
        for number in range(runs - PAIRS + 1, runs + 1):
            pairs.append((measure(old, number), measure(new, number)))
            measurements.append(pairs[-1][0])
            print(measurements[-1], flush=True)
        print("\n".join(summarize(measurements, pairs, old)))
    if diagram:
        diagram.write_text("\n".join([*draw(measurements), ""]), encoding="utf-8")


def measure(orchard: LivingOrchard, number: int) -> Measurement:
    """Change the remotes, run, and measure the run and the home."""
    if number % RUNS_PER_MOVE == 0:
        orchard.publish_year(MOVING_YEAR, number)
    start = time.process_time()
    orchard.run_changed()
    cpu_seconds = time.process_time() - start
    home = orchard.home
    with open_event_log(orchard.settings) as event_log:
        records = event_log.run_count()
    # Dagster counts runs, but events only run by run.
    with closing(sqlite3.connect(home.dagster / "history" / "runs" / "index.db")) as index:
        [[events]] = index.execute("select count(*) from event_logs")
    return Measurement(
        run=number,
        home_bytes=sum(status.st_size for status in _files(home)),
        run_directories=len(list(home.outputs(orchard.domain.name).glob("2*"))),
        run_records=records,
        events=events,
        cpu_seconds=cpu_seconds,
    )


def summarize(
    measurements: Sequence[Measurement],
    pairs: Sequence[tuple[Measurement, Measurement]],
    orchard: LivingOrchard,
) -> Iterator[str]:
    """Yield the lines of the comparison."""
    window = orchard.domain.retention.keep_runs
    later = [m.home_bytes / 1e6 for m in measurements if m.run > window + 1]
    if later:
        yield f"home after run {window + 1}: {min(later):.2f} to {max(later):.2f} MB"
    old, new = median(a.cpu_seconds for a, _ in pairs), median(b.cpu_seconds for _, b in pairs)
    ratio = median(a.cpu_seconds / b.cpu_seconds for a, b in pairs)
    yield f"CPU of the last {PAIRS} runs {old:.2f} s, of the first of a new home {new:.2f} s"
    yield f"median of the pairs' ratios: {ratio:.2f}"
    with orchard.session() as session:
        decisions = plan_run(session, RunOptions()).decisions
    current = [d for d in decisions if d.part.source.name == YEARLY and not d.fetch]
    yield f"{YEARLY}: {len(current)} partitions are up to date"


def draw(measurements: Sequence[Measurement]) -> Iterator[str]:
    """Yield the lines of an SVG with the size of the home and the CPU seconds by run."""
    panels = [
        ("home without raw files, MB", [m.home_bytes / 1e6 for m in measurements]),
        ("CPU seconds of a run", [m.cpu_seconds for m in measurements[1:]]),
    ]
    height = len(panels) * (HEIGHT + MARGIN)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * MARGIN} {height}" '
        'font-family="sans-serif" font-size="12">'
    )
    for index, (title, values) in enumerate(panels):
        yield from _panel(title, values, top=MARGIN / 2 + index * (HEIGHT + MARGIN))
    yield "</svg>"


def _panel(title: str, values: Sequence[float], *, top: float) -> Iterator[str]:
    """Yield a line diagram over the runs, from zero to its largest value."""
    largest, bottom = max(values), top + HEIGHT
    step = WIDTH / max(1, len(values) - 1)
    points = " ".join(
        f"{MARGIN + n * step:.1f},{bottom - value / largest * (HEIGHT - 20):.1f}"
        for n, value in enumerate(values)
    )
    yield f'<text x="{MARGIN}" y="{top + 10:.0f}">{title}</text>'
    axis = f'x1="{MARGIN}" y1="{bottom:.0f}" x2="{MARGIN + WIDTH}" y2="{bottom:.0f}"'
    yield f'<line {axis} stroke="#999"/>'
    yield f'<polyline fill="none" stroke="{COLOR}" stroke-width="1.5" points="{points}"/>'
    labels = [(MARGIN - 6, bottom - HEIGHT + 26, f"{largest:.1f}"), (MARGIN - 6, bottom, "0")]
    for x, y, text in labels:
        yield f'<text x="{x}" y="{y:.0f}" text-anchor="end">{text}</text>'
    x, y = MARGIN + WIDTH, bottom + 14
    yield f'<text x="{x}" y="{y:.0f}" text-anchor="end">run {len(values)}</text>'


def _files(home: Home) -> Iterator[os.stat_result]:
    seen = set()
    for path in home.root.rglob("*"):
        if path.is_symlink() or not path.is_file() or path.is_relative_to(home.raw):
            continue
        status = path.stat()
        if status.st_ino not in seen:  # hard links share their bytes
            seen.add(status.st_ino)
            yield status


if __name__ == "__main__":
    main(
        int(sys.argv[1]),
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
        int(sys.argv[3]) if len(sys.argv) > 3 else None,
    )

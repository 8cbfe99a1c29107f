"""`make bench`: what the pipeline costs on the real feeds, each figure with its bound.

Every ratio compares two child processes of one run, so that the speed of the machine cancels out.
The measured work is in `bench.ours` and `bench.bare`.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.changes import CHANGES, one_ruling
from bench.child import SYSTEMS
from bench.feeds import serving
from bench.measure import Cost, measure
from etl_assets.settings import PACKAGE, Settings

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 3
LARGE_MEGABYTES = 500
SMALL_CHANGE_BOUND = 0.55
DOMAIN = "advisories"
# Formats of documents that have a bound of their own, on top of the run without them.
LATER_FORMATS = {"vex_repository", "change_feed", "site"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a figure, and the bound that it must not exceed."""

    what: str
    figure: float
    unit: str
    bound: float
    detail: str

    @property
    def holds(self) -> bool:
        return self.figure <= self.bound


class Bench:
    """The measurements on one mirror, in a temporary directory."""

    def __init__(self, mirror: Path, folder: Path, settings: Settings) -> None:
        # A copy, as small changes are made in it.
        self._mirror = shutil.copytree(mirror, folder / "mirror")
        self._folder = folder
        self._home = folder / "home"
        self._environment = settings.model_copy(
            update={
                "home": self._home,
                "dagster_home": self._home / ".dagster",
                "mirror": str(self._mirror),
            }
        ).child_environment()

    def rows(self) -> Iterator[Row]:
        yield from self._runs()
        yield from self._vendor_feed()
        yield from self._against_bare("nvd", "NVD, all years")
        yield from self._against_bare("osv", "OSV zip")
        yield from self._memory_over_years()
        yield from self._decisions()
        yield from self._workbooks()
        yield from self._dump()
        with serving() as url:
            yield from self._transfer(url)
        # Last, as making the changes takes memory, which the peak of every later child includes.
        yield from self._small_changes()
        yield from self._tenfold()

    def _runs(self) -> Iterator[Row]:
        run = [str(Path(sys.executable).with_name("etl")), "run", DOMAIN]
        first = self._measure(run)
        self._first_cpu_seconds = first.cpu_seconds
        fewer = self._first_run_with_fewer_documents(run)
        names = " and ".join(sorted(LATER_FORMATS))
        yield Row(f"first run without {names}", fewer.cpu_seconds, "s CPU", 45, _detail(fewer))
        more = first.cpu_seconds - fewer.cpu_seconds
        detail = f"{first.cpu_seconds:.1f} s to {fewer.cpu_seconds:.1f} s CPU"
        yield Row("first run, what these add", more, "s CPU", 25, detail)
        yield Row("first run", first.peak_megabytes, "MB", 700, _detail(first))
        loading = [sys.executable, "-c", "import etl_assets.definitions as d; d.defs()"]
        loaded = min((self._measure(loading) for _ in range(REPEATS)), key=_wall)
        published = self._documents()
        again = min((self._measure(run) for _ in range(REPEATS)), key=_wall)
        written = sum(published.get(name) != at for name, at in self._documents().items())
        detail = f"{len(published):,} files published"
        yield Row("unchanged run: documents written again", written, "files", 0, detail)
        ratio = again.wall_seconds / loaded.wall_seconds
        seconds = f"{again.wall_seconds:.2f} s to {loaded.wall_seconds:.2f} s, wall"
        yield Row("unchanged run : loading the definitions", ratio, "x", 1.5, seconds)

    def _first_run_with_fewer_documents(self, run: Sequence[str]) -> Cost:
        home = self._folder / "fewer"
        declared = yaml.safe_load((PACKAGE / "domains" / DOMAIN / "_domain.yaml").read_bytes())
        documents = [each for each in declared["documents"] if each["format"] not in LATER_FORMATS]
        overrides = self._folder / "fewer.yaml"
        overrides.write_text(yaml.safe_dump({"overrides": {f"{DOMAIN}.documents": documents}}))
        environment = {
            "ETL_CONFIG": str(overrides),
            "ETL_HOME": str(home),
            "DAGSTER_HOME": str(home / ".dagster"),
        }
        cost = measure(run, cwd=ROOT, environment=self._environment | environment)
        shutil.rmtree(home)
        return cost

    def _small_changes(self) -> Iterator[Row]:
        """One after the other in the home of the first run, compared with what that run cost."""
        run = [str(Path(sys.executable).with_name("etl")), "run", DOMAIN, "--accept-changes"]
        for what, change in CHANGES.items():
            change(self._mirror)
            cost = self._measure(run)
            share = cost.cpu_seconds / self._first_cpu_seconds
            detail = f"{cost.cpu_seconds:.1f} s to {self._first_cpu_seconds:.1f} s CPU"
            yield Row(f"{what} : first run", share, "x", SMALL_CHANGE_BOUND, detail)

    def _tenfold(self) -> Iterator[Row]:
        """A first run and one ruling, with ten times the packages and advisories."""
        run = [str(Path(sys.executable).with_name("etl")), "run", DOMAIN, "--accept-changes"]
        mirror, home = self._folder / "mirror-tenfold", self._folder / "tenfold"
        self._measure([sys.executable, "-m", "bench.tenfold", str(self._mirror), str(mirror)])
        environment = self._environment | {
            "ETL_MIRROR": str(mirror),
            "ETL_HOME": str(home),
            "DAGSTER_HOME": str(home / ".dagster"),
        }
        first = measure(run, cwd=ROOT, environment=environment)
        grows = first.cpu_seconds / self._first_cpu_seconds
        detail = (
            f"{first.cpu_seconds:.0f} s to {self._first_cpu_seconds:.0f} s CPU, {_detail(first)}"
        )
        yield Row("first run, ten times the packages : once", grows, "x", 6, detail)
        one_ruling(mirror)
        again = measure(run, cwd=ROOT, environment=environment)
        yield Row(
            "one ruling, ten times the packages", again.cpu_seconds, "s CPU", 15, _detail(again)
        )

    def _vendor_feed(self) -> Iterator[Row]:
        cost, cpu_seconds, rows = self._work("echo")
        yield Row("vendor feed to parquet", cpu_seconds, "s CPU", 1, f"{rows:,} rows")
        yield Row("vendor feed to parquet", cost.peak_megabytes, "MB", 150, _detail(cost))

    def _against_bare(self, name: str, what: str) -> Iterator[Row]:
        ours, bare = self._least(self._mirror, name, f"bare-{name}")
        detail = f"{ours[1]:.2f} s to {bare[1]:.2f} s CPU, {ours[2]:,} to {bare[2]:,} rows"
        yield Row(f"{what} to parquet : bare loop", ours[1] / bare[1], "x", 1.6, detail)
        memory = f"bare loop: {bare[0].peak_megabytes:.0f} MB"
        yield Row(f"{what} to parquet", ours[0].peak_megabytes, "MB", 200, memory)

    def _memory_over_years(self) -> Iterator[Row]:
        largest, _, _ = self._work("nvd-largest")
        every, _, _ = self._work("nvd")
        ratio = every.peak_megabytes / largest.peak_megabytes
        detail = f"{every.peak_megabytes:.0f} MB to {largest.peak_megabytes:.0f} MB"
        yield Row("NVD, all years : largest year alone, peak", ratio, "x", 1.2, detail)

    def _decisions(self) -> Iterator[Row]:
        """On the tables of the first run, and on ten times as many packages."""
        costs = {}
        for laid in ("lay", "lay-tenfold"):
            home = self._folder / laid
            self._child(laid, self._home, home)
            for work in ("decide", "document"):
                costs[laid, work] = self._child(work, home, home)
        for work, what, bound in (
            ("decide", "decisions and history", 10),
            ("document", "other models, all tests, documents written and checked", 30),
        ):
            (_, build_once, count), (cost, ten, counted) = (
                costs[laid, work] for laid in ("lay", "lay-tenfold")
            )
            yield Row(what, build_once, "s CPU", bound, f"{count:,} advisories or files")
            detail = f"{ten:.1f} s to {build_once:.1f} s CPU, {counted:,} to {count:,}"
            yield Row(f"{what}, ten times the packages : once", ten / build_once, "x", 12, detail)
            yield Row(
                f"{what}, ten times the packages", cost.peak_megabytes, "MB", 1500, _detail(cost)
            )

    def _documents(self) -> dict[str, tuple[int, int]]:
        """The inode and time of each published document, by name."""
        latest = (self._home / "outputs" / DOMAIN / "latest").resolve()
        index = (latest / "index.jsonl").read_text(encoding="utf-8")
        files = [json.loads(line)["file"] for line in index.splitlines()]
        stats = {file: (latest / file).stat() for file in files}
        return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}

    def _workbooks(self) -> Iterator[Row]:
        _cost, cpu_seconds, rows = self._work("workbooks")
        yield Row("all workbooks to parquet", cpu_seconds, "s CPU", 0.6, f"{rows:,} rows")
        run = [str(Path(sys.executable).with_name("etl")), "run", "molding", "--json"]
        self._measure(run)
        again = self._measure(run)
        (manifest,) = json.loads(again.output)
        made = sum(asset["outcome"] == "made" for asset in manifest["assets"])
        read = manifest["result"]["collector_result"]["files_fetched"]
        detail = f"{made} assets made, {_detail(again)}"
        yield Row("unchanged run of the workbooks, files read", read + made, "", 0, detail)

    def _dump(self) -> Iterator[Row]:
        """From a generated dump to the table of its systems.

        Ours validates the whole file, reads it, checks every row against the contract, looks for
        duplicate keys, and writes. The loop unpacks with `gzip`, iterates over `ijson.items` (its C
        backend, numbers as floats), keeps the same fields, and writes the same columns. Each reads
        the same file in a process of its own; neither fetches or builds marts.
        """
        mirrors = {share: self._folder / f"dump-of-{SYSTEMS // share}" for share in (10, 1)}
        for share, mirror in mirrors.items():
            _, _, size = self._child(f"dump-{share}", self._mirror, mirror)
        ((_, tenth, fewer),) = self._least(mirrors[10], "systems")
        (cost, whole, systems), bare = self._least(mirrors[1], "systems", "bare-systems")
        if not systems == bare[2] == SYSTEMS:
            raise RuntimeError(f"expected {SYSTEMS:,} rows, found {systems:,} and {bare[2]:,}")
        what = f"dump of {SYSTEMS:,} systems"
        memory = f"{size / 1e6:,.0f} MB unpacked, {_detail(cost)}"
        yield Row(f"{what} to parquet", cost.peak_megabytes, "MB", 400, memory)
        rates = f"{systems / whole:,.0f} to {systems / bare[1]:,.0f} systems per CPU second"
        detail = f"{rates}: {bare[1] / whole:.2f} times as many"
        yield Row(f"{what} to parquet : ijson loop", whole / bare[1], "x", 1 / 3.5, detail)
        grows = (whole / systems) / (tenth / fewer)
        detail = f"{whole:.2f} s to {tenth:.2f} s CPU, {systems:,} to {fewer:,}"
        yield Row(f"{what}, cost of one : of a tenth", grows, "x", 1.2, detail)

    def _least(self, mirror: Path, *names: str) -> list[tuple[Cost, float, int]]:
        """For each work the repeat that took the least CPU time.

        The works alternate, so that a change in the load of the machine concerns all of them.
        """
        rounds = [[self._work(name, mirror) for name in names] for _ in range(REPEATS)]
        return [min(costs, key=lambda cost: cost[1]) for costs in zip(*rounds, strict=True)]

    def _transfer(self, url: str) -> Iterator[Row]:
        """Against a pipe of three programs that hashes and stores; ours also syncs to disk."""
        large = f"{url}/bytes/{LARGE_MEGABYTES}"
        ours = min((self._fetch(large) for _ in range(REPEATS)), key=lambda fetched: fetched[1])
        theirs = min((self._measure(_pipe(large, self._folder)) for _ in range(REPEATS)), key=_wall)
        detail = f"{ours[1]:.2f} s to {theirs.wall_seconds:.2f} s, wall"
        yield Row(f"{LARGE_MEGABYTES} MB fetched, hashed, stored : curl | tee | sha256sum",
                  ours[1] / theirs.wall_seconds, "x", 1 / 0.7, detail)  # fmt: skip
        small, _ = self._fetch(f"{url}/bytes/{LARGE_MEGABYTES // 10}")
        detail = f"{ours[0].peak_megabytes:.0f} MB to {small.peak_megabytes:.0f} MB"
        grows = ours[0].peak_megabytes / small.peak_megabytes
        yield Row("peak of that : of a tenth of it", grows, "x", 1.1, detail)
        alone = min(self._fetch(f"{url}/slow/10/4")[1] for _ in range(REPEATS))
        sources = [f"{url}/slow/10/{seconds}" for seconds in (1, 1, 2, 2, 3, 3, 4, 4)]
        together = min(self._fetch(*sources)[1] for _ in range(REPEATS))
        detail = f"{together:.2f} s to {alone:.2f} s, wall"
        yield Row("eight sources at once : the slowest", together / alone, "x", 1.2, detail)

    def _fetch(self, *urls: str) -> tuple[Cost, float]:
        with tempfile.TemporaryDirectory(dir=self._folder) as target:
            cost = self._measure([sys.executable, "-m", "bench.transfer", target, *urls])
        return cost, json.loads(cost.output)["seconds"]

    def _work(self, name: str, mirror: Path | None = None) -> tuple[Cost, float, int]:
        with tempfile.TemporaryDirectory(dir=self._folder) as target:
            return self._child(name, mirror or self._mirror, Path(target))

    def _child(self, work: str, source: Path, target: Path) -> tuple[Cost, float, int]:
        arguments = ["-m", "bench.child", work, str(source), str(target)]
        cost = self._measure([sys.executable, *arguments])
        result = json.loads(cost.output)
        return cost, result["cpu_seconds"], result["rows"]

    def _measure(self, command: Sequence[str]) -> Cost:
        return measure(command, cwd=ROOT, environment=self._environment)


def _pipe(url: str, folder: Path) -> list[str]:
    file = shlex.quote(str(folder / "piped"))
    return ["bash", "-c", f"curl -sS {shlex.quote(url)} | tee {file} | sha256sum"]


def _wall(cost: Cost) -> float:
    return cost.wall_seconds


def _detail(cost: Cost) -> str:
    return f"{cost.wall_seconds:.1f} s wall, peak {cost.peak_megabytes:.0f} MB"


def main() -> int:
    """Print the table; returns 1 if a bound is exceeded, 2 if there are no feeds."""
    settings = Settings.load()
    mirror = Path(settings.mirror or ROOT.parent / "shared" / "data" / "upstream").resolve()
    if not mirror.is_dir():
        print(f"{mirror}: expected a directory of real feeds; name one in ETL_MIRROR")
        return 2
    print("| what | figure | bound | | detail |\n| --- | ---: | ---: | --- | --- |")
    all_hold = True
    with tempfile.TemporaryDirectory() as folder:
        for row in Bench(mirror, Path(folder), settings).rows():
            figures = f"{row.figure:.2f} {row.unit} | {row.bound:g} {row.unit}"
            verdict = "holds" if row.holds else "FAILS"
            print(f"| {row.what} | {figures} | {verdict} | {row.detail} |", flush=True)
            all_hold &= row.holds
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main())

"""Many runs of a small domain while its remotes and the disk fail at random, by a seed.

After every run the published set must follow from the last good files, which plain Python reads
here. `make soak RUNS=... SEED=...` prints the plan and the status of each run.
"""

from __future__ import annotations

import csv
import gc
import gzip
import hashlib
import io
import json
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

from support.misbehaving_server import MisbehavingServer, run_misbehaving_server
from support.orchard import (
    DOMAIN,
    FIRST,
    HOST,
    Files,
    Orchard,
    create_project,
    list_faults,
    list_temporary_files,
)
from support.soak_faults import ALL_FAULTS, CONTENT, DAMAGE, LASTING, PASSING, Disk, once_at_get

from etl_assets.model.errors import EtlError
from etl_assets.model.run_options import RunOptions
from etl_assets.publish import run_directory

MAIN = {"trees": "trees.json.gz", "harvests": "harvests.csv", "notes": "notes.json"}
Rows = list[dict[str, Any]]
Served = dict[str, bytes]


# What must be published, computed from the files alone.


def expected_rows(good: Served) -> Rows:
    """Return the rows of `mart_trees` that follow from good files; invalid rows are skipped."""
    trees: dict[str, dict[str, Any]] = {}
    for row in json.loads(gzip.decompress(good["trees"]))["trees"]:
        if _is_id(row["tree_id"]) and row["tree_id"] not in trees:
            trees[row["tree_id"]] = row
    weights: dict[tuple[str, int], int] = {}
    for row in csv.DictReader(io.StringIO(good["harvests"].decode())):
        with suppress(ValueError, TypeError):
            key, weight = (row["tree_id"], int(row["year"])), int(row["kilograms"])
            if _is_id(key[0]) and key[1] >= 1900 and weight >= 0:
                weights.setdefault(key, weight)
    notes = {k: v["note"] for k, v in json.loads(good["notes"]).items() if _is_id(k)}
    planted = {tree: row.get("planted_on") for tree, row in trees.items()}
    return [
        {
            "tree_id": tree,
            "kind": trees[tree]["kind"],
            "planted_on": date.fromisoformat(day) if (day := planted[tree]) else None,
            "kilograms": sum(kg for (owner, _), kg in weights.items() if owner == tree),
            "note": notes.get(tree),
        }
        for tree in sorted(trees)
    ]


@dataclass
class History:
    """The periods of all publications, computed without SQL."""

    periods: Rows = field(default_factory=list)

    def add(self, rows: Rows, at: datetime) -> History:
        """Return the history after these rows were published."""
        states = {row["tree_id"]: _state(row) for row in rows}
        current = {p["tree_id"]: _state(p) for p in self.periods if p["is_current"]}
        ended = {tree for tree, state in current.items() if states.get(tree) != state}
        periods = [
            p | {"effective_to": at, "is_current": False}
            if p["is_current"] and p["tree_id"] in ended
            else p
            for p in self.periods
        ]
        new = [
            state | {"effective_from": at, "effective_to": None, "is_current": True}
            for tree, state in states.items()
            if current.get(tree) != state
        ]
        return History(sorted([*periods, *new], key=lambda p: (p["tree_id"], p["effective_from"])))


@dataclass(frozen=True)
class Plan:
    """The events of one run: what each remote serves, and the faults of remotes and machine."""

    served: Served
    faults: dict[str, str]
    accepted: frozenset[str]
    disk_writes: int | None = None
    damage: str = ""

    def __str__(self) -> str:
        events = [f"{name}: {fault}" for name, fault in self.faults.items()]
        if self.disk_writes is not None:
            events.append(f"disk full after {self.disk_writes} writes")
        if self.damage:
            events.append(self.damage)
        return "; ".join(events) or "no fault"


class Soak:
    """The domain, its server and its disk, the last good files, and the published rows."""

    def __init__(self, folder: Path, server: MisbehavingServer, seed: int) -> None:
        self.chance = random.Random(seed)
        self.server = server
        self.orchard = Orchard(folder / "live", project=create_project(folder / "project"))
        self.orchard.settings = self.orchard.settings.model_copy(update={"mirror": server.url})
        self.disk = Disk(self.orchard.home.root)
        self.files = Files.create(80)
        self.good: list[Served] = [self._render_files()]
        self.history = History()
        self.published: Rows = []
        self.last_failed = False
        self.accepted_digests: set[str] = set()
        self.baseline: tuple[int, int] | None = None

    def plan(self, number: int) -> Plan:
        """Return the plan of the next run: edits of the files, and usually a fault."""
        kind = self.chance.choices(["remotes", "disk", "damage", "well"], [6, 2, 1, 1])[0]
        if kind not in {"well", "damage"}:
            self._grow(number)
        served = self._render_files()
        if number == 0 or self.last_failed:
            return Plan(served, {}, frozenset(MAIN))
        if kind == "disk":
            return Plan(served, {}, frozenset(MAIN), disk_writes=self.chance.randrange(60))
        if kind == "damage" and self.good == [served]:  # else a damaged file is not fetched again
            return Plan(served, {}, frozenset(MAIN), damage=self.chance.choice(sorted(DAMAGE)))
        if kind in {"well", "damage"}:
            return Plan(served, {}, frozenset(MAIN))
        struck = self.chance.sample(sorted(MAIN), self.chance.choice([1, 1, 2, 3]))
        faults = {name: self.chance.choice(ALL_FAULTS) for name in struck}
        bad = {n for n, f in faults.items() if f in LASTING or (f in CONTENT and not CONTENT[f][1])}
        for name, fault in faults.items():
            if fault in CONTENT:
                served[name] = CONTENT[fault][0](name, served[name])
        return Plan(served, faults, frozenset(MAIN) - bad)

    def run(self, number: int, plan: Plan) -> str:
        """Run once under the plan and return the status; fails on a wrong result."""
        self._serve(plan)
        if plan.damage:
            DAMAGE[plan.damage](self.orchard, self.chance)
        self.disk.fills_after(plan.disk_writes)
        as_of = FIRST + timedelta(hours=number)
        try:
            status = str(self.orchard.run(RunOptions(as_of=as_of)).status)
        except EtlError as error:
            status = f"error: {error}"
        finally:
            refused = self.disk.refused
            self.disk.fills_after(None)
        self._check_run(plan, status, as_of, disk_refused=bool(refused))
        return status

    def finish(self) -> None:
        """Assert that every file that a kept run read is still stored, as retention promises."""
        home = self.orchard.home
        stored = {path.name for path in home.raw.rglob("*")}
        needed = {
            source.sha256
            for run in run_directory.list_runs(home, DOMAIN)
            for source in run_directory.read_manifest(run).sources
        }
        assert needed & self.accepted_digests
        assert not needed - stored

    def _check_run(self, plan: Plan, status: str, as_of: datetime, *, disk_refused: bool) -> None:
        may_fail = disk_refused
        outages = {n for n in MAIN if n not in plan.accepted}
        if not may_fail:
            assert status == ("partial_success" if outages else "success"), (status, str(plan))
        new = [
            {n: plan.served[n] if n in plan.accepted else before[n] for n in MAIN}
            for before in self.good
        ]
        if may_fail:
            # A run that the disk stopped may have accepted any of the new files.
            new = list(_mix(self.good, new))
        self.last_failed = status not in {"success", "partial_success"}
        rows = self._published_rows()
        if may_fail and rows == self.published:
            self.good = new
        else:
            matching = [good for good in new if expected_rows(good) == rows]
            assert matching, f"{plan}: the published rows follow from no good files"
            self.good = matching[:1] if not self.last_failed else matching
            if rows != self.published:
                self.history = self.history.add(rows, as_of)
            self.published = rows
        assert self.orchard.rows("mart_tree_history") == self.history.periods, str(plan)
        assert not list_faults(self.orchard.home), str(plan)
        if not self.last_failed:
            self.accepted_digests |= {
                hashlib.sha256(plan.served[n]).hexdigest() for n in plan.accepted
            }
        self._check_for_leaks(plan)

    def _published_rows(self) -> Rows:
        return sorted(self.orchard.rows("mart_trees"), key=lambda row: str(row["tree_id"]))

    def _check_for_leaks(self, plan: Plan) -> None:
        assert not list_temporary_files(self.orchard.home), str(plan)
        for thread in threading.enumerate():
            if "process_request" in thread.name:
                thread.join(timeout=5)
        gc.collect()
        usage = (len(os.listdir("/proc/self/fd")), threading.active_count())  # noqa: PTH208
        self.baseline = self.baseline or usage
        assert usage <= self.baseline, (usage, self.baseline, str(plan))

    def _serve(self, plan: Plan) -> None:
        self.server.always.clear()
        for name, file in MAIN.items():
            path = f"/{HOST}/{file}"
            self.server.publish(path, plan.served[name])
            fault = plan.faults.get(name, "")
            if fault in LASTING:
                self.server.always[path] = LASTING[fault]
            elif fault in PASSING:
                self.server.always[path] = once_at_get(PASSING[fault])
        trees = plan.served["trees"]
        with suppress(OSError, EOFError):
            trees = gzip.decompress(trees)
        stated = f"sha256:{hashlib.sha256(trees).hexdigest()}\n"
        self.server.publish(f"/{HOST}/trees.meta", stated.encode())

    def _render_files(self) -> Served:
        rendered = self.files.render()
        return {name: rendered[file] for name, file in MAIN.items()}

    def _grow(self, number: int) -> None:
        """Add a few rows to every file and change some; no file shrinks."""
        chance, files = self.chance, self.files
        old, new = chance.choice(sorted(files.trees)), f"T-{1000 + number}"
        files.trees |= {new: "fig", old: chance.choice(["pear", "apple", "quince"])}
        files.harvests |= {(new, 2025): number, (old, 2025): chance.randrange(90)}
        files.notes |= {new: f"planted on day {number}", old: f"seen on day {number}"}


def _mix(before: list[Served], after: list[Served]) -> Iterator[Served]:
    """Yield every combination of the files before and after, for each pair of the lists."""
    for old, new in zip(before, after, strict=True):
        for files in product(*([old[name], new[name]] for name in MAIN)):
            yield dict(zip(MAIN, files, strict=True))


def _is_id(text: str) -> bool:
    return re.fullmatch(r"T-\d+", text) is not None


def _state(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("tree_id", "kind", "kilograms", "note")}


def soak(folder: Path, runs: int, seed: int) -> Iterator[tuple[Plan, str]]:
    """Yield the plan and the status of each run after it was checked."""
    with run_misbehaving_server() as server:
        state = Soak(folder, server, seed)
        for number in range(runs):
            plan = state.plan(number)
            yield plan, state.run(number, plan)
        state.finish()


def main(runs: int = 200, seed: int = 1) -> None:
    started = time.monotonic()
    statuses: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, (plan, status) in enumerate(soak(Path(folder), runs, seed)):
            statuses[status.partition(":")[0]] += 1
            sys.stdout.write(f"{number:4} {status[:60]:16} {plan}\n")
            sys.stdout.flush()
    duration = f"{time.monotonic() - started:.0f} s, {time.process_time():.0f} s of CPU"
    sys.stdout.write(
        f"{runs} runs, seed {seed}: {dict(statuses)}; nothing lost or wrong; {duration}\n"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

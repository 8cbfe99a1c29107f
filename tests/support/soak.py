"""Run after run of a small domain while its remotes and its machine misbehave, at random by a seed.

After every run the published set must be what the last good files imply, as plain Python reads
them; `make soak RUNS=... SEED=...` says how that went.
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
    FIRST,
    HOST,
    Files,
    Orchard,
    create_project,
    list_faults,
    list_temporary_files,
)
from support.soak_faults import ALL_FAULTS, CONTENT, HARM, LASTING, PASSING, Disk, once_at_get

from etl_assets.model.errors import EtlError
from etl_assets.model.run_options import RunOptions

MAIN = {"trees": "trees.json.gz", "harvests": "harvests.csv", "notes": "notes.json"}
Rows = list[dict[str, Any]]
Served = dict[str, bytes]


# What must be published, from the files alone.


def implied(good: Served) -> Rows:
    """The rows of `mart_trees` that good files imply; what breaks a rule counts for nothing."""
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
    """The periods that publications leave, kept without SQL."""

    periods: Rows = field(default_factory=list)

    def add(self, rows: Rows, at: datetime) -> History:
        """The history after these rows were published."""
        told = {row["tree_id"]: _state(row) for row in rows}
        current = {p["tree_id"]: _state(p) for p in self.periods if p["is_current"]}
        over = {tree for tree, state in current.items() if told.get(tree) != state}
        kept = [
            p | {"effective_to": at, "is_current": False}
            if p["is_current"] and p["tree_id"] in over
            else p
            for p in self.periods
        ]
        new = [
            state | {"effective_from": at, "effective_to": None, "is_current": True}
            for tree, state in told.items()
            if current.get(tree) != state
        ]
        return History(sorted([*kept, *new], key=lambda p: (p["tree_id"], p["effective_from"])))


@dataclass(frozen=True)
class Plan:
    """What happens in one run: what each remote serves and how, what the machine does."""

    served: Served
    faults: dict[str, str]
    taken: frozenset[str]
    disk_writes: int | None = None
    harm: str = ""

    def __str__(self) -> str:
        told = [f"{name}: {fault}" for name, fault in self.faults.items()]
        told += (
            [f"disk full after {self.disk_writes} writes"] if self.disk_writes is not None else []
        )
        told += [self.harm] if self.harm else []
        return "; ".join(told) or "all well"


class Soak:
    """The domain, its server and its disk; what is good so far, and what was published."""

    def __init__(self, folder: Path, server: MisbehavingServer, seed: int) -> None:
        self.chance = random.Random(seed)
        self.server = server
        self.orchard = Orchard(folder / "live", project=create_project(folder / "project"))
        self.orchard.settings = self.orchard.settings.model_copy(update={"mirror": server.url})
        self.disk = Disk(self.orchard.home.root)
        self.files = Files.create(80)
        self.good: list[Served] = [self._rendered()]
        self.history = History()
        self.published: Rows = []
        self.last_failed = False
        self.taken: set[str] = set()
        self.baseline: tuple[int, int] | None = None

    def plan(self, number: int) -> Plan:
        """Some edits of what is true; then, mostly, some fault of a remote or of the machine."""
        kind = self.chance.choices(["remotes", "disk", "harm", "well"], [6, 2, 1, 1])[0]
        if kind not in {"well", "harm"}:
            self._grow(number)
        served = self._rendered()
        if number == 0 or self.last_failed:
            return Plan(served, {}, frozenset(MAIN))
        if kind == "disk":
            return Plan(served, {}, frozenset(MAIN), disk_writes=self.chance.randrange(60))
        if kind == "harm" and self.good == [served]:  # what is not asked for again stays harmed
            return Plan(served, {}, frozenset(MAIN), harm=self.chance.choice(sorted(HARM)))
        if kind in {"well", "harm"}:
            return Plan(served, {}, frozenset(MAIN))
        struck = self.chance.sample(sorted(MAIN), self.chance.choice([1, 1, 2, 3]))
        faults = {name: self.chance.choice(ALL_FAULTS) for name in struck}
        bad = {n for n, f in faults.items() if f in LASTING or (f in CONTENT and not CONTENT[f][1])}
        for name, fault in faults.items():
            if fault in CONTENT:
                served[name] = CONTENT[fault][0](name, served[name])
        return Plan(served, faults, frozenset(MAIN) - bad)

    def run(self, number: int, plan: Plan) -> str:
        """The status of one run under the plan; raises AssertionError where something is wrong."""
        self._serve(plan)
        if plan.harm:
            HARM[plan.harm](self.orchard, self.chance)
        self.disk.fills_after(plan.disk_writes)
        as_of = FIRST + timedelta(hours=number)
        try:
            status = str(self.orchard.run(RunOptions(as_of=as_of)).status)
        except EtlError as error:
            status = f"error: {error}"
        finally:
            refused = self.disk.refused
            self.disk.fills_after(None)
        self._judge(plan, status, as_of, disk_refused=bool(refused))
        return status

    def finish(self) -> None:
        """Nothing that was ever taken is lost."""
        stored = {path.name for path in self.orchard.home.raw.rglob("*")}
        assert not self.taken - stored

    def _judge(self, plan: Plan, status: str, as_of: datetime, *, disk_refused: bool) -> None:
        may_fail = disk_refused
        outages = {n for n in MAIN if n not in plan.taken}
        if not may_fail:
            assert status == ("partial_success" if outages else "success"), (status, str(plan))
        new = [
            {n: plan.served[n] if n in plan.taken else before[n] for n in MAIN}
            for before in self.good
        ]
        if may_fail:
            mixed = [dict(zip(MAIN, m, strict=True)) for a, b in zip(self.good, new, strict=True)
                     for m in product(*([a[n], b[n]] for n in MAIN))]  # fmt: skip
            new = mixed
        self.last_failed = status not in {"success", "partial_success"}
        found = self._found()
        if may_fail and found == self.published:
            self.good = new
        else:
            matching = [good for good in new if implied(good) == found]
            assert matching, f"{plan}: what is published is implied by no good files"
            self.good = matching[:1] if not self.last_failed else matching
            if found != self.published:
                self.history = self.history.add(found, as_of)
            self.published = found
        assert self.orchard.rows("mart_tree_history") == self.history.periods, str(plan)
        assert not list_faults(self.orchard.home), str(plan)
        if not self.last_failed:
            self.taken |= {hashlib.sha256(plan.served[n]).hexdigest() for n in plan.taken}
        self._look_for_leaks(plan)

    def _found(self) -> Rows:
        return sorted(self.orchard.rows("mart_trees"), key=lambda row: str(row["tree_id"]))

    def _look_for_leaks(self, plan: Plan) -> None:
        assert not list_temporary_files(self.orchard.home), str(plan)
        for thread in threading.enumerate():
            if "process_request" in thread.name:
                thread.join(timeout=5)
        gc.collect()
        found = (len(os.listdir("/proc/self/fd")), threading.active_count())  # noqa: PTH208
        self.baseline = self.baseline or found
        assert found <= self.baseline, (found, self.baseline, str(plan))

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

    def _rendered(self) -> Served:
        rendered = self.files.render()
        return {name: rendered[file] for name, file in MAIN.items()}

    def _grow(self, number: int) -> None:
        """A few facts more in every file, and some changed; nothing shrinks."""
        chance, files = self.chance, self.files
        old, new = chance.choice(sorted(files.trees)), f"T-{1000 + number}"
        files.trees |= {new: "fig", old: chance.choice(["pear", "apple", "quince"])}
        files.harvests |= {(new, 2025): number, (old, 2025): chance.randrange(90)}
        files.notes |= {new: f"planted on day {number}", old: f"seen on day {number}"}


def _is_id(text: str) -> bool:
    return re.fullmatch(r"T-\d+", text) is not None


def _state(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("tree_id", "kind", "kilograms", "note")}


def soak(folder: Path, runs: int, seed: int) -> Iterator[tuple[Plan, str]]:
    """Each run's plan and status, after it was judged."""
    with run_misbehaving_server() as server:
        soaked = Soak(folder, server, seed)
        for number in range(runs):
            plan = soaked.plan(number)
            yield plan, soaked.run(number, plan)
        soaked.finish()


def main(runs: int = 200, seed: int = 1) -> None:
    began = time.monotonic()
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, (plan, status) in enumerate(soak(Path(folder), runs, seed)):
            seen[status.partition(":")[0]] += 1
            sys.stdout.write(f"{number:4} {status[:60]:16} {plan}\n")
            sys.stdout.flush()
    took = f"{time.monotonic() - began:.0f} s, {time.process_time():.0f} s of CPU"
    sys.stdout.write(f"{runs} runs, seed {seed}: {dict(seen)}; nothing lost or wrong; {took}\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

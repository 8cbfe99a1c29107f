"""A ruling of a person that is killed at any write point is completed by saying it again."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.crashes import Ended, Strike, Warm, warm
from support.orchard import DOMAIN, FIRST, HOST, Files, Orchard, assemble, offenders_of

from etl_assets.defs.launch import open_event_log
from etl_assets.model.run_options import RunOptions
from etl_assets.validate import quarantine

pytestmark = pytest.mark.long

ROLLBACK = ("rollback", "harvests", "--why", "the weights are wrong")
UNPIN = ("unpin", "harvests", "--why", "they were corrected")
RELEASE = ("quarantine", "release", "notes", "--why", "it is as it should be")
BEFORE: dict[Sequence[str], list[Sequence[str]]] = {ROLLBACK: [], UNPIN: [ROLLBACK], RELEASE: []}

Outcome = dict[str, Any]


@dataclass
class Scene:
    """A home with two versions of the harvests and notes in quarantine."""

    orchard: Orchard
    before: Path
    runner: Warm

    def say(self, words: Sequence[str], strike: Strike | None = None) -> Ended:
        return self.runner.run(self.orchard.home.root, words, strike)

    def prepare(self, verb: Sequence[str]) -> None:
        """Everything as it was before the verb, in the same place."""
        shutil.rmtree(self.orchard.folder)
        shutil.copytree(self.before, self.orchard.folder, symlinks=True)
        for words in BEFORE[verb]:
            assert self.say(words).code == 0

    def outcome(self) -> Outcome:
        """What event log, exported ledger and quarantine say, without the moment."""
        sources = self.orchard.domain.sources
        with open_event_log(self.orchard.settings) as event_log:
            states = event_log.read_sources(sources.values())
        fetches = {name: state.fetches[None] for name, state in states.items()}
        ledger = self.orchard.home.manifests / f"{DOMAIN}_download.manifest.json"
        records = json.loads(ledger.read_bytes())["records"].values()
        return {
            "files": {name: f.file and f.file.sha256 for name, f in fetches.items()},
            "pins": {name: f.pin and f.pin.ruling.sha256 for name, f in fetches.items()},
            "exported": {r["source_id"]: r["checksum"] for r in records},
            "exported pins": {r["source_id"] for r in records if r["pin"]},
            "quarantine": [
                q.sha256 for q in quarantine.list_quarantined(self.orchard.home, sources["notes"])
            ],
        }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("rulings")
    orchard = Orchard(folder / "live", project=assemble(folder / "project"))
    orchard.describe_itself()
    files = Files.planted()
    orchard.serve(files)
    orchard.run(RunOptions(as_of=FIRST))
    files.harvests["T-1", 2026] = 70
    orchard.serve(files)
    (orchard.mirror / HOST / "notes.json").write_bytes(b"<html>Sign in</html>")
    orchard.run()
    shutil.copytree(orchard.folder, folder / "before", symlinks=True)
    with warm(folder) as runner:
        yield Scene(orchard, folder / "before", runner)


@pytest.fixture(scope="module")
def undisturbed(scene: Scene) -> dict[Sequence[str], tuple[Counter[str], Outcome]]:
    """The write points of each verb by their kind, and what it leads to."""
    found = {}
    for verb in BEFORE:
        scene.prepare(verb)
        ended = scene.say(verb)
        assert ended.code == 0, ended.told
        found[verb] = Counter(kind for kind, _, _ in ended.points), scene.outcome()
    return found


def drilled(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.drill)


@pytest.mark.fault("killed")
@pytest.mark.parametrize(
    ("verb", "kind", "where"),
    [
        (ROLLBACK, "event log", "last"),
        (ROLLBACK, "ledger", "middle"),
        drilled(ROLLBACK, "event log", "first"),
        drilled(ROLLBACK, "event log", "middle"),
        drilled(ROLLBACK, "ledger", "first"),
        (UNPIN, "event log", "last"),
        drilled(UNPIN, "event log", "first"),
        drilled(UNPIN, "event log", "middle"),
        drilled(UNPIN, "ledger", "first"),
        drilled(UNPIN, "ledger", "middle"),
        (RELEASE, "quarantine", "last"),
        drilled(RELEASE, "raw file", "middle"),
        drilled(RELEASE, "event log", "first"),
        drilled(RELEASE, "event log", "middle"),
        drilled(RELEASE, "event log", "last"),
        drilled(RELEASE, "ledger", "middle"),
        drilled(RELEASE, "quarantine", "first"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-4] + " " + value[-3],
)
def test_a_killed_ruling_is_completed_by_saying_it_again(
    scene: Scene,
    undisturbed: dict[Sequence[str], tuple[Counter[str], Outcome]],
    verb: Sequence[str],
    kind: str,
    where: str,
) -> None:
    points, outcome = undisturbed[verb]
    count = points[kind]
    number = {"first": 1, "middle": count // 2 + 1, "last": count}[where]
    scene.prepare(verb)

    killed = scene.say(verb, Strike("kill", kind, number))
    offenders = offenders_of(scene.orchard.home)
    again = scene.say(verb)

    assert (killed.code, offenders) == (-signal.SIGKILL, [])
    assert (again.code, scene.outcome()) == (0, outcome), again.told

"""An operator command that is killed at any write point is completed by running it again."""

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
from support.crashes import CommandResult, CrashPoint, WarmProcess, start_warm_process
from support.orchard import DOMAIN, FIRST, HOST, Files, Orchard, create_project, list_faults

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
    runner: WarmProcess

    def run(self, command: Sequence[str], crash_point: CrashPoint | None = None) -> CommandResult:
        return self.runner.run(self.orchard.home.root, command, crash_point)

    def prepare(self, verb: Sequence[str]) -> None:
        """Reset the folder to its state before the command."""
        shutil.rmtree(self.orchard.folder)
        shutil.copytree(self.before, self.orchard.folder, symlinks=True)
        for command in BEFORE[verb]:
            assert self.run(command).code == 0

    def outcome(self) -> Outcome:
        """Return the content of event log, exported ledger and quarantine, without times."""
        sources = self.orchard.domain.sources
        with open_event_log(self.orchard.settings) as event_log:
            states = event_log.read_sources(sources.values())
        fetches = {name: state.fetches[None] for name, state in states.items()}
        ledger = self.orchard.home.manifests / f"{DOMAIN}_download.manifest.json"
        records = json.loads(ledger.read_bytes())["records"].values()
        return {
            "files": {name: f.file and f.file.sha256 for name, f in fetches.items()},
            "pins": {name: f.pin and f.pin.decision.sha256 for name, f in fetches.items()},
            "exported": {r["source_id"]: r["checksum"] for r in records},
            "exported pins": {r["source_id"] for r in records if r["pin"]},
            "quarantine": [
                q.sha256 for q in quarantine.list_quarantined(self.orchard.home, sources["notes"])
            ],
        }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("verbs")
    orchard = Orchard(folder / "live", project=create_project(folder / "project"))
    orchard.write_env_file()
    files = Files.create()
    orchard.serve(files)
    orchard.run(RunOptions(as_of=FIRST))
    files.harvests["T-1", 2026] = 70
    orchard.serve(files)
    (orchard.mirror / HOST / "notes.json").write_bytes(b"<html>Sign in</html>")
    orchard.run()
    shutil.copytree(orchard.folder, folder / "before", symlinks=True)
    with start_warm_process(folder) as runner:
        yield Scene(orchard, folder / "before", runner)


@pytest.fixture(scope="module")
def undisturbed(scene: Scene) -> dict[Sequence[str], tuple[Counter[str], Outcome]]:
    """Return the number of write points by kind, and the outcome, of each command."""
    undisturbed = {}
    for verb in BEFORE:
        scene.prepare(verb)
        result = scene.run(verb)
        assert result.code == 0, result.output
        undisturbed[verb] = Counter(kind for kind, _, _ in result.points), scene.outcome()
    return undisturbed


def drill(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.drill)


@pytest.mark.fault("killed")
@pytest.mark.parametrize(
    ("verb", "kind", "where"),
    [
        (ROLLBACK, "event log", "last"),
        (ROLLBACK, "ledger", "middle"),
        drill(ROLLBACK, "event log", "first"),
        drill(ROLLBACK, "event log", "middle"),
        drill(ROLLBACK, "ledger", "first"),
        (UNPIN, "event log", "last"),
        drill(UNPIN, "event log", "first"),
        drill(UNPIN, "event log", "middle"),
        drill(UNPIN, "ledger", "first"),
        drill(UNPIN, "ledger", "middle"),
        (RELEASE, "quarantine", "last"),
        drill(RELEASE, "raw file", "middle"),
        drill(RELEASE, "event log", "first"),
        drill(RELEASE, "event log", "middle"),
        drill(RELEASE, "event log", "last"),
        drill(RELEASE, "ledger", "middle"),
        drill(RELEASE, "quarantine", "first"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-4] + " " + value[-3],
)
def test_a_killed_command_is_completed_by_running_it_again(
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

    killed = scene.run(verb, CrashPoint("kill", kind, number))
    faults = list_faults(scene.orchard.home)
    again = scene.run(verb)

    assert (killed.code, faults) == (-signal.SIGKILL, [])
    assert (again.code, scene.outcome()) == (0, outcome), again.output

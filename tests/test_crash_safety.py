"""A run that is killed, interrupted or refused at any write point harms nothing.

Afterwards what is published is whole, no partial file bears a name that anybody reads, and the next
run ends with the same bytes as one that was never disturbed.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from crashing import Ended, Strike, Warm, warm
from orchard import DOMAIN, HOST, Files, Orchard, assemble, content_of, leftovers_of, offenders_of

pytestmark = pytest.mark.long

FIRST_DAY, SECOND_DAY = "2026-03-01T12:00:00", "2026-03-02T12:00:00"
KINDS = (
    "lock", "event log", "download", "raw file", "quarantine", "table", "rejects", "warehouse",
    "run directory", "manifest", "sums", "latest", "ledger",
)  # fmt: skip


@dataclass
class Scene:
    """A home that was published once; its remotes have moved on since, and one serves rubbish."""

    orchard: Orchard
    before: Path
    runner: Warm
    points: Counter[str]
    content: dict[str, str]

    def restore(self) -> None:
        """Everything as it was before the second run, in the same place."""
        shutil.rmtree(self.orchard.folder)
        shutil.copytree(self.before, self.orchard.folder, symlinks=True)

    def run(self, *more: str, strike: Strike | None = None) -> Ended:
        return self.runner.run(self.orchard.home.root, ["run", DOMAIN, *more], strike)

    def recover(self) -> Ended:
        """The next run, of the same logical time unless that one is published already."""
        manifest = json.loads((self.orchard.latest / "manifest.json").read_bytes())
        is_old = manifest["as_of"] < SECOND_DAY
        return self.run(*(["--as-of", SECOND_DAY] if is_old else []))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("crash")
    orchard = Orchard(folder / "live", project=assemble(folder / "project"))
    orchard.describe_itself()
    files = Files.planted()
    orchard.serve(files)
    with warm(folder) as runner:
        scene = Scene(orchard, folder / "before", runner, Counter(), {})
        assert scene.run("--as-of", FIRST_DAY).code == 0
        files.trees["T-90"] = "fig"
        files.harvests.update({("T-90", 2024): 7, ("T-90", 2025): -4})
        orchard.serve(files)
        (orchard.mirror / HOST / "notes.json").write_bytes(b"<html>Sign in</html>")
        shutil.copytree(orchard.folder, scene.before, symlinks=True)
        undisturbed = scene.run("--as-of", SECOND_DAY)
        assert undisturbed.code == 0, undisturbed.told
        scene.points = Counter(kind for kind, _, _ in undisturbed.points)
        scene.content = content_of(orchard.home)
        yield scene


def test_every_kind_of_write_is_known(scene: Scene) -> None:
    assert set(scene.points) == set(KINDS)


@pytest.mark.fault("killed")
@pytest.mark.parametrize("where", ["first", "middle", "last"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_harms_nothing(scene: Scene, kind: str, where: str) -> None:
    number = {"first": 1, "middle": scene.points[kind] // 2 + 1, "last": scene.points[kind]}[where]
    scene.restore()

    ended = scene.run("--as-of", SECOND_DAY, strike=Strike("kill", kind, number))
    offenders = offenders_of(scene.orchard.home)
    recovered = scene.recover()

    assert ended.code == -9
    assert not offenders
    assert (recovered.code, content_of(scene.orchard.home)) == (0, scene.content), recovered.told
    assert not leftovers_of(scene.orchard.home)
    assert not offenders_of(scene.orchard.home)

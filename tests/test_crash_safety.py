"""A run that is killed, interrupted or refused at any write point harms nothing.

Afterwards what is published is whole, no partial file bears a name that anybody reads, and the next
run ends with the same bytes as one that was never disturbed.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.crashes import Ended, Strike, Warm, warm
from support.orchard import (
    DOMAIN,
    HOST,
    Files,
    Orchard,
    assemble,
    content_of,
    leftovers_of,
    offenders_of,
)

from etl_assets.publish import run_directory

pytestmark = pytest.mark.long


def drilled(*values: str) -> list[Any]:
    """Cases that `make drill` adds to those of every build."""
    return [pytest.param(value, marks=pytest.mark.drill) for value in values]


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
    first: str
    runner: Warm
    points: Counter[str]
    content: dict[str, str]

    def restore(self) -> None:
        """Everything as it was before the second run, in the same place."""
        shutil.rmtree(self.orchard.folder)
        shutil.copytree(self.before, self.orchard.folder, symlinks=True)

    def run(self, *more: str, strike: Strike | None = None) -> Ended:
        return self.runner.run(self.orchard.home.root, ["run", DOMAIN, *more], strike)

    def struck(self, how: str, kind: str, where: str) -> Ended:
        """How the second run ends when that happens at one of its write points."""
        count = self.points[kind]
        self.restore()
        number = {"first": 1, "middle": count // 2 + 1, "last": count}[where]
        return self.run("--as-of", SECOND_DAY, strike=Strike(how, kind, number))

    def assert_unharmed(self) -> None:
        """What can be read is whole, and the next run ends as if nothing had happened.

        It has the same logical time, unless that one is published already.
        """
        assert not offenders_of(self.orchard.home)
        published = {self.first, self.orchard.latest.name}
        assert published == self.said_to_be_published(
            run_directory.list_runs(self.orchard.home, DOMAIN)
        )
        manifest = json.loads((self.orchard.latest / "manifest.json").read_bytes())
        is_old = manifest["as_of"] < SECOND_DAY
        recovered = self.run(*(["--as-of", SECOND_DAY] if is_old else []))
        assert (recovered.code, content_of(self.orchard.home)) == (0, self.content), recovered.told
        assert not leftovers_of(self.orchard.home)
        assert not offenders_of(self.orchard.home)
        published.add(self.orchard.latest.name)
        assert published == self.said_to_be_published(self.orchard.home.outputs(DOMAIN).glob("2*"))

    @staticmethod
    def said_to_be_published(directories: Iterable[Path]) -> set[str]:
        manifests = {path.name: path / "manifest.json" for path in directories}
        return {
            name
            for name, file in manifests.items()
            if file.exists() and json.loads(file.read_bytes())["published"]
        }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("crash")
    orchard = Orchard(folder / "live", project=assemble(folder / "project"))
    orchard.describe_itself()
    files = Files.planted()
    orchard.serve(files)
    with warm(folder) as runner:
        scene = Scene(orchard, folder / "before", "", runner, Counter(), {})
        assert scene.run("--as-of", FIRST_DAY).code == 0
        scene.first = orchard.latest.name
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
@pytest.mark.parametrize("where", ["middle", *drilled("first", "last")])
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_harms_nothing(scene: Scene, kind: str, where: str) -> None:
    ended = scene.struck("kill", kind, where)

    assert ended.code == -signal.SIGKILL
    scene.assert_unharmed()


@pytest.mark.fault("killed")
@pytest.mark.parametrize("kind", ["table", *drilled("event log", "run directory")])
@pytest.mark.parametrize(
    "how",
    [
        pytest.param("kill in the next write", id="the next"),
        pytest.param("kill beyond 100 kB", id="one of a large file"),
    ],
)
def test_a_run_killed_in_the_middle_of_a_write_harms_nothing(
    scene: Scene, kind: str, how: str
) -> None:
    ended = scene.struck(how, kind, "middle")

    assert ended.code == -signal.SIGXFSZ
    scene.assert_unharmed()


@pytest.mark.fault("disk-full")
@pytest.mark.parametrize("where", ["first", *drilled("last")])
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_told_and_harms_nothing(scene: Scene, kind: str, where: str) -> None:
    ended = scene.struck("fill", kind, where)

    assert ended.code == 0 or "No space left" in ended.told, ended.told
    assert ended.code in {0, 1}
    assert "Traceback" not in ended.told
    assert not leftovers_of(scene.orchard.home)
    scene.assert_unharmed()


@pytest.mark.fault("disk-full")
@pytest.mark.parametrize(
    "kind", ["table", *drilled("event log", "download", "warehouse", "run directory")]
)
@pytest.mark.parametrize(
    "how",
    [
        pytest.param("refuse beyond 20 kB", id="20 kB"),
        pytest.param("refuse beyond 100 kB", id="100 kB"),
    ],
)
def test_a_limit_on_file_sizes_is_told_and_harms_nothing(scene: Scene, kind: str, how: str) -> None:
    ended = scene.struck(how, kind, "middle")

    assert ended.code == 1
    assert "Traceback" not in ended.told
    scene.assert_unharmed()


@pytest.mark.fault("interrupted")
@pytest.mark.parametrize(
    "kind", ["table", "latest", *drilled("event log", "download", "warehouse")]
)
@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param("interrupt", 130, id="SIGINT"),
        pytest.param("terminate", 143, id="SIGTERM"),
    ],
)
def test_an_interrupted_run_says_how_to_go_on_and_harms_nothing(
    scene: Scene, kind: str, how: str, code: int
) -> None:
    ended = scene.struck(how, kind, "middle")

    assert (ended.code, ended.told.splitlines()[-1]) == (
        code,
        "etl: interrupted: finished work is kept; run the same command again to continue",
    )
    scene.assert_unharmed()


@pytest.mark.fault("read-only")
@pytest.mark.parametrize(
    "folder",
    [
        "outputs/orchard", "manifests", "data/raw", "data/partial", "data/tables/orchard/trees",
        "data/warehouse", "data/warehouse/orchard/inputs", "data/warehouse/orchard/target",
        "data", ".dagster", ".dagster/history/runs",
    ],
)  # fmt: skip
def test_a_read_only_directory_is_told_and_harms_nothing(scene: Scene, folder: str) -> None:
    scene.restore()
    directory = scene.orchard.home.root / folder
    directory.chmod(0o555)

    ended = scene.run("--as-of", SECOND_DAY)
    directory.chmod(0o755)

    assert ended.code in {0, 1}, ended.told
    assert "Traceback" not in ended.told
    told = any(text in ended.told for text in ("Permission denied", "readonly database"))
    assert ended.code == 0 or told, ended.told
    scene.assert_unharmed()


@pytest.mark.parametrize(
    ("kind", "stage"),
    [("table", "validated"), ("warehouse", "marts"), ("latest", "publish")],
    ids=["table", "warehouse", "latest"],
)
def test_a_killed_run_goes_on_from_the_stage_that_it_had_come_to(
    scene: Scene, kind: str, stage: str
) -> None:
    scene.struck("kill", kind, "middle")

    resumed = scene.run("--from", stage, "--as-of", SECOND_DAY)

    assert resumed.code == 0, resumed.told
    assert content_of(scene.orchard.home) == scene.content


@pytest.mark.parametrize("kind", ["table", "event log", "manifest"])
def test_a_killed_run_of_one_stage_harms_nothing(scene: Scene, kind: str) -> None:
    scene.restore()
    for stage in ("raw", "validated"):
        assert scene.run("--stage", stage, "--as-of", SECOND_DAY).code == 0

    ended = scene.run("--stage", "table", "--as-of", SECOND_DAY, strike=Strike("kill", kind, 1))

    assert ended.code == -signal.SIGKILL
    scene.assert_unharmed()

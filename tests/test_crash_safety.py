"""A run that is killed, interrupted or refused at any write point does no damage.

Afterwards the published set is complete, no partial file has the name of a complete one, and the
next run produces the same bytes as an undisturbed one.
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
from support.crashes import CommandResult, CrashPoint, WarmProcess, start_warm_process
from support.orchard import (
    DOMAIN,
    HOST,
    Files,
    Orchard,
    create_project,
    digest_content,
    list_faults,
    list_temporary_files,
)

from etl_assets.publish import run_directory

pytestmark = pytest.mark.long


def drill(*values: str) -> list[Any]:
    """Return cases that only `make drill` runs."""
    return [pytest.param(value, marks=pytest.mark.drill) for value in values]


FIRST_DAY, SECOND_DAY = "2026-03-01T12:00:00", "2026-03-02T12:00:00"
KINDS = (
    "lock", "event log", "download", "raw file", "quarantine", "table", "rejects", "warehouse",
    "run directory", "manifest", "sums", "latest", "ledger",
)  # fmt: skip


@dataclass
class Scene:
    """A home with one published run, whose remotes have changed since; one serves a login page."""

    orchard: Orchard
    before: Path
    first: str
    runner: WarmProcess
    points: Counter[str]
    content: dict[str, str]

    def restore(self) -> None:
        """Reset the folder to its state before the second run."""
        shutil.rmtree(self.orchard.folder)
        shutil.copytree(self.before, self.orchard.folder, symlinks=True)

    def run(self, *options: str, crash_point: CrashPoint | None = None) -> CommandResult:
        return self.runner.run(self.orchard.home.root, ["run", DOMAIN, *options], crash_point)

    def crash_second_run(self, how: str, kind: str, where: str) -> CommandResult:
        """Run for the second time, with an action at the first, middle or last write of a kind."""
        count = self.points[kind]
        self.restore()
        number = {"first": 1, "middle": count // 2 + 1, "last": count}[where]
        return self.run("--as-of", SECOND_DAY, crash_point=CrashPoint(how, kind, number))

    def assert_undamaged(self) -> None:
        """Assert that readable files are complete, and that the next run publishes as usual.

        The next run has the same logical time, unless that one is published already.
        """
        assert not list_faults(self.orchard.home)
        published = {self.first, self.orchard.latest.name}
        assert published == self.published_by_manifest(
            run_directory.list_runs(self.orchard.home, DOMAIN)
        )
        manifest = json.loads((self.orchard.latest / "manifest.json").read_bytes())
        is_old = manifest["as_of"] < SECOND_DAY
        recovered = self.run(*(["--as-of", SECOND_DAY] if is_old else []))
        assert (recovered.code, digest_content(self.orchard.home)) == (0, self.content), (
            recovered.output
        )
        assert not list_temporary_files(self.orchard.home)
        assert not list_faults(self.orchard.home)
        published.add(self.orchard.latest.name)
        assert published == self.published_by_manifest(self.orchard.home.outputs(DOMAIN).glob("2*"))

    @staticmethod
    def published_by_manifest(directories: Iterable[Path]) -> set[str]:
        manifests = {path.name: path / "manifest.json" for path in directories}
        return {
            name
            for name, file in manifests.items()
            if file.exists() and json.loads(file.read_bytes())["published"]
        }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("crash")
    orchard = Orchard(folder / "live", project=create_project(folder / "project"))
    orchard.write_env_file()
    files = Files.create()
    orchard.serve(files)
    with start_warm_process(folder) as runner:
        scene = Scene(orchard, folder / "before", "", runner, Counter(), {})
        assert scene.run("--as-of", FIRST_DAY).code == 0
        scene.first = orchard.latest.name
        files.trees["T-90"] = "fig"
        files.harvests.update({("T-90", 2024): 7, ("T-90", 2025): -4})
        orchard.serve(files)
        (orchard.mirror / HOST / "notes.json").write_bytes(b"<html>Sign in</html>")
        shutil.copytree(orchard.folder, scene.before, symlinks=True)
        undisturbed = scene.run("--as-of", SECOND_DAY)
        assert undisturbed.code == 0, undisturbed.output
        scene.points = Counter(kind for kind, _, _ in undisturbed.points)
        scene.content = digest_content(orchard.home)
        yield scene


def test_every_kind_of_write_point_occurs(scene: Scene) -> None:
    assert set(scene.points) == set(KINDS)


@pytest.mark.fault("killed")
@pytest.mark.parametrize("where", ["middle", *drill("first", "last")])
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_does_no_damage(scene: Scene, kind: str, where: str) -> None:
    result = scene.crash_second_run("kill", kind, where)

    assert result.code == -signal.SIGKILL
    scene.assert_undamaged()


@pytest.mark.fault("killed")
@pytest.mark.parametrize("kind", ["table", *drill("event log", "run directory")])
@pytest.mark.parametrize(
    "how",
    [
        pytest.param("kill in the next write", id="the next"),
        pytest.param("kill beyond 100 kB", id="one of a large file"),
    ],
)
def test_a_run_killed_in_the_middle_of_a_write_does_no_damage(
    scene: Scene, kind: str, how: str
) -> None:
    result = scene.crash_second_run(how, kind, "middle")

    assert result.code == -signal.SIGXFSZ
    scene.assert_undamaged()


@pytest.mark.fault("disk-full")
@pytest.mark.parametrize("where", ["first", *drill("last")])
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_reported_and_does_no_damage(scene: Scene, kind: str, where: str) -> None:
    result = scene.crash_second_run("fill", kind, where)

    assert result.code == 0 or "No space left" in result.output, result.output
    assert result.code in {0, 1}
    assert "Traceback" not in result.output
    assert not list_temporary_files(scene.orchard.home)
    scene.assert_undamaged()


@pytest.mark.fault("disk-full")
@pytest.mark.parametrize(
    "kind", ["table", *drill("event log", "download", "warehouse", "run directory")]
)
@pytest.mark.parametrize(
    "how",
    [
        pytest.param("refuse beyond 20 kB", id="20 kB"),
        pytest.param("refuse beyond 100 kB", id="100 kB"),
    ],
)
def test_a_limit_on_file_sizes_is_reported_and_does_no_damage(
    scene: Scene, kind: str, how: str
) -> None:
    result = scene.crash_second_run(how, kind, "middle")

    assert result.code == 1
    assert "Traceback" not in result.output
    scene.assert_undamaged()


@pytest.mark.fault("interrupted")
@pytest.mark.parametrize("kind", ["table", "latest", *drill("event log", "download", "warehouse")])
@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param("interrupt", 130, id="SIGINT"),
        pytest.param("terminate", 143, id="SIGTERM"),
    ],
)
def test_an_interrupted_run_reports_how_to_continue_and_does_no_damage(
    scene: Scene, kind: str, how: str, code: int
) -> None:
    result = scene.crash_second_run(how, kind, "middle")

    assert (result.code, result.output.splitlines()[-1]) == (
        code,
        "etl: interrupted: finished work is kept; run the same command again to continue",
    )
    scene.assert_undamaged()


@pytest.mark.fault("read-only")
@pytest.mark.parametrize(
    "folder",
    [
        "outputs/orchard", "manifests", "data/raw", "data/partial", "data/tables/orchard/trees",
        "data/warehouse", "data/warehouse/orchard/inputs", "data/warehouse/orchard/target",
        "data", ".dagster", ".dagster/history/runs",
    ],
)  # fmt: skip
def test_a_read_only_directory_is_reported_and_does_no_damage(scene: Scene, folder: str) -> None:
    scene.restore()
    directory = scene.orchard.home.root / folder
    directory.chmod(0o555)

    result = scene.run("--as-of", SECOND_DAY)
    directory.chmod(0o755)

    assert result.code in {0, 1}, result.output
    assert "Traceback" not in result.output
    is_reported = any(text in result.output for text in ("Permission denied", "readonly database"))
    assert result.code == 0 or is_reported, result.output
    scene.assert_undamaged()


@pytest.mark.parametrize(
    ("kind", "stage"),
    [("table", "validated"), ("warehouse", "marts"), ("latest", "publish")],
    ids=["table", "warehouse", "latest"],
)
def test_a_killed_run_can_continue_from_the_stage_that_it_reached(
    scene: Scene, kind: str, stage: str
) -> None:
    scene.crash_second_run("kill", kind, "middle")

    resumed = scene.run("--from", stage, "--as-of", SECOND_DAY)

    assert resumed.code == 0, resumed.output
    assert digest_content(scene.orchard.home) == scene.content


@pytest.mark.parametrize("kind", ["table", "event log", "manifest"])
def test_a_killed_run_of_one_stage_does_no_damage(scene: Scene, kind: str) -> None:
    scene.restore()
    for stage in ("raw", "validated"):
        assert scene.run("--stage", stage, "--as-of", SECOND_DAY).code == 0

    result = scene.run(
        "--stage", "table", "--as-of", SECOND_DAY, crash_point=CrashPoint("kill", kind, 1)
    )

    assert result.code == -signal.SIGKILL
    scene.assert_undamaged()

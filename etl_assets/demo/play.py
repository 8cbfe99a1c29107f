"""Playing a domain's demo: its samples behind a local HTTP server, in a home of its own.

What the steps are, `samples/<domain>/demo.yaml` says; playing them one by one is `demo.scenes`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import load
from etl_assets.declarations.source import Files
from etl_assets.demo import samples
from etl_assets.demo import scenes as demo_scenes
from etl_assets.demo.script import DEMO_FILE, Demo, Edit, Scene
from etl_assets.demo.server import serving
from etl_assets.model.errors import BuildError, UsageError
from etl_assets.model.run_manifest import MARTS
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import Launcher
from etl_assets.publish.run_directory import published_directory
from etl_assets.settings import Settings


def play(settings: Settings, name: str | None, *, say: Callable[[str], None]) -> list[Scene]:
    """Play the demo of a domain and hand each scene to `say`; everything it wrote goes away."""
    domain = _chosen(settings, name)
    with tempfile.TemporaryDirectory(prefix="etl-demo-") as folder:
        stage = _Stage(settings, domain, Path(folder), say)
        if any(isinstance(source.partitions, Files) for source in domain.sources.values()):
            return stage.play(str(stage.mirror))  # a folder is looked into, which no server offers
        with serving(stage.mirror) as server:
            return stage.play(server.url)


class _Stage:
    """A copy of the samples, the mirror packed from it, and a home."""

    def __init__(
        self, settings: Settings, domain: Domain, folder: Path, say: Callable[[str], None]
    ) -> None:
        self.mirror = folder / "mirror"
        self._settings, self._domain, self._say = settings, domain, say
        self._samples, self._home = folder / "samples", folder / "home"
        shutil.copytree(settings.samples_dir / domain.name, self._samples)
        self._script = samples.read_demo(self._samples)
        self._dbt = folder / "dbt_project"
        self._pack()

    def play(self, mirror: str) -> list[Scene]:
        there = self._settings.model_copy(
            update={
                "home": self._home,
                "dagster_home": self._home / ".dagster",
                "mirror": mirror,
                "notify": None,
                "dbt_dir": self._lay_seeds(),
            }
        )
        self._say(
            f"{self._script.title}\n\n{self._domain.title}, served from its samples at {mirror}"
        )
        scenes = []
        with Launcher.open(there, {self._domain.name: self._domain}, say=_unheard) as launcher:
            for scene in demo_scenes.play(
                self._script, change=self._change, run=lambda: self._run(launcher)
            ):
                self._say(_drawn(self._script, scene))
                scenes.append(scene)
        return scenes

    def _change(self, edits: Sequence[Edit]) -> None:
        demo_scenes.change_sample(edits, self._samples)
        self._pack()
        self._lay_seeds()

    def _lay_seeds(self) -> Path:
        real = self._settings.dbt_dir
        return samples.lay_seeds(self._samples, real, self._domain.name, self._dbt)

    def _pack(self) -> None:
        samples.pack(self._samples, self.mirror, self._domain, at=datetime.now(UTC))

    def _run(self, launcher: Launcher) -> Path:
        manifest = launcher.run(self._domain.name, RunOptions())
        made = sum(asset.outcome == "made" for asset in manifest.assets)
        self._say(
            f"run: {manifest.status} in {manifest.seconds:.1f} s, {made} assets made, "
            f"{len(manifest.assets) - made} reused"
        )
        latest = published_directory(launcher.place.home, self._domain.name)
        if latest is None or not manifest.published:
            raise BuildError(f"the demo's run did not publish: {manifest.note}")
        return latest / MARTS


def _chosen(settings: Settings, name: str | None) -> Domain:
    domains = load(settings.domains_dir)
    playable = [d for d in sorted(domains) if (settings.samples_dir / d / DEMO_FILE).exists()]
    wanted = name or next(iter(playable), None)
    if wanted not in playable:
        raise UsageError(f"no demo of {wanted!r}; there are demos of: {', '.join(playable)}")
    return domains[wanted]


def _drawn(script: Demo, scene: Scene) -> str:
    """The scene as a table of what changed, before and after."""
    lines = [f"\n{scene.number}. {scene.say}"]
    width = max((len(change.key) for change in scene.changes), default=0)
    for change in scene.changes:
        before, after = _shown(change.before), _shown(change.after)
        arrow = f"{before}  ->  {after}" if change.before else after
        lines.append(f"   {change.key:{width}}  {arrow}")
    lines.append(f"   {scene.unchanged} of {scene.rows} rows of {script.show.model} unchanged")
    return "\n".join(lines)


def _shown(row: tuple[str | None, ...] | None) -> str:
    return "(gone)" if row is None else ", ".join(value for value in row if value is not None)


def _unheard(_: str) -> None:
    """The demo tells its own story."""

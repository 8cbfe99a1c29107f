"""Plays the demo of a domain: serves its samples, changes them step by step, and shows the effect.

The steps are declared in `samples/<domain>/demo.yaml`, whose model is `script`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import load_each
from etl_assets.declarations.source import Files
from etl_assets.defs.context import DomainSession
from etl_assets.defs.launch import open_project
from etl_assets.demo import samples
from etl_assets.demo.script import DEMO_FILE, Change, Demo, Edit, Scene, Show, Step
from etl_assets.demo.server import serving
from etl_assets.model.errors import BuildError, Problem, UsageError
from etl_assets.model.run_manifest import MARTS
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import run_domain
from etl_assets.settings import Settings
from etl_assets.storage.duckdb_connection import connect

Rows = dict[str, tuple[str | None, ...]]


def play(settings: Settings, name: str | None, *, say: Callable[[str], None]) -> list[Scene]:
    """Plays the demo of a domain, prints each scene with `say`, and returns the scenes.

    Everything that the demo writes is in a temporary folder, which is removed.
    """
    domain = _find_demo(settings, name)
    with tempfile.TemporaryDirectory(prefix="etl-demo-") as folder:
        demo_home = _DemoHome(settings, domain, Path(folder), say)
        # The server does not list folders, so a domain with sets of files reads from the folder.
        if any(isinstance(source.partitions, Files) for source in domain.sources.values()):
            return demo_home.play(str(demo_home.mirror))
        with serving(demo_home.mirror) as server:
            return demo_home.play(server.url)


def play_steps(
    demo: Demo,
    *,
    change: Callable[[Sequence[Edit]], None],
    run: Callable[[], Path],
) -> Iterator[Scene]:
    """Applies each step and yields its scene; `run` returns the directory of the published marts.

    Raises BuildError if a row does not have the values that the step expects.
    """
    before: Rows = {}
    for number, step in enumerate(demo.steps, start=1):
        change(step.edits)
        after = read_rows(demo.show, run())
        if problems := list(_unexpected_values(demo.show, step, after)):
            raise BuildError("\n".join([f"step {number} of the demo:", *map(str, problems)]))
        yield _compare(number, step, demo.show, before, after)
        before = after


def read_rows(show: Show, marts: Path) -> Rows:
    """Returns the rows of the shown model by key, with all values as text."""
    path = marts / f"{show.model}.parquet"
    columns = ", ".join(f'"{name}"::varchar' for name in (show.key, *show.columns))
    try:
        with connect() as connection:
            rows = connection.read_parquet(path.as_posix()).project(columns).fetchall()
    except duckdb.Error as error:
        raise BuildError(f"{path}: the demo cannot show it: {error}") from error
    return {row[0]: tuple(row[1:]) for row in sorted(rows)}


class _DemoHome:
    """A copy of the samples, the mirror built from it, and a temporary home."""

    def __init__(
        self, settings: Settings, domain: Domain, folder: Path, say: Callable[[str], None]
    ) -> None:
        self.mirror = folder / "mirror"
        self._settings, self._domain, self._say = settings, domain, say
        self._samples, self._home = folder / "samples", folder / "home"
        self._dbt_copy = folder / "dbt_project"
        shutil.copytree(settings.samples_dir / domain.name, self._samples)
        self._demo = samples.read_demo(self._samples)
        self._pack()

    def play(self, mirror: str) -> list[Scene]:
        settings = samples.sample_settings(
            self._settings, home=self._home, mirror=mirror, dbt_dir=self._overlay_seeds()
        )
        self._say(f"{self._demo.title}\n\n{self._domain.title}, with samples from {mirror}")
        scenes = []
        domains = {self._domain.name: self._domain}
        # The log lines of the runs are not printed: the scenes show what happened.
        with open_project(settings, domains, echo=lambda _: None) as project_session:
            session = project_session.for_domain(self._domain.name)
            steps = play_steps(self._demo, change=self._change, run=lambda: self._run(session))
            for scene in steps:
                self._say(_format_scene(self._demo, scene))
                scenes.append(scene)
        return scenes

    def _change(self, edits: Sequence[Edit]) -> None:
        for edit in edits:
            samples.apply_edit(edit, self._samples)
        self._pack()
        self._overlay_seeds()

    def _overlay_seeds(self) -> Path:
        return samples.overlay_seeds(
            self._samples, self._settings.dbt_dir, self._domain.name, self._dbt_copy
        )

    def _pack(self) -> None:
        samples.pack(self._samples, self.mirror, self._domain, at=datetime.now(UTC))

    def _run(self, session: DomainSession) -> Path:
        manifest = run_domain(session, RunOptions())
        made = sum(asset.outcome == "made" for asset in manifest.assets)
        self._say(
            f"run: {manifest.status} in {manifest.seconds:.1f} s, {made} assets made, "
            f"{len(manifest.assets) - made} reused"
        )
        latest = session.published_directory()
        if latest is None or not (manifest.published or manifest.is_unchanged):
            raise BuildError(f"the run of the demo did not publish: {manifest.note}")
        return latest / MARTS


def _find_demo(settings: Settings, name: str | None) -> Domain:
    declarations = load_each(settings.domains_dir, settings.overrides)
    if broken := declarations.broken.get(name or ""):
        raise broken.error
    domains = declarations.domains
    playable = [d for d in sorted(domains) if (settings.samples_dir / d / DEMO_FILE).exists()]
    if name is None and playable:
        name = playable[0]
    if name not in playable:
        raise UsageError(f"no demo of {name!r}; there are demos of: {', '.join(playable)}")
    return domains[name]


def _unexpected_values(show: Show, step: Step, rows: Rows) -> Iterator[Problem]:
    for key, expected in step.expect.items():
        actual = dict(zip(show.columns, rows.get(key, ()), strict=False))
        for column, value in expected.items():
            if actual.get(column) != value:
                yield Problem(f"{key}: {column}", repr(value), repr(actual.get(column)))


def _compare(number: int, step: Step, show: Show, before: Rows, after: Rows) -> Scene:
    keys = sorted(before.keys() | after.keys())
    changes = [
        Change(key=key, before=before.get(key), after=after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
    ]
    return Scene(
        number=number,
        say=step.say,
        columns=show.columns,
        changes=changes,
        unchanged=len(keys) - len(changes),
        rows=len(after),
    )


def _format_scene(demo: Demo, scene: Scene) -> str:
    """Returns the text of the scene and a table of the changed rows, before and after."""
    lines = [f"\n{scene.number}. {scene.say}"]
    width = max((len(change.key) for change in scene.changes), default=0)
    for change in scene.changes:
        before, after = _format_row(change.before), _format_row(change.after)
        arrow = f"{before}  ->  {after}" if change.before else after
        lines.append(f"   {change.key:{width}}  {arrow}")
    lines.append(f"   {scene.unchanged} of {scene.rows} rows of {demo.show.model} unchanged")
    return "\n".join(lines)


def _format_row(row: tuple[str | None, ...] | None) -> str:
    return "(gone)" if row is None else ", ".join(value for value in row if value is not None)

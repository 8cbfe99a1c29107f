"""Plays the demo of a domain: serves its samples, changes them step by step, and shows the effect.

The steps are declared in `samples/<domain>/demo.yaml`, whose model is `script`.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import duckdb

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import load_each
from etl_assets.declarations.source import Files
from etl_assets.defs.context import DomainSession
from etl_assets.defs.launch import open_project
from etl_assets.demo import samples
from etl_assets.demo.script import DEMO_FILE, Change, Demo, Edit, Scene, Show, Step
from etl_assets.demo.server import serving
from etl_assets.fetch.locations import SAMPLES_FILE, is_sample_mirror
from etl_assets.model.display_text import MAX_NAMES
from etl_assets.model.errors import BuildError, Problem, UsageError
from etl_assets.model.home import Home
from etl_assets.model.records import Part
from etl_assets.model.run_log import Kind, as_line
from etl_assets.model.run_manifest import MARTS
from etl_assets.model.run_options import RunOptions, Stage
from etl_assets.operations.explain import Explanation, explain
from etl_assets.operations.run import run_domain
from etl_assets.settings import Settings
from etl_assets.storage.atomic_write import write_text
from etl_assets.storage.duckdb_connection import connect

Rows = dict[str, tuple[str | None, ...]]

DEFAULT_FOLDER = Path("etl-demo")  # in the current directory
MARKER = ".etl-demo"
MAX_HISTORIES = 2
REAL_HOME = "ETL_HOME=~/etl-home"
SAMPLES_TEXT = "These are samples: small invented files, and not what the hosts publish.\n"
STAGE_TITLES = {
    Stage.RAW: "fetching files",
    Stage.VALIDATED: "checking files",
    Stage.TABLE: "reading tables",
    Stage.MARTS: "building models",
    Stage.PUBLISH: "writing, checking and publishing documents",
}


class Progress(Protocol):
    """Shows what a run does; the command's display is one."""

    def print_line(self, text: str) -> None: ...

    def update(self, part: Part, received_bytes: int, total_bytes: int | None) -> None: ...

    def advance(self, what: str, done: int, total: int) -> None: ...


def play(
    settings: Settings,
    name: str | None,
    *,
    say: Callable[[str], None],
    show: Progress,
    keep: Path | None = None,
) -> list[Scene]:
    """Plays the demo of a domain, prints each scene with `say`, and returns the scenes.

    `show` shows the progress of its runs. Everything that the demo writes is in `keep`, by default
    a folder below DEFAULT_FOLDER. It stays, until the next demo replaces it.
    """
    domain = find_demo(settings, name)
    folder = _prepare_folder((keep or DEFAULT_FOLDER / domain.name).absolute())
    demo_home = _DemoHome(settings, domain, folder, say, show)
    # The server does not list folders, so a domain with sets of files reads from the folder.
    if any(isinstance(source.partitions, Files) for source in domain.sources.values()):
        scenes = demo_home.play(str(demo_home.mirror))
    else:
        with serving(demo_home.mirror) as server:
            scenes = demo_home.play(server.url)
    say(demo_home.next_steps(scenes))
    return scenes


def pack_mirror(settings: Settings, name: str | None, mirror: Path) -> list[str]:
    """Packs the samples of a domain as a mirror, and returns the settings that a run needs.

    Raises UsageError if the folder has files that are no samples.
    """
    domain = find_demo(settings, name)
    mirror = mirror.absolute()
    if mirror.exists() and any(mirror.iterdir()) and not is_sample_mirror(str(mirror)):
        raise UsageError(f"--mirror: expected an empty folder or one of samples, found {mirror}")
    source = settings.samples_dir / domain.name
    samples.pack(source, mirror, domain, at=datetime.now(UTC))
    write_text(mirror / SAMPLES_FILE, SAMPLES_TEXT)
    lines = [f"ETL_MIRROR={shlex.quote(str(mirror))}"]
    dbt_dir = samples.overlay_seeds(source, settings.dbt_dir, domain.name, mirror / "dbt_project")
    if dbt_dir != settings.dbt_dir:
        lines.append(f"ETL_DBT_DIR={shlex.quote(str(dbt_dir))}")
    return lines


def _prepare_folder(folder: Path) -> Path:
    """Returns an empty folder for a demo; that of an earlier demo is replaced."""
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise UsageError(f"--keep: expected an empty folder or one of a demo, found {folder}")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / MARKER, "A demo replaces this folder.\n")
    return folder


def play_steps(
    demo: Demo,
    *,
    change: Callable[[Sequence[Edit]], None],
    run: Callable[[], Path],
    announce: Callable[[int, Step], None] = lambda *_: None,
) -> Iterator[Scene]:
    """Applies each step and yields its scene; `run` returns the directory of the published marts.

    `announce` is called before each step, with its number.

    Raises BuildError if a row does not have the values that the step expects.
    """
    before: Rows = {}
    for number, step in enumerate(demo.steps, start=1):
        announce(number, step)
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
    """A copy of the samples, the mirror built from it, and the home of the demo."""

    def __init__(
        self,
        settings: Settings,
        domain: Domain,
        folder: Path,
        say: Callable[[str], None],
        show: Progress,
    ) -> None:
        self.mirror = folder / "mirror"
        self._settings, self._domain, self._say, self._show = settings, domain, say, show
        self._folder = folder
        self._samples, self._home = folder / "samples", folder / "home"
        self._dbt_copy = folder / "dbt_project"
        shutil.copytree(settings.samples_dir / domain.name, self._samples)
        self._demo = samples.read_demo(self._samples)
        self._pack()
        write_text(self.mirror / SAMPLES_FILE, SAMPLES_TEXT)

    def play(self, mirror: str) -> list[Scene]:
        settings = samples.sample_settings(
            self._settings, home=self._home, mirror=mirror, dbt_dir=self._overlay_seeds()
        )
        self._write_settings(settings)
        self._say(
            f"{self._demo.title}\n{self._domain.title}, on samples: small invented files in the "
            f"form of the real feeds.\nEverything is written to {self._folder}"
        )
        scenes: list[Scene] = []
        with open_project(
            settings,
            {self._domain.name: self._domain},
            echo=self._echo,
            progress=self._show.update,
            advance=self._show.advance,
        ) as project_session:
            session = project_session.for_domain(self._domain.name)
            steps = play_steps(
                self._demo,
                change=self._change,
                run=lambda: self._run(session),
                announce=lambda number, step: self._say(f"\n{number}. {step.say}"),
            )
            for scene in steps:
                step = self._demo.steps[scene.number - 1]
                self._say(_format_scene(self._demo, scene, list(step.expect)))
                scenes.append(scene)
        for line in self._histories(scenes):
            self._say(line)
        return scenes

    def next_steps(self, scenes: Sequence[Scene]) -> str:
        """Returns what the operator can do with the home of the demo, and after it."""
        etl, name = _program(), self._domain.name
        home = f"ETL_HOME={shlex.quote(str(self._home))}"
        latest = self._home / "outputs" / name / "latest"
        rows = [("open the report", (latest / "run_report.html").as_uri())]
        if site := next(iter(sorted(latest.glob("*/index.html"))), None):
            rows.append(("open the site", site.as_uri()))
        if self._domain.explain:
            key = (_changed_keys(scenes[1:]) or _changed_keys(scenes))[-1]
            rows.append(("explain a row", f"{home} {etl} explain {name} {shlex.quote(key)}"))
        rows += [
            ("see the state", f"{home} {etl} status {name}"),
            ("see Dagster's pages", f"{home} {etl} ui"),
            *self._own_files(),
            ("run on the real feeds", f"{REAL_HOME} {etl} run {name}"),
        ]
        width = max(len(title) for title, _ in rows)
        return "\n".join(
            ["\nWhat to do next", *(f"  {title:{width}}  {what}" for title, what in rows)]
        )

    def _own_files(self) -> Iterator[tuple[str, str]]:
        """Yields a title and what to do, if the domain requires files in its own home."""
        folders = {
            Path(source.location.path).parts[0]
            for source in self._domain.sources.values()
            if source.location.path and source.required and source.location.url is None
        }
        for folder in sorted(folders):
            sample = self._settings.samples_dir / self._domain.name / folder
            yield (
                "first, your own files",
                f"in ~/etl-home/{folder}, in the form of {sample}, whose content is invented",
            )

    def _echo(self, text: str) -> None:
        """Shows the stages of a run; what its files contain is in the scenes."""
        line = as_line(text)
        stage = line.fields.get("stage")
        if line.kind is Kind.START and stage:
            self._show.print_line(f"   {STAGE_TITLES[Stage(str(stage))]} ...")

    def _histories(self, scenes: Sequence[Scene]) -> Iterator[str]:
        """Yields the history of the rows that the later steps changed."""
        if self._domain.explain is None or self._domain.explain.history is None:
            return
        for key in _changed_keys(scenes[1:])[:MAX_HISTORIES]:
            explanation = explain(Home(self._home), self._domain, [key])
            if isinstance(explanation, Explanation):
                lines = [f"   {line}" for line in explanation.history_lines()]
                yield "\n".join([f"\nThe history of {key}", *lines])

    def _write_settings(self, settings: Settings) -> None:
        """Lets later commands on the home use the mirror of the demo."""
        lines = [f"ETL_MIRROR='{self.mirror}'"]
        if settings.dbt_dir != self._settings.dbt_dir:
            lines.append(f"ETL_DBT_DIR='{settings.dbt_dir}'")
        self._home.mkdir(exist_ok=True)
        write_text(self._home / ".env", "\n".join(lines) + "\n")

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
            f"   run: {manifest.status} in {manifest.seconds:.1f} s, {made} assets made, "
            f"{len(manifest.assets) - made} reused"
        )
        latest = session.published_directory()
        if latest is None or not (manifest.published or manifest.is_unchanged):
            raise BuildError(f"the run of the demo did not publish: {manifest.note}")
        return latest / MARTS


def find_demo(settings: Settings, name: str | None) -> Domain:
    """Returns a domain that has a demo, the first one if `name` is None."""
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


def _program() -> str:
    """Returns how to call the command: by its path if its environment is not activated."""
    if shutil.which("etl"):
        return "etl"
    path = Path(sys.executable).parent / "etl"
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _changed_keys(scenes: Sequence[Scene]) -> list[str]:
    """Returns the keys of the rows that changed and are still there, in the order of the scenes."""
    keys = [change.key for scene in scenes for change in scene.changes if change.after]
    return list(dict.fromkeys(keys))


def _format_scene(demo: Demo, scene: Scene, expected: Sequence[str]) -> str:
    """Returns the changed rows, before and after: those that the step is about, then others."""
    by_key = {change.key: change for change in scene.changes}
    shown = [by_key[key] for key in expected if key in by_key]
    others = [change for change in scene.changes if change not in shown]
    shown = (shown + others)[:MAX_NAMES]
    lines = []
    width = max((len(change.key) for change in shown), default=0)
    for change in shown:
        before, after = _format_row(change.before), _format_row(change.after)
        arrow = f"{before}  ->  {after}" if change.before else after
        lines.append(f"   {change.key:{width}}  {arrow}")
    if more := len(scene.changes) - len(shown):
        lines.append(f"   and {more} more")
    if scene.unchanged:
        lines.append(f"   {scene.unchanged} of {scene.rows} rows of {demo.show.model} unchanged")
    return "\n".join(lines)


def _format_row(row: tuple[str | None, ...] | None) -> str:
    return "(gone)" if row is None else ", ".join(value for value in row if value is not None)

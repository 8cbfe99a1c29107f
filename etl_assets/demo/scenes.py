"""Plays a demo: change the sample, run, and say what each row was before and is after.

How a run is launched, what serves the sample and how a scene is drawn is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb

from etl_assets.demo import samples
from etl_assets.demo.script import Change, Demo, Edit, Scene, Show, Step
from etl_assets.model.errors import BuildError, Problem

Rows = dict[str, tuple[str | None, ...]]


def play(
    demo: Demo,
    *,
    change: Callable[[Sequence[Edit]], None],
    run: Callable[[], Path],
) -> Iterator[Scene]:
    """Each step in turn; `run` launches a run and returns the directory of the published marts.

    Raises BuildError where a run does not show what the step expects.
    """
    before: Rows = {}
    for number, step in enumerate(demo.steps, start=1):
        change(step.edits)
        after = rows_of(demo.show, run())
        if wrong := list(_unexpected(demo.show, step, after)):
            raise BuildError("\n".join([f"step {number} of the demo:", *map(str, wrong)]))
        yield _scene(number, step, demo.show, before, after)
        before = after


def change_sample(edits: Sequence[Edit], directory: Path) -> None:
    """Apply a step's edits to a copy of the sample."""
    for edit in edits:
        samples.apply(edit, directory)


def rows_of(show: Show, marts: Path) -> Rows:
    """The shown model's rows by key, every value as text."""
    path = marts / f"{show.model}.parquet"
    names = ", ".join(f'"{name}"::varchar' for name in (show.key, *show.columns))
    try:
        with duckdb.connect() as connection:
            found = connection.read_parquet(path.as_posix()).project(names).fetchall()
    except duckdb.Error as error:
        raise BuildError(f"{path}: the demo cannot show it: {error}") from error
    return {row[0]: tuple(row[1:]) for row in sorted(found)}


def _unexpected(show: Show, step: Step, after: Rows) -> Iterator[Problem]:
    for key, expected in step.expect.items():
        found = dict(zip(show.columns, after.get(key, ()), strict=False))
        for column, value in expected.items():
            if found.get(column) != value:
                yield Problem(f"{key}: {column}", repr(value), repr(found.get(column)))


def _scene(number: int, step: Step, show: Show, before: Rows, after: Rows) -> Scene:
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

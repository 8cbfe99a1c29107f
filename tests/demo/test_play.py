"""A demo is played step by step, and fails if a run does not publish the expected values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.demo.play import play_steps, read_rows
from etl_assets.demo.script import Demo, Edit
from etl_assets.model.errors import BuildError


class Garden:
    """A stand-in for the pipeline: an edit names the tree to fell, a run writes the mart."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.trees = {"ash": "alive", "elm": "alive"}

    def change(self, edits: Sequence[Edit]) -> None:
        self.trees |= {edit.file: "felled" for edit in edits}

    def run(self) -> Path:
        columns = {"tree": list(self.trees), "state": list(self.trees.values())}
        pq.write_table(pa.table(columns), self.directory / "mart_trees.parquet")
        return self.directory


def a_demo(**second_step: object) -> Demo:
    show = {"from": "mart_trees", "key": "tree", "columns": ["state"]}
    felling = {"say": "The elm is felled.", "edits": [{"file": "elm", "content": ""}]}
    steps = [{"say": "All trees."}, felling | second_step]
    return Demo.model_validate({"title": "Trees", "show": show, "steps": steps})


@pytest.fixture
def garden(tmp_path: Path) -> Garden:
    return Garden(tmp_path)


def test_each_step_shows_what_changed(garden: Garden) -> None:
    first, second = play_steps(a_demo(), change=garden.change, run=garden.run)

    assert [(c.key, c.before, c.after) for c in first.changes] == [
        ("ash", None, ("alive",)),
        ("elm", None, ("alive",)),
    ]
    assert [(c.key, c.before, c.after) for c in second.changes] == [
        ("elm", ("alive",), ("felled",))
    ]
    assert (second.unchanged, second.rows) == (1, 2)


def test_a_removed_row_is_shown(garden: Garden) -> None:
    def fell(edits: Sequence[Edit]) -> None:
        for edit in edits:
            del garden.trees[edit.file]

    _, second = play_steps(a_demo(), change=fell, run=garden.run)

    assert [(c.key, c.before, c.after) for c in second.changes] == [("elm", ("alive",), None)]


def test_a_run_that_shows_something_else_fails_the_demo(garden: Garden) -> None:
    demo = a_demo(expect={"elm": {"state": "alive"}, "oak": {"state": "alive"}})

    with pytest.raises(BuildError) as caught:
        list(play_steps(demo, change=garden.change, run=garden.run))

    assert str(caught.value) == (
        "step 2 of the demo:\n"
        "elm: state: expected 'alive', found 'felled'\n"
        "oak: state: expected 'alive', found None"
    )


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"mart_trees\.parquet: the demo cannot show it"):
        read_rows(a_demo().show, tmp_path)

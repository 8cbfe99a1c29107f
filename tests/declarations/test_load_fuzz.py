"""Broken versions of the real declarations load, or are declaration errors; nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mutations import EDITS, Edit, apply_edits, limit_resources

from etl_assets.declarations.load import load
from etl_assets.model.errors import DeclarationError, Problem
from etl_assets.settings import PACKAGE

DECLARED = sorted((PACKAGE / "domains").glob("*/*.yaml"))


@pytest.fixture(params=DECLARED, ids=lambda file: f"{file.parent.name}/{file.stem}", scope="module")
def declared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file in a copy of its domain, with no more sources than it needs."""
    file: Path = request.param
    folder = tmp_path_factory.mktemp("domains") / file.parent.name
    folder.mkdir()
    needs_others = "for_each:" in file.read_text(encoding="utf-8")
    others = [other for other in DECLARED if other.parent == file.parent and other != file]
    for other in others if needs_others else others[:2]:  # the first is that of the domain
        shutil.copy(other, folder)
    return Path(shutil.copy(file, folder))


def faults(file: Path, data: bytes) -> list[Problem]:
    """The problems of the domain with this content of the file."""
    file.write_bytes(data)
    with limit_resources():
        try:
            load(file.parents[1])
        except DeclarationError as error:
            return error.problems
    return []


@given(edits=EDITS)
@settings(max_examples=12)
def test_broken_bytes(declared: Path, edits: list[Edit]) -> None:
    original = (PACKAGE / "domains" / declared.parent.name / declared.name).read_bytes()

    problems = faults(declared, apply_edits(original, edits))

    assert all(str(declared.parent) in problem.where for problem in problems)


LINES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=4)


@given(swaps=LINES)
@settings(max_examples=12)
def test_lines_in_another_order(declared: Path, swaps: list[tuple[int, int]]) -> None:
    original = PACKAGE / "domains" / declared.parent.name / declared.name
    lines = original.read_text(encoding="utf-8").splitlines()
    for one, other in swaps:
        a, b = one % len(lines), other % len(lines)
        lines[a], lines[b] = lines[b], lines[a]

    problems = faults(declared, "\n".join(lines).encode())

    assert all(str(declared.parent) in problem.where for problem in problems)

"""The page on reliability is what the tests hold."""

from __future__ import annotations

from pathlib import Path

from support.fault_table import ROOMS
from support.reliability_page import held, page


def test_every_fault_has_a_test_and_every_mark_a_fault() -> None:
    promised = [fault.name for room in ROOMS.values() for fault in room]

    assert len(promised) == len(set(promised))
    assert set(held()) == set(promised)


def test_the_page_is_written_from_the_tests(repo_root: Path) -> None:
    written = (repo_root / "docs" / "reliability.md").read_text(encoding="utf-8")

    assert written == page(held()), "run `make schemas`"


def test_a_mark_on_a_class_of_parameters_counts_once(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        '@pytest.mark.parametrize("x", [1, 2])\n@pytest.mark.fault("a", "b")\ndef test_y(x): ...\n',
        encoding="utf-8",
    )

    assert held(tmp_path) == {"a": ["test_x.py::test_y"], "b": ["test_x.py::test_y"]}

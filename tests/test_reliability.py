"""docs/reliability.md lists every promised fault with the tests that cover it."""

from __future__ import annotations

from pathlib import Path

from support.fault_table import AREAS
from support.reliability_page import find_tests_by_fault, render_page


def test_every_fault_has_a_test_and_every_mark_names_a_fault() -> None:
    promised = [fault.name for area in AREAS.values() for fault in area]

    assert len(promised) == len(set(promised))
    assert set(find_tests_by_fault()) == set(promised)


def test_the_page_is_up_to_date(repo_root: Path) -> None:
    written = (repo_root / "docs" / "reliability.md").read_text(encoding="utf-8")

    assert written == render_page(find_tests_by_fault()), "run `make schemas`"


def test_a_parametrized_test_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        '@pytest.mark.parametrize("x", [1, 2])\n@pytest.mark.fault("a", "b")\ndef test_y(x): ...\n',
        encoding="utf-8",
    )

    assert find_tests_by_fault(tmp_path) == {"a": ["test_x.py::test_y"], "b": ["test_x.py::test_y"]}


def test_a_mark_of_a_module_is_one_of_each_test(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        'pytestmark = [pytest.mark.long, pytest.mark.fault("a")]\n'
        "def helper(): ...\ndef test_y(): ...\ndef test_z(): ...\n",
        encoding="utf-8",
    )

    assert find_tests_by_fault(tmp_path) == {"a": ["test_x.py::test_y", "test_x.py::test_z"]}

"""Write docs/reliability.md: every fault of `fault_table.py` with the tests that cover it.

`make schemas` runs this module; a test checks that the page is up to date.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from support.fault_table import AREAS, Fault

from etl_assets.declarations.source import Limits

TESTS = Path(__file__).parents[1]
HEAD = """\
# Reliability

Bad input results in a clear error that says where it is, what was expected, what was found and what
to do. Good input is still processed, nothing wrong is published, nothing is lost, and the last good
set stays published. The tests in each line run the real program against a real server or file.
This page is generated from them by `make schemas`.
"""
LIMITS = """\
## The limits

Fields of `limits` in the declaration of a source. The metadata of the raw asset has the effort of a
fetch: `attempts`, `last_status`, `waited_seconds`, and the reason for it.

| field | default | meaning |
|---|---|---|"""


def find_tests_by_fault(folder: Path = TESTS) -> dict[str, list[str]]:
    """Return the tests of each fault, as `file::test`."""
    tests: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        for name, test in _fault_marks(ast.parse(path.read_text(encoding="utf-8"))):
            tests[name].append(f"{path.relative_to(folder).as_posix()}::{test}")
    return dict(tests)


def render_page(tests: dict[str, list[str]]) -> str:
    lines = [HEAD]
    for area in AREAS:
        lines += _area_lines(area, tests)
    return "\n".join([*lines, LIMITS, *_limit_lines(), ""])


def _limit_lines() -> Iterator[str]:
    for name, field in Limits.model_fields.items():
        yield f"| `{name}` | {field.default:,} | {field.description} |"


def _area_lines(area: str, tests: dict[str, list[str]]) -> Iterator[str]:
    yield from (f"## {area}", "", "| fault | outcome | tests |", "|---|---|---|")
    yield from (_row(fault, tests.get(fault.name, [])) for fault in AREAS[area])
    yield ""


def _row(fault: Fault, tests: list[str]) -> str:
    cells = "<br>".join(f"`{test}`" for test in tests)
    return f"| {fault.event} | {fault.outcome} | {cells} |"


def _fault_marks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each fault with the name of a test, from the marks of the test and of its module."""
    module_marks: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            module_marks += getattr(node.value, "elts", [node.value])
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        if not function.name.startswith("test_"):
            continue
        for mark in [*module_marks, *function.decorator_list]:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                for argument in mark.args:
                    yield ast.literal_eval(argument), function.name


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render_page(find_tests_by_fault()), encoding="utf-8")

"""Writes docs/reliability.md: every fault of `fault_table.py` with the tests that bear its name.

`make schemas` runs it; a test holds the two together.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from support.fault_table import ROOMS, Fault

from etl_assets.declarations.source import Limits

TESTS = Path(__file__).parents[1]
HEAD = """\
# What bad input gets

A clear error that says where, what was expected, what was found and what to do; everything good
still processed; nothing wrong published; nothing lost; the last good set still served. Each line is
held by the tests beside it, which drive the real program against a real server or file. This page
is written from them by `make schemas`.
"""
LIMITS = """\
## The limits

Fields of `limits` in a source's declaration. What a fetch has cost is in the raw asset's metadata:
`attempts`, `last_status`, `waited_seconds`, and the reason for it.

| field | default | what |
|---|---|---|"""


def held(folder: Path = TESTS) -> dict[str, list[str]]:
    """The tests of each fault, as `file::test`."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        for name, test in _marked(ast.parse(path.read_text(encoding="utf-8"))):
            found[name].append(f"{path.relative_to(folder).as_posix()}::{test}")
    return dict(found)


def page(tests: dict[str, list[str]]) -> str:
    rooms = (line for room in ROOMS for line in _room(room, tests))
    return "\n".join([HEAD, *rooms, LIMITS, *_limits(), ""])


def _limits() -> Iterator[str]:
    for name, field in Limits.model_fields.items():
        yield f"| `{name}` | {field.default:,} | {field.description} |"


def _room(room: str, tests: dict[str, list[str]]) -> Iterator[str]:
    yield from (f"## {room}", "", "| fault | outcome | tests |", "|---|---|---|")
    yield from (_row(fault, tests.get(fault.name, [])) for fault in ROOMS[room])
    yield ""


def _row(fault: Fault, tests: list[str]) -> str:
    shown = "<br>".join(f"`{test}`" for test in tests)
    return f"| {fault.what} | {fault.outcome} | {shown} |"


def _marked(tree: ast.Module) -> Iterator[tuple[str, str]]:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    for function in functions:
        for mark in function.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                for argument in mark.args:
                    yield ast.literal_eval(argument), function.name


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(held()), encoding="utf-8")

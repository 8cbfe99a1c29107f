"""What something costs: statements of SQL, and CPU seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy
from sqlalchemy.engine import Engine


def count_statements(do: Callable[[], object]) -> int:
    """Return how many SQL statements something executes, on any database."""
    statements: list[str] = []

    def add(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sqlalchemy.event.listen(Engine, "before_cursor_execute", add)
    try:
        do()
    finally:
        sqlalchemy.event.remove(Engine, "before_cursor_execute", add)
    return len(statements)


def least_cpu_seconds(do: Callable[[], object]) -> float:
    """Return the CPU seconds of the cheapest of five calls."""
    costs = []
    for _ in range(5):
        start = time.process_time()
        do()
        costs.append(time.process_time() - start)
    return min(costs)

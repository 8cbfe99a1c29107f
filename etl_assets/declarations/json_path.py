"""Paths into a JSON document: to its records, and from a record or one above it to a value.

Only the language belongs here; walking a document along a path is the readers'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from etl_assets.declarations.source import Column, JsonArrayFormat, JsonFormat


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: into a field, over a map's entries, or over a list's items."""

    kind: Literal["field", "entries", "items"]
    name: str = ""

    @property
    def holds_records(self) -> bool:
        return self.kind != "field"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a column's value stands: the fields that lead to it from one of a row's records.

    The records of a row are those that its path passes, the outermost first; -1 is its own.
    """

    record: int
    names: tuple[str, ...]


def parse_path(rows: str) -> list[Step]:
    """The steps of a path such as `{package}.{id}.releases.{release}` or `vulnerabilities[]`."""
    steps = []
    for segment in rows.split("."):
        name = segment.rstrip("[]")
        if name.startswith("{"):
            steps.append(Step("entries", name.strip("{}")))
        elif name:
            steps.append(Step("field", name))
        steps += [Step("items")] * segment.count("[]")
    return steps if rows else [Step("items")]


def row_paths(form: JsonFormat | JsonArrayFormat) -> list[list[Step]]:
    """The paths to a format's records, in order."""
    rows = [form.rows] if isinstance(form.rows, str) else form.rows
    return [parse_path(path) for path in rows]


def begins_at_the_top(path: str) -> bool:
    """Whether a column's path leads to a record above, and not into the row's own."""
    return "[" in path or "{" in path


def origin_of(column: Column, way: list[Step]) -> Origin | None:
    """Where the column's value stands for rows at the end of `way`; None where it is not on it."""
    return origin_along(column.origin or column.name, way)


def origin_along(path: str, way: list[Step]) -> Origin | None:
    """The same of a column's path."""
    if not begins_at_the_top(path):
        return Origin(-1, tuple(path.split(".")))
    steps = parse_path(path)
    depth = max(n for n, step in enumerate(steps, start=1) if step.holds_records)
    names = tuple(step.name for step in steps[depth:])
    if not names or steps[:depth] != way[:depth]:
        return None
    return Origin(sum(step.holds_records for step in steps[:depth]) - 1, names)

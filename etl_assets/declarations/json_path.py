"""The path language of JSON formats: to the records, and from a record to a column's value.

Reading a document along a path is done by `etl_assets.tables.readers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from etl_assets.declarations.contract import Column
from etl_assets.declarations.formats import JsonArrayFormat, JsonFormat


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: into a field, over the entries of a map, or over the items of a list."""

    kind: Literal["field", "entries", "items"]
    name: str = ""

    @property
    def yields_records(self) -> bool:
        return self.kind != "field"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a column's value is: the index of a record, and the fields that lead from it.

    The records of a row are those on its path, the outermost first; -1 is the row's own record.
    """

    record: int
    names: tuple[str, ...]


def parse_path(rows: str) -> list[Step]:
    """Returns the steps of a path such as `{package}.{id}.releases.{release}` or `items[]`."""
    steps = []
    for segment in rows.split("."):
        name = segment.rstrip("[]")
        if name.startswith("{"):
            steps.append(Step("entries", name.strip("{}")))
        elif name:
            steps.append(Step("field", name))
        steps += [Step("items")] * segment.count("[]")
    # An empty path is a document that is a list.
    return steps if rows else [Step("items")]


def row_paths(form: JsonFormat | JsonArrayFormat) -> list[list[Step]]:
    """Returns the parsed paths to the records of a format, in the declared order."""
    rows = [form.rows] if isinstance(form.rows, str) else form.rows
    return [parse_path(path) for path in rows]


def is_absolute(path: str) -> bool:
    """True if a column's path starts at the top of the document, not in the row's own record."""
    return "[" in path or "{" in path


def column_origin(column: Column, row_path: list[Step]) -> Origin | None:
    """Returns where the column's value is for the rows of a path; None if it is not on the path."""
    return resolve_origin(column.origin or column.name, row_path)


def resolve_origin(path: str, row_path: list[Step]) -> Origin | None:
    """Returns where a column's path leads for the rows of `row_path`, or None."""
    if not is_absolute(path):
        return Origin(-1, tuple(path.split(".")))
    steps = parse_path(path)
    # Steps up to the last iteration select a record, the fields after it lead to the value.
    iterations = [n for n, step in enumerate(steps, start=1) if step.yields_records]
    if not iterations:  # a bracket within a name, as in `a{b`
        return None
    depth = iterations[-1]
    names = tuple(step.name for step in steps[depth:])
    if not names or steps[:depth] != row_path[:depth]:
        return None
    return Origin(sum(step.yields_records for step in steps[:depth]) - 1, names)

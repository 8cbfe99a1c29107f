"""What would change in what is published: each row before and after, and why.

Finding it out is `etl_assets.operations.diff`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import Field

from etl_assets.model.records import Record

Cells = dict[str, Any]


class Change(Record):
    """One row whose answer would be another."""

    key: dict[str, str]
    before: Cells | None = Field(default=None, description="None: it would be new")
    after: Cells | None = Field(default=None, description="None: it would be gone")
    why: str | None = Field(default=None, description="the sentence that would explain it")
    details: Cells = Field(default={}, description="what is shown beside an answer, after")

    def line(self) -> str:
        told = f"{' '.join(self.key.values())}: {_told(self.before, self.after)}"
        return f"{told}\n    {self.why}" if self.why else told


class Difference(Record):
    """A candidate that was built apart, beside the published set."""

    domain: str
    run: str = Field(description="directory of the published set")
    given: dict[str, str] = Field(description="what was replaced, and by which file or its digest")
    rows: int = Field(ge=0, description="rows that are published")
    changes: list[Change]
    refused_by: list[str] = Field(default=[], description="what the gate would say")
    faults: list[str] = Field(default=[], description="files that would not be taken, and why")

    def lines(self) -> list[str]:
        kinds = Counter(_kind(change) for change in self.changes)
        counted = [f"  {count:,} {kind}" for kind, count in sorted(kinds.items())]
        refusals = ["the gate would refuse this:"] if self.refused_by else []
        return [
            f"{self.domain}: {len(self.changes):,} changes to the {self.rows:,} rows of {self.run}",
            *counted,
            *(change.line() for change in self.changes),
            *self.faults,
            *(refusals + [f"  {line}" for line in self.refused_by]),
        ]


def _kind(change: Change) -> str:
    return f"{_first(change.before)} -> {_first(change.after)}"


def _first(cells: Cells | None) -> str:
    return "(none)" if cells is None else str(next(iter(cells.values())))


def _told(before: Cells | None, after: Cells | None) -> str:
    """The first column of the answer always, the others where they differ."""
    if before is None or after is None:
        return f"{_shown(before)} -> {_shown(after)}"
    first = next(iter(after))
    names = [name for name in after if name == first or before[name] != after[name]]
    return ", ".join(
        f"{before[n]} -> {after[n]}" if n == first else f"{n} {before[n]} -> {after[n]}"
        for n in names
        if n != first or before[n] != after[n]
    )


def _shown(cells: Cells | None) -> str:
    if cells is None:
        return "(none)"
    return ", ".join(str(value) for value in cells.values() if value is not None)

"""What a domain's demo is: steps that change the sample, run, and show a model before and after.

Playing it is `etl_assets.demo.scenes`; what the sample's files are is `etl_assets.demo.samples`.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from etl_assets.declarations.declaration import NAME, Declaration
from etl_assets.model.records import Record

DEMO_FILE = "demo.yaml"


class Edit(Declaration):
    """One change to a file of the sample: a text for another, lines added, or a new content."""

    file: str = Field(min_length=1, description="relative to the domain's sample")
    old: str | None = Field(default=None, min_length=1, description="must stand there exactly once")
    new: str | None = None
    append: str | None = None
    content: str | None = None

    @model_validator(mode="after")
    def _is_one_change(self) -> Self:
        ways = [
            self.old is not None and self.new is not None,
            self.append is not None,
            self.content is not None,
        ]
        if sum(ways) != 1 or (self.old is None) != (self.new is None):
            raise ValueError("expected one of: old and new; append; content")
        return self


class Show(Declaration):
    """Which model is compared before and after each step, row by row of its key."""

    model: str = Field(alias="from", pattern=NAME)
    key: str
    columns: list[str] = Field(min_length=1)


class Step(Declaration):
    """One scene: what is said, what changes, and which values the run must then show."""

    say: str = Field(min_length=1)
    edits: list[Edit] = []
    expect: dict[str, dict[str, str | None]] = Field(
        default={}, description="key: column: value; the demo fails where the run shows another"
    )


class Demo(Declaration):
    """A domain's demo."""

    title: str = Field(min_length=1)
    show: Show
    steps: list[Step] = Field(min_length=1)


class Change(Record):
    """One row of the shown model before and after a step; None where it is not there."""

    key: str
    before: tuple[str | None, ...] | None
    after: tuple[str | None, ...] | None


class Scene(Record):
    """What one step came to."""

    number: int = Field(ge=1)
    say: str
    columns: list[str]
    changes: list[Change]
    unchanged: int = Field(ge=0)
    rows: int = Field(ge=0)

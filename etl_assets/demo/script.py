"""The model of a demo: steps that change the samples, and the model whose rows are compared.

Playing it is `etl_assets.demo.play`.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from etl_assets.declarations.declaration import NAME, Declaration
from etl_assets.model.records import Record

DEMO_FILE = "demo.yaml"


class Edit(Declaration):
    """One change to a file of the samples, in one of four ways."""

    file: str = Field(min_length=1, description="relative to the samples of the domain")
    old: str | None = Field(
        default=None, min_length=1, description="text to replace, which occurs exactly once"
    )
    new: str | None = Field(default=None, description="the text instead of `old`")
    append: str | None = Field(default=None, description="text to add at the end")
    content: str | None = Field(default=None, description="the whole new text")
    copy_from: str | None = Field(
        default=None, min_length=1, description="another file of the samples, such as a workbook"
    )

    @model_validator(mode="after")
    def _is_one_change(self) -> Self:
        changes = [
            self.old is not None and self.new is not None,
            self.append is not None,
            self.content is not None,
            self.copy_from is not None,
        ]
        if sum(changes) != 1 or (self.old is None) != (self.new is None):
            raise ValueError("expected one of: old and new; append; content; copy_from")
        return self


class Show(Declaration):
    """The model whose rows are compared before and after each step, by their key."""

    model: str = Field(alias="from", pattern=NAME)
    key: str
    columns: list[str] = Field(min_length=1)


class Step(Declaration):
    """One step: the text to print, the changes, and the values that the next run must publish."""

    say: str = Field(min_length=1)
    edits: list[Edit] = []
    expect: dict[str, dict[str, str | None]] = Field(
        default={}, description="key: column: value; the demo fails if the run publishes another"
    )


class Demo(Declaration):
    """The demo of a domain."""

    title: str = Field(min_length=1)
    show: Show
    steps: list[Step] = Field(min_length=1)


class Change(Record):
    """One row of the shown model before and after a step; None if it does not exist."""

    key: str
    before: tuple[str | None, ...] | None
    after: tuple[str | None, ...] | None


class Scene(Record):
    """The result of one step."""

    number: int = Field(ge=1)
    say: str
    columns: list[str]
    changes: list[Change]
    unchanged: int = Field(ge=0)
    rows: int = Field(ge=0)

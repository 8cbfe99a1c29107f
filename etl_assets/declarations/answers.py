"""What the response to one request of a `for_each` source looks like: its shape and its pages.

The requests themselves are in `source`; applying these declarations is `etl_assets.fetch`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from etl_assets.declarations.declaration import Declaration

MEMBER = r"[^.\[\]{}\s]+(\[\])*"
ANSWER_PATH = rf"^(\[\]|{MEMBER})(\.{MEMBER})*$"
LIST_PATH = rf"^(\[\]|({MEMBER}\.)*[^.\[\]{{}}\s]+\[\])$"

AnswerPath = Annotated[str, Field(pattern=ANSWER_PATH)]
Code = str | int | bool


class AnswerShape(Declaration):
    """What a good answer has and what it does not have.

    Paths lead from the top of the response: `meta.total`, `results[]` for a list, `choices[].error`
    for a member of each of its items. A response of status 200 with another shape is an outage of
    the source; its answer is not stored and is requested again in the next run.
    """

    required: list[AnswerPath | list[AnswerPath]] = Field(
        default=[], description="present and not null in every good answer; of a list, one of them"
    )
    errors: list[AnswerPath] = Field(
        default=["error", "errors"],
        description="only in errors; null, false, 0 and an empty text, list or object do not count",
    )
    values: dict[AnswerPath, list[Code]] = Field(
        default={}, description="by path, its values in good answers: status: [OK, ZERO_RESULTS]"
    )
    busy: list[Code] = Field(
        default=[429, 503, "OVER_QUERY_LIMIT", "RESOURCE_EXHAUSTED", "rate_limit_exceeded"],
        description="codes of an error after which the same request is sent again after a wait",
    )


class Pages(Declaration):
    """How an answer states that it has more pages, and how the next one is requested.

    The answer that is stored is the first page with the items of all pages. It is stored only if
    every page arrived.
    """

    by: Literal["number", "offset", "cursor", "link"] = Field(
        description="the next page has the next number, begins at an offset in items, has a cursor"
        " from the last page, or an address from it"
    )
    items: str = Field(pattern=LIST_PATH, description="path to the list: results[]")
    parameter: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.\[\]-]+$",
        description="the parameter of the URL that selects a page; not with link",
    )
    first: int | None = Field(
        default=None,
        ge=0,
        description="the number of the first page, or the offset of the first item; default: 1"
        " with number, 0 with offset",
    )
    total_pages: AnswerPath | None = Field(
        default=None, description="with number: path to the number of pages"
    )
    total_items: AnswerPath | None = Field(
        default=None, description="with number or offset: path to the number of items of all pages"
    )
    has_more: AnswerPath | None = Field(
        default=None, description="path to true if there are more pages"
    )
    next: AnswerPath | None = Field(
        default=None,
        description="with cursor or link: path to it, absent on the last page; for link, the"
        " default is the Link header (RFC 8288)",
    )
    max_pages: int = Field(
        default=20, ge=1, description="read of one answer; a warning names the answers with more"
    )

    @model_validator(mode="after")
    def _members_fit_the_kind(self) -> Self:
        is_counted = self.by in {"number", "offset"}
        if (self.parameter is None) != (self.by == "link"):
            found = "none" if self.parameter is None else repr(self.parameter)
            expected = "no parameter" if self.by == "link" else "a parameter"
            raise ValueError(f"expected {expected} with by: {self.by}, found {found}")
        if is_counted and not (self.total_pages or self.total_items or self.has_more):
            raise ValueError(
                f"expected total_pages, total_items or has_more with by: {self.by}, found none"
            )
        if self.by == "cursor" and self.next is None:
            raise ValueError("expected next, a path to the cursor, with by: cursor, found none")
        if needless := self._needless_members():
            raise ValueError(f"expected no {needless[0]} with by: {self.by}, found it")
        return self

    @property
    def first_value(self) -> int:
        """The value of the parameter on the first page, of numbers and offsets."""
        return self.first if self.first is not None else int(self.by == "number")

    def _needless_members(self) -> list[str]:
        """Returns the declared members that are of another kind of pages."""
        of_other_kinds = {
            "number": ["next"],
            "offset": ["next", "total_pages"],
            "cursor": ["first", "total_pages", "total_items"],
            "link": ["first", "total_pages", "total_items"],
        }
        return [name for name in of_other_kinds[self.by] if name in self.model_fields_set]

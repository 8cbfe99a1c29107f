"""What a person declares of a source whose requests come from the rows of a table.

A search by name, a page of a wiki and a chat completion are all this. Making the requests is
`etl_assets.fetch.row_requests`, asking them `etl_assets.fetch.collect_answers`.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field

from etl_assets.declarations.declaration import COLUMN_NAME, NAME, Declaration

PLACEHOLDER = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}")


class MirrorName(Declaration):
    """How a mirror spells a row in the name of the file that stands for its answer."""

    column: str = Field(pattern=COLUMN_NAME)
    remove: str = Field(default="", description="a regular expression for what is left out")
    case: Literal["as_is", "lower", "upper", "title"] = "as_is"
    space: str = Field(default=" ", description="stands for each space")
    spelt: dict[str, str] = Field(
        default={}, description="values that are spelt in a way of their own, each with its way"
    )

    def of(self, value: str) -> str:
        if value in self.spelt:
            return self.spelt[value]
        text = re.sub(self.remove, "", value) if self.remove else value
        spelt = {"lower": text.lower(), "upper": text.upper(), "title": text.title()}
        return spelt.get(self.case, text).replace(" ", self.space)


class ChatRequest(Declaration):
    """A completion of an OpenAI-compatible chat endpoint, whose answer is JSON under a contract.

    An answer that is not as declared is asked for again, and then refused for good: the same
    question is not paid for twice.
    """

    model: str = Field(min_length=1)
    system: str = Field(min_length=1)
    prompt: str = Field(min_length=1, description="{column} stands for a value of the row")
    temperature: float = Field(default=0.1, ge=0, le=2)
    max_tokens: int = Field(default=4000, ge=1, description="of the answer")
    max_prompt_characters: int = Field(
        default=150_000, ge=1, description="a longer prompt is cut at its end"
    )
    usd_per_million_prompt_tokens: float = Field(default=0, ge=0)
    usd_per_million_completion_tokens: float = Field(default=0, ge=0)
    attempts: int = Field(default=3, ge=1, description="answers paid for until one is as declared")
    repeats: dict[str, str] = Field(
        default={}, description="member of the answer: the column that it must repeat"
    )
    answer: dict[str, Any] = Field(description="the JSON Schema of an answer")


class ForEach(Declaration):
    """One request for each row of another source's table that differs in what is asked.

    Without a credential that the location names, nothing is asked, and the source is off.
    """

    table: str = Field(pattern=NAME, description="a source of the same domain")
    columns: list[str] = Field(min_length=1, description="name a row; they stand by its answer")
    keep_days: int | None = Field(
        default=None, ge=1, description="an older answer is asked for anew; default: never"
    )
    batch_size: int = Field(default=20, ge=1, description="requests between two delays")
    delay_seconds: float = Field(default=0, ge=0, description="after each batch")
    daily_limit: int | None = Field(default=None, ge=1, description="requests in a day, UTC")
    max_cost_usd_per_day: float | None = Field(default=None, ge=0)
    mirror_name: MirrorName | None = None
    chat: ChatRequest | None = None

    def used(self, url: str) -> list[str]:
        """The columns that a row gives: its own names and what the templates ask for."""
        texts = [url, self.chat.prompt if self.chat else ""]
        asked = [name for text in texts for name in PLACEHOLDER.findall(text)]
        named = [self.mirror_name.column] if self.mirror_name else []
        repeated = list(self.chat.repeats.values()) if self.chat else []
        return list(dict.fromkeys([*self.columns, *asked, *named, *repeated]))

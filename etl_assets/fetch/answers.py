"""What is kept of one request that a row asked for: the answer, and what it cost to get it.

Where it lies is `etl_assets.fetch.answer_store`; what becomes of all answers,
`etl_assets.fetch.request_rows`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from etl_assets.model.records import Record, Sha256


class RequestResult(Record):
    """One answer that came, good or bad; a bad one has been paid for too."""

    at: AwareDatetime
    cost_usd: float = Field(default=0, ge=0)
    fault: str | None = None


class Answer(Record):
    """A request by its content, and what is known of it for good."""

    request_sha256: Sha256
    key: dict[str, str]
    status: Literal["answered", "no_result", "refused"]
    asked: list[RequestResult] = Field(min_length=1)
    body: Any = Field(default=None, description="the JSON of the answer, where there is a good one")

    @property
    def at(self) -> AwareDatetime:
        return self.asked[-1].at

    @property
    def why(self) -> str:
        return self.asked[-1].fault or "no result"


class Spent(Record):
    """What was asked and paid within a day."""

    requests: int = 0
    cost_usd: float = 0

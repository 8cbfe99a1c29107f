"""What the gate finds when it compares a candidate with what is published.

Measuring and judging are `etl_assets.publish.gate`.
"""

from __future__ import annotations

from pydantic import Field

from etl_assets.model.records import Record

SHOWN_OFFENDERS = 20


class GateFinding(Record):
    """One measure of the distance between a candidate and the published set, and its limit."""

    check: str
    limit: str = Field(description="what was expected, in words")
    found: str
    count: int = Field(default=0, ge=0, description="rows, or groups of rows, that were found")
    of: int = Field(default=0, ge=0, description="rows that are published")
    refused: bool
    offenders: list[str] = Field(
        default=[], description=f"at most {SHOWN_OFFENDERS}, in the order of their keys"
    )

    def __str__(self) -> str:
        shown = ", ".join(self.offenders)
        more = f" and {self.count - len(self.offenders):,} more"
        rest = more if self.count > len(self.offenders) else ""
        return f"{self.check}: expected {self.limit}, found {self.found}" + (
            f": {shown}{rest}" if self.offenders else ""
        )


class GateVerdict(Record):
    """What the gate says of a candidate, with everything that speaks against it."""

    refused_by: list[str] = Field(description="one line for each reason to refuse")
    warned_by: list[str] = []
    accepted: list[str] = Field(
        default=[], description="checks that would have refused, had no person accepted that"
    )
    advice: str = Field(default="", description="what a person can do about a refusal")

    @property
    def passed(self) -> bool:
        return not self.refused_by

    def __str__(self) -> str:
        if self.passed:
            overruled = f", accepted: {', '.join(self.accepted)}" if self.accepted else ""
            return f"passed, {len(self.warned_by)} warnings{overruled}"
        lines = [*self.refused_by, *([self.advice] if self.advice else [])]
        return "refused:\n" + "\n".join(f"  {line}" for line in lines)

"""Whether a candidate may be published: the verdicts on it, weighed.

Each verdict was reached elsewhere, by a stage or by SQL; what a refusal leads to is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field

from etl_assets.model.errors import Problem
from etl_assets.model.records import Record
from etl_assets.model.run import RunCheck


class GateVerdict(Record):
    """What the gate says of a candidate, with everything that speaks against it."""

    refused_by: list[str] = Field(description="one line for each blocking check that failed")
    warned_by: list[str] = []

    @property
    def passed(self) -> bool:
        return not self.refused_by

    def __str__(self) -> str:
        if self.passed:
            return f"passed, {len(self.warned_by)} warnings"
        return "refused:\n" + "\n".join(f"  {line}" for line in self.refused_by)


def judge(checks: Iterable[RunCheck], incomplete: Sequence[Problem] = ()) -> GateVerdict:
    """Refuse where a check of severity error failed on a model, or where a document lost rows."""
    failed = [check for check in checks if not check.passed]
    return GateVerdict(
        refused_by=[_line(check) for check in failed if check.severity == "error"]
        + [str(problem) for problem in incomplete],
        warned_by=[_line(check) for check in failed if check.severity == "warn"],
    )


def _line(check: RunCheck) -> str:
    return f"{check.asset}: {check.name}{f': {check.description}' if check.description else ''}"

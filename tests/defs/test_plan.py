"""What the plan of a run says before the run."""

from __future__ import annotations

import pytest

from etl_assets.defs.plan import Plan
from etl_assets.model.records import Decision, Part, Reason


def decide(reason: Reason, partition: str) -> Decision:
    part = Part(source="orchard.trees", partition=partition)
    return Decision(part=part, fetch=reason is Reason.NO_RECORD, reason=reason)


@pytest.mark.fault("not-yet-published")
@pytest.mark.parametrize(
    ("reasons", "lines"),
    [
        (
            [Reason.UP_TO_DATE, Reason.NOT_YET_PUBLISHED],
            ["1 of 2 files are up to date", "1 of 2 files are not yet published"],
        ),
        (
            [Reason.NOT_YET_PUBLISHED],
            ["0 of 1 files are up to date", "1 of 1 files are not yet published"],
        ),
        ([Reason.UP_TO_DATE, Reason.UP_TO_DATE], ["2 of 2 files are up to date"]),
        (
            [Reason.NO_RECORD, Reason.NOT_YET_PUBLISHED],
            [
                "orchard.trees[2024]: fetch, no record",
                "0 of 2 files are up to date",
                "1 of 2 files are not yet published",
            ],
        ),
    ],
)
def test_a_period_never_fetched_is_not_up_to_date(reasons: list[Reason], lines: list[str]) -> None:
    decisions = [decide(reason, str(2024 + n)) for n, reason in enumerate(reasons)]

    assert Plan(decisions=decisions).news() == lines

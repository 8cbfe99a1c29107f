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
            [Reason.OFF, Reason.UP_TO_DATE, Reason.PINNED],
            [
                "orchard.trees[2024]: keep, nothing more is asked",
                "orchard.trees[2026]: keep, pinned",
                "1 of 3 files are up to date",
            ],
        ),
        (
            [Reason.OFF, Reason.ALREADY_STORED],
            [
                "orchard.trees[2024]: keep, nothing more is asked",
                "0 of 2 files are up to date",
                "1 of 2 files are stored and were not probed",
            ],
        ),
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
def test_only_a_file_that_was_compared_is_counted_as_up_to_date(
    reasons: list[Reason], lines: list[str]
) -> None:
    decisions = [decide(reason, str(2024 + n)) for n, reason in enumerate(reasons)]

    assert Plan(decisions=decisions).news() == lines

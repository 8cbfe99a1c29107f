"""What a person is asked to look at, and the command that answers."""

from __future__ import annotations

from typing import Any

import pytest
from support.report_runs import NOON, a_manifest

from etl_assets.model.records import FetchStatus, Part, QuarantinedFile
from etl_assets.model.run_manifest import RunCheck, RunSource
from etl_assets.report.next_actions import next_actions

GATE = "plants/plants_published"
SHA256 = "abcdef123456" + "0" * 52


def advice(
    *sources: RunSource, aside: tuple[QuarantinedFile, ...] = (), **fields: Any
) -> list[str]:
    told = a_manifest(sources=list(sources), **fields)
    return next_actions(told, aside, gate=GATE, directory="outputs/plants/1")


def source(status: FetchStatus = FetchStatus.OUTAGE, **fields: Any) -> RunSource:
    return RunSource(source="plants.trees", status=status, **fields)


def aside(part: Part) -> QuarantinedFile:
    return QuarantinedFile(
        part=part, sha256=SHA256, size_bytes=1, path="x", url="x", expected="json", found="html",
        quarantined_at=NOON,
    )  # fmt: skip


def test_an_outage_that_ends_by_itself_asks_nobody() -> None:
    assert advice(source(fault="timed out")) == []


def test_a_refused_gate_names_the_report_and_the_command() -> None:
    refused = RunCheck(asset=GATE, name="gate", passed=False, severity="error")

    [answer] = advice(checks=[refused])

    assert "outputs/plants/1/run_report.html" in answer
    assert "`etl run plants --accept-changes`" in answer


def test_a_file_that_became_no_table_names_how_to_serve_the_one_before() -> None:
    [answer] = advice(source(fault="no column year", refused_sha256=SHA256, sha256="b" * 64))

    assert "plants.trees, abcdef123456" in answer
    assert "`etl rollback plants.trees --why TEXT`" in answer


@pytest.mark.parametrize("partition", [None, "2024"], ids=["whole", "a partition"])
def test_a_quarantined_file_names_how_to_see_and_release_it(partition: str | None) -> None:
    record = aside(Part(source="plants.trees", partition=partition))

    [answer] = advice(source(partition=partition), aside=(record,))

    assert "`etl quarantine show plants.trees abcdef123456`" in answer
    assert "`etl quarantine release plants.trees abcdef123456 --why TEXT`" in answer


def test_a_quarantined_file_of_another_part_is_not_named() -> None:
    record = aside(Part(source="plants.trees", partition="2023"))

    assert advice(source(partition="2024"), aside=(record,)) == []


def test_a_shrunken_feed_names_the_flag() -> None:
    [answer] = advice(source(fault="fewer rows; run with --accept-changes if it is right"))

    assert "`etl run plants --accept-changes`" in answer


@pytest.mark.parametrize(
    ("partition", "named"),
    [(None, "unpin plants.trees --why"), ("2024", "unpin 'plants.trees[2024]' --why")],
    ids=["whole", "a partition"],
)
def test_a_pin_names_its_end(partition: str | None, named: str) -> None:
    [answer] = advice(source(FetchStatus.PINNED, partition=partition))

    assert named in answer


def test_a_first_file_that_became_no_table_has_none_before_to_serve() -> None:
    [answer] = advice(source(fault="no column year", refused_sha256=SHA256, sha256=None))

    assert "plants.trees, abcdef123456" in answer
    assert answer.endswith("correct it where it comes from; until then nothing of it is published")

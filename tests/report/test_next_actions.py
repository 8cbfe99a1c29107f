"""What the operator should look at, and which command to run."""

from __future__ import annotations

from typing import Any

import pytest
from support.report_runs import NOON, a_manifest

from etl_assets.model.records import FetchStatus, Part, QuarantinedFile
from etl_assets.model.run_manifest import RunCheck, RunSource
from etl_assets.report.next_actions import list_next_actions

GATE = "plants/plants_published"
SHA256 = "abcdef123456" + "0" * 52


def actions(
    *sources: RunSource, quarantined: tuple[QuarantinedFile, ...] = (), **fields: Any
) -> list[str]:
    manifest = a_manifest(sources=list(sources), **fields)
    return list_next_actions(manifest, quarantined, gate=GATE, directory="outputs/plants/1")


def source(status: FetchStatus = FetchStatus.OUTAGE, **fields: Any) -> RunSource:
    return RunSource(source="plants.trees", status=status, **fields)


def quarantined_file(part: Part) -> QuarantinedFile:
    return QuarantinedFile(
        part=part, sha256=SHA256, size_bytes=1, path="x", url="x", expected="json", actual="html",
        quarantined_at=NOON,
    )  # fmt: skip


def test_an_outage_needs_no_action() -> None:
    assert actions(source(fault="timed out")) == []


def test_a_refused_gate_names_the_report_and_the_command() -> None:
    refused = RunCheck(asset=GATE, name="gate", passed=False, severity="error")

    [action] = actions(checks=[refused])

    assert "outputs/plants/1/run_report.html" in action
    assert "`etl run plants --accept-changes`" in action


def test_a_file_without_a_table_names_the_command_to_use_an_earlier_one() -> None:
    [action] = actions(source(fault="no column year", refused_sha256=SHA256, sha256="b" * 64))

    assert "plants.trees, abcdef123456" in action
    assert "`etl rollback plants.trees --why TEXT`" in action


@pytest.mark.parametrize("partition", [None, "2024"], ids=["whole", "a partition"])
def test_a_quarantined_file_names_the_commands_to_show_and_release_it(
    partition: str | None,
) -> None:
    record = quarantined_file(Part(source="plants.trees", partition=partition))

    [action] = actions(source(partition=partition), quarantined=(record,))

    assert "`etl quarantine show plants.trees abcdef123456`" in action
    assert "`etl quarantine release plants.trees abcdef123456 --why TEXT`" in action


def test_a_quarantined_file_of_another_part_is_not_listed() -> None:
    record = quarantined_file(Part(source="plants.trees", partition="2023"))

    assert actions(source(partition="2024"), quarantined=(record,)) == []


def test_a_refused_table_names_the_option() -> None:
    [action] = actions(source(fault="fewer rows; run with --accept-changes if it is right"))

    assert "`etl run plants --accept-changes`" in action


@pytest.mark.parametrize(
    ("partition", "command"),
    [(None, "unpin plants.trees --why"), ("2024", "unpin 'plants.trees[2024]' --why")],
    ids=["whole", "a partition"],
)
def test_a_pin_names_the_command_to_remove_it(partition: str | None, command: str) -> None:
    [action] = actions(source(FetchStatus.PINNED, partition=partition))

    assert command in action


def test_a_first_file_without_a_table_has_no_earlier_one() -> None:
    [action] = actions(source(fault="no column year", refused_sha256=SHA256, sha256=None))

    assert "plants.trees, abcdef123456" in action
    assert action.endswith("correct it at its producer; until then none of it is published")

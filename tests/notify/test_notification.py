"""When a run is news, and the message about it."""

from __future__ import annotations

from typing import Any

import pytest
from support.report_runs import a_manifest

from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import RunCheck, RunManifest, RunSource
from etl_assets.notify.notification import (
    DomainState,
    SentNotifications,
    is_news,
    notification_for_error,
    notification_for_run,
    state_after_run,
)

GATE = "plants/plants_published"
GOOD = DomainState(status=RunStatus.SUCCESS)
PARTIAL = DomainState(status=RunStatus.PARTIAL_SUCCESS, causes=["plants.trees"])
FAILED = DomainState(status=RunStatus.FAILED, causes=["plants.trees"])


def outage(name: str = "trees", **fields: Any) -> RunSource:
    return RunSource(source=f"plants.{name}", status=FetchStatus.OUTAGE, **fields)


def bad(status: RunStatus = RunStatus.PARTIAL_SUCCESS, **fields: Any) -> RunManifest:
    published = status is not RunStatus.FAILED
    return a_manifest(status=status, published=published, sources=[outage()], **fields)


@pytest.mark.parametrize(
    ("last_state", "now", "expected"),
    [
        (None, GOOD, False),
        (None, PARTIAL, True),
        (GOOD, GOOD, False),
        (GOOD, FAILED, True),
        (PARTIAL, PARTIAL, False),
        (PARTIAL, FAILED, True),
        (PARTIAL, PARTIAL.model_copy(update={"causes": ["plants.herbs"]}), True),
        (FAILED, PARTIAL, True),
        (FAILED, GOOD, True),
    ],
    ids=[
        "the first, good", "the first, bad", "still good", "failure", "still partial",
        "from partial to failed", "another source", "from failed to partial", "recovery",
    ],
)  # fmt: skip
def test_a_change_of_state_is_news(
    last_state: DomainState | None, now: DomainState, expected: bool
) -> None:
    assert is_news(last_state, now) is expected


def test_the_state_does_not_depend_on_error_texts() -> None:
    first = bad(note="timed out after 3 attempts")
    again = a_manifest(
        status=RunStatus.PARTIAL_SUCCESS, sources=[outage(fault="refused")], note="refused"
    )

    assert state_after_run(first, GATE) == state_after_run(again, GATE) == PARTIAL


def test_only_checks_of_the_gate_are_causes() -> None:
    def failing(asset: str, name: str, severity: str = "error") -> RunCheck:
        values = {"asset": asset, "name": name, "severity": severity, "passed": False}
        return RunCheck.model_validate(values)

    checks = [failing(GATE, "rows_vanished"), failing(GATE, "x", "warn"), failing("plants/y", "z")]

    state = state_after_run(a_manifest(status=RunStatus.FAILED, checks=checks), GATE)

    assert state.causes == [f"{GATE}: rows_vanished"]


def test_a_failure_names_the_published_set_and_the_next_actions() -> None:
    notification = notification_for_run(
        bad(RunStatus.FAILED, note="why", next_actions=["look"]), None, "outputs/x"
    )

    assert (notification.kind, notification.title) == ("failure", "plants: failed")
    assert notification.lines == [
        "why",
        "nothing was published; the last published set is unchanged",
        "next actions:",
        "- look",
        "run: outputs/x",
    ]


def test_a_partial_success_is_a_warning() -> None:
    notification = notification_for_run(bad(note="x" * 1000), None, "outputs/x")

    assert (notification.kind, notification.title) == ("warning", "plants: partial_success")
    assert notification.lines[0] == "x" * 500 + " ..."


def test_a_recovery_names_the_last_state() -> None:
    notification = notification_for_run(a_manifest(), FAILED, "outputs/x")

    assert (notification.kind, notification.title) == ("success", "plants: recovered")
    assert notification.lines == ["success, after failed", "run: outputs/x"]


def test_a_run_without_a_manifest_is_reported_by_its_error() -> None:
    notification = notification_for_error("plants", "/home: no space left")

    assert (notification.kind, notification.lines[0]) == ("failure", "/home: no space left")


def test_notifications_recorded_by_an_earlier_version_are_read() -> None:
    stored = {
        "heard": {"0123456789abcdef": {"status": "failed", "causes": ["plants.trees"]}},
        "unsent": [{"target": "target 1 of ETL_NOTIFY", "why": "Connection error"}],
        "at": "2026-03-01T12:00:00Z",
    }

    sent = SentNotifications.model_validate(stored)

    assert sent.last_states == {"0123456789abcdef": FAILED}
    assert sent.unsent[0].reason == "Connection error"
    assert sent.model_dump(mode="json") == stored

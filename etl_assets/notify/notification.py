"""Notifications: the state of a domain, whether it is news to a target, and the message.

Sending is in `etl_assets.notify.send`; what was sent is recorded by `etl_assets.defs.finish_run`.
"""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from etl_assets.model.records import Record, RunStatus
from etl_assets.model.run_manifest import RunManifest

MAX_TEXT_CHARACTERS = 500
NOTHING_PUBLISHED = "nothing was published; the last published set is unchanged"
Kind = Literal["failure", "warning", "success"]


class DomainState(Record):
    """The state of a domain after a run, without what differs from run to run.

    Times, counts and error texts are left out, so that a lasting fault is reported once.
    """

    status: RunStatus
    causes: list[str] = Field(
        default=[], description="sources that were not served and gate checks that failed, sorted"
    )


GOOD = DomainState(status=RunStatus.SUCCESS)


class Notification(Record):
    """One message."""

    kind: Kind  # apprise's name of it
    title: str
    lines: list[str]


class UnsentNotification(Record):
    """A target that could not be notified, and why; neither names a secret."""

    target: str
    reason: str = Field(alias="why")

    def __str__(self) -> str:
        return f"not notified: {self.target}: {self.reason}"


class SentNotifications(Record):
    """The last state sent to each target, by `target_id`, and the targets that failed."""

    last_states: dict[str, DomainState] = Field(default={}, alias="heard")
    unsent: list[UnsentNotification] = []
    at: AwareDatetime
    sent_count: int = Field(
        default=0, ge=0, description="of all runs so far", exclude_if=operator.not_
    )
    failed_count: int = Field(
        default=0, ge=0, description="attempts of all runs so far", exclude_if=operator.not_
    )


def load_sent(path: Path) -> SentNotifications | None:
    """Returns the exported record, or None if it is missing or damaged.

    Without it, a state may be sent a second time.
    """
    try:
        return SentNotifications.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def state_after_run(manifest: RunManifest, gate: str) -> DomainState:
    """Returns the state of the domain; `gate` is the asset whose checks refuse a candidate."""
    failed_gate_checks = {
        f"{check.asset}: {check.name}"
        for check in manifest.failed_checks
        if check.asset == gate and check.severity == "error"
    }
    unserved_sources = {source.name for source in manifest.outages}
    return DomainState(status=manifest.status, causes=sorted(failed_gate_checks | unserved_sources))


def is_news(last_state: DomainState | None, state: DomainState) -> bool:
    """True if the state differs from the last one sent to this target.

    A success is sent only after a failure.
    """
    # A target that was never notified is treated as if it knew of a success.
    last_state = last_state or GOOD
    if state.status is RunStatus.SUCCESS:
        return last_state.status is not RunStatus.SUCCESS
    return state != last_state


def notification_for_run(
    manifest: RunManifest, last_state: DomainState | None, directory: str
) -> Notification:
    """Returns the message about a run: its outcome, the causes and the next actions."""
    if manifest.status is RunStatus.SUCCESS:
        before = f", after {last_state.status}" if last_state else ""
        return Notification(
            kind="success",
            title=f"{manifest.domain}: recovered",
            lines=[f"success{before}", f"run: {directory}"],
        )
    is_failure = not (manifest.published or manifest.is_unchanged)
    lines = [
        _shorten(manifest.note) or str(manifest.status),
        NOTHING_PUBLISHED if is_failure else manifest.publication,
    ]
    if manifest.next_actions:
        lines += ["next actions:", *(f"- {action}" for action in manifest.next_actions)]
    return Notification(
        kind="failure" if is_failure else "warning",
        title=f"{manifest.domain}: {manifest.status}",
        lines=[*lines, f"run: {directory}"],
    )


def notification_for_error(domain: str, error: str) -> Notification:
    """Returns the message about a run that failed before it could write its manifest."""
    return Notification(
        kind="failure",
        title=f"{domain}: {RunStatus.FAILED}",
        lines=[_shorten(error), NOTHING_PUBLISHED],
    )


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]} ..."

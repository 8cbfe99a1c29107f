"""What people are told of a domain's state: conditions, notices, and who has heard what.

Whether there is news is `etl_assets.notify.notification`; sending it is `etl_assets.notify.send`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from etl_assets.model.records import Record, RunStatus


class DomainState(Record):
    """How a domain stands, without what differs from run to run: times, counts, wording."""

    status: RunStatus
    causes: list[str] = Field(
        default=[], description="sources not served, checks that refused; in order"
    )

    @property
    def is_good(self) -> bool:
        return self.status is RunStatus.SUCCESS


class Notification(Record):
    """One message."""

    kind: Literal["failure", "warning", "success"]
    title: str
    lines: list[str]


class UnsentNotification(Record):
    """A target that was not reached, and why; neither names a secret."""

    target: str
    why: str

    def __str__(self) -> str:
        return f"not notified: {self.target}: {self.why}"


class SentNotifications(Record):
    """What each target has last heard of a domain; by a digest of its address."""

    heard: dict[str, DomainState] = {}
    unsent: list[UnsentNotification] = []
    at: AwareDatetime

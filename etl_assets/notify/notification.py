"""Decide whether a run is news, and put it into words: once per change of state, not per run.

Remembering who has heard what, and sending, is not done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.notify.notice import DomainState, Notification

GOOD = DomainState(status=RunStatus.SUCCESS)
MAX_TEXT = 500
Kind = Literal["failure", "warning", "success"]


def state_after_run(manifest: RunManifest, gate: str) -> DomainState:
    """How the domain stands after the run; `gate` is the asset whose checks refuse a candidate."""
    refused_by = {
        f"{check.asset}: {check.name}"
        for check in manifest.failed_checks
        if check.asset == gate and check.severity == "error"
    }
    unserved = {source.name for source in manifest.outages}
    return DomainState(status=manifest.status, causes=sorted(refused_by | unserved))


def is_news(heard: DomainState | None, now: DomainState) -> bool:
    """Whether a target that last heard `heard` is to be told; good news only after bad."""
    return now != (heard or GOOD) and not (now.is_good and (heard or GOOD).is_good)


def notification_for_run(
    manifest: RunManifest, heard: DomainState | None, directory: str
) -> Notification:
    """What a run has to tell: outcome, causes, and what a person may do about them."""
    if manifest.status is RunStatus.SUCCESS:
        before = f", after {heard.status}" if heard else ""
        return Notification(
            kind="success",
            title=f"{manifest.domain}: recovered",
            lines=[f"success{before}", f"run: {directory}"],
        )
    kind: Kind = "warning" if manifest.published else "failure"
    lines = [
        _cut(manifest.note) or str(manifest.status),
        "published" if manifest.published else "nothing was published; the last set stands",
        *_asked(manifest.answers),
        f"run: {directory}",
    ]
    return Notification(kind=kind, title=f"{manifest.domain}: {manifest.status}", lines=lines)


def notification_for_error(domain: str, error: str) -> Notification:
    """What is told of a run that left no manifest."""
    return Notification(
        kind="failure",
        title=f"{domain}: {RunStatus.FAILED}",
        lines=[_cut(error), "nothing was published; the last set stands"],
    )


def _asked(answers: Sequence[str]) -> list[str]:
    return ["a person is asked to:", *(f"- {answer}" for answer in answers)] if answers else []


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} ..."

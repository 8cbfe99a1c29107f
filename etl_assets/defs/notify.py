"""Who is told of a run, and what they have heard before: an observation of the published asset.

Whether there is news is `notify.notification`; a target that cannot be reached is told of and asked
again after the next run, and never fails one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import RECORD, metadata_of
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.notify import notification, send
from etl_assets.notify.notification import (
    DomainState,
    Notification,
    SentNotifications,
    UnsentNotification,
)

Words = Callable[[DomainState | None], Notification]


def notify_run(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    domain: Domain,
    manifest: RunManifest,
    *,
    directory: Path,
) -> None:
    """Tell every target of `ETL_NOTIFY` for which the run is news."""
    where = place.home.relative(directory)
    now = notification.state_after_run(
        manifest, gate=asset_keys.name_of(asset_keys.published_key(domain))
    )
    _tell(
        instance,
        place,
        domain,
        now,
        lambda last_state: notification.notification_for_run(manifest, last_state, where),
    )


def notify_error(
    instance: dg.DagsterInstance, place: ProjectContext, domain: Domain, error: Exception
) -> None:
    """The same for a run that could not even leave its manifest."""
    now = DomainState(status=RunStatus.FAILED, causes=[type(error).__name__])
    _tell(
        instance,
        place,
        domain,
        now,
        lambda _: notification.notification_for_error(domain.name, str(error)),
    )


def _tell(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    domain: Domain,
    now: DomainState,
    words: Words,
) -> None:
    if not place.notify or not place.settings.notify_targets:
        return
    try:
        _send(instance, place, domain, now, words)
    except Exception as error:  # noqa: BLE001 - the run's own outcome stands, whatever fails here
        place.say(f"notifications: {type(error).__name__}: the event log could not be used")


def _send(
    instance: dg.DagsterInstance,
    place: ProjectContext,
    domain: Domain,
    now: DomainState,
    words: Words,
) -> None:
    targets = {send.target_id(target): target for target in place.settings.notify_targets}
    sent = last_sent(instance, domain)
    last_states = dict(sent.last_states) if sent else {}
    unsent: list[UnsentNotification] = []
    for number, (name, target) in enumerate(targets.items(), start=1):
        if not notification.is_news(last_states.get(name), now):
            continue
        failure = send.send(target, number, words(last_states.get(name)))
        if failure is None:
            last_states[name] = now
        else:
            unsent.append(failure)
            place.say(str(failure))
    if unsent or sent is None or last_states != sent.last_states:
        _record(
            instance,
            domain,
            SentNotifications(last_states=last_states, unsent=unsent, at=datetime.now(UTC)),
        )


def last_sent(instance: dg.DagsterInstance, domain: Domain) -> SentNotifications | None:
    """What the targets have heard of a domain; None where nobody was ever told."""
    for entry in instance.fetch_observations(asset_keys.published_key(domain), limit=1).records:
        seen = entry.asset_observation
        value = seen.metadata.get(RECORD) if seen else None
        if isinstance(value, dg.JsonMetadataValue):
            return SentNotifications.model_validate(value.data)
    return None


def _record(instance: dg.DagsterInstance, domain: Domain, told: SentNotifications) -> None:
    people = {"not_notified": "\n".join(map(str, told.unsent)) or None}
    event = dg.AssetObservation(
        asset_keys.published_key(domain), metadata=metadata_of(told, people)
    )
    instance.report_runless_asset_event(event)

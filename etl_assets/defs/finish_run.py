"""How a run ends: report, manifest, publication and notifications, in one place for every outcome.

A run publishes, stops early as requested, fails, or has nothing to do. What the event log knows of
it is `etl_assets.defs.run_events`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession, ProjectContext, Run, current_run
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.export_manifest import export_ledger
from etl_assets.defs.materialize import record_metadata
from etl_assets.defs.run_events import manifest_from_events, note_of, run_sources, status_of
from etl_assets.fetch.network_guard import redact_value
from etl_assets.model.errors import EtlError, HomeError, LockLostError
from etl_assets.model.records import (
    MIXED,
    PublishedLink,
    PublishedSet,
    QuarantinedFile,
    RunStatus,
)
from etl_assets.model.run_changes import compare_manifests
from etl_assets.model.run_log import LOG_FILE, Kind, SummaryLine
from etl_assets.model.run_manifest import (
    MADE_FROM_SAMPLES,
    MANIFEST_FILE,
    MARTS,
    PublishedFile,
    RunManifest,
)
from etl_assets.model.run_options import Stage, StageRange
from etl_assets.notify import notification, send
from etl_assets.notify.notification import (
    DomainState,
    Notification,
    SentNotifications,
    UnsentNotification,
)
from etl_assets.publish import chain, documents, run_directory
from etl_assets.publish.writers.registry import list_signed_files
from etl_assets.report import gather, next_actions, trends
from etl_assets.storage.atomic_write import write_text
from etl_assets.validate import quarantine

UNPUBLISHED = "nothing is published"


def run_hooks(project: ProjectContext, domain: Domain) -> set[dg.HookDefinition]:
    """Return the hooks that end a run, whether a command or Dagster launched it."""

    @dg.failure_hook(name=f"{domain.name}_finish_failed_run")
    def on_failure(context: dg.HookContext) -> None:
        session = DomainSession(EventLog(context.instance), project, domain)
        run = current_run(session, context.run_id)
        finish_failed(session, run, _cause(context.op_exception))
        notify_run(session, run_directory.read_manifest(run.directory), run.directory)

    @dg.success_hook(name=f"{domain.name}_finish_run")
    def on_success(context: dg.HookContext) -> None:
        session = DomainSession(EventLog(context.instance), project, domain)
        stages = asset_keys.steps_of(domain)
        if stages[context.step_key] is Stage.PUBLISH:
            directory = current_run(session, context.run_id).directory
            notify_run(session, run_directory.read_manifest(directory), directory)
            return
        planned = _planned_stages(session, context.run_id)
        # The success of this very step may not be in the event log yet.
        succeeded = session.event_log.succeeded_steps(context.run_id) | {context.step_key}
        if Stage.PUBLISH not in planned.values() and set(planned) <= succeeded:
            finish_partial(session, current_run(session, context.run_id))

    return {on_failure, on_success}


def finish(
    session: DomainSession,
    manifest: RunManifest,
    directory: Path,
    *,
    files: Sequence[PublishedFile] | None = None,
) -> RunManifest:
    """Complete a manifest with its result and next actions, and write it with the report.

    `files` are those of a candidate, which is published if the manifest says so.
    """
    home, domain = session.home, session.domain
    session.project.locks.require(domain.name)
    manifest = _with_result(session, manifest, directory)
    set_directory = home.outputs(domain.name) / (manifest.published_set or directory.name)
    earlier_runs = trends.read_runs(run_directory.list_runs(home, domain.name))
    report = gather.write_report(domain, manifest, set_directory / MARTS, directory, earlier_runs)
    manifest = manifest.model_copy(update={"counts": report.counts})
    _write_log(session, manifest, directory)
    if files is None:
        run_directory.write_manifest(directory, manifest)
        run_directory.write_sums(directory)
        return manifest
    return _publish(session, manifest, directory, files)


def _with_result(session: DomainSession, manifest: RunManifest, directory: Path) -> RunManifest:
    """Complete a manifest with its place in the chain, its changes, result and next actions."""
    home, domain = session.home, session.domain
    head = chain.read_head(home, domain.name)
    note = manifest.note
    before = _published_manifest(session)
    if manifest.published:
        note = _join(note, _describe_key_change(session, before))
    if manifest.mirror == "samples":
        note = _join(MADE_FROM_SAMPLES, note)
    changes = None
    if before and not manifest.is_unchanged:
        changes = compare_manifests(before, manifest, _published_name(session))
    manifest = manifest.with_result().model_copy(
        update={
            "note": note,
            "directory": directory.name,
            "changes": changes,
            "sequence": chain.next_sequence(home, domain.name),
            "overrides": {k: redact_value(k, value) for k, value in domain.overrides.items()},
            "previous": head.link if manifest.published else None,
            "new_history": head.new_history if manifest.published else None,
        }
    )
    actions = next_actions.list_next_actions(
        manifest,
        _quarantined_since(session, manifest.started_at),
        gate=asset_keys.name_of(asset_keys.published_key(domain)),
        directory=home.relative(directory),
    )
    return manifest.model_copy(update={"next_actions": actions})


def _publish(
    session: DomainSession,
    manifest: RunManifest,
    directory: Path,
    files: Sequence[PublishedFile],
) -> RunManifest:
    """Publish or set aside a candidate, and record its link as the newest one of the chain."""
    home, domain, locks = session.home, session.domain, session.project.locks
    manifest = documents.publish_candidate(
        home,
        directory,
        manifest,
        files,
        key=session.project.signing_key,
        signed_files=list_signed_files(domain.documents, files),
        record=lambda complete: locks.move_head(
            domain.name, chain.link_of(directory, complete, domain.history)
        ),
    )
    if not manifest.published:
        return manifest
    link = chain.link_of(directory, manifest, domain.history)
    _refuse_if_overtaken(session, link)
    history = directory / MARTS / f"{domain.history}.parquet"
    chain.write_head(
        home,
        domain.name,
        chain.PublishedHead(link=link),
        history if link.history_sha256 else None,
    )
    if domain.history is None:
        home.history_copy(domain.name).unlink(missing_ok=True)
    return manifest


def _refuse_if_overtaken(session: DomainSession, link: PublishedLink) -> None:
    """Put `latest` back if another process has published since this one recorded its set."""
    home, domain = session.home, session.domain
    newest = session.project.locks.read_head(domain.name, fresh=True)
    if newest is None or newest == link:
        return
    chain.follow(home, domain.name, newest)
    raise LockLostError(
        f"{domain.name}: {link.directory} was published, and {newest.directory} after it, by "
        "another process that has the lock now"
    )


def _write_log(session: DomainSession, manifest: RunManifest, directory: Path) -> None:
    """Log the outcome, and write what this process logged of the run to its directory."""
    log = session.project.log
    log.run = directory.name
    for check in manifest.failed_checks:
        session.project.say(
            SummaryLine(
                f"{check.asset}: {check.name}: {check.description}",
                Kind.ERROR if check.severity == "error" else Kind.WARNING,
                domain=manifest.domain,
                stage="check",
                decision="refused" if check.severity == "error" else "warned",
                reason=check.description.partition("\n")[0],
                asset=check.asset,
                check=check.name,
            )
        )
    kinds = {RunStatus.SUCCESS: Kind.SUCCESS, RunStatus.PARTIAL_SUCCESS: Kind.WARNING}
    session.project.say(
        SummaryLine(
            f"{manifest.domain}: {manifest.status}, {manifest.publication}",
            kinds.get(manifest.status, Kind.ERROR),
            domain=manifest.domain,
            stage=Stage.PUBLISH.value,
            decision=manifest.status.value,
            reason=manifest.note or None,
        )
    )
    write_text(directory / LOG_FILE, log.take(directory.name))
    log.run = None


def _published_manifest(session: DomainSession) -> RunManifest | None:
    """Return the manifest of the set that readers see, or None if it cannot be read."""
    try:
        published = session.published_directory()
        return run_directory.read_manifest(published) if published else None
    except HomeError:
        return None


def _published_name(session: DomainSession) -> str:
    published = session.published_directory()
    return published.name if published else ""


def _describe_key_change(session: DomainSession, before: RunManifest | None) -> str:
    """Return how the key of a set differs from that of the published one; empty if it does not."""
    previous = before.signing if before else None
    new = session.key_fingerprint
    if previous is None or previous.key == new:
        return ""
    if new is None:
        return f"warning: the set is no longer signed; the one before was, with {previous.key}"
    return (
        f"warning: the set is signed with another key, {new}, than the one before, {previous.key}"
    )


def finish_failed(session: DomainSession, run: Run, note: str) -> None:
    """End a run that failed, unless a step has written its manifest."""
    if not (run.directory / MANIFEST_FILE).exists():
        manifest = manifest_from_events(
            session, run, status=RunStatus.FAILED, published=False, note=note
        )
        _keep_build_log(session, run)
        finish(session, manifest, run.directory)
        _export_ledger(session, run.started_at)


def _keep_build_log(session: DomainSession, run: Run) -> None:
    """Copy the log of the failed run's build into its directory, if it built anything."""
    log = session.dbt.log
    with suppress(FileNotFoundError):
        if log.stat().st_mtime >= run.started_at.timestamp():
            shutil.copyfile(log, run.directory / log.name)


def finish_partial(session: DomainSession, run: Run) -> None:
    """End a run that stops before it publishes, unless its manifest is written."""
    if (run.directory / MANIFEST_FILE).exists():
        return
    stages = StageRange.spanning(_planned_stages(session, run.run_id).values())
    sources = run_sources(session)
    manifest = manifest_from_events(
        session,
        run,
        status=status_of(sources),
        published=False,
        note=_join(f"{stages}: {UNPUBLISHED}", note_of(sources)),
    )
    finish(session, manifest, run.directory)
    _export_ledger(session, run.started_at)


def _export_ledger(session: DomainSession, at: datetime) -> None:
    """Export what a run that did not publish has recorded."""
    try:
        export_ledger(session, at)
    except HomeError as error:
        # The run has an outcome already, and the next one exports the ledger again.
        session.say(f"{session.domain.name}: {error}", Kind.WARNING, stage="publish")


def finish_unchanged(
    session: DomainSession, stages: StageRange, *, as_of: datetime | None, started_at: datetime
) -> RunManifest:
    """End a run that has nothing to do, without a Dagster run; the published set stays as it is."""
    if stages.publishes:
        return _finish_with_published_set(session, as_of=as_of or started_at, started_at=started_at)
    sources = run_sources(session)
    directory = run_directory.create(session.home, session.domain.name, started_at)
    manifest = RunManifest(
        run_id=directory.name,
        domain=session.domain.name,
        status=status_of(sources),
        published=False,
        as_of=as_of or started_at,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        code_version=session.code_version,
        note=_join(f"{stages}: nothing moved, {UNPUBLISHED}", note_of(sources)),
        mirror=session.project.mirror_kind,
        sources=sources,
    )
    return finish(session, manifest, directory)


def _finish_with_published_set(
    session: DomainSession, *, as_of: datetime, started_at: datetime
) -> RunManifest:
    published = session.published_directory()
    if published is None:
        latest = session.home.latest(session.domain.name)
        raise HomeError(f"{latest}: expected the published set, found none")
    previous = run_directory.read_manifest(published)
    directory = run_directory.create(session.home, session.domain.name, started_at)
    sources = run_sources(session)
    manifest = previous.model_copy(
        update={
            "run_id": directory.name,
            "published": False,
            "published_set": published.name,
            "index_sha256": None,
            "signing": None,
            "marts": [],
            "contents": [],
            "status": status_of(sources),
            "as_of": as_of,
            "started_at": started_at,
            "finished_at": datetime.now(UTC),
            "note": note_of(sources) or "nothing moved",
            "mirror": session.project.mirror_kind,
            "sources": sources,
            "assets": [a.model_copy(update={"outcome": "reused"}) for a in previous.assets],
            "phases": [],
            "accepted_changes": [],
        }
    )
    manifest = finish(session, manifest, directory)
    notify_run(session, manifest, directory)
    return manifest


def finish_restored(
    session: DomainSession,
    manifest: RunManifest,
    directory: Path,
    files: Sequence[PublishedFile],
) -> RunManifest:
    """Publish the files of an earlier set, linked in a new directory, and record that."""
    manifest = finish(session, manifest, directory, files=files)
    record = PublishedSet(
        directory=directory.name,
        tables={},
        # The models are older than their tables, so that the next run builds them.
        code_version=MIXED,
        marts={mart.model: mart.sha256 for mart in manifest.marts},
        link=chain.link_of(directory, manifest, session.domain.history),
        signing_key=manifest.signing.key if manifest.signing else None,
    )
    path = {"path": session.home.relative(directory)}
    key = asset_keys.published_key(session.domain)
    session.event_log.report(dg.AssetMaterialization(key, metadata=record_metadata(record, path)))
    return manifest


def notify_run(session: DomainSession, manifest: RunManifest, directory: Path) -> None:
    """Notify the targets of `ETL_NOTIFY` for which the outcome of the run is news."""
    gate = asset_keys.name_of(asset_keys.published_key(session.domain))
    state = notification.state_after_run(manifest, gate=gate)
    path = session.home.relative(directory)
    _notify(session, state, lambda last: notification.notification_for_run(manifest, last, path))


def notify_error(session: DomainSession, error: Exception) -> None:
    """Notify the targets of a run that could not write its manifest."""
    state = DomainState(status=RunStatus.FAILED, causes=[type(error).__name__])
    message = notification.notification_for_error(session.domain.name, str(error))
    _notify(session, state, lambda _: message)


def last_sent(session: DomainSession) -> SentNotifications | None:
    """Return what the targets were last sent of a domain, or None."""
    key = asset_keys.published_key(session.domain)
    recorded = session.event_log.latest_observation(key, SentNotifications)
    # The event log may be lost; the exported copy is written after it.
    return recorded or notification.load_sent(session.home.notifications(session.domain.name))


def _notify(
    session: DomainSession,
    state: DomainState,
    message: Callable[[DomainState | None], Notification],
) -> None:
    """Send each target a message, which depends on the last state that it was sent.

    A target that cannot be reached is tried again after the next run.
    """
    project = session.project
    # Reading the last states costs a query, which most homes without targets can do without.
    if not project.notify or not project.settings.notify_targets:
        return
    try:
        _send(session, state, message)
    except Exception as error:  # noqa: BLE001 - a failed notification must not change a run's outcome
        text = f"notifications: {type(error).__name__}: the event log could not be used"
        session.say(text, Kind.WARNING, stage="notify")


def _send(
    session: DomainSession,
    state: DomainState,
    message: Callable[[DomainState | None], Notification],
) -> None:
    previous = last_sent(session)
    states = dict(previous.last_states) if previous else {}
    unsent: list[UnsentNotification] = []
    sent_count = previous.sent_count if previous else 0
    failed_count = previous.failed_count if previous else 0
    targets = {send.target_id(target): target for target in session.project.settings.notify_targets}
    for number, (target_id, target) in enumerate(targets.items(), start=1):
        last_state = states.get(target_id)
        if not notification.is_news(last_state, state):
            continue
        failure = send.send(target, number, message(last_state))
        if failure is None:
            states[target_id] = state
            sent_count += 1
            session.say(f"notified target {number}", Kind.NOTIFICATION, stage="notify")
        else:
            unsent.append(failure)
            session.say(str(failure), Kind.WARNING, stage="notify")
    if unsent or previous is None or states != previous.last_states:
        record = SentNotifications(
            last_states=states,
            unsent=unsent,
            at=datetime.now(UTC),
            sent_count=sent_count,
            failed_count=failed_count + len(unsent),
        )
        entries = {"not_notified": "\n".join(map(str, unsent)) or None}
        session.event_log.report(
            dg.AssetObservation(
                asset_keys.published_key(session.domain),
                metadata=record_metadata(record, entries),
            )
        )
        path = session.home.notifications(session.domain.name)
        write_text(path, record.model_dump_json(indent=2) + "\n")


def _planned_stages(session: DomainSession, run_id: str) -> dict[str, Stage]:
    """Return the steps of the domain that the run was launched for."""
    stages = asset_keys.steps_of(session.domain)
    planned = session.event_log.planned_steps(run_id)
    return {step: stages[step] for step in planned if step in stages}


def _quarantined_since(session: DomainSession, started_at: datetime) -> list[QuarantinedFile]:
    files = []
    for source in session.domain.sources.values():
        try:
            quarantined = quarantine.list_quarantined(session.home, source)
        except HomeError:
            # `etl quarantine list` reports the damaged file; it must not fail a run.
            continue
        files += [file for file in quarantined if file.quarantined_at >= started_at]
    return files


def _cause(error: BaseException | None) -> str:
    """Return the message of the error that a step raised, without Dagster's wrapping."""
    if isinstance(error, dg.Failure):
        return error.description or "a step failed"
    while error is not None and error.__cause__ is not None and not isinstance(error, EtlError):
        error = error.__cause__
    return str(error) if isinstance(error, EtlError) else f"{type(error).__name__}: {error}"


def _join(*notes: str) -> str:
    return "; ".join(filter(None, notes))

"""What a killed run leaves behind, cleaned up before the next run of its domain.

A command's run is alive as long as its domain's lock is held; nothing here waits.
"""

from __future__ import annotations

from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession, current_run, directory_tag
from etl_assets.defs.event_log import COMMAND_TAG, EventLog
from etl_assets.defs.finish_run import finish_failed
from etl_assets.fetch import raw_store
from etl_assets.ledger.manifest import Process, manifest_file
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import PublishedSet
from etl_assets.publish import run_directory
from etl_assets.storage import atomic_write
from etl_assets.storage.lock import is_lock_free

KILLED = "the process of this run was ended from outside"


def recover(session: DomainSession) -> None:
    """End killed runs and remove half-written files; the caller holds the domain's lock."""
    event_log, domain = session.event_log, session.domain
    sweep(session.home, domain.name)
    restore_latest(session)
    for run_id in event_log.unfinished_runs(domain.name):
        event_log.fail_run(run_id, KILLED)
        if directory_tag(domain) in event_log.run_tags(run_id):
            run = current_run(session, run_id)
            if run.directory.is_dir():
                finish_failed(session, run, KILLED)
    # A dead run of any domain keeps its slot in the pool of the warehouse, and the next run would
    # wait for it forever.
    for run_id in event_log.runs_in_pools():
        if _is_dead(event_log, session.home, run_id):
            event_log.free_pool_slots(run_id)


def restore_latest(session: DomainSession) -> None:
    """Link the published set again if `latest` is gone: without it, history would begin again.

    Raises HomeError if the event log knows of a published set and no directory of one is left.
    """
    home, name = session.home, session.domain.name
    key = asset_keys.published_key(session.domain)
    if home.latest(name).is_symlink() or home.latest(name).exists():
        return
    record = session.event_log.latest_record(key, PublishedSet)
    if record is None:
        return
    for directory in run_directory.list_runs(home, name):
        if run_directory.read_manifest(directory).published:
            run_directory.publish(home, name, directory)
            session.project.echo(
                f"{name}: {home.latest(name)} was gone and is linked to {directory.name} again"
            )
            return
    raise HomeError(
        f"{home.latest(name)}: expected the published set of {record.directory}, found neither the "
        "link nor a directory of a published run; put back a copy of outputs, so that the history "
        "goes on"
    )


def _is_dead(event_log: EventLog, home: Home, run_id: str) -> bool:
    """Return True if a run has ended, or a command started it and its domain's lock is free."""
    if event_log.is_finished(run_id):
        return True
    domain = event_log.run_tags(run_id).get(COMMAND_TAG)
    return domain is not None and is_lock_free(home.lock(domain))


def sweep(home: Home, domain: str) -> None:
    """Remove temporary files wherever this domain writes."""
    raw_store.discard_partials(home, domain)
    run_directory.clean_up_interrupted(home, domain)
    for kind in ("quarantine", "tables", "rejects"):
        for folder in (home.root / "data" / kind / domain).glob("*/"):
            atomic_write.remove_temporary_files(folder)
    atomic_write.remove_temporary_files(home.build_inputs(domain))
    atomic_write.remove_temporary_files(home.dbt_target(domain))
    marker = home.complete_marker(domain)
    atomic_write.remove_temporary_files(marker.parent, name=marker.name)
    for process in Process:
        atomic_write.remove_temporary_files(
            home.manifests, name=manifest_file(home, domain, process).name
        )

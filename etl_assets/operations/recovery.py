"""What a killed run leaves behind, cleaned up before the next run of its domain.

A command's run is alive as long as its domain's lock is held; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from etl_assets.defs.context import DomainSession, current_run, directory_tag
from etl_assets.defs.event_log import COMMAND_TAG
from etl_assets.defs.export_manifest import export_ledger
from etl_assets.defs.finish_run import finish_failed
from etl_assets.defs.models.state import complete_publication, repair_published_set
from etl_assets.fetch import raw_store
from etl_assets.ledger.manifest import Process, load_manifest, manifest_file
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.run_log import Kind
from etl_assets.model.run_manifest import RunSource
from etl_assets.operations.manifest import find_lost_parts, restore
from etl_assets.operations.rollback import restore_pin
from etl_assets.publish import run_directory
from etl_assets.storage import atomic_write
from etl_assets.storage.atomic_write import set_aside
from etl_assets.storage.signatures import open_signatures

KILLED = "the process of this run was ended from outside"


def recover(session: DomainSession) -> None:
    """Clean up after killed runs, and repair the published set; the caller holds the lock."""
    complete_publication(session)
    sweep(session.home, session.domain.name)
    _replace_damaged_ledger(session)
    _restore_lost_records(session)
    _restore_pins(session)
    _repair_published_set(session)
    _end_killed_runs(session)
    _remove_unrecorded_directories(session)


def _replace_damaged_ledger(session: DomainSession) -> None:
    """Export the ledger again if a manifest of it is missing or damaged, but the event log is not.

    If both are lost, a damaged manifest raises HomeError: it is never taken for an empty one.
    """
    home, name = session.home, session.domain.name
    if not any(state.fetches for state in session.read_sources().values()):
        return
    is_complete = True
    for process in Process:
        path = manifest_file(home, name, process)
        try:
            is_complete &= load_manifest(home, name, process) is not None
        except HomeError as error:
            target = set_aside(path)
            session.say(
                f"{name}: {error}\nit is now {target.name}, and is exported again", Kind.WARNING
            )
            is_complete = False
    if not is_complete:
        export_ledger(session, datetime.now(UTC))


def _restore_lost_records(session: DomainSession) -> None:
    """Restore what the event log has lost from the exported manifests."""
    event_log = session.event_log
    if find_lost_parts(session.home, session.domain, event_log, session.read_sources()):
        for line in restore(session).lines():
            session.say(f"event log: {line}", Kind.ROLLBACK)


def _restore_pins(session: DomainSession) -> None:
    """Restore the pins of the newest run if both the ledger and the event log are lost."""
    home, domain = session.home, session.domain
    if manifest_file(home, domain.name, Process.DOWNLOAD).exists():
        return
    if any(state.fetches for state in session.read_sources().values()):
        return
    for used in _sources_of_last_run(session):
        source = domain.sources.get(used.source.name)
        if used.pin and source:
            session.say(f"event log: {restore_pin(session, source, used)}", Kind.ROLLBACK)


def _sources_of_last_run(session: DomainSession) -> Sequence[RunSource]:
    for directory in run_directory.list_runs(session.home, session.domain.name):
        with suppress(HomeError):  # an older run may have a manifest that can be read
            return run_directory.read_manifest(directory).sources
    return ()


def _repair_published_set(session: DomainSession) -> None:
    home, name = session.home, session.domain.name
    head = home.published_head(name)
    has_head = head.exists()
    for problem in repair_published_set(session):
        session.say(f"{name}: repaired: {problem}", Kind.ROLLBACK, stage="publish", reason=problem)
    if not has_head and head.exists():
        session.say(f"{name}: the newest published set is recorded in {home.relative(head)} now")
        for problem in _find_altered_files(session):
            session.say(f"{name}: {problem}", Kind.WARNING, stage="publish", reason=problem)


def _end_killed_runs(session: DomainSession) -> None:
    event_log, domain = session.event_log, session.domain
    for run_id in event_log.unfinished_runs(domain.name):
        event_log.fail_run(run_id, KILLED)
        if directory_tag(domain) in event_log.run_tags(run_id):
            run = current_run(session, run_id)
            if run.directory.is_dir():
                finish_failed(session, run, KILLED)
    # A dead run keeps its slot in the pool of a warehouse, and the next run would wait for it
    # forever.
    for run_id in event_log.runs_in_pools():
        if _is_dead(session, run_id):
            event_log.free_pool_slots(run_id)


def _remove_unrecorded_directories(session: DomainSession) -> None:
    """Remove directories of runs that were killed before the event log had them."""
    live_directories = session.event_log.unfinished_directories(session.domain.name)
    for directory in run_directory.list_directories(session.home, session.domain.name):
        is_live = directory.name in live_directories
        if run_directory.is_unfinished(directory) and not is_live:
            run_directory.remove(directory)


def _find_altered_files(session: DomainSession) -> Iterator[str]:
    """Yield the published sets of an older version that are not what their sums say."""
    home, name = session.home, session.domain.name
    with open_signatures(home.signatures(name)) as signatures:
        for directory in run_directory.list_runs(home, name):
            try:
                sums = run_directory.read_sums(directory)
            except HomeError:
                continue  # a run that failed has none
            altered = [
                file
                for file, sha256 in sums.items()
                if not signatures.has_digest(directory / file, sha256)
            ]
            if altered:
                yield (
                    f"{home.relative(directory)}: {len(altered)} files are not what "
                    f"{run_directory.SUMS_FILE} says, such as {altered[0]}"
                )


def _is_dead(session: DomainSession, run_id: str) -> bool:
    """Return True if a run has ended, or a command started it and its domain's lock is free."""
    if session.event_log.is_finished(run_id):
        return True
    domain = session.event_log.run_tags(run_id).get(COMMAND_TAG)
    return domain is not None and session.project.locks.find_holder(domain) is None


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

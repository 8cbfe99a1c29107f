"""What a run that was killed leaves behind, put in order before the next one of its domain.

A command's run is alive as long as its domain's lock is held; nothing here waits for anything.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from etl_assets.declarations.domain import Domain
from etl_assets.defs import run_context
from etl_assets.defs.context import ProjectContext
from etl_assets.fetch import raw_store
from etl_assets.ledger.manifest import Process, manifest_file
from etl_assets.model.home import Home
from etl_assets.publish import run_directory
from etl_assets.storage import atomic_write
from etl_assets.storage.lock import is_lock_free

COMMAND_TAG = "etl/command"  # its value is the domain; a launch from Dagster's pages has none
CUT_OFF = "the process of this run was ended from outside"
IN_PROGRESS = [*IN_PROGRESS_RUN_STATUSES, dg.DagsterRunStatus.NOT_STARTED]


def recover(instance: dg.DagsterInstance, place: ProjectContext, domain: Domain) -> None:
    """End what was cut off and remove what is half-written; the caller holds the domain's lock.

    A dead run of any domain would keep its slot in the pool of the warehouse, and the next one
    would wait for it for ever.
    """
    sweep(place.home, domain.name)
    for record in instance.get_run_records(dg.RunsFilter(statuses=IN_PROGRESS)):
        if record.dagster_run.tags.get(COMMAND_TAG) == domain.name:
            _end(instance, place, domain, record.dagster_run)
    storage = instance.event_log_storage
    for pool in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(pool)
        for run_id in {*info.active_run_ids, *info.pending_run_ids}:
            if _is_dead(place.home, instance.get_run_by_id(run_id)):
                storage.free_concurrency_slots_for_run(run_id)


def _is_dead(home: Home, run: dg.DagsterRun | None) -> bool:
    """Whether a run has ended, or was a command's and nobody holds its domain's lock."""
    if run is None or run.is_finished:
        return True
    owner = run.tags.get(COMMAND_TAG)
    return owner is not None and is_lock_free(home.lock(owner))


def _end(
    instance: dg.DagsterInstance, place: ProjectContext, domain: Domain, run: dg.DagsterRun
) -> None:
    instance.report_run_failed(run, CUT_OFF)
    if run_context.directory_tag(domain) in run.tags:
        its = run_context.current(instance, run.run_id, place, domain)
        if its.directory.is_dir():
            run_context.leave_failed(instance, place, domain, its, CUT_OFF)


def sweep(home: Home, domain: str) -> None:
    """Remove what bears a temporary name wherever this domain writes."""
    raw_store.discard_partials(home, domain)
    run_directory.clean_up_interrupted(home, domain)
    for kind in ("quarantine", "tables", "rejects"):
        for folder in (home.root / "data" / kind / domain).glob("*/"):
            atomic_write.remove_temporary_files(folder)
    atomic_write.remove_temporary_files(home.build_inputs(domain))
    atomic_write.remove_temporary_files(home.dbt_target(domain))
    marker = home.whole_marker(domain)
    atomic_write.remove_temporary_files(marker.parent, name=marker.name)
    for process in Process:
        atomic_write.remove_temporary_files(
            home.manifests, name=manifest_file(home, domain, process).name
        )

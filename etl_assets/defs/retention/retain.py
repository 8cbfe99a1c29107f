"""Removing what a domain does not keep, at the end of each of its runs.

What it keeps is declared in `retention` of its `_domain.yaml`; what is old is decided by the other
modules of this package. `etl prune` does the same by hand, for all domains at once.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from datetime import datetime

from etl_assets.defs.context import DomainSession, ProjectSession
from etl_assets.defs.retention import old_files, run_records
from etl_assets.defs.retention.raw_versions import versions_by_part
from etl_assets.fetch import raw_store
from etl_assets.model.errors import HomeError
from etl_assets.publish import run_directory

# The first retention of an old home would delete thousands at the end of one run.
MAX_RUN_RECORDS = 100


def retain(session: DomainSession, *, now: datetime) -> None:
    """Remove what the domain no longer keeps, at the end of a run.

    The caller holds the domain's lock. The outcome of the run is the same whatever fails here.
    """
    try:
        _retain(session, now)
    except Exception as error:  # noqa: BLE001 - the run is over, and its outcome must not change
        session.project.say(
            f"retention: {type(error).__name__}: {error}; the next run tries again, and "
            "`etl prune` shows all that is old"
        )


def _retain(session: DomainSession, now: datetime) -> None:
    home, domain = session.home, session.domain
    session.project.locks.require(domain.name)
    run_directory.finish_removals(home, domain.name)
    run_records.finish_deletions(session.event_log)
    for path in old_files.list_old_scratch(home, domain, now):
        shutil.rmtree(path)
    unfinished = session.event_log.unfinished_directories(domain.name)
    old_runs = old_files.list_old_runs(
        home, domain, session.published_directory(), unfinished=unfinished
    )
    # Finding what nothing needs reads the history of every part, a sixth of a small run's time: so
    # it waits for a tenth of the runs to be old. Ages are looked at once a day.
    is_due = len(old_runs) > domain.retention.keep_runs // 10
    if not (is_due or _is_first_of_day(session)):
        return
    for path in old_runs:
        run_directory.remove(path)
    if _has_old_versions(session, now):
        _remove_old_versions(session, now)
    old_records = run_records.list_old_run_records(
        session.event_log, home, domain, session.read_sources(), domains={domain.name}
    )
    for run_id in old_records[:MAX_RUN_RECORDS]:
        run_records.delete_run_record(session.event_log, run_id)


def _is_first_of_day(session: DomainSession) -> bool:
    """Return True if no other run of the domain started on the (UTC) day of the last one."""
    directories = run_directory.list_directories(session.home, session.domain.name)
    days = [path.name.partition("_")[0] for path in directories[:2]]
    return len(set(days)) == len(days)


def _has_old_versions(session: DomainSession, now: datetime) -> bool:
    """Return True if a stored file is an old version of a part, and of no run that is kept."""
    home, domain = session.home, session.domain
    versions = versions_by_part(session.event_log, domain)
    old_digests = old_files.old_version_reasons(domain, versions, now)
    stored = {sha256 for sha256 in old_digests if home.raw_file(sha256).exists()}
    return bool(stored - old_files.find_named_digests(home, stored))


def _remove_old_versions(session: DomainSession, now: datetime) -> None:
    """Remove the domain's old raw files, unless another domain runs, which may need one of them.

    Domains share the store: a file that is old here may be what another one just fetched.
    """
    project, name = session.project, session.domain.name
    if broken := project.broken:
        project.say(f"retention: no raw file is removed, as {', '.join(broken)} may need it")
        return
    with ExitStack() as stack:
        try:
            for other in sorted(set(project.domains) - {name}):
                stack.enter_context(project.locks.take(other, on_wait=project.say, wait=False))
        except HomeError:
            return  # the next run finds the same files
        every_domain = ProjectSession(session.event_log, project)
        for path in old_files.list_old_files(every_domain, [name], frozenset(), now):
            raw_store.delete_file(session.home, path)

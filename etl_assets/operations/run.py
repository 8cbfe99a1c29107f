"""`etl run`, `etl probe` and `etl backfill`: plan, launch what moved, conclude.

The same steps run from Dagster's UI without this module, which adds the probe before the launch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import unknown_source
from etl_assets.declarations.source import Source
from etl_assets.defs import finish_run
from etl_assets.defs.context import DomainSession, ProjectSession, current_run
from etl_assets.defs.fetch_plan import all_parts
from etl_assets.defs.launch import RunResult, launch
from etl_assets.defs.models.state import last_built_at
from etl_assets.defs.plan import Plan, make_plan, require_partitions
from etl_assets.defs.retention.retain import retain
from etl_assets.model.errors import (
    BuildError,
    HomeError,
    LockLostError,
    RunInterruptedError,
    UsageError,
)
from etl_assets.model.records import HistoryDecision
from etl_assets.model.run_log import Kind, as_line
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import MAX_AHEAD, RunOptions, Stage
from etl_assets.operations import prerequisites, recovery
from etl_assets.publish import chain, run_directory
from etl_assets.storage import disk
from etl_assets.storage.user import current_user

EARLIEST_YEAR = 2000  # a number is read as seconds since 1970
EXPECTED_TARGET = "--output-dir: expected an empty directory or none"


def plan_run(session: DomainSession, options: RunOptions) -> Plan:
    """Return what a run would fetch and make, and why; nothing is fetched or made."""
    sources = _selected_sources(session.domain, options.sources)
    prerequisites.require_inputs(session, sources, options.stages)
    return make_plan(session, sources, now=datetime.now(UTC), options=options)


def run_domain(
    session: DomainSession, options: RunOptions, *, partitions: tuple[str, str] | None = None
) -> RunManifest:
    """Run one domain, here or on a worker, and return the manifest; see `run_here`."""
    if session.project.settings.launcher == "local":
        return run_here(session, options, partitions)
    from etl_assets.defs.workers.submit import submit

    _refuse_other_times(options.as_of)
    copy_directory = options.output_dir
    if copy_directory:
        copy_directory = require_copy_target(session, copy_directory)
    manifest = submit(session, options, partitions)
    _copy_if_current(session, copy_directory, manifest)
    return manifest


def run_here(
    session: DomainSession, options: RunOptions, partitions: tuple[str, str] | None = None
) -> RunManifest:
    """Run one domain under its lock and return the manifest, which says how the run ended.

    `partitions` are the first and the last partition to run. Raises BuildError if a step fails
    after the run is published, RunInterruptedError if a signal ended it.
    """
    session = replace(session, project=replace(session.project, notify=options.notify))
    project, domain = session.project, session.domain
    _refuse_other_times(options.as_of)
    _ = project.signing_key  # a key that cannot sign is found before anything is fetched
    copy_directory = options.output_dir
    if copy_directory:
        copy_directory = require_copy_target(session, copy_directory)
    with project.locks.take(domain.name, on_wait=project.say, wait=options.wait):
        try:
            manifest = _run_locked(session, options, partitions)
        except LockLostError:
            raise  # the process that has the lock now sends what is news
        except (HomeError, BuildError) as error:
            finish_run.notify_error(session, error)
            raise
        retain(session, now=datetime.now(UTC))
        _copy_if_current(session, copy_directory, manifest)
        return manifest


def _copy_if_current(session: DomainSession, target: Path | None, manifest: RunManifest) -> None:
    if target:
        is_current = manifest.published or manifest.is_unchanged
        copy_published(session, target, published=is_current)


def backfill(
    session: ProjectSession, name: str, start: str, end: str, options: RunOptions
) -> RunManifest:
    """Run the partitions `start` to `end` of one source, and what is below those that moved.

    Raises UsageError, before it waits for another run, if the source has no such partition.
    """
    source = _partitioned_source(session, name)
    domain_session = session.for_domain(source.domain)
    known = domain_session.read_sources()[source.name].fetches
    parts = all_parts(session.project.resolver, source, datetime.now(UTC), known_partitions=known)
    require_partitions([part.partition or "" for part in parts], start, end)
    options = replace(options, sources=(source.name,))
    return run_domain(domain_session, options, partitions=(start, end))


def _run_locked(
    session: DomainSession, options: RunOptions, partitions: tuple[str, str] | None
) -> RunManifest:
    started_at = datetime.now(UTC)
    session.say(f"{session.domain.name}: run starts", Kind.START)
    prerequisites.require_folders(session)
    if options.new_history:
        begin_history(session, options.why, started_at)
    recovery.recover(session)
    plan = plan_run(session, options)
    as_of = _as_of(session, options)
    if partitions:
        plan = plan.within(*partitions)
    for line in plan.news():
        session.project.say(as_line(line, domain=session.domain.name))
    plan.observe(session)
    session = replace(session, project=replace(session.project, probes=plan.probes))
    prerequisites.require_space(session, plan)
    if not plan.needs_run:
        return finish_run.finish_unchanged(
            session, options.stages, as_of=as_of, started_at=started_at
        )
    return _conclude(session, options, launch(session, plan, options, as_of=as_of))


def begin_history(session: DomainSession, why: str, at: datetime) -> None:
    """Record that the next published set does not continue the history of the last one."""
    home, name = session.home, session.domain.name
    try:
        link = chain.read_head(home, name).link
    except HomeError:
        link = None
    decision = HistoryDecision(by=current_user(), why=why.strip(), at=at)
    chain.write_head(home, name, chain.PublishedHead(link=link, new_history=decision))


def _conclude(session: DomainSession, options: RunOptions, result: RunResult) -> RunManifest:
    """Write the manifest if no step has, and return it."""
    name, run = session.domain.name, current_run(session, result.run_id)
    if result.success and not options.stages.publishes:
        finish_run.finish_partial(session, run)
    note = "interrupted" if result.interrupted else "the run ended before it published"
    finish_run.finish_failed(session, run, note)
    if result.interrupted:
        raise RunInterruptedError(f"{name}: the run was asked to stop")
    manifest = run_directory.read_manifest(run.directory)
    if manifest.published and not result.success:
        raise BuildError(
            f"{name}: {run.directory.name} is published, but a step failed after that: "
            f"{result.error or 'no step says why'}; the event log of run {result.run_id} says "
            "more; run again"
        )
    return manifest


def _refuse_other_times(as_of: datetime | None) -> None:
    """Raise UsageError for a time after which no run of today could publish, or a mistyped one."""
    now = datetime.now(UTC)
    if as_of is not None and as_of.year < EARLIEST_YEAR:
        raise UsageError(
            f"--as-of: expected a time such as 2026-03-01T12:00:00, from {EARLIEST_YEAR} on, found "
            f"{as_of.isoformat()}"
        )
    if as_of is not None and as_of > now + MAX_AHEAD:
        raise UsageError(
            f"--as-of: expected at most {MAX_AHEAD.days} day ahead of the clock, which says "
            f"{now.isoformat(timespec='seconds')}, found {as_of.isoformat()}; later runs could not "
            "go back before it"
        )


def _as_of(session: DomainSession, options: RunOptions) -> datetime | None:
    """Return the run's logical time unless it is simply the start; history never goes back.

    Marts that were built to be published later keep the time they were built for.
    """
    last = run_directory.newest_time(session.home, session.domain.name)
    if options.stages.first is Stage.PUBLISH:
        built = last_built_at(session)
        if built and (last is None or built > last):
            if options.as_of not in {None, built}:
                raise UsageError(
                    f"--as-of: expected {built.isoformat()}, for which the marts were built, or no "
                    f"time at all, found {options.as_of}"
                )
            return built
    if last is None:
        return options.as_of
    if options.as_of is not None and options.as_of <= last:
        raise UsageError(
            f"--as-of: expected a time after the published set's, {last.isoformat()}, "
            f"found {options.as_of.isoformat()}"
        )
    if options.as_of is None and datetime.now(UTC) <= last:
        return last + timedelta(microseconds=1)
    return options.as_of


def _partitioned_source(session: ProjectSession, name: str) -> Source:
    source = session.project.find_source(name)
    if source.partitions is None:
        raise UsageError(f"{source.full_name} has no partitions to backfill")
    return source


def _selected_sources(domain: Domain, names: Sequence[str]) -> list[Source]:
    requested = {name: domain.find_source(name) for name in names}
    if unknown := sorted(name for name, source in requested.items() if source is None):
        raise unknown_source(", ".join(unknown), domain.sources, domain.name)
    if not names:
        return list(domain.sources.values())
    return [source for source in domain.sources.values() if source in requested.values()]


def require_empty(target: Path) -> Path:
    """Return the absolute path; raises UsageError unless it is an empty directory, or nothing."""
    if target.exists() and not target.is_dir():
        raise UsageError(f"{EXPECTED_TARGET}, found {target}, a file")
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{EXPECTED_TARGET}, found {target}, which is not empty")
    return target.resolve()


def require_copy_target(session: DomainSession, target: Path) -> Path:
    """Do the same for a copy, which replaces its target by one rename."""
    path, name = require_empty(target), session.domain.name
    parent = next(folder for folder in path.parents if folder.exists())
    runs = session.home.outputs(name)
    if path.is_mount():
        raise UsageError(
            f"{EXPECTED_TARGET}, found {target}, a mount point; name a directory inside it"
        )
    if runs.is_relative_to(path) or path.parent == runs:
        raise UsageError(f"{EXPECTED_TARGET}, found {target}, among the run directories of {name}")
    if not disk.can_create_folder(parent):
        raise UsageError(f"{EXPECTED_TARGET}, found {target}, which cannot be created in {parent}")
    return path


def copy_published(session: DomainSession, target: Path, *, published: bool) -> None:
    """Copy the published set, or report that this run published nothing to copy."""
    say, home = session.project.say, session.home
    directory = session.published_directory() if published else None
    if directory is None:
        say(f"{target}: not written, as this run of {session.domain.name} published nothing")
        return
    try:
        run_directory.copy_run_directory(directory, target)
    except (OSError, HomeError) as error:
        raise HomeError(
            f"{target}: expected to write a copy, found: {error}; the run is published "
            f"all the same, in {home.relative(directory)}; run again with another directory"
        ) from error
    say(f"{target}: a copy of {home.relative(directory)}")

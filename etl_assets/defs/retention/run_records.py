"""Dagster's records of runs: which of a domain's are old and hold nothing, and deleting them.

A run's events are deleted with it, so a run stays while it holds the newest event of anything: no
event is ever written again, which would make old data look fresh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from pathlib import Path

import dagster as dg

# Deleting a run leaves its check executions and, with SQLite, its file of events. Neither has a
# public API in Dagster 1.13; drop this once `delete_run` deletes them.
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys
from etl_assets.defs.event_log import (
    COMMAND_TAG,
    DIRECTORY_TAG_PREFIX,
    EventLog,
    SourceState,
)
from etl_assets.defs.materialize import read_record
from etl_assets.model.home import Home
from etl_assets.model.records import FetchResult

CHECKS_AND_OBSERVATIONS = {
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
}
SQLITE_SUFFIXES = (".db", ".db-wal", ".db-shm")
FIRST_SHARD_CHARACTERS = "[0-9a-f]"  # of a run's id; events outside of runs have a file without one


def list_old_run_records(
    event_log: EventLog,
    home: Home,
    domain: Domain,
    states: Mapping[str, SourceState],
    *,
    domains: AbstractSet[str],
    removed_digests: AbstractSet[str] = frozenset(),
) -> list[str]:
    """Return the ended runs beyond `keep_runs` that hold no newest event, oldest first.

    `domains` are those whose locks the caller holds: a run of any other domain too is left out.
    Raw files with `removed_digests` count as removed.
    """
    own = [
        record
        for record in event_log.instance.get_run_records()  # newest first
        if domain.name in domains_of_run(record.dagster_run)
    ]
    newest, old = own[: domain.retention.keep_runs], own[domain.retention.keep_runs :]
    old = [
        record
        for record in old
        if record.dagster_run.is_finished and domains_of_run(record.dagster_run) <= domains
    ]
    if not old:
        return []
    window_start = min(record.create_timestamp for record in newest)
    needed = _runs_of_newest_events(event_log, domain)
    needed |= _runs_of_stored_files(event_log, home, domain, states, window_start, removed_digests)
    candidates = [r.dagster_run.run_id for r in old if r.dagster_run.run_id not in needed]
    needed = _runs_of_newest_checks(event_log, candidates)
    return [run_id for run_id in reversed(candidates) if run_id not in needed]


def domains_of_run(run: dg.DagsterRun) -> set[str]:
    """Return the domains whose data a run made; none if it is no run of this project."""
    names = {
        tag.removeprefix(DIRECTORY_TAG_PREFIX)
        for tag in run.tags
        if tag.startswith(DIRECTORY_TAG_PREFIX)
    }
    names |= {run.tags[COMMAND_TAG]} if COMMAND_TAG in run.tags else set()
    names |= set(filter(None, [asset_keys.domain_of_job(run.job_name)]))
    # Another project may share DAGSTER_HOME: asset keys alone do not prove whose a run is.
    if names:
        names |= {key.path[0] for key in run.asset_selection or ()}
    return names


def delete_run_record(event_log: EventLog, run_id: str) -> None:
    """Delete a run with its events, check executions and compute logs."""
    instance, storage = event_log.instance, event_log.instance.event_log_storage
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    if isinstance(storage, SqlEventLogStorage):
        with storage.index_connection() as connection:
            executions = AssetCheckExecutionsTable
            connection.execute(executions.delete().where(executions.c.run_id == run_id))
    if not isinstance(storage, SqliteEventLogStorage):
        # First: a database has no files by which events without a run would be found.
        storage.delete_events(run_id)
    instance.delete_run(run_id)
    # Last: a file without a run is what an interrupted deletion leaves, and is found by.
    for path in _event_files(storage, run_id):
        path.unlink(missing_ok=True)


def finish_deletions(event_log: EventLog) -> None:
    """Complete deletions that were interrupted: of runs that have an event file and no record."""
    storage = event_log.instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        return
    folder = Path(storage.path_for_shard(INDEX_SHARD_NAME)).parent
    # Listed before the runs: a run that starts meanwhile has a record before it has a file.
    names = {path.stem for path in folder.glob(f"{FIRST_SHARD_CHARACTERS}*.db")}
    names.discard(INDEX_SHARD_NAME)
    recorded = set(event_log.instance.get_run_ids()) if names else set()
    for run_id in sorted(names - recorded):
        delete_run_record(event_log, run_id)


def measure_event_file(event_log: EventLog, run_id: str) -> int:
    """Return the bytes of a run's event file; 0 if the storage has none for each run."""
    storage = event_log.instance.event_log_storage
    return sum(path.stat().st_size for path in _event_files(storage, run_id) if path.exists())


def _event_files(storage: object, run_id: str) -> list[Path]:
    if not isinstance(storage, SqliteEventLogStorage):
        return []
    file = Path(storage.path_for_shard(run_id))
    return [file.with_suffix(suffix) for suffix in SQLITE_SUFFIXES]


def _runs_of_newest_events(event_log: EventLog, domain: Domain) -> set[str]:
    """Return the runs of the last materialization of every asset of the domain and partition."""
    instance = event_log.instance
    keys = instance.get_asset_keys(prefix=[domain.name])
    run_ids = set()
    for record in instance.get_asset_records(keys) if keys else ():
        last = record.asset_entry.last_materialization_record
        if last is None:
            continue
        run_ids.add(last.run_id)
        if last.partition_key is not None:
            run_ids |= event_log.partition_run_ids(record.asset_entry.asset_key)
    return run_ids


def _runs_of_stored_files(
    event_log: EventLog,
    home: Home,
    domain: Domain,
    states: Mapping[str, SourceState],
    before: datetime,
    removed_digests: AbstractSet[str],
) -> set[str]:
    """Return the runs before a time with the last mention of an earlier file that is still stored.

    Without its event the file would belong to nothing: no rollback could find it, and no retention.
    """
    run_ids = set()
    for source in domain.sources.values():
        fetches = states[source.name].fetches
        seen = {(key, fetch.file.sha256) for key, fetch in fetches.items() if fetch.file}
        event_filter = dg.AssetRecordsFilter(
            asset_keys.raw_key(source), before_timestamp=before.timestamp()
        )
        for event in event_log.materializations(event_filter):
            fetch = read_record(event.asset_materialization, FetchResult)
            if fetch is None or fetch.file is None:
                continue
            sha256 = fetch.file.sha256
            version = (event.partition_key, sha256)
            if version not in seen:
                seen.add(version)
                if sha256 not in removed_digests and home.raw_file(sha256).exists():
                    run_ids.add(event.run_id)
    return run_ids


def _runs_of_newest_checks(event_log: EventLog, run_ids: Sequence[str]) -> set[str]:
    """Return those of the runs with the last evaluation of a check, or the last observation."""
    checks: set[dg.AssetCheckKey] = set()
    observed: set[tuple[dg.AssetKey, str | None]] = set()
    for run_id in run_ids:
        records = event_log.instance.get_records_for_run(run_id, of_type=CHECKS_AND_OBSERVATIONS)
        for record in records.records:
            event = record.event_log_entry.dagster_event
            observation = record.event_log_entry.asset_observation
            if observation is not None:
                observed.add((observation.asset_key, observation.partition))
            elif event is not None:
                checks.add(event.asset_check_evaluation_data.asset_check_key)
    needed: set[str] = set()
    for key, partition in observed:
        needed |= _runs_of_last_observation(event_log, key, partition)
    return needed | {
        entry.run_id for entry in event_log.latest_check_events(sorted(checks, key=str)).values()
    }


def _runs_of_last_observation(
    event_log: EventLog, key: dg.AssetKey, partition: str | None
) -> set[str]:
    partitions = None if partition is None else [partition]
    event_filter = dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions)
    observations = event_log.instance.fetch_observations(event_filter, limit=1)
    return {record.run_id for record in observations.records}

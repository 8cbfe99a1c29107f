"""The event log: what runs recorded in Dagster's instance, and the operator's decisions.

Each materialization carries its whole record, which is read back from here. What follows from a
record is decided by the stages. Operations use this class and not Dagster, so that the event log
may be kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus

# Dagster 1.13 exports none of these statuses from a public module.
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as EVALUATED,
)
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys
from etl_assets.defs.materialize import (
    RECORD,
    PartOutcome,
    SourceCheck,
    check_event,
    evaluate_check,
    materialization_event,
    read_record,
)
from etl_assets.fetch.file_set import NO_FILE
from etl_assets.model.records import (
    FetchResult,
    FetchStatus,
    Reason,
    Record,
    TableResult,
    ValidationResult,
)

R = TypeVar("R", bound=Record)
PartitionEvents = dict[str, dg.EventLogRecord]
T = TypeVar("T")

COMMAND_TAG = "etl/command"  # its value is the domain; a run that Dagster's UI launches has none
DIRECTORY_TAG_PREFIX = "etl/directory/"  # with the domain; its value names the run directory
# A run that was killed between its creation and its start never leaves NOT_STARTED.
UNFINISHED = [*IN_PROGRESS_RUN_STATUSES, dg.DagsterRunStatus.NOT_STARTED]
PROBED_AT = "probed_at"  # the metadata entry of an observation
PAGE_SIZE = 100  # events a query
ASSETS_A_QUERY = 1000
OBSERVATIONS_A_QUERY = 1000


@dataclass(frozen=True, slots=True)
class SourceState:
    """The last record of each partition of a source; an unpartitioned source has the key None."""

    fetches: Mapping[str | None, FetchResult]
    validated: Mapping[str | None, ValidationResult]
    tables: Mapping[str | None, TableResult]

    @property
    def partitions(self) -> list[str | None]:
        """The partitions that were ever fetched, in order."""
        return sorted(self.fetches, key=lambda partition: partition or "")


class EventLog:
    """What runs and operators recorded, by asset, check and run."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        # Events never change, so that a step that reads the state again pays for the query alone.
        self._read_events: dict[int, dg.EventLogRecord] = {}

    def read_sources(self, sources: Iterable[Source]) -> dict[str, SourceState]:
        """Return the state of each source by name.

        All unpartitioned sources together cost one query for each stage and thousand; a partitioned
        one costs one query for each stage, and all of these together one for each page of events.
        """
        states: dict[str, SourceState] = {}
        sources = list(sources)
        partitioned = [source for source in sources if source.partitions is not None]
        stages = (asset_keys.raw_key, asset_keys.validated_key, asset_keys.table_key)
        events = self._newest_events([key(source) for source in partitioned for key in stages])
        single = [source for source in sources if source.partitions is None]
        raw = self.latest_records(map(asset_keys.raw_key, single), FetchResult)
        validated = self.latest_records(map(asset_keys.validated_key, single), ValidationResult)
        tables = self.latest_records(map(asset_keys.table_key, single), TableResult)
        for source in sources:
            if source.partitions is None:
                states[source.name] = SourceState(
                    _unpartitioned(raw.get(asset_keys.raw_key(source))),
                    _unpartitioned(validated.get(asset_keys.validated_key(source))),
                    _unpartitioned(tables.get(asset_keys.table_key(source))),
                )
            else:
                states[source.name] = _without_forgotten(
                    self._read_partitions(asset_keys.raw_key(source), events, FetchResult),
                    self._read_partitions(
                        asset_keys.validated_key(source), events, ValidationResult
                    ),
                    self._read_partitions(asset_keys.table_key(source), events, TableResult),
                )
        return states

    def last_contacts(
        self,
        sources: Iterable[Source],
        states: Mapping[str, SourceState],
        *,
        since: datetime | None = None,
    ) -> dict[str, datetime]:
        """Return when each source's remote last answered a fetch or a recorded probe, by name.

        Of the probes that were recorded before `since`, some may be left out. One query for each
        thousand sources, and one for each thousand observations of any domain after `since`.
        """
        names = {asset_keys.raw_key(source): source.name for source in sources}
        contacts: dict[str, datetime] = {}
        for entry in self._asset_records(names):
            name = names[entry.asset_entry.asset_key]
            last = entry.asset_entry.last_materialization_record
            # An outage or a skipped source materializes too, with the file of an earlier contact.
            if last is not None and all(map(_is_answer, states[name].fetches.values())):
                contacts[name] = datetime.fromtimestamp(last.timestamp, UTC)
        for key, probe in self._newest_observations(names.keys(), since).items():
            name = names[key]
            if "fault" not in probe.metadata and PROBED_AT in probe.metadata:
                probed_at = datetime.fromisoformat(str(probe.metadata[PROBED_AT].value))
                contacts[name] = max(contacts.get(name, probed_at), probed_at)
        return contacts

    def latest_record(self, key: dg.AssetKey, kind: type[R]) -> R | None:
        """Return the record of an unpartitioned asset's last materialization."""
        return self.latest_records([key], kind).get(key)

    def latest_records(self, keys: Iterable[dg.AssetKey], kind: type[R]) -> dict[dg.AssetKey, R]:
        """Return the last record of each asset that was ever materialized, a query a thousand."""
        records = {}
        for entry in self._asset_records(keys):
            last = entry.asset_entry.last_materialization
            record = read_record(last.asset_materialization, kind) if last else None
            if record is not None:
                records[entry.asset_entry.asset_key] = record
        return records

    def newest_record(self, keys: Iterable[dg.AssetKey], kind: type[R]) -> R | None:
        """Return the record of the asset that was materialized last."""
        entries = (entry.asset_entry for entry in self._asset_records(keys))
        events = [e.last_materialization_record for e in entries if e.last_materialization_record]
        if not events:
            return None
        newest = max(events, key=lambda event: event.storage_id)
        return read_record(newest.asset_materialization, kind)

    def partition_records(self, key: dg.AssetKey, kind: type[R]) -> dict[str | None, R]:
        """Return the last record of each partition that was ever materialized."""
        return self._read_partitions(key, self._newest_events([key]), kind)

    def _read_partitions(
        self, key: dg.AssetKey, newest: Mapping[dg.AssetKey, PartitionEvents], kind: type[R]
    ) -> dict[str | None, R]:
        """Return the last record of each partition, given the newest event of each."""
        events = newest[key]
        bare = [partition for partition, event in events.items() if not _has_record(event)]
        records: dict[str | None, R] = {}
        for partition, event in {**events, **self._events_with_record(key, bare)}.items():
            record = read_record(event.asset_materialization, kind)
            if record is not None:
                records[partition] = record
        return records

    def partition_run_ids(self, key: dg.AssetKey) -> set[str]:
        """Return the runs of the last event, and of the last record, of each partition."""
        events = self._newest_events([key])[key]
        bare = [partition for partition, event in events.items() if not _has_record(event)]
        return {
            event.run_id
            for event in (*events.values(), *self._events_with_record(key, bare).values())
        }

    def _asset_records(self, keys: Iterable[dg.AssetKey]) -> Iterator[dg.AssetRecord]:
        """Yield what Dagster has of each asset that it knows."""
        for page in batched(keys, ASSETS_A_QUERY):
            yield from self.instance.get_asset_records(page)

    def _newest_events(self, keys: Sequence[dg.AssetKey]) -> dict[dg.AssetKey, PartitionEvents]:
        """Return the last materialization of each partition of each asset."""
        # The public API pages through all events of an asset, newest first: reading would end at
        # the partition that has not moved for longest, after thousands of events of one that moves
        # every hour.
        storage = self.instance.event_log_storage
        newest: dict[dg.AssetKey, PartitionEvents] = {}
        ids: set[int] = set()
        for key in keys:
            by_partition = storage.get_latest_storage_id_by_partition(
                key, dg.DagsterEventType.ASSET_MATERIALIZATION
            )
            ids.update(by_partition.values())
            newest[key] = {}
        for page in batched(sorted(ids - self._read_events.keys()), PAGE_SIZE):
            by_id = dg.EventRecordsFilter(
                dg.DagsterEventType.ASSET_MATERIALIZATION, storage_ids=page
            )
            for event in storage.get_event_records(by_id):
                self._read_events[event.storage_id] = event
        for storage_id in ids:
            found = self._read_events.get(storage_id)  # None: retention has just deleted it
            if found and found.asset_key is not None and found.partition_key:
                newest[found.asset_key][found.partition_key] = found
        return newest

    def _events_with_record(
        self, key: dg.AssetKey, partitions: Sequence[str]
    ) -> dict[str, dg.EventLogRecord]:
        """Return the last materialization with a record, of partitions whose newest has none.

        Dagster materializes an asset for every partition of a run's range. Those of the domain's
        other file sets never have a record; a forgotten file has one before such events.
        """
        missing = set(partitions)
        events: dict[str, dg.EventLogRecord] = {}
        cursor: str | None = None
        while missing:
            event_filter = dg.AssetRecordsFilter(asset_key=key, asset_partitions=sorted(missing))
            page = self.instance.fetch_materializations(
                event_filter, limit=PAGE_SIZE, cursor=cursor
            )
            for event in page.records:
                if event.partition_key in missing and _has_record(event):
                    events[event.partition_key] = event
                    missing.discard(event.partition_key)
            if not page.has_more:
                break
            cursor = page.cursor
        return events

    def fetch_history(self, source: Source, partition: str | None) -> Iterator[FetchResult]:
        """Yield the record of every fetch of one partition, the newest first."""
        return self.record_history(asset_keys.raw_key(source), partition, FetchResult)

    def fetch_histories(self, source: Source) -> dict[str | None, list[FetchResult]]:
        """Return the record of every fetch by partition, the newest first."""
        histories: dict[str | None, list[FetchResult]] = {}
        for event in self.materializations(dg.AssetRecordsFilter(asset_keys.raw_key(source))):
            fetch = read_record(event.asset_materialization, FetchResult)
            if fetch is not None:
                histories.setdefault(event.partition_key, []).append(fetch)
        return histories

    def record_history(self, key: dg.AssetKey, partition: str | None, kind: type[R]) -> Iterator[R]:
        """Yield the record of every materialization of one partition, the newest first."""
        event_filter = dg.AssetRecordsFilter(
            asset_key=key,
            asset_partitions=None if partition is None else [partition],
        )
        for event in self.materializations(event_filter):
            record = read_record(event.asset_materialization, kind)
            if record is not None:
                yield record

    def materializations(self, event_filter: dg.AssetRecordsFilter) -> Iterator[dg.EventLogRecord]:
        """Yield the events that fit the filter, the newest first."""
        cursor: str | None = None
        while True:
            page = self.instance.fetch_materializations(
                event_filter, limit=PAGE_SIZE, cursor=cursor
            )
            yield from page.records
            if not page.has_more:
                return
            cursor = page.cursor

    def last_observation(
        self, key: dg.AssetKey, partition: str | None
    ) -> dg.AssetObservation | None:
        """Return the last observation of a partition, or of an unpartitioned asset."""
        partitions = None if partition is None else [partition]
        event_filter = dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions)
        for entry in self.instance.fetch_observations(event_filter, limit=1).records:
            return entry.asset_observation
        return None

    def _newest_observations(
        self, keys: Collection[dg.AssetKey], since: datetime | None
    ) -> dict[dg.AssetKey, dg.AssetObservation]:
        """Return the last observation of each asset that has one after `since`."""
        # The public API reads the observations of one asset a query.
        storage = self.instance.event_log_storage
        newest: dict[dg.AssetKey, dg.AssetObservation] = {}
        cursor: int | None = None
        while len(newest) < len(keys):
            page = storage.get_event_records(
                dg.EventRecordsFilter(
                    dg.DagsterEventType.ASSET_OBSERVATION,
                    after_timestamp=since.timestamp() if since else None,
                    before_cursor=cursor,
                ),
                limit=OBSERVATIONS_A_QUERY,
            )
            for record in page:
                observation = record.asset_observation
                if observation is not None and observation.asset_key in keys:
                    newest.setdefault(observation.asset_key, observation)
            if len(page) < OBSERVATIONS_A_QUERY:
                break
            cursor = page[-1].storage_id
        return newest

    def latest_observation(self, key: dg.AssetKey, kind: type[R]) -> R | None:
        """Return the record of an asset's last observation, or None if it carries none."""
        for entry in self.instance.fetch_observations(key, limit=1).records:
            return read_record(entry.asset_observation, kind)
        return None

    def latest_checks(
        self, keys: Sequence[dg.AssetCheckKey]
    ) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]:
        """Return the last evaluation of each check that was ever evaluated.

        A run that plans a check and does not evaluate it leaves the earlier evaluation valid.
        """
        evaluations = {}
        for key, entry in self.latest_check_events(keys).items():
            evaluation = _evaluation(entry)
            if evaluation is not None:
                evaluations[key] = evaluation
        return evaluations

    def latest_check_events(
        self, keys: Sequence[dg.AssetCheckKey]
    ) -> dict[dg.AssetCheckKey, dg.EventLogEntry]:
        """Return the event of the last evaluation of each check that was ever evaluated."""
        # The public `get_latest_asset_check_evaluation_record` reads one check a query; there are
        # hundreds of checks on models.
        storage = self.instance.event_log_storage
        entries: dict[dg.AssetCheckKey, dg.EventLogEntry] = {}
        for key, latest in storage.get_latest_asset_check_execution_by_key(keys).items():
            entry = latest.event
            if _evaluation(entry) is None:
                history = storage.get_asset_check_execution_history(key, limit=1, status=EVALUATED)
                entry = history[0].event if history else None
            if entry is not None and _evaluation(entry) is not None:
                entries[key] = entry
        return entries

    def report(
        self, event: dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation
    ) -> None:
        """Record an event outside of a run."""
        self.instance.report_runless_asset_event(event)

    def report_outcome(
        self, key: dg.AssetKey, partition: str | None, outcome: PartOutcome[R], **entries: str
    ) -> None:
        """Record a materialization outside of a run; `entries` are added to its metadata."""
        event = materialization_event(key, partition, outcome)
        self.report(event.with_metadata({**event.metadata, **entries}))

    def report_checks(
        self,
        source: Source,
        key: dg.AssetKey,
        checks: Iterable[SourceCheck[R]],
        records: Mapping[str | None, R],
        fetches: Mapping[str | None, FetchResult],
    ) -> None:
        """Evaluate checks over the records of all partitions, and record them outside of a run."""
        for check in checks:
            result = evaluate_check(source, key, check, records, fetches)
            self.report(check_event(key, check.name, result))

    def wipe_assets(self, keys: Sequence[dg.AssetKey]) -> None:
        """Remove all events of assets."""
        if keys:
            self.instance.wipe_assets(keys)

    def automation_switches(self) -> dict[str, bool]:
        """Return which sensors and schedules were switched on or off in the pages, by name."""
        switches = {}
        for state in self.instance.all_instigator_state():
            if state.status in {InstigatorStatus.RUNNING, InstigatorStatus.STOPPED}:
                switches[state.instigator_name] = state.status is InstigatorStatus.RUNNING
        return switches

    def dynamic_partitions(self, name: str) -> Sequence[str]:
        return self.instance.get_dynamic_partitions(name)

    def add_dynamic_partitions(self, name: str, partitions: Sequence[str]) -> None:
        if partitions:
            self.instance.add_dynamic_partitions(name, list(partitions))

    def run_count(self) -> int:
        return self.instance.get_runs_count()

    def unfinished_runs(self, domain: str) -> list[str]:
        """Return the runs that a command started and that have no end in the event log."""
        runs = dg.RunsFilter(statuses=UNFINISHED, tags={COMMAND_TAG: domain})
        return [run.run_id for run in self.instance.get_runs(runs)]

    def unfinished_directories(self, domain: str) -> set[str]:
        """Return the names of the run directories that runs without an end write to."""
        runs = self.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
        names = {run.tags.get(f"{DIRECTORY_TAG_PREFIX}{domain}") for run in runs}
        return {name for name in names if name}

    def is_finished(self, run_id: str) -> bool:
        """Return True if the run has ended, or is unknown."""
        run = self.instance.get_run_by_id(run_id)
        return run is None or run.is_finished

    def run_tags(self, run_id: str) -> Mapping[str, str]:
        return self._run_record(run_id).dagster_run.tags

    def add_run_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        self.instance.add_run_tags(run_id, dict(tags))

    def run_started_at(self, run_id: str) -> datetime | None:
        """Return when the run started, or None if it has not."""
        started = self._run_record(run_id).start_time
        return datetime.fromtimestamp(started, UTC) if started else None

    def run_events(self, run_id: str) -> list[dg.EventLogEntry]:
        """Return every event of a run so far, in order."""
        return [
            entry.event_log_entry for entry in self.instance.get_records_for_run(run_id).records
        ]

    def planned_steps(self, run_id: str) -> Sequence[str]:
        """Return the steps that the run was launched for."""
        snapshot = self._run_record(run_id).dagster_run.execution_plan_snapshot_id
        if snapshot is None:
            raise KeyError(run_id)
        return self.instance.get_execution_plan_snapshot(snapshot).step_keys_to_execute

    def succeeded_steps(self, run_id: str) -> set[str | None]:
        successes = self.instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.STEP_SUCCESS
        )
        events = (record.event_log_entry.dagster_event for record in successes.records)
        return {event.step_key for event in events if event}

    def fail_run(self, run_id: str, reason: str) -> None:
        """Record the end of a run whose process is gone."""
        self.instance.report_run_failed(self._run_record(run_id).dagster_run, reason)

    def runs_in_pools(self) -> set[str]:
        """Return the runs that occupy a slot of a concurrency pool, or wait for one."""
        # Pools are public in `dagster.yaml` alone: their slots are only reached by the storage.
        storage = self.instance.event_log_storage
        run_ids: set[str] = set()
        for pool in storage.get_concurrency_keys():
            info = storage.get_concurrency_info(pool)
            run_ids |= {*info.active_run_ids, *info.pending_run_ids}
        return run_ids

    def free_pool_slots(self, run_id: str) -> None:
        self.instance.event_log_storage.free_concurrency_slots_for_run(run_id)

    def _run_record(self, run_id: str) -> dg.RunRecord:
        record = self.instance.get_run_record_by_id(run_id)
        if record is None:
            raise KeyError(run_id)
        return record


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most a size; `itertools` has it from Python 3.12 on."""
    rest = iter(items)
    while page := list(islice(rest, size)):
        yield page


def _is_answer(fetch: FetchResult) -> bool:
    """Return True if the remote answered, and was not left alone or unreachable."""
    return fetch.status.is_served and fetch.decision.reason is not Reason.ALREADY_STORED


def _has_record(event: dg.EventLogRecord) -> bool:
    materialization = event.asset_materialization
    return materialization is not None and RECORD in materialization.metadata


def _evaluation(entry: dg.EventLogEntry | None) -> dg.AssetCheckEvaluation | None:
    """Return the evaluation of a check's event, or None if the check was only planned."""
    event = entry.dagster_event if entry else None
    if event is None or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    return event.asset_check_evaluation_data


def _unpartitioned(record: R | None) -> dict[str | None, R]:
    return {} if record is None else {None: record}


def _without_forgotten(
    fetches: dict[str | None, FetchResult],
    validated: dict[str | None, ValidationResult],
    tables: dict[str | None, TableResult],
) -> SourceState:
    """Leave out the partitions that the operator removed: a file that comes back is a new one."""
    forgotten = {key for key, fetch in fetches.items() if fetch.status is FetchStatus.FORGOTTEN}
    return SourceState(
        _current(fetches, forgotten), _current(validated, forgotten), _current(tables, forgotten)
    )


def _current(records: dict[str | None, R], forgotten: set[str | None]) -> dict[str | None, R]:
    """Leave out forgotten partitions, and the placeholder of an empty folder once it has files."""
    current = {key: record for key, record in records.items() if key not in forgotten}
    if len(current) > 1:
        current.pop(NO_FILE, None)
    return current

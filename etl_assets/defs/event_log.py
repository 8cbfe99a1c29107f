"""What stands, read back from the event log: the one book that is kept.

Each materialization carries its record whole under `RECORD`, beside entries for people. Deciding on
what is read here is the stages'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys
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

RECORD = "record"
EVALUATED = frozenset(
    {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
)


@dataclass(frozen=True, slots=True)
class SourceState:
    """What was last recorded of each part of a source; one without partitions has the part None."""

    fetches: Mapping[str | None, FetchResult]
    validated: Mapping[str | None, ValidationResult]
    tables: Mapping[str | None, TableResult]

    @property
    def parts(self) -> list[str | None]:
        """The parts that were ever fetched, in order."""
        return sorted(self.fetches, key=lambda part: part or "")


def read_sources(instance: dg.DagsterInstance, sources: Iterable[Source]) -> dict[str, SourceState]:
    """The state of each source, by name; unpartitioned ones cost one query together."""
    wanted = list(sources)
    whole = [source for source in wanted if source.partitions is None]
    raws = latest_of(instance, [asset_keys.raw_key(source) for source in whole], FetchResult)
    judged = latest_of(
        instance, [asset_keys.validated_key(source) for source in whole], ValidationResult
    )
    tables = latest_of(instance, [asset_keys.table_key(source) for source in whole], TableResult)
    states = {
        source.name: SourceState(
            fetches=_as_part(raws.get(asset_keys.raw_key(source))),
            validated=_as_part(judged.get(asset_keys.validated_key(source))),
            tables=_as_part(tables.get(asset_keys.table_key(source))),
        )
        for source in whole
    }
    states |= {
        source.name: _by_part(
            by_partition(instance, asset_keys.raw_key(source), FetchResult),
            by_partition(instance, asset_keys.validated_key(source), ValidationResult),
            by_partition(instance, asset_keys.table_key(source), TableResult),
        )
        for source in wanted
        if source.partitions is not None
    }
    return {source.name: states[source.name] for source in wanted}


def contacts(
    instance: dg.DagsterInstance, sources: Iterable[Source], states: Mapping[str, SourceState]
) -> dict[str, datetime]:
    """When each source's remote last gave an answer, by name: to a fetch, or to a probe alone."""
    by_key = {asset_keys.raw_key(source): source.name for source in sources}
    found: dict[str, datetime] = {}
    for entry in instance.get_asset_records(list(by_key)):
        name = by_key[entry.asset_entry.asset_key]
        last = entry.asset_entry.last_materialization_record
        served = all(_was_asked(fetch) for fetch in states[name].fetches.values())
        if last is not None and served:
            found[name] = datetime.fromtimestamp(last.timestamp, UTC)
    for key, name in by_key.items():
        probes = instance.fetch_observations(key, limit=1).records
        seen = probes[0].asset_observation if probes else None
        if seen is not None and "fault" not in seen.metadata and "probed_at" in seen.metadata:
            at = datetime.fromisoformat(str(seen.metadata["probed_at"].value))
            found[name] = max(found.get(name, at), at)
    return found


def _was_asked(fetch: FetchResult) -> bool:
    """Whether the record is the word of the remote, and not of who left it alone."""
    return fetch.status.is_served and fetch.decision.reason is not Reason.HELD


def latest(instance: dg.DagsterInstance, key: dg.AssetKey, kind: type[R]) -> R | None:
    """The record of an unpartitioned asset's last materialization."""
    return latest_of(instance, [key], kind).get(key)


def latest_of(
    instance: dg.DagsterInstance, wanted: Sequence[dg.AssetKey], kind: type[R]
) -> dict[dg.AssetKey, R]:
    """The same for many assets, with one query; an asset that was never made is left out."""
    found = {}
    for entry in instance.get_asset_records(wanted) if wanted else ():
        last = entry.asset_entry.last_materialization
        if last and (record := record_of(last.asset_materialization, kind)):
            found[entry.asset_entry.asset_key] = record
    return found


def by_partition(
    instance: dg.DagsterInstance, key: dg.AssetKey, kind: type[R]
) -> dict[str | None, R]:
    """The record of each partition's last materialization."""
    waiting = set(instance.get_materialized_partitions(key))
    found: dict[str | None, R] = {}
    cursor: str | None = None
    while waiting:
        page = instance.fetch_materializations(key, limit=100, cursor=cursor)
        for entry in page.records:
            partition = entry.partition_key
            if partition in waiting and (record := record_of(entry.asset_materialization, kind)):
                found[partition] = record
                waiting.discard(partition)
        if not page.has_more:
            break
        cursor = page.cursor
    return found


def history(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None, kind: type[R]
) -> Iterator[R]:
    """The records of every materialization of one part, the newest first."""
    wanted = dg.AssetRecordsFilter(
        asset_key=key, asset_partitions=None if partition is None else [partition]
    )
    cursor: str | None = None
    while True:
        page = instance.fetch_materializations(wanted, limit=100, cursor=cursor)
        found = (record_of(entry.asset_materialization, kind) for entry in page.records)
        yield from (record for record in found if record is not None)
        if not page.has_more:
            return
        cursor = page.cursor


def metadata_of(record: Record, people: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata for a materialization: the record whole, and entries that a person looks at."""
    shown = {name: value for name, value in people.items() if value is not None}
    return {**shown, RECORD: dg.MetadataValue.json(record.model_dump(mode="json"))}


def latest_checks(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]:
    """The last evaluation of each check that was ever evaluated.

    A run that plans a check and finds nothing new to judge leaves the earlier verdict standing.
    """
    storage = instance.event_log_storage
    rows = storage.get_latest_asset_check_execution_by_key(keys)
    found = {key: _evaluation(row) for key, row in rows.items()}
    for key in [key for key, evaluation in found.items() if evaluation is None]:
        earlier = storage.get_asset_check_execution_history(key, limit=1, status=EVALUATED)
        found[key] = _evaluation(earlier[0]) if earlier else None
    return {key: evaluation for key, evaluation in found.items() if evaluation is not None}


def _evaluation(row: AssetCheckExecutionRecord) -> dg.AssetCheckEvaluation | None:
    event = row.event.dagster_event if row.event else None
    if event is None or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    return event.asset_check_evaluation_data


def _by_part(
    fetches: dict[str | None, FetchResult],
    validated: dict[str | None, ValidationResult],
    tables: dict[str | None, TableResult],
) -> SourceState:
    """Without the parts that a person has let go of: a file that comes back is a new one."""
    gone = {part for part, last in fetches.items() if last.status is FetchStatus.FORGOTTEN}
    return SourceState(_held(fetches, gone), _held(validated, gone), _held(tables, gone))


def _held(found: dict[str | None, R], gone: set[str | None]) -> dict[str | None, R]:
    """Without what is gone, and the one that stood for no file at all where there are others."""
    held = {part: record for part, record in found.items() if part not in gone}
    return {part: held[part] for part in held if part != NO_FILE or len(held) == 1}


def _as_part(record: R | None) -> dict[str | None, R]:
    return {} if record is None else {None: record}


def record_of(event: dg.AssetMaterialization | None, kind: type[R]) -> R | None:
    """The record that a materialization carries; None where it carries none."""
    value = None if event is None else event.metadata.get(RECORD)
    if not isinstance(value, dg.JsonMetadataValue):
        return None
    return kind.model_validate(value.data)

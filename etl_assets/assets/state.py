"""What stands, read back from the event log: the one book that is kept.

Each materialization carries its record whole under `RECORD`, beside entries for people. Deciding on
what is read here is the stages'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import dagster as dg

from etl_assets.model.records import Record

R = TypeVar("R", bound=Record)

RECORD = "record"
NO_PARTITION: None = None


def latest(instance: dg.DagsterInstance, key: dg.AssetKey, kind: type[R]) -> R | None:
    """The record of an unpartitioned asset's last materialization."""
    event = instance.get_latest_materialization_event(key)
    return None if event is None else _record(event.asset_materialization, kind)


def latest_by_partition(
    instance: dg.DagsterInstance, key: dg.AssetKey, kind: type[R]
) -> dict[str, R]:
    """The record of each partition's last materialization."""
    waiting = set(instance.get_materialized_partitions(key))
    found: dict[str, R] = {}
    cursor: str | None = None
    while waiting:
        page = instance.fetch_materializations(key, limit=100, cursor=cursor)
        for entry in page.records:
            partition = entry.partition_key
            if partition in waiting and (record := _record(entry.asset_materialization, kind)):
                found[partition] = record
                waiting.discard(partition)
        if not page.has_more:
            break
        cursor = page.cursor
    return found


def standing(
    instance: dg.DagsterInstance, key: dg.AssetKey, kind: type[R], *, partitioned: bool
) -> dict[str | None, R]:
    """The last record of each partition, or of the whole asset under None."""
    if partitioned:
        return dict(latest_by_partition(instance, key, kind).items())
    record = latest(instance, key, kind)
    return {} if record is None else {NO_PARTITION: record}


def metadata_of(record: Record, people: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata for a materialization: the record whole, and entries that a person looks at."""
    shown = {name: value for name, value in people.items() if value is not None}
    return {**shown, RECORD: dg.MetadataValue.json(record.model_dump(mode="json"))}


def latest_checks(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]:
    """The last evaluation of each check that was ever evaluated."""
    rows = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    evaluations = {}
    for key, row in rows.items():
        event = row.event.dagster_event if row.event else None
        if event is not None and event.event_type_value == "ASSET_CHECK_EVALUATION":
            evaluations[key] = event.asset_check_evaluation_data
    return evaluations


def _record(event: dg.AssetMaterialization | None, kind: type[R]) -> R | None:
    value = None if event is None else event.metadata.get(RECORD)
    if not isinstance(value, dg.JsonMetadataValue):
        return None
    return kind.model_validate(value.data)

"""How records become materializations and checks, and are read back from them.

A record goes in and Dagster's results come out; nothing is fetched, read or built here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import dagster as dg

# The tags of an event have no public names: only MaterializeResult takes a DataVersion, and events
# of single partitions and outside of a run carry the tags themselves.
from dagster._core.definitions.data_version import CODE_VERSION_TAG, DATA_VERSION_TAG

from etl_assets.declarations.source import Files, Source
from etl_assets.model.records import FetchResult, Record

R = TypeVar("R", bound=Record)

ROWS = "rows"  # the metadata entry of a check with its first failing rows
RECORD = "record"  # the metadata entry with the whole record, beside entries for the UI


@dataclass(frozen=True, slots=True)
class CheckFailure:
    """Why a check did not pass for one partition."""

    text: str
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


@dataclass(frozen=True, slots=True)
class SourceCheck(Generic[R]):
    """A check on one stage of every source. Each stage's module lists its checks as CHECKS."""

    name: str
    describe: Callable[[Source], str]
    evaluate: Callable[[Source, R, FetchResult | None], CheckFailure | None]
    """Judges the record of one partition, given the partition's last fetch."""


@dataclass(frozen=True, slots=True)
class PartOutcome(Generic[R]):
    """The record of one partition, its data version, and metadata for the UI."""

    record: R
    version: str
    reused: bool
    metadata: Mapping[str, Any] = field(default_factory=dict)


def selected_partitions(
    context: dg.AssetExecutionContext, source: Source, own: Iterable[str | None]
) -> list[str | None]:
    """Return the partitions of a source that the run selects; `[None]` without partitions.

    All file sets of a domain share one partitions definition, so the run also selects the files of
    other sources: `own` are the partitions that belong to this one.
    """
    if source.partitions is None:
        return [None]
    if not isinstance(source.partitions, Files):
        return list(context.partition_keys)
    own = set(own)
    return [partition for partition in context.partition_keys if partition in own]


def materializations(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    outcomes: Mapping[str | None, PartOutcome[R]],
    *,
    failed: Collection[str | None] = (),
    shared: Mapping[str, Any] | None = None,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Record the outcome of each partition, by the metadata of one materialization.

    `shared` is metadata of each of them, and of the partitions of other sources that the run has:
    Dagster records a materialization of the asset for these too, and the pages show the newest.

    The step fails because of the `failed` partitions, which are not recorded, so that they can be
    retried without the others.
    """
    if None not in outcomes and failed:
        _log_all_but(context, key, outcomes, failed, shared or {})
        return
    unpartitioned: dict[str, Any] = {**(shared or {})}
    for partition, outcome in outcomes.items():
        if partition is None:
            unpartitioned |= _metadata(outcome)
        else:
            # MaterializeResult has one set of metadata for all partitions of the run.
            context.add_asset_metadata(_metadata(outcome), asset_key=key, partition_key=partition)
    version = combined_version([outcome.version for outcome in outcomes.values()])
    yield dg.MaterializeResult(
        asset_key=key, data_version=dg.DataVersion(version), metadata=unpartitioned
    )


def _log_all_but(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    outcomes: Mapping[str | None, PartOutcome[R]],
    failed: Collection[str | None],
    shared: Mapping[str, Any],
) -> None:
    """Log a materialization of each partition but the failed ones.

    A MaterializeResult would be one of every partition of the run.
    """
    code_version = context.assets_def.code_versions_by_key[key] or ""
    for partition, outcome in outcomes.items():
        if partition not in failed:
            event = materialization_event(key, partition, outcome)
            tags = {**(event.tags or {}), CODE_VERSION_TAG: code_version}
            context.log_event(event._replace(tags=tags).with_metadata({**event.metadata, **shared}))


def _metadata(outcome: PartOutcome[R]) -> dict[str, Any]:
    return {"reused": outcome.reused, **record_metadata(outcome.record, outcome.metadata)}


def check_specs(
    source: Source, key: dg.AssetKey, checks: Iterable[SourceCheck[R]]
) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(check.name, asset=key, description=check.describe(source))
        for check in checks
    ]


def evaluate_check(
    source: Source,
    key: dg.AssetKey,
    check: SourceCheck[R],
    records: Mapping[str | None, R],
    fetches: Mapping[str | None, FetchResult],
    *,
    further_failures: Sequence[CheckFailure] = (),
) -> dg.AssetCheckResult:
    """Return the result of a check over the records of all partitions.

    `further_failures` are those that concern no single record.
    """
    failures: list[CheckFailure] = []
    for partition, record in records.items():
        failure = check.evaluate(source, record, fetches.get(partition))
        if failure:
            failures.append(failure)
    failures += further_failures
    # One error among warnings is an error; no failure at all has the severity that it would have.
    is_warning = {failure.severity for failure in failures} == {dg.AssetCheckSeverity.WARN}
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=check.name,
        passed=not failures,
        severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
        description="\n".join(failure.text for failure in failures) or None,
    )


def materialization_event(
    key: dg.AssetKey, partition: str | None, outcome: PartOutcome[R]
) -> dg.AssetMaterialization:
    """Return the materialization of one partition as an event outside of a run."""
    return dg.AssetMaterialization(
        key,
        partition=partition,
        metadata=_metadata(outcome),
        tags={DATA_VERSION_TAG: outcome.version},
    )


def check_event(
    key: dg.AssetKey, check: str, result: dg.AssetCheckResult
) -> dg.AssetCheckEvaluation:
    """Return the result of a check as an event outside of a run."""
    return dg.AssetCheckEvaluation(
        key,
        check,
        result.passed,
        severity=result.severity,
        description=result.description,
    )


def record_metadata(record: Record, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata with the whole record, after the entries that are shown in the UI."""
    shown = {name: value for name, value in entries.items() if value is not None}
    return {**shown, RECORD: dg.MetadataValue.json(record.model_dump(mode="json"))}


def read_record(
    event: dg.AssetMaterialization | dg.AssetObservation | None, kind: type[R]
) -> R | None:
    """Return the record in an event's metadata, or None if there is none."""
    value = None if event is None else event.metadata.get(RECORD)
    if not isinstance(value, dg.JsonMetadataValue):
        return None
    return kind.model_validate(value.data)


def combined_version(versions: Sequence[str]) -> str:
    """Return the data version of several partitions; of a single one, its own."""
    return versions[0] if len(versions) == 1 else digest_texts(*versions)


def digest_texts(*texts: str) -> str:
    """Return one SHA-256 over a sequence of texts."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode()
        # The length keeps ("ab", "c") apart from ("a", "bc").
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()

"""How the outcomes of a source's parts become one materialization and its checks.

A stage's record goes in, Dagster's results come out; no stage is called here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from etl_assets.declarations.source import Files, Source
from etl_assets.defs.event_log import metadata_of
from etl_assets.model.records import Record


@dataclass(frozen=True, slots=True)
class CheckFailure:
    """Why a check did not pass for one part."""

    text: str
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """One part's record, its version, and what its check has to say."""

    record: Record
    version: str
    reused: bool
    people: Mapping[str, Any] = field(default_factory=dict)
    complaint: CheckFailure | None = None


def parts_of(
    context: dg.AssetExecutionContext, source: Source, own: Iterable[str | None]
) -> list[str | None]:
    """The partitions that this launch asks for; one None for a source that has none.

    The file sets of a domain share their partitions in Dagster: of a set, only its `own` count.
    """
    if source.partitions is None:
        return [None]
    if not isinstance(source.partitions, Files):
        return list(context.partition_keys)
    held = set(own)
    return [partition for partition in context.partition_keys if partition in held]


def results(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    check: str,
    outcomes: Mapping[str | None, PartOutcome],
    *,
    beside: Iterable[CheckFailure | None] = (),
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """One materialization with each part's own metadata, and one check over all parts.

    `beside` is what the check has to say of parts that this launch does not ask for.
    """
    yield _materialization(context, key, outcomes)
    yield _check(key, check, [*(outcome.complaint for outcome in outcomes.values()), *beside])


def event_of(
    key: dg.AssetKey, partition: str | None, outcome: PartOutcome
) -> dg.AssetMaterialization:
    """The same materialization of one part outside of a run, for what a person decides."""
    return dg.AssetMaterialization(
        key,
        partition=partition,
        metadata={"reused": outcome.reused, **metadata_of(outcome.record, outcome.people)},
        tags={DATA_VERSION_TAG: outcome.version},
    )


def evaluation_of(
    key: dg.AssetKey, check: str, outcomes: Iterable[PartOutcome]
) -> dg.AssetCheckEvaluation:
    """The check over all parts outside of a run."""
    result = _check(key, check, [outcome.complaint for outcome in outcomes])
    return dg.AssetCheckEvaluation(
        key,
        check,
        result.passed,
        severity=result.severity,
        description=result.description,
    )


def combined(versions: Sequence[str]) -> str:
    """The version of several parts together; of a single one, its own."""
    return versions[0] if len(versions) == 1 else digest_of(*versions)


def digest_of(*texts: str) -> str:
    """SHA-256 over texts, each with its length, so that no two sequences share one."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _materialization(
    context: dg.AssetExecutionContext, key: dg.AssetKey, outcomes: Mapping[str | None, PartOutcome]
) -> dg.MaterializeResult[Any]:
    whole: dict[str, Any] = {"reused": all(outcome.reused for outcome in outcomes.values())}
    for partition, outcome in outcomes.items():
        metadata = metadata_of(outcome.record, outcome.people)
        if partition is None:
            whole |= metadata
        else:
            own = {**metadata, "reused": outcome.reused}
            context.add_asset_metadata(own, asset_key=key, partition_key=partition)
    version = combined([outcome.version for outcome in outcomes.values()])
    partitioned = None not in outcomes
    return dg.MaterializeResult(
        asset_key=key,
        data_version=dg.DataVersion(version),
        metadata={} if partitioned else whole,
    )


def _check(
    key: dg.AssetKey, name: str, complaints: Sequence[CheckFailure | None]
) -> dg.AssetCheckResult:
    given = [complaint for complaint in complaints if complaint is not None]
    worst = dg.AssetCheckSeverity.ERROR
    if given and all(complaint.severity is dg.AssetCheckSeverity.WARN for complaint in given):
        worst = dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not given,
        severity=worst,
        description="\n".join(complaint.text for complaint in given) or None,
    )

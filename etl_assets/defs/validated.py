"""The validated assets: of each source, the newest file that is what its declaration says.

A refused file goes to quarantine and the last good one is used; the rules are
`etl_assets.validate.validate`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import fetch_order
from etl_assets.declarations.source import Files, Source
from etl_assets.defs import asset_keys, specs
from etl_assets.defs.context import ProjectContext, domain_lock
from etl_assets.defs.event_log import EventLog, SourceState
from etl_assets.defs.finish_run import run_hooks
from etl_assets.defs.materialize import (
    CheckFailure,
    PartOutcome,
    SourceCheck,
    check_specs,
    evaluate_check,
    materializations,
    selected_partitions,
)
from etl_assets.fetch import raw_store
from etl_assets.model.errors import Problem
from etl_assets.model.records import (
    FetchResult,
    FetchStatus,
    Part,
    RawFile,
    ValidationResult,
    Verdict,
)
from etl_assets.model.run_options import Stage
from etl_assets.storage.signatures import Signatures
from etl_assets.validate import validate
from etl_assets.validate.quarantine import quarantine_file

NO_FILE_VERSION = "absent"
EXPECTED_WITHOUT_FILE = frozenset({FetchStatus.NOT_YET_PUBLISHED, FetchStatus.OFF})


def build_validated(domain: Domain, project: ProjectContext, wave: int = 0) -> dg.AssetsDefinition:
    """Return the step that validates the domain's downloads."""
    sources = fetch_order(domain.sources)[wave]
    checks: list[dg.AssetCheckSpec] = []
    for source in sources:
        checks += check_specs(source, asset_keys.validated_key(source), CHECKS)

    @dg.multi_asset(
        hooks=run_hooks(project, domain),
        name=asset_keys.step_name(domain, "validated", wave),
        specs=[
            specs.validated_spec(
                domain, source, validate.CODE_VERSION, project.settings.domains_dir
            )
            for source in sources
        ],
        check_specs=checks,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    @domain_lock(project, domain, Stage.VALIDATED)
    def validated(context: dg.AssetExecutionContext) -> Iterator[Any]:
        missing: list[Part] = []
        states = EventLog(context.instance).read_sources(domain.sources.values())
        shared = _shared_digests(states)
        signatures = Signatures.load(project.home.signatures(domain.name))
        for source in sources:
            key, state = asset_keys.validated_key(source), states[source.name]
            if key not in context.selected_asset_keys:
                continue
            outcomes = {}
            for partition in selected_partitions(context, source, state.fetches):
                part = source.part(partition)
                outcomes[partition] = _validate(
                    project, source, part, state, signatures, shared=shared
                )
            records = {partition: outcome.record for partition, outcome in outcomes.items()}
            own_missing = _missing_files(source, state, records)
            yield from materializations(
                context, key, outcomes, failed={part.partition for part in own_missing}
            )
            others = {
                partition: record
                for partition, record in state.validated.items()
                if partition not in records and record.is_fallback
            }
            for check in CHECKS:
                yield evaluate_check(source, key, check, {**records, **others}, state.fetches)
            missing += own_missing
        if missing:
            raise dg.Failure(
                "required, and there never was a good file: "
                + ", ".join(str(part) for part in missing)
                + f"; `etl health {domain.name}` says what to do",
                allow_retries=False,
            )

    return validated


def validated_outcome(record: ValidationResult, *, reused: bool) -> PartOutcome[ValidationResult]:
    """Return what the materialization of one partition records."""
    metadata: dict[str, Any] = {}
    if file := record.file:
        metadata |= {"path": file.path, "sha256": file.sha256}
    if verdict := record.verdict:
        metadata |= {"found": verdict.actual, "unpacked_bytes": verdict.unpacked_bytes}
    metadata["stands_in"] = record.is_fallback
    if verdict and verdict.accepted:
        metadata["accepted"] = str(verdict.accepted)
    return PartOutcome(
        record=record,
        version=file.sha256 if file else NO_FILE_VERSION,
        reused=reused,
        metadata=metadata,
    )


def _shared_digests(states: Mapping[str, SourceState]) -> set[str]:
    """Return the digests of raw files that several partitions or sources use."""
    counts: Counter[str] = Counter()
    for state in states.values():
        counts.update(fetch.file.sha256 for fetch in state.fetches.values() if fetch.file)
    return {sha256 for sha256, count in counts.items() if count > 1}


def _validate(
    project: ProjectContext,
    source: Source,
    part: Part,
    state: SourceState,
    signatures: Signatures,
    *,
    shared: Set[str],
) -> PartOutcome[ValidationResult]:
    fetch, last = state.fetches.get(part.partition), state.validated.get(part.partition)
    file = fetch.file if fetch else None
    if file is None:
        if last and last.file:
            return validated_outcome(last.model_copy(update={"is_fallback": True}), reused=True)
        record = ValidationResult(part=part, code_version=validate.CODE_VERSION)
        return validated_outcome(record, reused=False)
    # After a refusal the record names an older file: if it is the newest again, it is judged again.
    if last and _is_same_file(last, file) and not last.is_fallback:
        return validated_outcome(last.model_copy(update={"file": file}), reused=True)
    path = raw_store.stored_path(project.home, file, signatures)
    verdict = _download_verdict(file) or validate.validate(source, part, path, sha256=file.sha256)
    record = ValidationResult(
        part=part, file=file, verdict=verdict, code_version=validate.CODE_VERSION
    )
    if verdict.ok:
        return validated_outcome(record, reused=False)
    quarantine_file(
        project.home,
        source,
        part,
        path,
        Problem(verdict.where, verdict.expected, verdict.actual),
        at=datetime.now(UTC),
        url=file.url,
        # Another partition, or the operator's pin, still needs the bytes in the raw store.
        keep_original=file.sha256 in shared or (fetch is not None and fetch.pin is not None),
    )
    last_good = last.file if last else None
    refused = record.model_copy(update={"file": last_good, "is_fallback": True})
    return validated_outcome(refused, reused=False)


def _download_verdict(file: RawFile) -> Verdict | None:
    """Return the verdict from the download if the rules are the same, or the operator's."""
    verdict = file.verdict
    if verdict and (verdict.accepted or verdict.code_version == validate.CODE_VERSION):
        return verdict
    return None


def _is_same_file(last: ValidationResult, file: RawFile) -> bool:
    return (
        last.file is not None
        and last.file.sha256 == file.sha256
        and last.code_version == validate.CODE_VERSION
    )


def _missing_files(
    source: Source, state: SourceState, records: Mapping[str | None, ValidationResult]
) -> list[Part]:
    """Return the partitions of a required source that never had a good file.

    A file set needs one good file only.
    """
    current = {**state.validated, **records}.values()
    is_served = isinstance(source.partitions, Files) and any(record.file for record in current)
    if not source.required or is_served:
        return []
    return [record.part for record in records.values() if record.file is None]


def _content_failure(
    _: Source, record: ValidationResult, fetch: FetchResult | None
) -> CheckFailure | None:
    verdict = record.verdict
    if record.is_fallback and verdict and not verdict.ok:
        used = "the last good file is used" if record.file else "and there is no good file"
        return CheckFailure(f"{verdict}; in quarantine, {used}")
    if record.is_fallback:
        return CheckFailure(f"{record.part}: the last good file is used")
    if record.file is None and not (fetch and fetch.status in EXPECTED_WITHOUT_FILE):
        return CheckFailure(f"{record.part}: there is no good file")
    return None


CHECKS: Sequence[SourceCheck[ValidationResult]] = (
    SourceCheck(
        "content",
        lambda source: (
            f"The newest download is complete and is {source.format.name}. If not, it is in"
            f" quarantine: `etl quarantine list {source.full_name}` says why."
        ),
        _content_failure,
    ),
)

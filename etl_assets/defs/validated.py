"""The validated assets: of each source, the newest file that is what was declared.

A refused file goes to quarantine and the last good one stands in; judging is `validate.validate`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import fetch_order
from etl_assets.declarations.source import Files, Source
from etl_assets.defs import asset_keys, partial_runs, run_context, specs
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.domain_lock import domain_lock
from etl_assets.defs.event_log import SourceState, read_sources
from etl_assets.defs.materialize import CheckFailure, PartOutcome, parts_of, results
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
from etl_assets.validate import validate
from etl_assets.validate.quarantine import quarantine_file

CHECK = "content"
ABSENT = "absent"
EXPECTED = frozenset({FetchStatus.NOT_YET_PUBLISHED, FetchStatus.OFF})


def build_validated(domain: Domain, place: ProjectContext, wave: int = 0) -> dg.AssetsDefinition:
    """One step that judges the domain's downloads."""
    sources = fetch_order(domain.sources)[wave]

    @dg.multi_asset(
        hooks={run_context.failure_hook(place, domain), partial_runs.success_hook(place, domain)},
        name=asset_keys.step_name(domain, "validated", wave),
        specs=[specs.validated_spec(domain, source, validate.CODE_VERSION) for source in sources],
        check_specs=[
            specs.check_spec(
                CHECK,
                asset_keys.validated_key(source),
                f"The newest download is whole and is {source.format.name}.",
            )
            for source in sources
        ],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    @domain_lock(place, domain)
    def validated(context: dg.AssetExecutionContext) -> Iterator[Any]:
        lacking: list[str] = []
        states = read_sources(context.instance, domain.sources.values())
        for source in sources:
            if asset_keys.validated_key(source) not in context.selected_asset_keys:
                continue
            outcomes = _judge_source(context, place, source, states)
            beside = _beside(states[source.name], outcomes)
            yield from results(
                context, asset_keys.validated_key(source), CHECK, outcomes, beside=beside
            )
            lacking += [str(part) for part in _lacking(source, states[source.name], outcomes)]
        if lacking:
            raise dg.Failure(
                f"required and nothing good was ever held: {', '.join(lacking)}",
                allow_retries=False,
            )

    return validated


def _judge_source(
    context: dg.AssetExecutionContext,
    place: ProjectContext,
    source: Source,
    states: Mapping[str, SourceState],
) -> dict[str | None, PartOutcome]:
    state = states[source.name]
    named = Counter(f.file.sha256 for s in states.values() for f in s.fetches.values() if f.file)
    return {
        partition: _judge(
            place,
            source,
            source.part(partition),
            state.fetches.get(partition),
            state.validated.get(partition),
            shared={sha256 for sha256, count in named.items() if count > 1},
        )
        for partition in parts_of(context, source, state.fetches)
    }


def _beside(
    state: SourceState, outcomes: Mapping[str | None, PartOutcome]
) -> Iterator[CheckFailure | None]:
    """What there is to say of files that this launch does not ask for."""
    for partition, record in state.validated.items():
        if partition not in outcomes and record.stands_in:
            yield CheckFailure(f"{record.verdict or record.part}; the last good file stands in")


def _judge(
    place: ProjectContext,
    source: Source,
    part: Part,
    fetch: FetchResult | None,
    last: ValidationResult | None,
    *,
    shared: Set[str],
) -> PartOutcome:
    file = fetch.file if fetch else None
    if file is None and last and last.file:
        stands_in = last.model_copy(update={"stands_in": True})
        return outcome_of(stands_in, reused=True, complaint=f"{part}: the last good file stands in")
    if file is None:
        expected = fetch is not None and fetch.status in EXPECTED
        return _absent(part, None if expected else f"{part}: nothing was ever held")
    if last and last.file and _same(last, file) and not last.stands_in:
        return outcome_of(last.model_copy(update={"file": file}), reused=True)
    path = raw_store.stored_path(place.home, file)
    verdict = _verdict_on_arrival(file) or validate.validate(source, part, path, sha256=file.sha256)
    if verdict.ok:
        return outcome_of(
            ValidationResult(
                part=part, file=file, verdict=verdict, code_version=validate.CODE_VERSION
            ),
            reused=False,
        )
    keep = file.sha256 in shared or (fetch is not None and fetch.pin is not None)
    quarantine_file(
        place.home,
        source,
        part,
        path,
        Problem(verdict.where, verdict.expected, verdict.found),
        url=file.url,
        at=datetime.now(UTC),
        keep_original=keep,
    )
    return _refused(part, verdict, last.file if last else None)


def _refused(part: Part, verdict: Verdict, stand_in: RawFile | None) -> PartOutcome:
    """A file that may not be used, and the last good one in its place where there is any."""
    return outcome_of(
        ValidationResult(
            part=part,
            file=stand_in,
            verdict=verdict,
            stands_in=True,
            code_version=validate.CODE_VERSION,
        ),
        reused=False,
        complaint=f"{verdict}; in quarantine, "
        + ("the last good file stands in" if stand_in else "and no good file was ever held"),
    )


def _verdict_on_arrival(file: RawFile) -> Verdict | None:
    """The word that was given while the file came in, where the rules are still the same.

    That of a person who released the file from quarantine goes before any rule.
    """
    found = file.verdict
    stands = found and (found.accepted or found.code_version == validate.CODE_VERSION)
    return found if stands else None


def _same(last: ValidationResult, file: RawFile) -> bool:
    return (
        last.file is not None
        and last.file.sha256 == file.sha256
        and last.code_version == validate.CODE_VERSION
    )


def _absent(part: Part, complaint: str | None) -> PartOutcome:
    return outcome_of(
        ValidationResult(part=part, code_version=validate.CODE_VERSION),
        reused=False,
        complaint=complaint,
    )


def outcome_of(
    record: ValidationResult, *, reused: bool, complaint: str | None = None
) -> PartOutcome:
    """How the materialization of one part looks, and what its check has to say."""
    file, verdict = record.file, record.verdict
    return PartOutcome(
        record=record,
        version=file.sha256 if file else ABSENT,
        reused=reused,
        people={
            "path": file.path if file else None,
            "sha256": file.sha256 if file else None,
            "found": verdict.found if verdict else None,
            "unpacked_bytes": verdict.unpacked_bytes if verdict else None,
            "stands_in": record.stands_in,
            "accepted": str(verdict.accepted) if verdict and verdict.accepted else None,
        },
        complaint=CheckFailure(complaint) if complaint else None,
    )


def _lacking(
    source: Source, state: SourceState, outcomes: Mapping[str | None, PartOutcome]
) -> list[Part]:
    """The parts of which no good file was ever held; a set of files stands on those it has."""
    made = {
        part: o.record for part, o in outcomes.items() if isinstance(o.record, ValidationResult)
    }
    is_set = isinstance(source.partitions, Files)
    if not source.required or (
        is_set and any(r.file for r in {**state.validated, **made}.values())
    ):
        return []
    return [record.part for record in made.values() if record.file is None]

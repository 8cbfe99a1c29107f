"""The raw assets: one download per file of a source, or the last good one with a red check.

All sources of a domain are fetched at once in one step; a fault of one never stops another. Whether
nothing good was ever held, the validated step finds.
"""

from collections.abc import Iterator, Mapping, Sequence
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
from etl_assets.defs.fetch_plan import all_parts, asked_of, jobs_of, probes_of, unrecognized_files
from etl_assets.defs.materialize import CheckFailure, PartOutcome, parts_of, results
from etl_assets.defs.row_request_plan import ask_all
from etl_assets.fetch import download
from etl_assets.fetch.file_set import NO_FILE
from etl_assets.model.records import FetchResult, FetchStatus, Part
from etl_assets.validate import validate

CHECK = "fetched"
AT_FAULT = frozenset({FetchStatus.OUTAGE, FetchStatus.MISSING})


class RawConfig(dg.Config):
    """What a person may say to this step at launch."""

    force_refresh: bool = False
    skip_existing: bool = False
    max_retries: int | None = None


def build_raw(domain: Domain, place: ProjectContext, wave: int = 0) -> dg.AssetsDefinition:
    """One step that fetches what has moved."""
    sources = fetch_order(domain.sources)[wave]

    @dg.multi_asset(
        hooks={run_context.failure_hook(place, domain), partial_runs.success_hook(place, domain)},
        name=asset_keys.step_name(domain, "raw", wave),
        specs=[specs.raw_spec(domain, source, download.CODE_VERSION) for source in sources],
        check_specs=[
            specs.check_spec(
                CHECK,
                asset_keys.raw_key(source),
                f"{source.producer} could be reached, and what it served was whole.",
            )
            for source in sources
        ],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    @domain_lock(place, domain)
    def raw(context: dg.AssetExecutionContext, config: RawConfig) -> Iterator[Any]:
        chosen = [s for s in sources if asset_keys.raw_key(s) in context.selected_asset_keys]
        states = read_sources(context.instance, chosen)
        wanted = [
            (source, source.part(partition))
            for source in chosen
            for partition in parts_of(context, source, _own(place, source, states[source.name]))
        ]
        fetched = _get(place, states, wanted, config)
        for source in chosen:
            mine = [part for owner, part in wanted if owner is source]
            outcomes = {part.partition: outcome_of(source, fetched[part]) for part in mine}
            beside = _beside(place, source, states[source.name], outcomes)
            yield from results(context, asset_keys.raw_key(source), CHECK, outcomes, beside=beside)

    return raw


def _own(place: ProjectContext, source: Source, state: SourceState) -> list[str | None]:
    """The source's own partitions, those of files that have vanished too."""
    now = datetime.now(UTC)
    return [p.partition for p in all_parts(place.resolver, source, now, known=state.fetches)]


def _beside(
    place: ProjectContext,
    source: Source,
    state: SourceState,
    outcomes: Mapping[str | None, PartOutcome],
) -> Iterator[CheckFailure | None]:
    """What there is to say of files that this launch does not ask for."""
    for partition, fetch in state.fetches.items():
        if partition not in outcomes:
            yield _complaint(source, fetch)
    for stranger in unrecognized_files(place.resolver, source):
        yield CheckFailure(stranger, dg.AssetCheckSeverity.WARN)


def _get(
    place: ProjectContext,
    states: Mapping[str, SourceState],
    wanted: Sequence[tuple[Source, Part]],
    config: RawConfig,
) -> dict[Part, FetchResult]:
    """What came of each part, by whichever way its source is asked."""
    asked = asked_of(place, states, wanted, skip_existing=config.skip_existing)
    fetched = _fetch(place, states, asked.files, config, asked.held)
    return fetched | _ask(place, states, asked.rows, config)


def _fetch(
    place: ProjectContext,
    states: Mapping[str, SourceState],
    wanted: Sequence[tuple[Source, Part]],
    config: RawConfig,
    held: Sequence[download.FetchJob],
) -> dict[Part, FetchResult]:
    """What came of each file; those `held` are not asked for."""
    now = datetime.now(UTC)
    wanted = [(source.with_retries(config.max_retries), part) for source, part in wanted]
    probes = probes_of(place, wanted, now=now)
    jobs = jobs_of(place, states, wanted, probes, force=config.force_refresh, now=now)
    jobs += held
    found = {}
    with place.client() as client:
        desk = download.FetchContext(
            client=client,
            resolver=place.resolver,
            home=place.home,
            now=now,
            check=validate.validate,
            progress=place.progress,
        )
        for fetch in download.fetch_all(jobs, desk):
            found[fetch.part] = fetch
            if fetch.decision.fetch:
                place.say(_told(fetch))
    return found


def _ask(
    place: ProjectContext,
    states: Mapping[str, SourceState],
    sources: Sequence[Source],
    config: RawConfig,
) -> dict[Part, FetchResult]:
    """The sources whose requests come from a table."""
    wanted = [source.with_retries(config.max_retries) for source in sources]
    found = {}
    for fetch in ask_all(place, states, wanted, force=config.force_refresh):
        found[fetch.part] = fetch
        if fetch.decision.fetch:
            place.say(_told(fetch))
    return found


def outcome_of(source: Source, fetch: FetchResult) -> PartOutcome:
    """How the materialization of one part looks, and what its check has to say."""
    file = fetch.file
    return PartOutcome(
        record=fetch,
        version=file.sha256 if file else fetch.status.value,
        reused=fetch.status is FetchStatus.UNCHANGED,
        people={
            "status": fetch.status.value,
            "reason": str(fetch.decision),
            "attempts": fetch.attempts,
            "last_status": fetch.last_status,
            "waited_seconds": fetch.waited_seconds,
            "path": file.path if file else None,
            "sha256": file.sha256 if file else None,
            "size_bytes": file.size_bytes if file else None,
            "etag": file.etag if file else None,
            "last_modified": file.last_modified.isoformat()
            if file and file.last_modified
            else None,
            "fetched_at": file.fetched_at.isoformat() if file else None,
            "pin": str(fetch.pin) if fetch.pin else None,
        },
        complaint=_complaint(source, fetch),
    )


def _complaint(source: Source, fetch: FetchResult) -> CheckFailure | None:
    if fetch.pin is not None:
        return CheckFailure(f"{fetch.part}: {fetch.pin}", dg.AssetCheckSeverity.WARN)
    if fetch.warning and fetch.status not in AT_FAULT:
        return CheckFailure(f"{fetch.part}: {fetch.warning}", dg.AssetCheckSeverity.WARN)
    if fetch.status not in AT_FAULT:
        return None
    held = (
        f"the last good file, of {fetch.file.fetched_at:%Y-%m-%d %H:%M} UTC, stands in"
        if fetch.file
        else "nothing is held"
    )
    if isinstance(source.partitions, Files) and fetch.part.partition != NO_FILE:
        held += f"; if it is gone for good: `etl forget '{fetch.part}' --why TEXT`"
    severity = dg.AssetCheckSeverity.ERROR if source.required else dg.AssetCheckSeverity.WARN
    return CheckFailure(f"{fetch.part}: {fetch.fault}; {held}", severity)


def _told(fetch: FetchResult) -> str:
    if fetch.status is FetchStatus.OFF:
        return f"{fetch.part}: {fetch.decision.detail}"
    if fetch.status in AT_FAULT or fetch.file is None:
        return f"{fetch.part}: {fetch.status.value}: {fetch.fault or ''}"
    asked = f" ({fetch.decision.detail})" if fetch.decision.detail else ""
    return f"{fetch.part}: {fetch.status.value}, {fetch.file.size_bytes:,} bytes{asked}"

"""The raw assets: one download per file of a source, or the last good one with a failing check.

All sources of a domain are fetched concurrently in one step; a fault of one does not stop another.
The validated step fails the run if a required source has no good file at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import fetch_order
from etl_assets.declarations.source import Files, Source
from etl_assets.defs import asset_keys, specs
from etl_assets.defs.context import (
    DomainSession,
    ProjectContext,
    domain_lock,
    run_options,
    takes_options,
)
from etl_assets.defs.event_log import EventLog, SourceState
from etl_assets.defs.fetch_plan import all_parts, open_fetcher, unrecognized_files
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
from etl_assets.fetch import download
from etl_assets.fetch.file_set import NO_FILE
from etl_assets.model.records import FetchResult, FetchStatus, Part
from etl_assets.model.run_log import Kind, LogLine
from etl_assets.model.run_options import RunOptions, Stage
from etl_assets.storage.signatures import open_signatures

FAULTY = frozenset({FetchStatus.OUTAGE, FetchStatus.MISSING})


@takes_options(Stage.RAW)
class RawConfig(dg.Config):
    """The options of `etl run` that this step takes."""


def build_raw(domain: Domain, project: ProjectContext, wave: int = 0) -> dg.AssetsDefinition:
    """Return the step that fetches the files that moved."""
    sources = fetch_order(domain.sources)[wave]
    checks: list[dg.AssetCheckSpec] = []
    for source in sources:
        checks += check_specs(source, asset_keys.raw_key(source), CHECKS)

    @dg.multi_asset(
        hooks=run_hooks(project, domain),
        name=asset_keys.step_name(domain, "raw", wave),
        specs=[
            specs.raw_spec(domain, source, download.CODE_VERSION, project.settings.domains_dir)
            for source in sources
        ],
        check_specs=checks,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    @domain_lock(project, domain, Stage.RAW)
    def raw(context: dg.AssetExecutionContext, config: RawConfig) -> Iterator[Any]:
        now = datetime.now(UTC)
        selected = [s for s in sources if asset_keys.raw_key(s) in context.selected_asset_keys]
        session = DomainSession(EventLog(context.instance), project, domain)
        states = session.event_log.read_sources(selected)
        parts: list[tuple[Source, Part]] = []
        for source in selected:
            # A file that has vanished from its folder keeps its partition, as an outage.
            past_fetches = states[source.name].fetches
            own = all_parts(project.resolver, source, now, known_partitions=past_fetches)
            partitions = selected_partitions(context, source, [part.partition for part in own])
            parts += [(source, source.part(key)) for key in partitions]
        fetches = _fetch(session, states, parts, run_options(config))
        for source in selected:
            key = asset_keys.raw_key(source)
            own_fetches = {
                part.partition: fetches[part] for owner, part in parts if owner is source
            }
            outcomes = {key: raw_outcome(fetch) for key, fetch in own_fetches.items()}
            yield from materializations(context, key, outcomes)
            all_fetches = {**own_fetches, **_others(states[source.name], own_fetches)}
            unrecognized = [
                CheckFailure(text, dg.AssetCheckSeverity.WARN)
                for text in unrecognized_files(project, source)
            ]
            for check in CHECKS:
                yield evaluate_check(
                    source, key, check, all_fetches, all_fetches, further_failures=unrecognized
                )

    return raw


def raw_outcome(fetch: FetchResult) -> PartOutcome[FetchResult]:
    """Return what the materialization of one partition records."""
    metadata: dict[str, Any] = {
        "status": fetch.status.value,
        "reason": str(fetch.decision),
        "attempts": fetch.attempts,
        "last_status": fetch.last_status,
        "waited_seconds": fetch.waited_seconds,
    }
    if file := fetch.file:
        metadata |= {
            "path": file.path,
            "sha256": file.sha256,
            "size_bytes": file.size_bytes,
            "etag": file.etag,
            "last_modified": file.last_modified.isoformat() if file.last_modified else None,
            "fetched_at": file.fetched_at.isoformat(),
        }
    if fetch.pin:
        metadata["pin"] = str(fetch.pin)
    return PartOutcome(
        record=fetch,
        # The content is the version: an ETag may change while the bytes do not.
        version=file.sha256 if file else fetch.status.value,
        reused=fetch.status is FetchStatus.UNCHANGED,
        metadata=metadata,
    )


def _fetch(
    session: DomainSession,
    states: Mapping[str, SourceState],
    parts: Sequence[tuple[Source, Part]],
    options: RunOptions,
) -> dict[Part, FetchResult]:
    fetches = {}
    project = session.project
    with open_signatures(session.home.signatures(session.domain.name)) as signatures:
        now = datetime.now(UTC)
        with open_fetcher(project, now=now, signatures=signatures) as fetcher:
            for fetch in fetcher.fetch(fetcher.plan(states, parts, options)):
                fetches[fetch.part] = fetch
                if fetch.decision.fetch:
                    project.say(_fetch_line(fetch))
    return fetches


def _others(
    state: SourceState, fetches: Mapping[str | None, FetchResult]
) -> dict[str | None, FetchResult]:
    """Return the last fetch of each partition that this run does not select."""
    return {key: fetch for key, fetch in state.fetches.items() if key not in fetches}


def _fetch_failure(
    source: Source, fetch: FetchResult, _: FetchResult | None
) -> CheckFailure | None:
    if fetch.pin is not None:
        return CheckFailure(f"{fetch.part}: {fetch.pin}", dg.AssetCheckSeverity.WARN)
    if fetch.status not in FAULTY:
        if not fetch.warning:
            return None
        return CheckFailure(f"{fetch.part}: {fetch.warning}", dg.AssetCheckSeverity.WARN)
    used = "there is no stored file"
    if fetch.file and source.for_each:
        used = "the good answers are used"
    elif fetch.file:
        used = f"the last good file, of {fetch.file.fetched_at:%Y-%m-%d %H:%M} UTC, is used"
    text = f"{fetch.part}: {fetch.fault}; {used}"
    if isinstance(source.partitions, Files) and fetch.part.partition != NO_FILE:
        text += f"; if it is gone for good: `etl forget '{fetch.part}' --why TEXT`"
    severity = dg.AssetCheckSeverity.ERROR if source.required else dg.AssetCheckSeverity.WARN
    return CheckFailure(text, severity)


CHECKS: Sequence[SourceCheck[FetchResult]] = (
    SourceCheck(
        "fetched",
        lambda source: (
            f"{source.producer} could be reached, and what it served was complete. If not, the last"
            " good file is used, and the next run tries again."
        ),
        _fetch_failure,
    ),
)


def _fetch_line(fetch: FetchResult) -> LogLine:
    is_fault = fetch.status in FAULTY
    return LogLine(
        _format_fetch(fetch),
        Kind.WARNING if is_fault else Kind.PROGRESS,
        domain=fetch.part.source.domain,
        source=str(fetch.part),
        stage=Stage.RAW.value,
        decision=fetch.status.value,
        reason=fetch.fault if is_fault else fetch.decision.reason.value,
        size_bytes=fetch.file.size_bytes if fetch.file else None,
        sha256=fetch.file.sha256 if fetch.file else None,
    )


def _format_fetch(fetch: FetchResult) -> str:
    if fetch.status is FetchStatus.OFF:
        return f"{fetch.part}: {fetch.decision.detail}"
    if fetch.status in FAULTY or fetch.file is None:
        return f"{fetch.part}: {fetch.status.value}: {fetch.fault or ''}"
    detail = f" ({fetch.decision.detail})" if fetch.decision.detail else ""
    return f"{fetch.part}: {fetch.status.value}, {fetch.file.size_bytes:,} bytes{detail}"

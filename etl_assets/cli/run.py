"""The verbs that run a domain, and what the terminal shows of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl_assets.cli.names import DomainNames, OptionalDomain, SourceNames
from etl_assets.cli.output import (
    EXIT_FAILED,
    Json,
    exit_with_worst,
    load_settings,
    open_session,
    print_each,
    print_result,
    select_domains,
    work_on_each,
)
from etl_assets.model.display_text import MAX_NAMES, format_count
from etl_assets.model.errors import UsageError
from etl_assets.model.run_options import RunOptions, Stage, StageRange

if TYPE_CHECKING:
    from etl_assets.defs.context import ProjectSession
    from etl_assets.model.run_manifest import RunCheck, RunManifest
    from etl_assets.settings import Settings

app = typer.Typer(rich_markup_mode=None)

OnlyStage = Annotated[
    Stage | None,
    typer.Option(
        "--stage",
        help="Run only this stage, on the stored results of the stages before it. "
        "Only the last stage publishes.",
        show_default=False,
    ),
]
FromStage = Annotated[
    Stage | None,
    typer.Option(
        "--from",
        help="Run this stage and the following ones, on the stored results of the stages "
        "before it.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be fetched and why, then exit.")
]
ForceRefresh = Annotated[
    bool,
    typer.Option("--force-refresh", help="Download every file, even if it has not changed."),
]
SkipExisting = Annotated[
    bool,
    typer.Option("--skip-existing", help="Skip files that are already stored."),
]
AcceptChanges = Annotated[
    bool,
    typer.Option(
        "--accept-changes",
        help="Publish although a limit on changes was exceeded. Review the changes first.",
    ),
]
Full = Annotated[
    bool,
    typer.Option(
        "--full",
        help="Build every model whole, and fail if builds for changed keys have made other rows.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 also if the status is partial_success.")
]
NoWait = Annotated[
    bool,
    typer.Option(
        "--no-wait", help="Fail if another run of the domain is active, instead of waiting."
    ),
]
MaxRetries = Annotated[
    int | None,
    typer.Option(
        "--max-retries",
        min=0,
        help="How often to retry the download of a file. Default: as declared.",
        show_default=False,
    ),
]
NoNotify = Annotated[bool, typer.Option("--no-notify", help="Send no notifications.")]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        "--output-dir",
        help="Copy the published set to this directory too. It must be empty or not exist.",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="A YAML file of settings, which override the environment. Default: the file named "
        "by ETL_CONFIG.",
        show_default=False,
        is_eager=True,  # it may name another folder of declarations, where DOMAIN is looked up
    ),
]
NewHistory = Annotated[
    bool,
    typer.Option(
        "--new-history",
        help="Begin a new history: the published one is lost, or not to be continued.",
    ),
]
HistoryWhy = Annotated[
    str,
    typer.Option("--why", help="The reason for --new-history.", show_default=False),
]
AsOf = Annotated[
    datetime | None,
    typer.Option(
        "--as-of", help="The logical time of the run, in UTC. Default: now.", show_default=False
    ),
]


@app.command(rich_help_panel="Run")
def run(  # noqa: PLR0913 - each is an option of the command
    domains: DomainNames,
    source: SourceNames = None,
    *,
    stage: OnlyStage = None,
    start: FromStage = None,
    dry_run: DryRun = False,
    force_refresh: ForceRefresh = False,
    skip_existing: SkipExisting = False,
    full: Full = False,
    accept_changes: AcceptChanges = False,
    strict: Strict = False,
    no_wait: NoWait = False,
    max_retries: MaxRetries = None,
    no_notify: NoNotify = False,
    as_of: AsOf = None,
    output_dir: OutputDir = None,
    new_history: NewHistory = False,
    why: HistoryWhy = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Fetch what changed, rebuild what depends on it, and publish.

    A domain that fails does not keep the others from being run. Exits with 1 if a domain could not
    be published, with 2 if a domain has faults in its declarations.
    """
    settings = load_settings(config)
    dry_run = dry_run or settings.dry_run
    options = _complete_options(
        RunOptions(
            sources=tuple(source or ()),
            stages=_read_stages(stage, start),
            force_refresh=force_refresh,
            skip_existing=skip_existing,
            full=full,
            accept_changes=accept_changes,
            as_of=as_of,
            notify=not no_notify,
            max_retries=max_retries,
            wait=not no_wait,
            output_dir=output_dir,
            new_history=new_history,
            why=why,
        ),
        settings,
    )
    _refuse_conflicts(options, domains, dry_run=dry_run)

    from etl_assets.operations.run import run_domain

    only_domain = domains[0] if len(domains) == 1 else None
    with open_session(only_domain, config=config, restores=not dry_run) as session:
        # Refuse unknown names before anything is started. Faults in its declarations stop only the
        # domain itself.
        for name in domains:
            if name not in session.project.broken:
                session.for_domain(name)
        if dry_run:
            _print_plans(session, domains, options, as_json=as_json)
            return
        manifests, errors = work_on_each(
            domains, lambda name: run_domain(session.for_domain(name), options)
        )
        home = session.project.home.root
    lines = []
    for manifest in manifests:
        lines += _format_manifest(manifest, home)
    documents = [manifest.model_dump(mode="json") for manifest in manifests]
    print_result(lines, documents, as_json=as_json)
    failures = {"failed", "partial_success"} if strict else {"failed"}
    failed = any(manifest.status.value in failures for manifest in manifests)
    exit_with_worst(failed=failed, errors=errors)


@app.command(rich_help_panel="Run")
def probe(
    domain: OptionalDomain = None, source: SourceNames = None, *, as_json: Json = False
) -> None:
    """Ask the remotes what changed, without downloading anything.

    Prints for each source whether a run would fetch it, and why.
    """
    if source and domain is None:
        raise UsageError("--source: expected it together with DOMAIN, found no domain")
    from etl_assets.operations.run import plan_run

    options = RunOptions(sources=tuple(source or ()))
    with open_session(domain) as session:
        names, left_out = select_domains(session.project, domain)
        plans, errors = work_on_each(
            names, lambda name: plan_run(session.for_domain(name), options)
        )
    lines = []
    for plan in plans:
        lines += plan.lines()
    print_each(lines, [plan.as_dict() for plan in plans], domain, as_json=as_json)
    exit_with_worst(errors=errors, left_out=left_out)


@app.command(rich_help_panel="Run")
def backfill(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="The name of a source with partitions.", show_default=False
        ),
    ],
    start: Annotated[str, typer.Option("--from", help="The first partition.", show_default=False)],
    end: Annotated[str, typer.Option("--to", help="The last partition.", show_default=False)],
    *,
    force_refresh: ForceRefresh = False,
) -> None:
    """Fetch a range of partitions of one source, and publish.

    Partitions that have not changed are not downloaded again.
    """
    from etl_assets.operations import run as operations_run

    options = RunOptions(force_refresh=force_refresh)
    with open_session() as session:
        manifest = operations_run.backfill(session, source, start, end, options)
        home = session.project.home.root
    print_result(_format_manifest(manifest, home), manifest.model_dump(mode="json"), as_json=False)
    if manifest.status == "failed":
        raise typer.Exit(EXIT_FAILED)


def _read_stages(only: Stage | None, first: Stage | None) -> StageRange:
    """Returns the stages to run; raises UsageError if both options name one."""
    if only and first:
        raise UsageError(f"--stage: expected it or --from, found {only} and {first}")
    return StageRange(only, only) if only else StageRange(first or Stage.RAW)


def _complete_options(options: RunOptions, settings: Settings) -> RunOptions:
    """Returns the options with what the settings say; a time without a zone is UTC."""
    # An option of the command comes before a setting that contradicts it.
    can_refresh = options.stages.contacts_remotes and not options.skip_existing
    return replace(
        options,
        force_refresh=options.force_refresh or (settings.force_refresh and can_refresh),
        as_of=options.as_of and options.as_of.replace(tzinfo=options.as_of.tzinfo or UTC),
    )


def _refuse_conflicts(options: RunOptions, domains: Sequence[str], *, dry_run: bool) -> None:
    """Raises UsageError with all conflicting options at once, before anything is started."""
    conflicts = list(options.conflicts())
    if options.output_dir and len(domains) != 1:
        conflicts.append(f"--output-dir: expected one domain, found {len(domains)}")
    if options.output_dir and dry_run:
        conflicts.append("--output-dir: expected a run that publishes, found --dry-run")
    if conflicts:
        raise UsageError("\n".join(conflicts))


def _print_plans(
    session: ProjectSession, domains: Sequence[str], options: RunOptions, *, as_json: bool
) -> None:
    from etl_assets.operations.run import plan_run

    plans, errors = work_on_each(domains, lambda name: plan_run(session.for_domain(name), options))
    lines = []
    for plan in plans:
        lines += plan.lines()
    print_result(lines, [plan.as_dict() for plan in plans], as_json=as_json)
    exit_with_worst(errors=errors)


def _format_manifest(manifest: RunManifest, home: Path) -> list[str]:
    """Returns the result of a run in one line, then what it found, and where to look."""
    made = sum(asset.outcome == "made" for asset in manifest.assets)
    counts = [
        f"{made} assets made",
        f"{len(manifest.assets) - made} reused",
        f"{manifest.file_count} files published",
    ]
    if warnings := len(manifest.warnings):
        counts.append(format_count(warnings, "warning"))
    lines = [
        f"{manifest.domain}: {manifest.status} in {manifest.seconds:.1f} s, {', '.join(counts)}"
    ]
    if manifest.note:
        lines.append(f"  {manifest.note}")
    if manifest.changes:
        changes = manifest.changes.lines() or ["nothing"]
        lines += [f"  changed since {manifest.changes.since}:", *(f"    {c}" for c in changes)]
    errors = _list_errors(manifest)
    for check in errors[:MAX_NAMES]:
        lines += [f"  {line}" for line in check.lines()]
    if more := len(errors[MAX_NAMES:]):
        lines.append(f"  and {format_count(more, 'more error')}, in the report")
    if manifest.published or not manifest.is_unchanged:
        lines += [f"  {line}" for line in manifest.list_warnings()]
    lines += [f"  {action}" for action in manifest.next_actions[:MAX_NAMES]]
    if more := len(manifest.next_actions[MAX_NAMES:]):
        actions = format_count(more, "more action")
        lines.append(f"  and {actions}, in the report and by `etl status`")
    directory = home / "outputs" / manifest.domain / manifest.directory
    lines.append(f"  run {manifest.directory}: {directory / 'run_report.html'}")
    return lines


def _list_errors(manifest: RunManifest) -> list[RunCheck]:
    """Returns the checks that failed, but those whose fault the note of the run has already."""
    faults = [source.fault for source in manifest.outages if source.fault]
    noted_faults = [fault for fault in faults if fault in manifest.note]
    return [
        check
        for check in manifest.failed_checks
        if check.severity == "error" and not any(f in check.description for f in noted_faults)
    ]

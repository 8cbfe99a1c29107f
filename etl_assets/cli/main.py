"""The `etl` command: the verbs that run or develop a domain, and how errors become exit codes.

The other verbs are in `inspect`, `explain` and `store`. A verb parses its options, calls
`etl_assets.operations` and prints the result; heavy modules are imported inside the verbs.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl_assets.cli import explain, inspect, store
from etl_assets.cli.display import OUTPUT, Display, LogFormat, Output
from etl_assets.cli.interruption import (
    SIGNAL_EXIT_CODES,
    SignalReceived,
    describe_interruption,
    interruptible,
)
from etl_assets.cli.names import (
    DomainNames,
    OptionalDomain,
    SourceNames,
    check_domains,
    complete_domain,
)
from etl_assets.cli.output import (
    EXIT_FAILED,
    EXIT_USAGE,
    Annotations,
    GroupedCommands,
    Json,
    exit_with_worst,
    load_declarations,
    load_settings,
    open_session,
    print_each,
    print_error,
    print_result,
    print_text,
    select_domains,
    work_on_each,
)
from etl_assets.model.display_text import MAX_NAMES, cut_lines
from etl_assets.model.errors import EtlError, RunInterruptedError, UsageError
from etl_assets.model.run_options import RunOptions, Stage, StageRange
from etl_assets.storage.atomic_write import ADVICE

if TYPE_CHECKING:
    from etl_assets.defs.context import ProjectSession
    from etl_assets.model.run_manifest import RunManifest

# Of the command in progress; a verb is a function that typer calls.
VERB: ContextVar[str | None] = ContextVar("verb", default=None)
LOG_FORMAT = "--log-format"
GLOBAL_FLAG = re.compile(r"-v+|-q|--verbose|--quiet")

EXAMPLES = """
\b
Examples:
  etl demo                    play a domain's demo on its samples
  etl run DOMAIN --dry-run    print what a run would fetch
  etl explain DOMAIN KEY      explain why a row is published as it is

Run `etl VERB --help` for the options of a verb.
"""

app = typer.Typer(
    name="etl",
    help="Download published files, validate them, and publish tables and documents from them.",
    epilog=EXAMPLES,
    cls=GroupedCommands,
    subcommand_metavar="VERB [ARGS]...",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits; an expected error is printed as one message."""
    with interruptible() as first_signal:
        try:
            app(args=_with_global_options_first(sys.argv[1:] if arguments is None else arguments))
        except UsageError as error:
            _fail(str(error), EXIT_USAGE)
        except (SignalReceived, RunInterruptedError):
            _fail(describe_interruption(VERB.get()), SIGNAL_EXIT_CODES[first_signal()])
        except EtlError as error:
            _fail(str(error), EXIT_FAILED)
        except OSError as error:
            # A fault of the machine that no step expected; it has no traceback for the operator.
            where = error.filename or "a file"
            found = f"{where}: expected to use it, found: {error.strerror or error}"
            advice = ADVICE.get(error.errno or 0, "correct it")
            _fail(f"{found}; {advice}, then run again", EXIT_FAILED)


def _with_global_options_first(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with options of all verbs before the verb, where they are declared."""
    first, others = [], []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            others += [argument, *rest]
        elif GLOBAL_FLAG.fullmatch(argument) or argument.startswith(f"{LOG_FORMAT}="):
            first.append(argument)
        elif argument == LOG_FORMAT:
            first += [argument, *itertools.islice(rest, 1)]
        else:
            others.append(argument)
    return [*first, *others]


def _print_version(is_requested: bool) -> None:  # noqa: FBT001 - typer calls it so
    if is_requested:
        from importlib.metadata import version

        print_text(f"etl {version('etl-assets')}")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - its callback prints and exits
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            help="Show whole lists and the log; twice for details. Also allowed after the verb.",
        ),
    ] = 0,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Show warnings, errors and results only."),
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option("--log-format", help="Write the log to stderr as text or as JSON lines."),
    ] = LogFormat.TEXT,
) -> None:
    if verbose and quiet:
        raise UsageError("--quiet: expected it or --verbose, found both")
    OUTPUT.set(Output(-1 if quiet else verbose, log_format))
    VERB.set(context.invoked_subcommand)


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
    if stage and start:
        raise UsageError(f"--stage: expected it or --from, found {stage} and {start}")
    settings = load_settings(config)
    dry_run = dry_run or settings.dry_run
    stages = StageRange(stage, stage) if stage else StageRange(start or Stage.RAW)
    # An option of the command comes before a setting that contradicts it.
    can_refresh = stages.contacts_remotes and not skip_existing
    options = RunOptions(
        sources=tuple(source or ()),
        stages=stages,
        force_refresh=force_refresh or (settings.force_refresh and can_refresh),
        skip_existing=skip_existing,
        full=full,
        accept_changes=accept_changes,
        as_of=as_of.replace(tzinfo=as_of.tzinfo or UTC) if as_of else None,
        notify=not no_notify,
        max_retries=max_retries,
        wait=not no_wait,
        output_dir=output_dir,
        new_history=new_history,
        why=why,
    )
    # Report all conflicting options at once, before anything is started.
    conflicts = list(options.conflicts())
    if output_dir and len(domains) != 1:
        conflicts.append(f"--output-dir: expected one domain, found {len(domains)}")
    if output_dir and dry_run:
        conflicts.append("--output-dir: expected a run that publishes, found --dry-run")
    if conflicts:
        raise UsageError("\n".join(conflicts))

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


@app.command(rich_help_panel="Develop")
def check(
    domain: OptionalDomain = None,
    *,
    samples: Annotated[
        bool,
        typer.Option(
            "--samples", help="Run the samples of the domain in a new home, and check that run."
        ),
    ] = False,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", help="Write the results to this file too, as JUnit's XML."),
    ] = None,
    annotations: Annotations = False,
    as_json: Json = False,
) -> None:
    """Evaluate the asset checks on the stored data.

    Exits with 1 if a check of severity ERROR fails, with 2 if a domain cannot be checked.
    """
    from etl_assets.cli.ci_output import annotate_checks, write_junit
    from etl_assets.demo.check_samples import check_samples
    from etl_assets.operations.check import check_domain

    evaluate = check_samples if samples else check_domain
    with open_session(domain) as session:
        names, left_out = select_domains(session.project, domain)
        by_domain, errors = work_on_each(
            names, lambda name: (name, evaluate(session.for_domain(name)))
        )
    evaluations = [check for _, checks in by_domain for check in checks]
    if junit:
        write_junit(junit, by_domain)
    lines: list[str] = []
    for evaluation in evaluations:
        text = evaluation.verdict.splitlines()
        lines += text if OUTPUT.get().verbosity > 0 or evaluation.rows else cut_lines(text)
    if annotations:
        lines += annotate_checks(evaluations)
    print_result(
        lines,
        [evaluation.model_dump(mode="json") for evaluation in evaluations],
        as_json=as_json,
    )
    failed = any(not each.passed and each.severity == "error" for each in evaluations)
    exit_with_worst(failed=failed, errors=errors, left_out=left_out)


@app.command(rich_help_panel="Develop")
def demo(
    domain: Annotated[
        str | None,
        typer.Argument(
            metavar="DOMAIN",
            help="Default: the first domain that has a demo.",
            callback=check_domains,
            autocompletion=complete_domain,
        ),
    ] = None,
    *,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            metavar="DIR",
            help="Where to write everything. Default: etl-demo/DOMAIN in the current directory.",
            show_default=False,
        ),
    ] = None,
    mirror: Annotated[
        Path | None,
        typer.Option(
            "--mirror",
            metavar="DIR",
            help="Pack the samples as a mirror in this folder, print its settings, and exit.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Play the demo of a domain on its samples.

    The demo runs in a home of its own, which it keeps and names. With --mirror, it only packs the
    samples as a mirror, for `etl run`.
    """
    if keep and mirror:
        raise UsageError("--keep: expected it or --mirror, found both")
    settings = load_settings()
    load_declarations(settings)  # to name those with faults
    print_text("preparing the samples ...", to_stderr=True)  # what follows is imported for seconds
    from etl_assets.demo.play import pack_mirror, play

    if mirror:
        lines = pack_mirror(settings, domain, mirror)
        print_text("\n".join(f"export {line}" for line in lines))
        return
    with Display(no_color=settings.no_color) as display:
        play(settings, domain, say=print_text, show=display, keep=keep)


@app.command(rich_help_panel="Develop")
def ui(
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1.")] = 3000,
    *,
    read_only: Annotated[
        bool,
        typer.Option("--read-only", help="Launch and change nothing, and start no daemon."),
    ] = False,
) -> None:
    """Start Dagster's web interface and its daemon.

    The daemon runs the sensors and schedules that are switched on; with ETL_AUTOMATION=on, all.
    """
    from etl_assets.operations.ui import serve_ui

    settings = load_settings()
    load_declarations(settings)  # to name those with faults
    serve_ui(settings, port, read_only=read_only, say=print_text)


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
        counts.append(f"{warnings} warnings")
    lines = [
        f"{manifest.domain}: {manifest.status} in {manifest.seconds:.1f} s, {', '.join(counts)}"
    ]
    if manifest.note:
        lines.append(f"  {manifest.note}")
    if manifest.changes:
        changes = manifest.changes.lines() or ["nothing"]
        lines += [f"  changed since {manifest.changes.since}:", *(f"    {c}" for c in changes)]
    # The note already contains the faults of sources; their checks would repeat them.
    faults = [source.fault for source in manifest.outages if source.fault]
    noted_faults = [fault for fault in faults if fault in manifest.note]
    errors = [
        check
        for check in manifest.failed_checks
        if check.severity == "error" and not any(f in check.description for f in noted_faults)
    ]
    for check in errors[:MAX_NAMES]:
        lines += [f"  {line}" for line in cut_lines(check.verdict.splitlines())]
    if more := len(errors[MAX_NAMES:]):
        lines.append(f"  and {more:,} more errors, in the report")
    if manifest.published or not manifest.is_unchanged:
        lines += [f"  {line}" for line in manifest.list_warnings()]
    lines += [f"  {action}" for action in manifest.next_actions[:MAX_NAMES]]
    if more := len(manifest.next_actions[MAX_NAMES:]):
        lines.append(f"  and {more:,} more actions, in the report and by `etl status`")
    directory = home / "outputs" / manifest.domain / manifest.directory
    lines.append(f"  run {manifest.directory}: {directory / 'run_report.html'}")
    return lines


def _fail(message: str, code: int) -> None:
    print_error(message)
    sys.exit(code)


app.add_typer(inspect.app)
app.add_typer(explain.app)
app.add_typer(store.app)

if __name__ == "__main__":
    main()

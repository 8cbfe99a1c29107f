"""The `etl` command: each verb a few lines over the rooms below.

Nothing heavy is imported before a verb runs, so that help is quick; what a verb does is in assets/.
Verbs that answer are `etl_assets.cli.explain`, those on the store `etl_assets.cli.store`, those
that look at the place `etl_assets.cli.inspect`; what all share is `etl_assets.cli.output`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl_assets.cli import explain, inspect, store
from etl_assets.cli.output import FAILED, USAGE, DomainName, Json
from etl_assets.cli.output import open_launcher as _launcher
from etl_assets.cli.output import say as _say
from etl_assets.cli.output import settings as _settings
from etl_assets.cli.output import show as _show
from etl_assets.model.errors import EtlError, Interrupted, UsageError
from etl_assets.model.run_options import RunOptions, Stage, StageRange

if TYPE_CHECKING:
    from etl_assets.model.run_manifest import RunCheck, RunManifest

INTERRUPTED = {signal.SIGINT: 130, signal.SIGTERM: 143}

app = typer.Typer(
    name="etl",
    help="Published files, declared once: fetched, validated, tabulated, decided, published.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
sources_app = typer.Typer(help="The declarations.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(sources_app, name="sources")
app.add_typer(explain.app)
app.add_typer(inspect.app)
app.add_typer(store.app)

SourceNames = Annotated[
    list[str] | None, typer.Option("--source", help="Only this source; may be repeated.")
]
OneStage = Annotated[
    Stage | None,
    typer.Option(
        "--stage",
        help="This stage alone, on what stands; nothing is published before the last.",
        show_default=False,
    ),
]
FromStage = Annotated[
    Stage | None,
    typer.Option(
        "--from",
        help="From this stage on; what is before it is taken as it stands.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be fetched and why; do nothing.")
]
ForceRefresh = Annotated[
    bool, typer.Option("--force-refresh", help="Fetch whatever the remotes say.")
]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Ask for nothing of which a file is held.")
]
AcceptChanges = Annotated[
    bool, typer.Option("--accept-changes", help="Take what a limit refused, after a look at it.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 1 on partial_success too.")]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Refuse while another run holds the domain.")
]
MaxRetries = Annotated[
    int | None,
    typer.Option(
        "--max-retries",
        min=0,
        help="Further attempts at each file; default: as declared.",
        show_default=False,
    ),
]
NoNotify = Annotated[bool, typer.Option("--no-notify", help="Tell nobody, whatever comes of it.")]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        "--output-dir",
        help="Put a copy of the published set there, too; a directory that is empty or not there.",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="A YAML file of settings, which goes before the environment; default: ETL_CONFIG.",
        show_default=False,
    ),
]
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", help="The run's logical time, UTC; default: now.", show_default=False),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; every error of ours becomes one message and its exit code."""
    with _signals() as arrived:
        try:
            app(args=arguments)
        except UsageError as error:
            _fail(str(error), USAGE)
        except (_Interrupted, Interrupted):
            _fail(
                "interrupted: what is complete is kept; run the same command again to go on",
                INTERRUPTED[arrived()],
            )
        except EtlError as error:
            _fail(str(error), FAILED)


@app.command()
def run(  # noqa: PLR0913 - each is an option of the command
    domains: Annotated[list[str], typer.Argument(help="Domains to run.", show_default=False)],
    source: SourceNames = None,
    *,
    stage: OneStage = None,
    start: FromStage = None,
    dry_run: DryRun = False,
    force_refresh: ForceRefresh = False,
    skip_existing: SkipExisting = False,
    accept_changes: AcceptChanges = False,
    strict: Strict = False,
    no_wait: NoWait = False,
    max_retries: MaxRetries = None,
    no_notify: NoNotify = False,
    as_of: AsOf = None,
    output_dir: OutputDir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Probe, fetch what moved, make what is below it, publish."""
    options = RunOptions(
        sources=tuple(source or ()),
        stages=_stretch(stage, start),
        force_refresh=force_refresh,
        skip_existing=skip_existing,
        accept_changes=accept_changes,
        as_of=as_of.replace(tzinfo=as_of.tzinfo or UTC) if as_of else None,
        notify=not no_notify,
        max_retries=max_retries,
        wait=not no_wait,
        output_dir=output_dir,
    )
    _refuse_contradictions(options, domains, dry_run=dry_run)
    with _launcher(config) as launcher:
        if dry_run:
            plans = [launcher.plan(domain, options) for domain in domains]
            lines = [line for plan in plans for line in plan.lines()]
            _show(lines, [plan.as_dict() for plan in plans], as_json=as_json)
            return
        manifests = [launcher.run(domain, options) for domain in domains]
    _show(
        [line for manifest in manifests for line in _told(manifest)],
        [manifest.model_dump(mode="json") for manifest in manifests],
        as_json=as_json,
    )
    bad = {"failed", "partial_success"} if strict else {"failed"}
    if any(manifest.status.value in bad for manifest in manifests):
        raise typer.Exit(FAILED)


def _stretch(stage: Stage | None, start: Stage | None) -> StageRange:
    if stage and start:
        raise UsageError(f"--stage: expected it or --from, found {stage} and {start}")
    return StageRange(stage, stage) if stage else StageRange(start or Stage.RAW)


def _refuse_contradictions(options: RunOptions, domains: list[str], *, dry_run: bool) -> None:
    """Words that do not go together, all of them at once and before anything starts."""
    told = list(options.conflicts())
    if options.output_dir and len(domains) != 1:
        told.append(f"--output-dir: expected one domain, found {len(domains)}")
    if options.output_dir and dry_run:
        told.append("--output-dir: expected a run that publishes, found --dry-run")
    if told:
        raise UsageError("\n".join(told))


@app.command()
def probe(domain: DomainName, source: SourceNames = None, *, as_json: Json = False) -> None:
    """Ask the remotes what they have, and say what a run would fetch."""
    with _launcher() as launcher:
        plan = launcher.plan(domain, RunOptions(sources=tuple(source or ())))
    _show(plan.lines(), plan.as_dict(), as_json=as_json)


@app.command()
def status(domain: DomainName, *, as_json: Json = False) -> None:
    """What stands: each source with its age, and the published set."""
    with _launcher() as launcher:
        standing = launcher.status(domain)
    _show(standing.lines(datetime.now(UTC)), standing.as_dict(), as_json=as_json)


@app.command()
def check(
    domain: Annotated[str | None, typer.Argument(help="Default: every domain.")] = None,
    *,
    samples: Annotated[
        bool, typer.Option("--samples", help="Check a run of the domain's samples in a new home.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Evaluate the asset checks; exit 1 where one of severity error fails."""
    from etl_assets.demo.check_samples import check_samples
    from etl_assets.operations.check import check_domain

    with _launcher() as launcher:
        names = [domain] if domain else sorted(launcher.place.domains)
        evaluate = check_samples if samples else check_domain
        found = [evaluation for name in names for evaluation in evaluate(launcher, name)]
    _show(
        [_verdict(evaluation) for evaluation in found],
        [evaluation.model_dump(mode="json") for evaluation in found],
        as_json=as_json,
    )
    if any(not c.passed and c.severity == "error" for c in found):
        raise typer.Exit(FAILED)


@app.command()
def backfill(
    source: Annotated[str, typer.Argument(help="A source with partitions.", show_default=False)],
    start: Annotated[str, typer.Option("--from", help="First partition.")],
    end: Annotated[str, typer.Option("--to", help="Last partition.")],
    *,
    force_refresh: Annotated[bool, typer.Option("--force-refresh")] = False,
) -> None:
    """Fetch a range of a source's partitions and make what is below; unchanged ones are free."""
    with _launcher() as launcher:
        manifest = launcher.backfill(source, start, end, RunOptions(force_refresh=force_refresh))
    _show(_told(manifest), manifest.model_dump(mode="json"), as_json=False)
    if manifest.status == "failed":
        raise typer.Exit(FAILED)


@app.command()
def demo(
    domain: Annotated[str | None, typer.Argument(help="Default: the first with a demo.")] = None,
) -> None:
    """Play a domain's scenarios on its samples, against a local HTTP server."""
    from etl_assets.demo.play import play

    play(_settings(), domain, say=_say)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="On 127.0.0.1.")] = 3000,
) -> None:
    """Serve Dagster's pages on 127.0.0.1, with the daemon that drives sensors and schedules."""
    from etl_assets.operations.run import serve_ui

    raise typer.Exit(serve_ui(_settings(), port))


@sources_app.command("list")
def sources_list(*, as_json: Json = False) -> None:
    """Every declared source."""
    from etl_assets.declarations.load import load

    sources = [s for d in load(_settings().domains_dir).values() for s in d.sources.values()]
    _show(
        [f"{source.full_name!s:32} {source.format.name:10} {source.title}" for source in sources],
        [{"name": str(s.full_name), **s.model_dump(mode="json", by_alias=True)} for s in sources],
        as_json=as_json,
    )


@sources_app.command("check")
def sources_check() -> None:
    """Read every declaration; exit 2 with file, line, expected and found of all that is wrong."""
    from etl_assets.declarations.load import load

    domains = load(_settings().domains_dir)
    count = sum(len(domain.sources) for domain in domains.values())
    _say(f"{count} sources in {len(domains)} domains are declared well")


def _told(manifest: RunManifest) -> list[str]:
    made = sum(asset.outcome == "made" for asset in manifest.assets)
    warned = sum(check.severity == "warn" for check in manifest.failed_checks)
    counted = [
        f"{made} assets made",
        f"{len(manifest.assets) - made} reused",
        f"{len(manifest.documents)} files published",
        *([f"{warned} warnings"] if warned else []),
    ]
    faults = [source.fault for source in manifest.outages if source.fault]
    noted = [fault for fault in faults if fault in manifest.note]
    return [
        f"{manifest.domain}: {manifest.status} in {manifest.seconds:.1f} s, {', '.join(counted)}",
        *([f"  {manifest.note}"] if manifest.note else []),
        *(
            f"  {_verdict(check)}"
            for check in manifest.failed_checks
            if check.severity == "error" and not any(f in check.description for f in noted)
        ),
        *(f"  {answer}" for answer in manifest.answers),
    ]


def _verdict(check: RunCheck) -> str:
    word = "ok" if check.passed else check.severity.upper()
    why = f": {check.description}" if check.description and not check.passed else ""
    return f"{word:5} {check.asset}: {check.name}{why}"


def _fail(message: str, code: int) -> None:
    typer.echo(f"etl: {message}", err=True)
    sys.exit(code)


class _Interrupted(BaseException):
    """A signal asked to stop; not an Exception, so that no handler below keeps it."""


@contextmanager
def _signals() -> Iterator[Callable[[], signal.Signals]]:
    """Turn SIGINT and SIGTERM into an exception while the command runs; yields the first to come.

    Dagster puts handlers of its own in place while it works: the kernel's word goes to a pipe too.
    """

    def interrupt(_number: int, _frame: object) -> None:
        raise _Interrupted

    def arrived() -> signal.Signals:
        told = [signal.Signals(n) for n in os.read(heard, 64) if n in INTERRUPTED]
        return told[0] if told else signal.SIGINT

    heard, tell = os.pipe()
    os.set_blocking(tell, False)
    told_before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    before = {number: signal.signal(number, interrupt) for number in INTERRUPTED}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(told_before)
        os.close(heard)
        os.close(tell)


if __name__ == "__main__":
    main()

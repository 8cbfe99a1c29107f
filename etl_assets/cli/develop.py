"""The verbs for developing a domain: its checks, its demo, and Dagster's pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl_assets.cli.display import OUTPUT, Display
from etl_assets.cli.names import OptionalDomain, domain_argument
from etl_assets.cli.output import (
    Annotations,
    Json,
    exit_with_worst,
    load_declarations,
    load_settings,
    open_session,
    print_result,
    print_text,
    select_domains,
    work_on_each,
)
from etl_assets.model.display_text import format_count
from etl_assets.model.errors import UsageError

if TYPE_CHECKING:
    from etl_assets.defs.context import DomainSession
    from etl_assets.model.run_manifest import RunCheck

app = typer.Typer(rich_markup_mode=None)

DemoDomain = Annotated[str | None, domain_argument("Default: the first domain that has a demo.")]


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

    is_verbose = OUTPUT.get().verbosity > 0

    def evaluate(session: DomainSession) -> list[RunCheck]:
        return check_samples(session) if samples else check_domain(session, is_whole=is_verbose)

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
        lines += evaluation.lines(is_whole=is_verbose)
    if annotations:
        lines += annotate_checks(evaluations)
    lines += [_count_results(name, checks) for name, checks in by_domain]
    print_result(
        lines,
        [evaluation.model_dump(mode="json") for evaluation in evaluations],
        as_json=as_json,
    )
    failed = any(not each.passed and each.severity == "error" for each in evaluations)
    exit_with_worst(failed=failed, errors=errors, left_out=left_out)


def _count_results(domain: str, checks: Sequence[RunCheck]) -> str:
    """Return the closing line, `plants: 3 checks: 1 ok, 2 warnings, 0 errors`."""
    failed = Counter(check.severity for check in checks if not check.passed)
    warnings, errors = failed["warn"], failed["error"]
    counts = [
        f"{len(checks) - warnings - errors:,} ok",
        format_count(warnings, "warning"),
        format_count(errors, "error"),
    ]
    return f"{domain}: {format_count(len(checks), 'check')}: {', '.join(counts)}"


@app.command(rich_help_panel="Develop")
def demo(
    domain: DemoDomain = None,
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

"""The verbs that answer questions about the published data: why, what if, and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from etl_assets.cli.display import OUTPUT
from etl_assets.cli.names import domain_argument
from etl_assets.cli.output import (
    EXIT_FAILED,
    Json,
    load_declarations,
    load_settings,
    open_session,
    print_result,
)
from etl_assets.model.display_text import MAX_NAMES
from etl_assets.model.errors import UsageError

app = typer.Typer(rich_markup_mode=None)

FeedDomain = Annotated[
    str | None, domain_argument("Default: the only domain that publishes a feed of changes.")
]
ReplacedDomain = Annotated[
    str | None, domain_argument("Default: the domain of the replaced source or seed.")
]


@app.command(rich_help_panel="Explain")
def explain(
    key: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY",
            help="The key of the row, or one of its names; after the name of its domain if several "
            "domains have such a row.",
            show_default=False,
        ),
    ],
    *,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            help="Explain the row as it was at this time (UTC), or at the end of this date.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain one published row: its evidence, history and claims.

    Also states what would change the answer. A name that several rows have lists them, affected
    ones first (-v: all).
    """
    from etl_assets.model.home import Home
    from etl_assets.operations.explain import FoundRows, explain, resolve_domain

    settings = load_settings()
    declarations = load_declarations(settings)
    at, home = (
        _parse_time(as_of) if as_of is not None else None,
        Home(settings.home, settings.scratch),
    )
    domain, values = resolve_domain(home, declarations.domains, key, declarations.broken)
    explanation = explain(home, domain, values, at=at)
    if isinstance(explanation, FoundRows):
        lines = explanation.lines(None if OUTPUT.get().verbosity > 0 else MAX_NAMES)
    else:
        lines = explanation.lines()
    print_result(lines, explanation.model_dump(mode="json"), as_json=as_json)


@app.command(rich_help_panel="Explain")
def changes(
    domain: FeedDomain = None,
    *,
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="SEQ",
            help="The sequence number of the last change that is known; 0 for all.",
        ),
    ] = "0",
    as_json: Json = False,
) -> None:
    """List the changes of the published set since a sequence number.

    Where the number is no longer known, all rows are listed.
    """
    from etl_assets.model.home import Home
    from etl_assets.operations.changes import find_changes

    settings = load_settings()
    declarations = load_declarations(settings, domain)
    found = find_changes(Home(settings.home, settings.scratch), declarations.domains, domain, since)
    print_result(found.lines(), found.model_dump(mode="json"), as_json=as_json)


@app.command(rich_help_panel="Explain")
def diff(
    domain: ReplacedDomain = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            "--replace",
            metavar="SOURCE_OR_SEED=FILE",
            help="Build with this file instead. Can be repeated. Default: the files that a run "
            "would fetch.",
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show what a run, or a replaced file, would change, and why.

    Builds in a temporary folder; nothing is published or recorded.
    """
    from etl_assets.operations.diff import diff, find_domain_of

    files = {}
    for text in replace or ():
        name, _, file = text.partition("=")
        if not (name and file):
            raise UsageError(f"--replace: expected SOURCE_OR_SEED=FILE, found {text!r}")
        files[name] = Path(file)
    with open_session(domain) as session:
        name = domain or find_domain_of(session.project, files).name
        difference = diff(session.for_domain(name), files)
    lines = difference.lines(None if OUTPUT.get().verbosity > 0 else MAX_NAMES)
    print_result(lines, difference.model_dump(mode="json"), as_json=as_json)


@app.command(rich_help_panel="Explain")
def replay(
    run_name: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="The name of a run, as DOMAIN/RUN or RUN alone, or `latest`.",
            show_default=False,
        ),
    ],
    *,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            help="Where to write the output. Default: below outputs/<domain>/replays.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Repeat an earlier run and check that its output is identical.

    Uses the raw files and the history of that run. Exits with 1 if any byte differs.
    """
    from etl_assets.defs.context import ProjectContext
    from etl_assets.operations.replay import replay

    settings = load_settings()
    declarations = load_declarations(settings)
    project = ProjectContext(settings, declarations.domains, declarations.broken)
    result = replay(project, run_name, into=output_dir)
    print_result(result.lines(), result.model_dump(mode="json"), as_json=as_json)
    if not result.is_equal:
        raise typer.Exit(EXIT_FAILED)


def _parse_time(text: str) -> datetime:
    """Returns the time in UTC; for a date, its last moment."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of: expected a date or an ISO time, found {text!r}") from None
    # Python parses a date as its midnight, which would hide everything that happened on that day.
    if len(text) == len("2026-03-01"):
        time += timedelta(days=1, microseconds=-1)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)

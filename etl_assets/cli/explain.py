"""The verbs that answer questions on what is published: why, again, what if.

Each is a few lines over the rooms below; the verbs that run a domain are `etl_assets.cli.main`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from etl_assets.cli.output import FAILED, Json, open_launcher, settings, show
from etl_assets.model.errors import UsageError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def explain(
    key: Annotated[
        list[str], typer.Argument(help="[DOMAIN] and the row's key.", show_default=False)
    ],
    *,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            help="As it stood then: a time, UTC, or the end of a day.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Why a published row says what it says: evidence, claims, history, and what would flip it."""
    from etl_assets.declarations.load import load
    from etl_assets.model.home import Home
    from etl_assets.operations.explain import explain, resolve_domain

    found = settings()
    domain, wanted = resolve_domain(load(found.domains_dir), key)
    explanation = explain(Home(found.home), domain, wanted, at=_moment(as_of))
    show(explanation.lines(), explanation.model_dump(mode="json"), as_json=as_json)


@app.command()
def diff(
    domain: Annotated[
        str | None,
        typer.Argument(help="Default: the one that has what is replaced.", show_default=False),
    ] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            "--replace",
            metavar="SOURCE_OR_SEED=FILE",
            help="Build with this file instead; may be repeated. Default: what a run would fetch.",
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """What would change in what is published, and why; nothing is touched."""
    from etl_assets.operations.diff import diff, domain_of_changes

    files = dict(_assigned(text) for text in replace or ())
    with open_launcher() as launcher:
        chosen = launcher.domain(domain) if domain else domain_of_changes(launcher.place, files)
        difference = diff(launcher.instance, launcher.place, chosen, files)
    show(difference.lines(), difference.model_dump(mode="json"), as_json=as_json)


@app.command()
def replay(
    run_name: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run's directory, or latest.", show_default=False),
    ],
    *,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir", help="Default: one below outputs/<domain>/replays.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a run again from its raw files and history; exit 1 where it is not the same bytes."""
    from etl_assets.declarations.load import load
    from etl_assets.defs.context import ProjectContext
    from etl_assets.operations.replay import replay

    found = settings()
    replayed = replay(ProjectContext(found, load(found.domains_dir)), run_name, into=output_dir)
    show(replayed.lines(), replayed.model_dump(mode="json"), as_json=as_json)
    if not replayed.is_equal:
        raise typer.Exit(FAILED)


def _assigned(text: str) -> tuple[str, Path]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise UsageError(f"--replace: expected SOURCE_OR_SEED=FILE, found {text!r}")
    return name, Path(file)


def _moment(text: str | None) -> datetime | None:
    """The time that a person names; of a day alone, its last moment."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of: expected a date or an ISO time, found {text!r}") from None
    if len(text) == len("2026-03-01"):
        moment += timedelta(days=1, microseconds=-1)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

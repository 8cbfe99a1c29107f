"""What all verbs share: exit codes, common options, opening the project, and printing results.

Importing this module must stay cheap, so that `etl --help` is quick: settings, Dagster and rich
are imported when a verb needs them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from etl_assets.cli.display import (
    OUTPUT,
    Display,
    EscapingFormatter,
    JsonFormatter,
    LogFormat,
    print_log_line,
)
from etl_assets.cli.names import DOMAIN, list_domains
from etl_assets.model.display_text import escape_control
from etl_assets.model.errors import EtlError, RunInterruptedError, UsageError
from etl_assets.model.run_log import Kind, LogLine

if TYPE_CHECKING:
    from etl_assets.declarations.domain import BrokenDomain, Declarations
    from etl_assets.defs.context import ProjectContext, ProjectSession
    from etl_assets.settings import Settings

Result = TypeVar("Result")

EXIT_FAILED, EXIT_USAGE = 1, 2  # 0 is success; signals are in `main`

# The groups of `etl --help`, in this order; a verb names its group as `rich_help_panel`.
GROUPS = ("Run", "Inspect", "Explain", "Store", "Setup", "Develop")

Annotations = Annotated[
    bool, typer.Option("--annotations", help="Print each fault as an annotation of GitHub too.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def load_settings(config: Path | None = None) -> Settings:
    from etl_assets.settings import Settings

    return Settings.load(config=config)


def load_declarations(
    settings: Settings, domain: str | None = None, *, for_runs: bool = False
) -> Declarations:
    """Returns the declarations; each domain with faults is named in one line on stderr.

    So is each variable that looks like a setting and is none. Declarations for runs are compared
    with the formats of documents too, which take time to import.
    Raises UsageError if `domain` is given and is unknown or has faults.
    """
    from etl_assets.declarations.load import Rules, load_each
    from etl_assets.declarations.names import find_domain

    for line in settings.find_unknown_variables():
        print_error(line)
    document_rules: Rules | None = None
    if for_runs:
        from etl_assets.publish.writers.registry import document_violations

        document_rules = document_violations
    declarations = load_each(
        settings.domains_dir,
        settings.overrides,
        dbt_dir=settings.dbt_dir,
        document_rules=document_rules,
    )
    if domain is not None:
        find_domain(declarations.domains, domain, declarations.broken)
    for broken in declarations.broken.values():
        print_error(str(broken))
    return declarations


@contextmanager
def open_session(
    domain: str | None = None,
    *,
    config: Path | None = None,
    restores: bool = False,
    declarations: Declarations | None = None,
) -> Iterator[ProjectSession]:
    """Yields a session of the project; `config` is a settings file instead of `ETL_CONFIG`.

    With `restores`, a damaged event log is moved aside, for a caller that restores it. Raises
    UsageError if `domain` is given and is unknown or has faults.
    """
    settings, output = load_settings(config), OUTPUT.get()
    handler = logging.StreamHandler()
    is_json = output.log_format is LogFormat.JSON
    text = EscapingFormatter("%(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if is_json else text)
    logging.basicConfig(handlers=[handler])
    logging.getLogger("etl_assets").setLevel(output.log_level or settings.log_level)
    # Load the declarations first: importing Dagster takes seconds, reporting a typo should not.
    if declarations is None:
        declarations = load_declarations(settings, domain, for_runs=True)
    from etl_assets.defs.launch import move_damaged_event_log_aside, open_project

    if restores and (target := move_damaged_event_log_aside(settings)):
        print_error(f"the event log is damaged; its databases were moved to {target}")
    with (
        Display(no_color=settings.no_color) as display,
        open_project(
            settings,
            declarations.domains,
            broken=declarations.broken,
            echo=display.print_line,
            progress=display.update,
            advance=display.advance,
        ) as session,
    ):
        yield session


def select_domains(
    declared: Declarations | ProjectContext, domain: str | None
) -> tuple[list[str], Collection[BrokenDomain]]:
    """Returns the name of the one domain, or of all; and the domains that are left out of all."""
    if domain is not None:
        return [domain], []
    return sorted(declared.domains), declared.broken.values()


def work_on_each(
    names: Iterable[str], work: Callable[[str], Result]
) -> tuple[list[Result], list[EtlError]]:
    """Returns the results and the errors of work on domains; an error of one stops no other."""
    results, errors = [], []
    for name in names:
        try:
            results.append(work(name))
        except RunInterruptedError:
            raise
        except EtlError as error:
            errors.append(error)
    return results, errors


def exit_with_worst(
    *,
    failed: bool = False,
    errors: Sequence[EtlError] = (),
    left_out: Collection[BrokenDomain] = (),
) -> None:
    """Prints the errors and exits unless everything was good and complete.

    The code is 1 if something failed, else 2 if a command or a declaration was wrong: `left_out`
    are the domains that a verb over all domains could not work on.
    """
    for error in errors:
        print_error(str(error))
    if failed or not all(isinstance(error, UsageError) for error in errors):
        raise typer.Exit(EXIT_FAILED)
    if errors or left_out:
        raise typer.Exit(EXIT_USAGE)


def print_error(message: str) -> None:
    print_log_line(LogLine(message, Kind.ERROR))


def print_result(lines: Sequence[str], document: object, *, as_json: bool) -> None:
    """Prints the lines, or with `--json` the document, to stdout."""
    if lines or as_json:
        print_text(json.dumps(document, indent=2) if as_json else "\n".join(lines))


def print_each(
    lines: Sequence[str], documents: Sequence[object], domain: str | None, *, as_json: bool
) -> None:
    """Prints the lines, or with `--json` the document of the named domain, or a list of all."""
    if domain is None or documents:
        print_result(lines, documents if domain is None else documents[0], as_json=as_json)


def print_text(text: str, *, to_stderr: bool = False) -> None:
    """Prints text of any origin; its control characters are shown and have no effect."""
    typer.echo(escape_control(text), err=to_stderr)


def create_group(summary: str) -> typer.Typer:
    """Return a verb that has verbs of its own, such as `etl quarantine list`."""
    return typer.Typer(
        help=summary, cls=GroupedCommands, no_args_is_help=True, rich_markup_mode=None
    )


class GroupedCommands(typer.core.TyperGroup):
    """A command whose help lists its verbs by group, each with its whole summary.

    Where a verb lacks its domain, the error lists the domains.
    """

    # Typer has a private copy of click, so there are no types to name here.
    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            # An argument that is missing, not wrong, has no message of its own.
            if not error.message and getattr(error.param, "metavar", None) == DOMAIN:
                with suppress(EtlError):
                    error.message = f"Declared are: {', '.join(list_domains())}"
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002
        groups: dict[str, list[tuple[str, str]]] = {group: [] for group in (*GROUPS, "Verbs")}
        for name, command in self.commands.items():
            # By default, typer cuts a summary off at the width of the terminal.
            summary = command.get_short_help_str(limit=200)
            group = getattr(command, "rich_help_panel", None) or "Verbs"
            groups[group].append((f"{name:10}", summary))
        for group, rows in groups.items():
            if rows:
                with formatter.section(group):
                    formatter.write_dl(rows)

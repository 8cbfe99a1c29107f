"""The `etl` command: its global options, and how errors become exit codes.

The verbs are in `run`, `inspect`, `explain`, `store`, `setup` and `develop`. A verb parses its
options, calls `etl_assets.operations` and prints the result; heavy modules are imported inside it.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Annotated

import typer

from etl_assets.cli import develop, explain, inspect, run, setup, store
from etl_assets.cli.display import OUTPUT, LogFormat, Output
from etl_assets.cli.interruption import (
    SIGNAL_EXIT_CODES,
    SignalReceived,
    describe_interruption,
    interruptible,
)
from etl_assets.cli.output import (
    EXIT_FAILED,
    EXIT_USAGE,
    GroupedCommands,
    print_error,
    print_text,
)
from etl_assets.model.errors import EtlError, RunInterruptedError, UsageError
from etl_assets.storage.atomic_write import ADVICE

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


def _fail(message: str, code: int) -> None:
    print_error(message)
    sys.exit(code)


app.add_typer(run.app)
app.add_typer(inspect.app)
app.add_typer(setup.app)
app.add_typer(explain.app)
app.add_typer(store.app)
app.add_typer(develop.app)

if __name__ == "__main__":
    main()

"""What every verb of the command shares: its settings, a launcher, and how answers are shown.

Nothing heavy is imported before a verb runs; the verbs are `cli` and `store_verbs`, beside this.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from etl_assets.operations.run import Launcher
    from etl_assets.settings import Settings

OK, FAILED, USAGE = 0, 1, 2

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
DomainName = Annotated[str, typer.Argument(help="A folder under domains/.", show_default=False)]
AnyDomain = Annotated[str | None, typer.Argument(help="Default: every domain.")]


def settings(config: Path | None = None) -> Settings:
    from etl_assets.settings import Settings

    return Settings.load(config=config)


@contextmanager
def open_launcher(config: Path | None = None) -> Iterator[Launcher]:
    """Declarations first: a wrong one is told before Dagster costs its seconds.

    `config` is a file of settings in the place of the one that `ETL_CONFIG` names.
    """
    from etl_assets.declarations.load import load

    found = settings(config)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("etl_assets").setLevel(found.log_level)
    domains = load(found.domains_dir)
    from etl_assets.cli.progress import ProgressDisplay
    from etl_assets.operations.run import Launcher

    with (
        ProgressDisplay(plain=found.no_color) as heard,
        Launcher.open(found, domains, say=heard.say, progress=heard.transfer) as launcher,
    ):
        yield launcher


def show(lines: Sequence[str], document: object, *, as_json: bool) -> None:
    say(json.dumps(document, indent=2) if as_json else "\n".join(lines))


def say(text: str) -> None:
    typer.echo(text)

"""The arguments that name a domain or a source: checked and completed before a verb starts.

A wrong name is reported before anything heavy is imported. The name of a source is looked up by its
verb, which reads the declarations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from etl_assets.model.errors import EtlError

Names = str | list[str] | None
DOMAIN = "DOMAIN"  # in usage and help


def list_domains(config: Path | None = None) -> list[str]:
    """Returns the names of the declared domains, also of those with faults."""
    from etl_assets.declarations.folders import list_domain_folders
    from etl_assets.settings import Settings

    return [folder.name for folder in list_domain_folders(Settings.load(config=config).domains_dir)]


# Typer has a private copy of click, so there is no type to name here.
def check_domains(context: Any, names: Names) -> Names:  # noqa: ANN401
    """Returns the names of domains; raises UsageError for the first one that is unknown."""
    if not names or context.resilient_parsing:
        return names
    try:
        declared = list_domains(context.params.get("config"))
    except EtlError:
        return names  # the verb reports wrong settings and unreadable folders in its own way
    for name in [names] if isinstance(names, str) else names:
        if name not in declared:
            from etl_assets.declarations.folders import unknown_domain

            raise unknown_domain(name, declared)
    return names


def complete_domain(incomplete: str) -> list[str]:
    """Returns the domains that begin with what was typed."""
    try:
        return [name for name in list_domains() if name.startswith(incomplete)]
    except EtlError:
        return []


def complete_source(incomplete: str) -> list[str]:
    """Returns the sources, by bare or full name, that begin with what was typed."""
    return [name for name in _list_sources() if name.startswith(incomplete)]


def _list_sources() -> Iterator[str]:
    from etl_assets.declarations.load import load_each
    from etl_assets.settings import Settings

    try:
        settings = Settings.load()
        domains = load_each(settings.domains_dir, settings.overrides).domains
    except EtlError:
        return
    for domain in domains.values():
        for name in domain.sources:
            yield from (name, f"{domain.name}.{name}")


# As above: typer's types of arguments are private.
def domain_argument(description: str) -> Any:  # noqa: ANN401
    """Returns the argument DOMAIN, whose name is checked and completed."""
    return typer.Argument(
        metavar=DOMAIN,
        help=description,
        show_default=False,
        callback=check_domains,
        autocompletion=complete_domain,
    )


DomainName = Annotated[str, domain_argument("The name of a domain.")]
DomainNames = Annotated[list[str], domain_argument("The names of domains.")]
OptionalDomain = Annotated[str | None, domain_argument("Only this domain. Default: all domains.")]
SourceName = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="The source, or SOURCE[PARTITION].",
        show_default=False,
        autocompletion=complete_source,
    ),
]
OptionalSource = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="Only this source. Default: all sources.",
        show_default=False,
        autocompletion=complete_source,
    ),
]
SourceNames = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        help="Include only this source. Can be repeated.",
        autocompletion=complete_source,
    ),
]

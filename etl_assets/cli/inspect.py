"""The verbs that look at the place and at what is declared in it, and change nothing.

Each is a few lines over the rooms below; the verbs that run a domain are `etl_assets.cli.main`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl_assets.cli.output import FAILED, AnyDomain, Json, open_launcher, say, settings, show
from etl_assets.declarations.names import (
    find_domain,
    find_source,
    split_part_name,
    with_disabled_sources,
)
from etl_assets.model.errors import DeclarationError, SettingsError

if TYPE_CHECKING:
    from etl_assets.declarations.domain import Domain
    from etl_assets.operations.health_result import HealthReport
    from etl_assets.settings import Setting, Settings

app = typer.Typer(rich_markup_mode=None)
config_app = typer.Typer(
    help="Settings and declarations, as they stand.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(config_app, name="config")


@app.command()
def health(domain: AnyDomain = None, *, as_json: Json = False) -> None:
    """Is the place fit to run? Asks no remote; exit 1 where a run would fail."""
    fitness = _examined(domain, datetime.now(UTC))
    show(fitness.lines(), fitness.model_dump(mode="json"), as_json=as_json)
    if fitness.status == "unfit":
        raise typer.Exit(FAILED)


def _examined(domain: str | None, now: datetime) -> HealthReport:
    """Settings and declarations that cannot be read are findings here, as a monitor wants them."""
    from etl_assets.declarations.load import load
    from etl_assets.operations.health_result import HealthFinding, HealthReport, Level

    try:
        found = settings()
    except SettingsError as error:
        wanted, advice = "settings that can be read", "mend it"
        told = [
            HealthFinding.problem(Level.ERROR, "settings", fault, expected=wanted, advice=advice)
            for fault in str(error).splitlines()
        ]
        return HealthReport(checked_at=now, findings=told)
    declared: dict[str, Domain] | DeclarationError
    try:
        declared = load(found.domains_dir)
    except DeclarationError as error:
        declared = error
    else:
        declared = declared if domain is None else {domain: find_domain(declared, domain)}
    from etl_assets.operations.health import examine

    return examine(found, declared, now)


@app.command()
def stats(
    domain: AnyDomain = None,
    last: Annotated[
        int | None,
        typer.Option("--last", min=1, help="So many runs; default: all.", show_default=False),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """How the kept runs went: outcomes, times, what stood in for what, which checks failed."""
    from etl_assets.declarations.load import load
    from etl_assets.model.home import Home
    from etl_assets.operations.stats import count

    found = settings()
    domains = load(found.domains_dir)
    names = [find_domain(domains, domain).name] if domain else sorted(domains)
    counted = [count(Home(found.home), name, last=last) for name in names]
    show(
        [line for each in counted for line in each.lines()],
        [each.model_dump(mode="json") for each in counted],
        as_json=as_json,
    )


@app.command()
def sample(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Or SOURCE[PARTITION].", show_default=False)
    ],
    partition: Annotated[
        str | None,
        typer.Option("--partition", help="Default: the newest that is held.", show_default=False),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Rows, and refusals, shown.")] = 5,
    *,
    as_json: Json = False,
) -> None:
    """The first records of a source as its declaration reads them; exit 1 where it cannot be read.

    Of the held file, else of one fetched for this once; nothing is recorded, no table touched.
    """
    from etl_assets.operations.sample import first_records

    name, own = split_part_name(source)
    with open_launcher() as launcher:
        declared = find_source(with_disabled_sources(launcher.place.domains), name)
        now = datetime.now(UTC)
        head = first_records(
            launcher.instance, launcher.place, declared, partition or own, rows=rows, now=now
        )
    show(head.lines(), head.model_dump(mode="json"), as_json=as_json)
    if head.fault:
        raise typer.Exit(FAILED)


@config_app.command("show")
def config_show(*, as_json: Json = False) -> None:
    """Every setting with its value and where that is from; of a secret, whether it is set."""
    from etl_assets.declarations.load import load

    found = settings()
    shown = list(found.shown())
    try:
        secrets = _secrets(found, load(found.domains_dir))
    except DeclarationError:
        secrets = []
        unread = [f"{found.domains_dir}: cannot be read; `etl sources check` says why"]
    else:
        unread = []
    show(
        [*map(_told, shown), *map(_secret_told, secrets), *unread],
        {"settings": [asdict(each) for each in shown], "secrets": secrets},
        as_json=as_json,
    )


@config_app.command("get")
def config_get(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="A setting, or a dotted path: DOMAIN.SOURCE.location.url, DOMAIN.vars.NAME.",
            show_default=False,
        ),
    ],
    *,
    as_json: Json = False,
) -> None:
    """One value alone: of a setting, or of what is declared, with defaults."""
    from etl_assets.cli.dotted_path import find
    from etl_assets.declarations.load import load

    found = settings()
    values: dict[str, object] = {each.name: each.value for each in found.shown()}
    if key not in values:
        values |= {name: _declared(d) for name, d in load(found.domains_dir).items()}
    value = find(values, key)
    if as_json or isinstance(value, dict | list):
        say(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        say(_plain(value))


def _declared(domain: Domain) -> dict[str, Any]:
    """A domain as its YAML would say it with every default, its sources beside its own fields."""
    own = domain.model_dump(mode="json", by_alias=True)
    declared = {**domain.sources, **domain.disabled_sources}
    sources = {n: s.model_dump(mode="json", by_alias=True) for n, s in sorted(declared.items())}
    return {**sources, **own, "sources": sources}


def _plain(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _told(setting: Setting) -> str:
    if setting.is_secret:
        value = "set, not shown" if setting.value else "not set"
    else:
        value = _plain(setting.value) or "none"
    by = "" if setting.origin == "default" else f", {setting.variable}"
    return f"{setting.name:12} {value:40} ({setting.origin}{by})"


def _secrets(found: Settings, domains: Mapping[str, Domain]) -> list[dict[str, Any]]:
    """The variables that declarations name, and which sources want them."""
    wanted: dict[str, list[str]] = {}
    for domain in domains.values():
        for source in domain.sources.values():
            for credential in source.location.credentials.values():
                wanted.setdefault(credential.env, []).append(str(source.full_name))
    return [
        {"name": name, "is_set": _is_set(found, name), "origin": found.origin_of(name)}
        | {"sources": sources}
        for name, sources in sorted(wanted.items())
    ]


def _is_set(found: Settings, name: str) -> bool:
    try:
        return found.find_secret(name) is not None
    except SettingsError:  # empty, which a run refuses
        return False


def _secret_told(secret: Mapping[str, Any]) -> str:
    state = "set, not shown" if secret["is_set"] else "not set"
    if secret["origin"] and not secret["is_set"]:
        state = "empty, which is an error"
    origin = secret["origin"] or "for"
    told = f"{origin}, for" if secret["origin"] else origin
    return f"{secret['name']:12} {state:40} ({told} {', '.join(secret['sources'])})"

"""The verbs that show settings and declarations: `etl config` and `etl sources`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl_assets.cli.output import (
    Annotations,
    Json,
    create_group,
    exit_with_worst,
    load_declarations,
    load_settings,
    print_result,
    print_text,
)
from etl_assets.model.display_text import align_columns, list_some
from etl_assets.model.errors import DeclarationError, SettingsError

if TYPE_CHECKING:
    from etl_assets.declarations.domain import Domain
    from etl_assets.settings import Setting, Settings

MAX_VALUE_WIDTH = 40  # of the column of values, which are paths and lists too

app = typer.Typer(rich_markup_mode=None)
config_app = create_group("Show settings and declared values.")
sources_app = create_group("List and check the declared sources.")
app.add_typer(config_app, name="config", rich_help_panel="Setup")
app.add_typer(sources_app, name="sources", rich_help_panel="Setup")


@config_app.command("show")
def config_show(*, as_json: Json = False) -> None:
    """Show every setting, its value and where the value comes from.

    A secret is never shown, only whether it is set.
    """
    from etl_assets.fetch.network_guard import redact_value

    settings = load_settings()
    descriptions = list(settings.describe())
    rows = [_format_setting(setting) for setting in descriptions]
    secrets: list[dict[str, Any]] = []
    # The settings are shown even if the declarations are invalid.
    try:
        secrets = _declared_secrets(settings, load_declarations(settings).domains)
    except DeclarationError:
        problem = f"{settings.domains_dir}: cannot be read; `etl sources check` says why"
    else:
        problem = ""
    rows += [_format_secret(secret) for secret in secrets]
    lines = align_columns(rows, widest=MAX_VALUE_WIDTH)
    overrides = [
        {
            "name": each.name,
            "value": redact_value(each.name, each.value),
            "origin": str(each.place),
        }
        for each in settings.overrides
    ]
    lines += [
        f"{each['name']} = {_format_value(each['value'])} ({each['origin']})" for each in overrides
    ]
    if problem:
        lines.append(problem)
    document = {
        "settings": [asdict(setting) for setting in descriptions],
        "secrets": secrets,
        "overrides": overrides,
    }
    print_result(lines, document, as_json=as_json)


@config_app.command("get")
def config_get(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="The name of a setting, or a dotted path: DOMAIN.SOURCE.location.url, "
            "DOMAIN.vars.NAME.",
            show_default=False,
        ),
    ],
    *,
    as_json: Json = False,
) -> None:
    """Print one setting or declared value, including defaults."""
    from etl_assets.cli.dotted_path import get_value

    settings = load_settings()
    values: dict[str, object] = {setting.name: setting.value for setting in settings.describe()}
    # A setting can be read even if the declarations are invalid.
    if key not in values:
        declarations = load_declarations(settings)
        if broken := declarations.broken.get(key.partition(".")[0]):
            raise broken.error
        for name, domain in declarations.domains.items():
            values[name] = _declared_values(domain)
    value = get_value(values, key)
    if as_json or isinstance(value, dict | list):
        print_text(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        print_text(_format_value(value))


@sources_app.command("list")
def sources_list(*, as_json: Json = False) -> None:
    """List the declared sources with their format and title."""
    rows, documents = [], []
    declarations = load_declarations(load_settings())
    for domain in declarations.domains.values():
        for source in domain.sources.values():
            name = str(source.full_name)
            rows.append([name, source.format.name, source.title])
            documents.append({"name": name, **source.model_dump(mode="json", by_alias=True)})
    print_result(align_columns(rows), documents, as_json=as_json)
    exit_with_worst(left_out=declarations.broken.values())


@sources_app.command("check")
def sources_check(*, annotations: Annotations = False) -> None:
    """Check every declaration.

    Exits with 2 if there are problems, and prints each with its file and line, what was expected
    and what was found.
    """
    from etl_assets.declarations.load import load
    from etl_assets.publish.writers.registry import document_violations

    settings = load_settings()
    try:
        domains = load(
            settings.domains_dir,
            settings.overrides,
            dbt_dir=settings.dbt_dir,
            document_rules=document_violations,
        )
    except DeclarationError as error:
        if annotations:
            from etl_assets.cli.ci_output import annotate_problems

            for line in annotate_problems(error.problems, Path.cwd()):
                print_text(line)
        raise
    count = sum(len(domain.sources) for domain in domains.values())
    print_text(f"the declarations of {count} sources in {len(domains)} domains are valid")


def _declared_values(domain: Domain) -> dict[str, Any]:
    """Returns the declaration with all defaults; sources are also found by their bare name."""
    sources = {}
    for name, source in sorted((domain.sources | domain.disabled_sources).items()):
        sources[name] = source.model_dump(mode="json", by_alias=True)
    return {**sources, **domain.model_dump(mode="json", by_alias=True), "sources": sources}


def _format_value(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _format_setting(setting: Setting) -> list[str]:
    if setting.is_secret:
        value = "set, not shown" if setting.value else "not set"
    else:
        value = _format_value(setting.value) or "none"
    variable = "" if setting.origin == "default" else f", {setting.variable}"
    return [setting.name, value, f"({setting.origin}{variable})"]


def _declared_secrets(settings: Settings, domains: Mapping[str, Domain]) -> list[dict[str, Any]]:
    """Returns the variables that declarations name as secrets, with the sources that use them."""
    sources_by_variable: dict[str, list[str]] = {}
    for domain in domains.values():
        for source in domain.sources.values():
            for credential in source.location.credentials.values():
                sources = sources_by_variable.setdefault(credential.env, [])
                sources.append(str(source.full_name))
    secrets = []
    for name, sources in sorted(sources_by_variable.items()):
        try:
            is_set = settings.find_secret(name) is not None
        except SettingsError:  # set, but empty
            is_set = False
        origin = settings.origin_of_secret(name)
        secrets.append({"name": name, "is_set": is_set, "origin": origin, "sources": sources})
    return secrets


def _format_secret(secret: Mapping[str, Any]) -> list[str]:
    if secret["is_set"]:
        state = "set, not shown"
    elif secret["origin"]:
        state = "empty, which is an error"
    else:
        state = "not set"
    origin = f"{secret['origin']}, " if secret["origin"] else ""
    return [secret["name"], state, f"({origin}for {list_some(secret['sources'])})"]

"""The dbt models of a domain by name, and the fields of a declaration that name one."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

from etl_assets.declarations.rules import Data, FieldPath, RuleViolation, suggest

FIELDS = ("history", "moments")
SECTIONS = ("coverage", "documents", "gate", "explain", "report")
KEYS = ("from", "made_with")  # at any depth of a section
KEY_OF_MAPPING = "also_from"


def find_models(dbt_dir: Path, domain: str) -> frozenset[str]:
    """Returns the names of the models and seeds of a domain, and of those of all domains."""
    patterns = {"models": "*.sql", "seeds": "*.csv"}
    return frozenset(
        file.stem
        for folder, pattern in patterns.items()
        for owner in ("shared", domain)
        for file in (dbt_dir / folder / owner).rglob(pattern)
    )


def model_violations(domain: Data, models: AbstractSet[str]) -> Iterator[RuleViolation]:
    """Yields each field of a domain's declaration with the name of a model that dbt does not have.

    A value of another type is for the type of its field to refuse.
    """
    for path, name in _model_names(domain):
        if isinstance(name, str) and name not in models:
            yield RuleViolation(path, f"the name of a dbt model{suggest(name, models)}", repr(name))


def _model_names(domain: Data) -> Iterator[tuple[FieldPath, object]]:
    for field in FIELDS:
        if field in domain:
            yield (field,), domain[field]
    build = domain.get("build")
    if isinstance(build, dict) and "ids" in build:
        yield ("build", "ids"), build["ids"]
    for section in SECTIONS:
        yield from _names_below((section,), domain.get(section))


def _names_below(path: FieldPath, value: object) -> Iterator[tuple[FieldPath, object]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _names_below((*path, index), item)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key in KEYS:
            yield (*path, key), item
        elif key == KEY_OF_MAPPING and isinstance(item, dict):
            yield from (((*path, key, name), model) for name, model in item.items())
        else:
            yield from _names_below((*path, key), item)

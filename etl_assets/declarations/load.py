"""Loads the declarations under `domains/` and reports every problem with its file and line.

What a declaration may contain is in `source` and `domain`; the wording of problems is in
`yaml_positions`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from etl_assets.declarations.declaration import NAME, Declaration
from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import fetch_order
from etl_assets.declarations.rules import (
    Data,
    RuleViolation,
    domain_violations,
    source_violations,
    template_violations,
)
from etl_assets.declarations.source import Source
from etl_assets.declarations.yaml_positions import (
    implied_key_violations,
    read_yaml,
    validation_violations,
)
from etl_assets.model.errors import DeclarationError, HomeError, Problem

DOMAIN_FILE = "_domain.yaml"

Rules = Callable[[Data], Iterable[RuleViolation]]
AnyDeclaration = TypeVar("AnyDeclaration", bound=Declaration)


def load(root: Path) -> dict[str, Domain]:
    """Returns the domains by name; raises DeclarationError with the problems of all files."""
    problems: list[Problem] = []
    domains: dict[str, Domain] = {}
    folders = [entry for entry in _list_entries(root) if entry.is_dir()]
    if not folders:
        problems.append(_problem(root, "a folder for each domain", "none"))
    for folder in folders:
        domain, domain_problems = _load_domain(folder)
        problems += domain_problems
        if domain:
            domains[domain.name] = domain
    if problems:
        raise DeclarationError(problems)
    # Dependencies between sources can be checked only when all sources are valid.
    for domain in domains.values():
        fetch_order(domain.sources)
    return domains


def read_declaration(
    model: type[AnyDeclaration], file: Path, rules: Rules | None = None
) -> tuple[AnyDeclaration | None, list[Problem]]:
    """Returns the file as a model, or None, and its problems in the order of the lines."""
    try:
        document = read_yaml(file)
    except DeclarationError as error:
        return None, error.problems
    violations = [
        *document.violations,
        *implied_key_violations(model, document),
        *template_violations(document.data),
    ]
    if rules and isinstance(document.data, dict):
        violations += rules(document.data)
    declaration = None
    try:
        # Strict: YAML has types of its own, so that 'yes' is not true and "1" is not a number.
        declaration = model.model_validate(document.data, strict=True)
    except ValidationError as error:
        violations += validation_violations(error, model, document)
    return declaration, document.problems(violations)


def _load_domain(folder: Path) -> tuple[Domain | None, list[Problem]]:
    files = [entry for entry in _list_entries(folder) if entry.suffix in {".yaml", ".yml"}]
    source_files = [file for file in files if file.name != DOMAIN_FILE]
    problems = _name_problems(folder)
    for file in source_files:
        problems += _name_problems(file)

    sources: list[Source] = []
    for file in source_files:
        source, source_problems = read_declaration(Source, file, source_violations)
        problems += source_problems
        if source:
            names = {"domain": folder.name, "name": file.stem}
            sources.append(source.model_copy(update=names))
    enabled = {source.name: source for source in sources if source.enabled}

    domain_file = folder / DOMAIN_FILE
    if domain_file not in files:
        problems.append(_problem(domain_file, "a file that describes the domain", "none"))
        return None, problems
    problems += _mixed_partition_problems(folder, list(enabled.values()))
    rules = partial(domain_violations, source_count=len(source_files))
    domain, domain_problems = read_declaration(Domain, domain_file, rules)
    problems += domain_problems
    if domain is None:
        return None, problems
    update = {
        "name": folder.name,
        "sources": enabled,
        "disabled_sources": {source.name: source for source in sources if not source.enabled},
    }
    return domain.model_copy(update=update), problems


def _mixed_partition_problems(folder: Path, sources: list[Source]) -> Iterator[Problem]:
    """Yields the sources whose partitions differ: a Dagster run has one partitions definition."""
    partitioned = [(source, source.partitions) for source in sources if source.partitions]
    for source, partitions in partitioned[1:]:
        first_source, first = partitioned[0]
        if first.scheme != partitions.scheme:
            expected = (
                f"{first.scheme}, as {first_source.name} is partitioned: "
                "a run carries one kind only"
            )
            # The model has no line numbers; read the file again for them.
            document = read_yaml(folder / f"{source.name}.yaml")
            violation = RuleViolation(("partitions",), expected, partitions.scheme)
            yield from document.problems([violation])


def _name_problems(path: Path) -> list[Problem]:
    problems = []
    if path.suffix == ".yml":
        problems.append(_problem(path, "the ending .yaml", path.suffix))
    if not re.fullmatch(NAME, path.stem):
        expected = "a name of lower-case letters, digits and _ that begins with a letter"
        problems.append(_problem(path, expected, repr(path.stem)))
    return problems


def _problem(path: Path, expected: str, actual: str) -> Problem:
    return Problem(f"{path}:1: document", expected, actual)


def _list_entries(folder: Path) -> list[Path]:
    """Returns the entries of a folder in order, without hidden files and caches."""
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError as error:
        problem = _problem(folder, "a folder of declarations", "no such folder")
        raise DeclarationError([problem]) from error
    except OSError as error:
        raise HomeError(f"{folder}: expected a readable folder, found {error.strerror}") from error
    return [entry for entry in entries if entry.name[0] not in "._" or entry.name == DOMAIN_FILE]

"""Reads what is declared under `domains/`, and says of every fault where it stands.

Finding the files and collecting their faults belong here. What a declaration may say is
`etl_assets.declarations.source`; the wording of a fault is `etl_assets.declarations.messages`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from etl_assets.declarations import yaml_positions
from etl_assets.declarations.declaration import NAME, Declaration
from etl_assets.declarations.domain import Domain
from etl_assets.declarations.messages import derived_fields, faults_of
from etl_assets.declarations.order import fetch_order
from etl_assets.declarations.rules import (
    Data,
    RuleViolation,
    domain_violations,
    source_violations,
    templates,
)
from etl_assets.declarations.source import Source
from etl_assets.model.errors import DeclarationError, HomeError, Problem

DOMAIN_FILE = "_domain.yaml"

Rules = Callable[[Data], Iterable[RuleViolation]]
AnyDeclaration = TypeVar("AnyDeclaration", bound=Declaration)


def load(root: Path) -> dict[str, Domain]:
    """The domains under `root` by name; raises DeclarationError with the problems of all files."""
    problems: list[Problem] = []
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    if not folders:
        problems.append(_problem(root, "a folder for each domain", "none"))
    domains = [_domain(folder, problems) for folder in folders]
    if problems:
        raise DeclarationError(problems)
    found = {domain.name: domain for domain in domains if domain}
    for domain in found.values():
        fetch_order(domain.sources)
    return found


def _domain(folder: Path, problems: list[Problem]) -> Domain | None:
    """The folder's domain; its faults go to `problems`, and where there are some it may be None."""
    files = [entry for entry in _entries(folder) if entry.suffix in {".yaml", ".yml"}]
    named = [file for file in files if file.name != DOMAIN_FILE]
    problems += [problem for path in (folder, *named) for problem in _problems_of_name(path)]
    sources = [source for file in named if (source := _source(file, folder.name, problems))]
    if (file := folder / DOMAIN_FILE) not in files:
        problems.append(_problem(file, "a file that describes the domain", "none"))
        return None
    problems += _mixed_partitions(folder, [source for source in sources if source.enabled])
    rules = partial(domain_violations, sources=len(named))
    domain = _declared(Domain, file, rules, problems)
    found = {
        "name": folder.name,
        "sources": {source.name: source for source in sources if source.enabled},
        "switched_off": {source.name: source for source in sources if not source.enabled},
    }
    return domain and domain.model_copy(update=found)


def _source(file: Path, domain: str, problems: list[Problem]) -> Source | None:
    source = _declared(Source, file, source_violations, problems)
    return source and source.model_copy(update={"domain": domain, "name": file.stem})


def _mixed_partitions(folder: Path, sources: list[Source]) -> Iterator[Problem]:
    """A run of a domain carries partitions of one kind: all years from one start, or files."""
    partitioned = [source for source in sources if source.partitions]
    for source in partitioned[1:]:
        first, found = partitioned[0].partitions, source.partitions
        if first and found and first.of_a_run != found.of_a_run:
            file = folder / f"{source.name}.yaml"
            name = partitioned[0].name
            wanted = f"{first.of_a_run}, as {name} is partitioned: a run carries one kind only"
            yield from yaml_positions.read(file).located(
                [RuleViolation(("partitions",), wanted, found.of_a_run)]
            )


def _declared(
    model: type[AnyDeclaration], file: Path, rules: Rules, problems: list[Problem]
) -> AnyDeclaration | None:
    """The file as a model; its faults go to `problems`, in the order of its lines."""
    try:
        tree = yaml_positions.read(file)
    except DeclarationError as error:
        problems += error.problems
        return None
    faults = [*tree.faults, *derived_fields(model, tree), *templates(tree.data)]
    if isinstance(tree.data, dict):
        faults += rules(tree.data)
    try:
        declared = model.model_validate(tree.data, strict=True)
    except ValidationError as error:
        faults += faults_of(error, model, tree)
        declared = None
    problems += tree.located(faults)
    return declared


def _problems_of_name(path: Path) -> list[Problem]:
    problems = []
    if path.suffix == ".yml":
        problems.append(_problem(path, "the ending .yaml", path.suffix))
    if not re.fullmatch(NAME, path.stem):
        expected = "a name of small letters, digits and _ that begins with a letter"
        problems.append(_problem(path, expected, repr(path.stem)))
    return problems


def _problem(path: Path, expected: str, found: str) -> Problem:
    return Problem(f"{path}:1: document", expected, found)


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, in order; hidden entries and caches are nobody's declaration."""
    try:
        return sorted(
            entry
            for entry in folder.iterdir()
            if entry.name[0] not in "._" or entry.name == DOMAIN_FILE
        )
    except FileNotFoundError as error:
        raise DeclarationError(
            [_problem(folder, "a folder of declarations", "no such folder")]
        ) from error
    except OSError as error:
        raise HomeError(f"{folder}: expected a readable folder, found {error.strerror}") from error

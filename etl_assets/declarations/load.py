"""Loads the declarations under `domains/` and reports every problem with its file and line.

What a declaration may contain is in `source` and `domain`; the wording of problems is in
`yaml_positions`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

from pydantic import ValidationError

from etl_assets.declarations.dbt_models import find_models, model_violations
from etl_assets.declarations.dbt_vars import find_vars, var_violations
from etl_assets.declarations.declaration import NAME, Declaration
from etl_assets.declarations.domain import BrokenDomain, Declarations, Domain
from etl_assets.declarations.folders import (
    DOMAIN_FILE,
    document_problem,
    list_domain_folders,
    list_entries,
)
from etl_assets.declarations.names import dependency_violations
from etl_assets.declarations.overrides import (
    Override,
    apply_overrides,
    find_unknown_domains,
    name_overrides,
    split_by_source,
)
from etl_assets.declarations.rules import (
    Data,
    RuleViolation,
    domain_deprecations,
    domain_violations,
    source_violations,
    template_violations,
)
from etl_assets.declarations.source import Source
from etl_assets.declarations.yaml_positions import (
    YamlDocument,
    implied_key_violations,
    read_yaml,
    validation_violations,
)
from etl_assets.model.errors import DeclarationError, Problem

logger = logging.getLogger(__name__)

Rules = Callable[[Data], Iterable[RuleViolation]]
Overriding = Callable[[YamlDocument], YamlDocument]
AnyDeclaration = TypeVar("AnyDeclaration", bound=Declaration)


def load(
    root: Path,
    overrides: Sequence[Override] = (),
    *,
    dbt_dir: Path | None = None,
    document_rules: Rules | None = None,
) -> dict[str, Domain]:
    """Returns the domains by name; raises DeclarationError with the problems of all files."""
    declarations = load_each(root, overrides, dbt_dir=dbt_dir, document_rules=document_rules)
    problems: list[Problem] = []
    for broken in declarations.broken.values():
        problems += broken.problems
    if problems:
        raise DeclarationError(problems)
    return dict(declarations.domains)


def load_each(
    root: Path,
    overrides: Sequence[Override] = (),
    *,
    dbt_dir: Path | None = None,
    document_rules: Rules | None = None,
) -> Declarations:
    """Returns the domains without faults, and those with faults, which do not affect the others.

    Models and vars are compared with the files in `dbt_dir`, and documents by the rules of their
    formats, if these are given: not every verb imports the writers. Raises DeclarationError if
    there is no domain at all or a value overrides that of an unknown one, HomeError if `root`
    cannot be read.
    """
    domains: dict[str, Domain] = {}
    broken: dict[str, BrokenDomain] = {}
    folders = list_domain_folders(root)
    if problems := find_unknown_domains(overrides, [folder.name for folder in folders]):
        raise DeclarationError(problems)
    for folder in folders:

        def rules(data: Data, name: str = folder.name) -> Iterator[RuleViolation]:
            if dbt_dir is not None:
                yield from model_violations(data, find_models(dbt_dir, name))
            if dbt_dir is not None and data.get("vars"):
                yield from var_violations(data, find_vars(dbt_dir, name))
            if document_rules is not None:
                yield from document_rules(data)

        loaded = _load_domain(folder, overrides, rules)
        if isinstance(loaded, Domain):
            domains[loaded.name] = loaded
        else:
            broken[loaded.name] = loaded
    return Declarations(domains, broken)


def read_declaration(
    model: type[AnyDeclaration],
    file: Path,
    rules: Rules | None = None,
    deprecations: Rules | None = None,
    override: Overriding | None = None,
) -> tuple[AnyDeclaration | None, list[Problem]]:
    """Returns the file as a model, or None, and its problems in the order of the lines.

    What `deprecations` yields is no problem yet, and logged as a warning. `override` replaces
    values of the file.
    """
    try:
        if not S_ISREG(file.stat().st_mode):  # reading a pipe would never end
            return None, [document_problem(file, "a file", "a folder or a device")]
        document = read_yaml(file)
        if override:
            document = override(document)
    except DeclarationError as error:
        return None, list(error.problems)
    except OSError as error:
        return None, [document_problem(file, "a readable file", error.strerror or str(error))]
    violations = [
        *document.violations,
        *implied_key_violations(model, document),
        *template_violations(document.data),
    ]
    if isinstance(document.data, dict):
        violations += rules(document.data) if rules else ()
        for old in document.problems(deprecations(document.data) if deprecations else ()):
            logger.warning("%s; the next version does not read the old name", old)
    declaration = None
    try:
        # Strict: YAML has types of its own, so that 'yes' is not true and "1" is not a number.
        declaration = model.model_validate(document.data, strict=True)
    except ValidationError as error:
        violations += validation_violations(error, model, document)
    return declaration, document.problems(violations)


def _load_domain(
    folder: Path, overrides: Sequence[Override], rules: Rules
) -> Domain | BrokenDomain:
    """Returns the domain, or its problems, which name the overrides that make them."""

    def find_problems(overrides: Sequence[Override]) -> Collection[Problem]:
        loaded = _read_domain(folder, overrides, rules)
        return loaded.problems if isinstance(loaded, BrokenDomain) else ()

    loaded = _read_domain(folder, overrides, rules)
    own_overrides = [each for each in overrides if each.parts[0] == folder.name]
    if isinstance(loaded, Domain) or not own_overrides:
        return loaded
    named = name_overrides(loaded.problems, own_overrides, find_problems)
    declared = find_problems([])
    faulty = [loaded.faulty] if declared else []
    if any(problem not in declared for problem in loaded.problems):
        faulty.append(f"its overrides in {own_overrides[0].place.file}")
    return replace(loaded, problems=list(named), faulty=" and ".join(faulty))


def _read_domain(
    folder: Path, overrides: Sequence[Override], rules: Rules
) -> Domain | BrokenDomain:
    try:
        files = [entry for entry in list_entries(folder) if entry.suffix in {".yaml", ".yml"}]
    except OSError as error:
        problem = document_problem(folder, "a readable folder", error.strerror or str(error))
        return BrokenDomain(folder.name, frozenset(), [problem])
    source_files = [file for file in files if file.name != DOMAIN_FILE]
    source_names = [file.stem for file in source_files]
    problems = _name_problems(folder)
    for file in source_files:
        problems += _name_problems(file)
    by_source = split_by_source(overrides, folder.name, source_names)

    def override(name: str | None) -> Overriding:
        owner = (folder.name, name) if name else (folder.name,)
        return partial(apply_overrides, overrides=by_source[name], owner=owner)

    sources, source_problems = _read_sources(source_files, override)
    problems += source_problems
    enabled = {source.name: source for source in sources if source.enabled}
    if not problems:  # a source with a fault would be an unknown table to the others
        problems += _find_conflicts(folder, enabled, override)

    domain = None
    domain_file = folder / DOMAIN_FILE
    if domain_file in files:
        domain, domain_problems = read_declaration(
            Domain,
            domain_file,
            lambda data: chain(domain_violations(data, sources=source_names), rules(data)),
            domain_deprecations,
            override(None),
        )
        problems += domain_problems
    else:
        problems.append(document_problem(domain_file, "a file that describes the domain", "none"))
    if domain is None or problems:
        return BrokenDomain(folder.name, frozenset(source_names), problems)
    update = {
        "name": folder.name,
        "sources": enabled,
        "disabled_sources": {source.name: source for source in sources if not source.enabled},
        "overrides": {each.name: each.value for each in chain(*by_source.values())},
    }
    return domain.model_copy(update=update)


def _read_sources(
    files: Iterable[Path], override: Callable[[str], Overriding]
) -> tuple[list[Source], list[Problem]]:
    """Returns the sources of a domain that can be read, and the problems of all files."""
    sources: list[Source] = []
    problems: list[Problem] = []
    for file in files:
        source, source_problems = read_declaration(
            Source, file, source_violations, override=override(file.stem)
        )
        problems += source_problems
        if source:
            names = {"domain": file.parent.name, "name": file.stem}
            sources.append(source.model_copy(update=names))
    return sources, problems


def _find_conflicts(
    folder: Path, sources: Mapping[str, Source], override: Callable[[str], Overriding]
) -> list[Problem]:
    """Returns the problems between the sources of a domain."""
    problems: list[Problem] = []
    violations = [*dependency_violations(sources), *_mixed_partitions(list(sources.values()))]
    for source, violation in violations:
        # A model has no line numbers; read the file again for them.
        document = override(source.name)(read_yaml(folder / f"{source.name}.yaml"))
        problems += document.problems([violation])
    return problems


def _mixed_partitions(sources: list[Source]) -> Iterator[tuple[Source, RuleViolation]]:
    """Yields the sources whose partitions differ: a Dagster run has one partitions definition."""
    partitioned = [(source, source.partitions) for source in sources if source.partitions]
    for source, partitions in partitioned[1:]:
        first_source, first = partitioned[0]
        if first.scheme != partitions.scheme:
            expected = (
                f"{first.scheme}, as {first_source.name} is partitioned: "
                "a run carries one kind only"
            )
            yield source, RuleViolation(("partitions",), expected, partitions.scheme)


def _name_problems(path: Path) -> list[Problem]:
    problems = []
    if path.suffix == ".yml":
        problems.append(document_problem(path, "the ending .yaml", path.suffix))
    if not re.fullmatch(NAME, path.stem):
        expected = "a name of lower-case letters, digits and _ that begins with a letter"
        problems.append(document_problem(path, expected, repr(path.stem)))
    return problems

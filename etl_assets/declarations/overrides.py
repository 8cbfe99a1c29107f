"""Values of a settings file that replace declared ones on one installation.

Each key below `overrides:` is a path with dots, such as `DOMAIN.schedule` or
`DOMAIN.SOURCE.limits.read_timeout_seconds`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from etl_assets.declarations.rules import FieldPath, RuleViolation, suggest
from etl_assets.declarations.yaml_positions import Place, YamlDocument, format_path, format_value
from etl_assets.model.display_text import list_some
from etl_assets.model.errors import Problem

KEY = "overrides"
FORM = "a path with dots, such as DOMAIN.SOURCE.limits.read_timeout_seconds"


@dataclass(frozen=True, slots=True)
class Override:
    """One value in place of a declared one."""

    name: str
    """The path with dots, as it is written."""
    value: object
    places: Mapping[FieldPath, Place]
    """Where the value and the fields below it are written."""

    @property
    def place(self) -> Place:
        return self.places[()]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.name.split("."))

    def problem(self, expected: str, actual: str) -> Problem:
        return Problem(f"{self.place}: {KEY}.{self.name}", expected, actual)


def read_overrides(document: YamlDocument) -> tuple[list[Override], list[RuleViolation]]:
    """Returns the overrides of a settings file, and what is wrong with their form."""
    data = document.data.get(KEY) if isinstance(document.data, dict) else None
    if not isinstance(data, dict):
        expected = "a mapping of paths to values"
        wrong = [] if data is None else [RuleViolation((KEY,), expected, format_value(data))]
        return [], wrong
    overrides, violations = [], []
    for name, value in data.items():
        if "." not in name or not all(name.split(".")):
            violations.append(RuleViolation((KEY, name), FORM, repr(name)))
            continue
        if parent := _find_parent(name, data):
            expected = f"one override of a value, not {parent} too"
            violations.append(RuleViolation((KEY, name), expected, "both"))
            continue
        places = {
            path[2:]: place._replace(override=f"{KEY}.{name}")
            for path, place in document.places.items()
            if path[:2] == (KEY, name)
        }
        overrides.append(Override(name, value, places))
    return overrides, violations


def _find_parent(name: str, data: Iterable[str]) -> str | None:
    """Returns another override whose value has the one of this name in it."""
    return next((other for other in data if name.startswith(f"{other}.")), None)


def find_unknown_domains(overrides: Sequence[Override], domains: Iterable[str]) -> list[Problem]:
    """Returns a problem for each value of a domain that is not declared."""
    names = list(domains)
    return [
        override.problem(f"one of {', '.join(names)}{suggest(domain, names)}", repr(domain))
        for override in overrides
        if (domain := override.parts[0]) not in names
    ]


def name_overrides(
    problems: Iterable[Problem],
    overrides: Sequence[Override],
    find_problems: Callable[[list[Override]], Collection[Problem]],
) -> Iterator[Problem]:
    """Yields the problems; one at a line of a declaration names the overrides that make it.

    A rule between fields is reported at one of them, which need not be the one that is overridden.
    `find_problems` returns the problems with other overrides.
    """
    declared = find_problems([])
    without = [(each, find_problems([o for o in overrides if o is not each])) for each in overrides]
    for problem in problems:
        is_named = any(problem.where.startswith(f"{each.place}: {KEY}.") for each in overrides)
        if is_named or problem in declared:
            yield problem
            continue
        causes = [each for each, others in without if problem not in others] or overrides
        names = list_some([f"{KEY}.{each.name} ({each.place})" for each in causes])
        yield replace(problem, actual=f"{problem.actual}; with {names}")


def apply_overrides(
    document: YamlDocument, overrides: Iterable[Override], owner: tuple[str, ...]
) -> YamlDocument:
    """Returns the document of a domain or a source with its values replaced.

    `owner` is `(domain,)` or `(domain, source)`. A fault of a value has its place in the settings
    file.
    """
    for override in overrides:
        if override.parts[: len(owner)] == owner:
            document = _replace_value(document, override.parts[len(owner) :], override)
    return document


def split_by_source(
    overrides: Iterable[Override], domain: str, sources: Iterable[str]
) -> dict[str | None, list[Override]]:
    """Returns the overrides of one domain by source; under None those of the domain itself."""
    by_source: dict[str | None, list[Override]] = {source: [] for source in (None, *sources)}
    for override in overrides:
        if override.parts[0] == domain:
            by_source[name if (name := override.parts[1]) in by_source else None].append(override)
    return by_source


def _replace_value(
    document: YamlDocument, path: tuple[str, ...], override: Override
) -> YamlDocument:
    """Returns the document with the value at a path, below mappings that it may not have yet."""
    violations = list(document.violations)
    data: dict[str, Any] = dict(document.data) if isinstance(document.data, dict) else {}
    places = dict(_places_outside(document, path))
    parent = data
    for depth, key in enumerate(path[:-1], start=1):
        below = parent.get(key)
        if isinstance(below, dict | None):
            parent[key] = parent = dict(below or {})
            places.setdefault(path[:depth], override.place)
        else:
            expected = f"a mapping as {format_path(path[:depth])}, to replace a value below it"
            violations.append(RuleViolation(path, expected, format_value(below)))
            parent = {}
    if path:
        parent[path[-1]] = override.value
    else:
        violations.append(RuleViolation((), "a key of the source after its name", "none"))
    places |= {(*path, *below): place for below, place in override.places.items()}
    return replace(document, data=data, places=places, violations=violations)


def _places_outside(document: YamlDocument, path: FieldPath) -> Iterator[tuple[FieldPath, Place]]:
    for field_path, place in document.places.items():
        if field_path[: len(path)] != path:
            yield field_path, place

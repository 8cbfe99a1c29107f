"""Looks up domains and sources by name, and orders sources by their dependencies.

A source is `domain.source`, or only its name if that is unique; a partition of it is
`source[partition]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType

from etl_assets.declarations.domain import BrokenDomain, Domain
from etl_assets.declarations.folders import unknown_domain
from etl_assets.declarations.rules import RuleViolation, suggest
from etl_assets.declarations.source import Source
from etl_assets.model.display_text import MAX_NAMES, did_you_mean, list_some
from etl_assets.model.errors import DeclarationError, Problem, UsageError
from etl_assets.model.records import Part

PART = re.compile(r"(?P<source>[^\[\]]+)(?:\[(?P<partition>[^\[\]]+)\])?")
NONE_BROKEN: Mapping[str, BrokenDomain] = MappingProxyType({})


def find_domain(
    domains: Mapping[str, Domain], name: str, broken: Mapping[str, BrokenDomain] = NONE_BROKEN
) -> Domain:
    """Returns the domain; raises UsageError with the names of all domains.

    Raises DeclarationError with the faults of a domain that is `broken`.
    """
    if name in broken:
        raise broken[name].error
    if name not in domains:
        raise unknown_domain(name, [*domains, *broken])
    return domains[name]


def find_source(
    domains: Mapping[str, Domain], name: str, broken: Mapping[str, BrokenDomain] = NONE_BROKEN
) -> Source:
    """Returns the source; raises UsageError if there is none, or more than one.

    A file of a domain that is `broken` counts too: with the faults of that domain as the error, or
    as one of several.
    """
    matches = [source for domain in domains.values() if (source := domain.find_source(name))]
    broken_matches = [domain for domain in broken.values() if _may_have(domain, name)]
    if len(matches) + len(broken_matches) > 1:
        full_names = [str(source.full_name) for source in matches]
        full_names += [f"{domain.name}.{name.rpartition('.')[2]}" for domain in broken_matches]
        raise UsageError(f"{name}: expected one source, found {' and '.join(full_names)}")
    if broken_matches:
        raise broken_matches[0].error
    if not matches:
        declared = []
        for domain in domains.values():
            declared += [str(source.full_name) for source in domain.sources.values()]
        raise unknown_source(name, declared)
    return matches[0]


def unknown_source(name: str, declared: Iterable[str], domain: str = "") -> UsageError:
    """The error for a name that no source has; `declared` are full names, or bare ones."""
    names = sorted(declared)
    similar = did_you_mean(name, names)
    if not similar and "." not in name:  # a bare name is compared with bare names
        full_names = {full_name.rpartition(".")[2]: full_name for full_name in names}
        similar = did_you_mean(name, full_names)
    place = f" in {domain}" if domain else ""
    hint = "" if len(names) <= MAX_NAMES else "; `etl sources list` lists them all"
    return UsageError(
        f"no source {name!r}{place}{similar}; declared are: {list_some(names) or 'none'}{hint}"
    )


def _may_have(domain: BrokenDomain, name: str) -> bool:
    """True if a source of this name, bare or in full, may be one of the domain's."""
    domain_name, _, source_name = name.rpartition(".")
    return domain_name == domain.name or (not domain_name and source_name in domain.source_names)


def find_part(
    domains: Mapping[str, Domain], text: str, broken: Mapping[str, BrokenDomain] = NONE_BROKEN
) -> tuple[Source, Part]:
    """Returns the source and the part; a partitioned source needs the name of a partition."""
    name, partition = split_part_name(text)
    source = find_source(domains, name, broken)
    if (partition is None) != (source.partitions is None):
        expected = f"{source.name}[PARTITION]" if source.partitions else source.name
        raise UsageError(f"{source.full_name}: expected {expected}, found {text}")
    return source, source.part(partition)


def split_part_name(text: str) -> tuple[str, str | None]:
    """Returns the name of the source, and that of the partition or None."""
    match = PART.fullmatch(text)
    return (match["source"], match["partition"]) if match else (text, None)


def with_disabled_sources(domains: Mapping[str, Domain]) -> dict[str, Domain]:
    """Returns the domains with their disabled sources among the others."""
    return {
        name: domain.model_copy(update={"sources": domain.sources | domain.disabled_sources})
        for name, domain in domains.items()
    }


def fetch_order(sources: Mapping[str, Source]) -> list[list[Source]]:
    """Returns the sources in batches: each needs only the tables of the batches before it.

    Raises DeclarationError if a dependency cannot be met.
    """
    problems = [
        Problem(
            f"{source.domain}/{source.name}.yaml: for_each", violation.expected, violation.actual
        )
        for source, violation in dependency_violations(sources)
    ]
    if problems:
        raise DeclarationError(problems)

    sorter = _sort_by_dependency(sources)
    sorter.prepare()
    batches = []
    while sorter.is_active():
        # Within a batch, keep the declared order: the order of steps and log lines follows from it.
        ready = set(sorter.get_ready())
        batches.append([source for source in sources.values() if source.name in ready])
        sorter.done(*ready)
    return batches


def dependency_violations(sources: Mapping[str, Source]) -> Iterator[tuple[Source, RuleViolation]]:
    """Yields each source whose `for_each` names an unknown table or column, or is in a cycle."""
    for source in sources.values():
        for violation in _for_each_violations(source, sources):
            yield source, violation
    try:
        _sort_by_dependency(sources).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        path = ("for_each", "table")
        yield sources[cycle[0]], RuleViolation(path, "no cycle", " -> ".join(cycle))


def _sort_by_dependency(sources: Mapping[str, Source]) -> TopologicalSorter[str]:
    return TopologicalSorter(
        {name: [s.for_each.table] if s.for_each else [] for name, s in sources.items()}
    )


def _for_each_violations(source: Source, sources: Mapping[str, Source]) -> Iterator[RuleViolation]:
    if source.for_each is None:
        return
    path = ("for_each", "table")
    table = sources.get(source.for_each.table)
    if table is None:
        expected = f"a source of the domain{suggest(source.for_each.table, sources)}"
        yield RuleViolation(path, expected, repr(source.for_each.table))
        return
    if table.partitions is not None:
        actual = f"{table.name!r} with partitions"
        yield RuleViolation(path, "a source without partitions", actual)
        return
    columns = {column.name for column in table.contract.columns}
    for name in source.for_each.required_columns(source.location.url or ""):
        if name not in columns:
            expected = f"columns of {table.name}{suggest(name, columns)}"
            yield RuleViolation(("for_each",), expected, f"{{{name}}}")

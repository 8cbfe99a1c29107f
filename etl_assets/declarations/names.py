"""Looks up domains and sources by name, and orders sources by their dependencies.

A source is `domain.source`, or only its name if that is unique; a partition of it is
`source[partition]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.rules import suggest
from etl_assets.declarations.source import Source
from etl_assets.model.errors import DeclarationError, Problem, UsageError
from etl_assets.model.records import Part

PART = re.compile(r"(?P<source>[^\[\]]+)(?:\[(?P<partition>[^\[\]]+)\])?")


def find_domain(domains: Mapping[str, Domain], name: str) -> Domain:
    """Returns the domain; raises UsageError with the names of all domains."""
    if name not in domains:
        raise UsageError(f"no domain {name!r}; declared are: {', '.join(sorted(domains))}")
    return domains[name]


def find_source(domains: Mapping[str, Domain], name: str) -> Source:
    """Returns the source; raises UsageError if there is none, or more than one."""
    matches = [source for domain in domains.values() if (source := domain.find_source(name))]
    if len(matches) > 1:
        several = " and ".join(str(source.full_name) for source in matches)
        raise UsageError(f"{name}: expected one source, found {several}")
    if not matches:
        declared = []
        for domain in domains.values():
            declared += [str(source.full_name) for source in domain.sources.values()]
        raise UsageError(f"no source {name!r}; declared are: {', '.join(sorted(declared))}")
    return matches[0]


def find_part(domains: Mapping[str, Domain], text: str) -> tuple[Source, Part]:
    """Returns the source and the part; a partitioned source needs the name of a partition."""
    name, partition = split_part_name(text)
    source = find_source(domains, name)
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

    Raises DeclarationError if `for_each` names an unknown table or column, or if there is a cycle.
    """
    problems = []
    for source in sources.values():
        problems += _for_each_problems(source, sources)
    if problems:
        raise DeclarationError(problems)

    sorter = TopologicalSorter({name: _required_tables(s) for name, s in sources.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        problem = _problem(sources[cycle[0]], "no cycle", " -> ".join(cycle))
        raise DeclarationError([problem]) from error
    batches = []
    while sorter.is_active():
        # Within a batch, keep the declared order: the order of steps and log lines follows from it.
        ready = set(sorter.get_ready())
        batches.append([source for source in sources.values() if source.name in ready])
        sorter.done(*ready)
    return batches


def _required_tables(source: Source) -> list[str]:
    return [source.for_each.table] if source.for_each else []


def _for_each_problems(source: Source, sources: Mapping[str, Source]) -> list[Problem]:
    if source.for_each is None:
        return []
    table = sources.get(source.for_each.table)
    if table is None:
        expected = f"a source of the domain{suggest(source.for_each.table, sources)}"
        return [_problem(source, expected, repr(source.for_each.table))]
    if table.partitions is not None:
        return [_problem(source, "a source without partitions", f"{table.name!r} with partitions")]
    columns = {column.name for column in table.contract.columns}
    return [
        _problem(source, f"columns of {table.name}{suggest(name, columns)}", f"{{{name}}}")
        for name in source.for_each.required_columns(source.location.url or "")
        if name not in columns
    ]


def _problem(source: Source, expected: str, actual: str) -> Problem:
    return Problem(f"{source.domain}/{source.name}.yaml: for_each", expected, actual)

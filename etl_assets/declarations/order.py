"""The order in which the sources of a domain can be fetched: after the tables that they ask from.

Fetching is the stages'; what a source asks of a table is `etl_assets.declarations.for_each`.
"""

from __future__ import annotations

from collections.abc import Mapping

from etl_assets.declarations.rules import nearest
from etl_assets.declarations.source import Source
from etl_assets.model.errors import DeclarationError, Problem


def fetch_order(sources: Mapping[str, Source]) -> list[list[Source]]:
    """Sources that need no other first, then those that need only these, and so on.

    Raises DeclarationError for a table or column that no source has, and for a circle.
    """
    if problems := [p for s in sources.values() if s.for_each for p in _problems(s, sources)]:
        raise DeclarationError(problems)
    waves: list[list[Source]] = []
    placed: set[str] = set()
    while len(placed) < len(sources):
        wave = [s for s in sources.values() if s.name not in placed and _needs(s) <= placed]
        if not wave:
            rest = sorted(sources.keys() - placed)
            raise DeclarationError([_problem(sources[rest[0]], "no circle", " -> ".join(rest))])
        waves.append(wave)
        placed |= {source.name for source in wave}
    return waves


def _needs(source: Source) -> set[str]:
    return {source.for_each.table} if source.for_each else set()


def _problems(source: Source, sources: Mapping[str, Source]) -> list[Problem]:
    declared = source.for_each
    if declared is None:
        return []
    table = sources.get(declared.table)
    if table is None or table.partitions is not None:
        near = nearest(declared.table, sources)
        return [_problem(source, f"a source without partitions{near}", repr(declared.table))]
    columns = {column.name for column in table.contract.columns}
    return [
        _problem(source, f"columns of {declared.table}{nearest(name, columns)}", f"{{{name}}}")
        for name in declared.used(source.location.url or "")
        if name not in columns
    ]


def _problem(source: Source, expected: str, found: str) -> Problem:
    return Problem(f"{source.domain}/{source.name}.yaml: for_each", expected, found)

"""Which domain or source a person means; a source is `domain.source`, or its name where unique.

A part of a partitioned source is named `source[partition]`; what is done with it is the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.model.errors import UsageError
from etl_assets.model.records import Part

PART = re.compile(r"(?P<source>[^\[\]]+)(?:\[(?P<partition>[^\[\]]+)\])?")


def domain_named(domains: Mapping[str, Domain], name: str) -> Domain:
    """The domain; raises UsageError with those that there are."""
    if name not in domains:
        known = ", ".join(sorted(domains))
        raise UsageError(f"no domain {name!r}; declared are: {known}")
    return domains[name]


def source_named(domains: Mapping[str, Domain], name: str) -> Source:
    """The source; raises UsageError where there is none, or more than one."""
    matches = [source for domain in domains.values() if (source := domain.find_source(name))]
    if len(matches) > 1:
        names = " and ".join(str(source.full_name) for source in matches)
        raise UsageError(f"{name}: expected one source, found {names}")
    if not matches:
        sources = [source for domain in domains.values() for source in domain.sources.values()]
        declared = ", ".join(sorted(str(source.full_name) for source in sources))
        raise UsageError(f"no source {name!r}; declared are: {declared}")
    return matches[0]


def part_named(domains: Mapping[str, Domain], text: str) -> tuple[Source, Part]:
    """One part of a source, which names its partition where the source has any."""
    name, partition = split_part(text)
    source = source_named(domains, name)
    if (partition is None) != (source.partitions is None):
        expected = f"{source.name}[PARTITION]" if source.partitions else source.name
        raise UsageError(f"{source.full_name}: expected {expected}, found {text}")
    return source, source.part(partition)


def split_part(text: str) -> tuple[str, str | None]:
    """The source's name and the partition's, where the text names one."""
    match = PART.fullmatch(text)
    return (match["source"], match["partition"]) if match else (text, None)


def with_switched_off(domains: Mapping[str, Domain]) -> dict[str, Domain]:
    """The domains with the sources too that are declared and not enabled."""
    return {
        name: domain.model_copy(update={"sources": {**domain.sources, **domain.switched_off}})
        for name, domain in domains.items()
    }

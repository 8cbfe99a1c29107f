"""How the sources of a domain stand, read from the event log.

What is made of it belongs to its readers: models, plans, `etl status`.
"""

from __future__ import annotations

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs.event_log import read_sources
from etl_assets.defs.materialize import combined
from etl_assets.marts.source_status import SourceHealth, summarize_health


def read_tables(
    instance: dg.DagsterInstance, domain: Domain
) -> tuple[list[SourceHealth], dict[str, str]]:
    """How each source stands, and the version of each table, by name."""
    states = read_sources(instance, domain.sources.values())
    health, versions = [], {}
    for source in domain.sources.values():
        state = states[source.name]
        tables = [state.tables[part] for part in sorted(state.tables, key=lambda p: p or "")]
        health.append(summarize_health(source, list(state.fetches.values()), tables))
        versions[source.name] = combined([t.table.sha256 for t in tables] or [""])
    return health, versions

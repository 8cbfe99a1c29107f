"""How the sources of a domain stand, read from the event log.

What is made of it belongs to its readers: models, plans, `etl status`.
"""

from __future__ import annotations

import dagster as dg

from etl_assets.assets import keys
from etl_assets.assets.outcomes import combined
from etl_assets.assets.state import standing
from etl_assets.model.declaration import Domain
from etl_assets.model.health import SourceHealth, health_of
from etl_assets.model.records import Fetch, Tabulated


def read_tables(
    instance: dg.DagsterInstance, domain: Domain
) -> tuple[list[SourceHealth], dict[str, str]]:
    """How each source stands, and the version of each table, by name."""
    health, versions = [], {}
    for source in domain.sources.values():
        partitioned = source.partitions is not None
        fetches = standing(instance, keys.raw_key(source), Fetch, partitioned=partitioned)
        tables = standing(instance, keys.table_key(source), Tabulated, partitioned=partitioned)
        in_order = [tables[part] for part in sorted(tables, key=str)]
        health.append(health_of(source, list(fetches.values()), in_order))
        versions[source.name] = combined([t.table.sha256 for t in in_order] or [""])
    return health, versions

"""The raw fields of which a published column is made, by the lineage of materializations."""

from __future__ import annotations

import dagster as dg
from support.sample_home import SampleHome

LINEAGE = "dagster/column_lineage"


def raw_fields(sample: SampleHome, asset: str, column: str) -> set[str]:
    """Return `<raw asset>: <field>` for each field at the end of a column's lineage."""
    found: set[str] = set()
    pending, seen = [(dg.AssetKey([sample.name, asset]), column)], set()
    with sample.instance() as instance:
        while pending:
            key, name = ref = pending.pop()
            if ref in seen:
                continue
            seen.add(ref)
            if key.path[-1].endswith("_raw"):
                found.add(f"{key.path[-1]}: {name}")
                continue
            event = instance.get_latest_materialization_event(key)
            value = event.asset_materialization.metadata.get(LINEAGE) if event else None
            if isinstance(value, dg.TableColumnLineageMetadataValue):
                deps = value.lineage.deps_by_column.get(name, [])
                pending += [(dep.asset_key, dep.column_name) for dep in deps]
    return found

"""Where the columns of an asset come from, as metadata of its materializations.

`dagster/column_lineage` has the columns of the assets directly above; a table for the pages also
has the fields of the raw files. Which columns these are is found in `etl_assets.marts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys
from etl_assets.marts.lineage_cache import ModelLineage
from etl_assets.report import markdown

LINEAGE = "dagster/column_lineage"
COLUMNS = "columns"
MAX_NAMES = 5  # columns that a cell names; the rest are counted

Ref = tuple[str, str]
"""The unique id of a node of dbt, and one of its columns."""


def table_lineage(source: Source) -> dict[str, Any]:
    """Return the metadata of a source's table: each column is a field of the raw file."""
    raw = asset_keys.raw_key(source)
    fields = field_names(source)
    return {
        LINEAGE: dg.TableColumnLineage(
            {column: [dg.TableColumnDep(raw, field)] for column, field in fields.items()}
        )
    }


def field_names(source: Source) -> dict[str, str]:
    """Return the field of the raw file that each column of the contract is read from."""
    return {column.name: column.origin or column.name for column in source.contract.columns}


class ModelColumns:
    """The lineage of the columns of a domain's models, from their traced SQL."""

    def __init__(
        self, domain: Domain, manifest: Mapping[str, Any], models: Mapping[str, ModelLineage]
    ) -> None:
        self._domain, self._models = domain, models
        self._nodes, self._sources = manifest["nodes"], manifest["sources"]
        self._raw: dict[Ref, frozenset[Ref]] = {}

    def metadata(self, unique_id: str) -> dict[str, Any]:
        """Return the metadata of a model; a seed has none."""
        if self._nodes[unique_id]["resource_type"] != "model":
            return {}
        lineage = self._models.get(unique_id)
        fault = lineage.fault if lineage else "it was not found in its SQL"
        if lineage is None or fault:
            return {COLUMNS: f"Where the columns come from is not known: {fault}."}
        deps = {
            column: [
                dg.TableColumnDep(key, name)
                for parent, name in refs
                if (key := self._asset_key(parent)) is not None
            ]
            for column, refs in lineage.columns.items()
        }
        return {
            LINEAGE: dg.TableColumnLineage(deps),
            COLUMNS: dg.MetadataValue.md(self._as_table(unique_id, lineage)),
        }

    def raw_fields(self, unique_id: str, column: str) -> frozenset[Ref]:
        """Return the sources and their fields of which a column of a node is made."""
        ref = (unique_id, column)
        if ref not in self._raw:
            self._raw[ref] = self._find_raw_fields(unique_id, column)
        return self._raw[ref]

    def _find_raw_fields(self, unique_id: str, column: str) -> frozenset[Ref]:
        if unique_id in self._sources:
            name = self._sources[unique_id]["name"]
            field = self._fields.get(unique_id, {}).get(column)
            return frozenset({(name, field)} if field else ())
        lineage = self._models.get(unique_id)
        refs = lineage.columns.get(column, []) if lineage else []
        return frozenset().union(*(self.raw_fields(*ref) for ref in refs))

    @cached_property
    def _fields(self) -> dict[str, dict[str, str]]:
        """The fields of the declared sources by unique id; build inputs have none."""
        return {
            unique_id: field_names(self._domain.sources[node["name"]])
            for unique_id, node in self._sources.items()
            if node["source_name"] == self._domain.name and node["name"] in self._domain.sources
        }

    def _asset_key(self, unique_id: str) -> dg.AssetKey | None:
        """Return the asset of a node; None for an input of builds, which is no asset."""
        if unique_id in self._nodes:
            return asset_keys.model_key(self._domain.name, self._nodes[unique_id]["name"])
        node = self._sources[unique_id]
        if node["source_name"] != self._domain.name:
            return None
        return dg.AssetKey([node["source_name"], node["name"]])

    def _as_table(self, unique_id: str, lineage: ModelLineage) -> str:
        lines = ["| column | made of | fields of raw files |", "| --- | --- | --- |"]
        for column, refs in lineage.columns.items():
            made_of = _cell(f"{self._short_name(parent)}.{name}" for parent, name in refs)
            raw = _cell(f"{name}: {field}" for name, field in self.raw_fields(unique_id, column))
            lines.append(f"| {column} | {made_of} | {raw} |")
        return "\n".join(lines)

    def _short_name(self, unique_id: str) -> str:
        key = self._asset_key(unique_id)
        # Inputs of builds, such as the published history.
        return key.path[-1] if key else self._sources[unique_id]["name"]


def _cell(names: Iterable[str]) -> str:
    ordered = sorted(names)
    shown = [markdown.escape(name) for name in ordered[:MAX_NAMES]]
    more = len(ordered) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])

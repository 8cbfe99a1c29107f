"""Specs of the dbt models: keys, groups, owners, columns and what they depend on."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt import DbtProject as DagsterDbtProject

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys
from etl_assets.defs.asset_keys import Layer
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.specs import code_references, escape_tags
from etl_assets.marts.graph import BUILD_SOURCE, HEALTH_INPUT, Graph


class Translator(DagsterDbtTranslator):
    """Gives dbt's nodes the keys, groups and owners of their domain."""

    def __init__(self, domain: Domain, project: ProjectContext, graph: Graph) -> None:
        super().__init__()
        self._domain = domain
        self._code_version = project.dbt(domain).code_version
        self._folder = project.settings.dbt_dir
        self._graph = graph

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DagsterDbtProject | None
    ) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        if node["resource_type"] == "source":
            return spec.replace_attributes(key=dg.AssetKey([node["source_name"], node["name"]]))
        layer = self._layer(node)
        return spec.replace_attributes(
            key=asset_keys.model_key(self._domain.name, node["name"]),
            deps=list(self._deps(spec)),
            description=escape_tags(node["description"]),
            group_name=asset_keys.group_name(self._domain, layer),
            owners=[self._domain.owner],
            code_version=self._code_version,
            kinds={"dbt", "duckdb", node["config"]["materialized"]},
            tags={**spec.tags, **asset_keys.layer_tag(layer)},
            metadata={
                **spec.metadata,
                **code_references(self._folder / node["original_file_path"]),
                "dagster/column_schema": dg.TableSchema(
                    [
                        dg.TableColumn(
                            column["name"],
                            column.get("data_type") or "",
                            escape_tags(column["description"]),
                        )
                        for column in node["columns"].values()
                    ]
                ),
            },
        )

    def _layer(self, node: Mapping[str, Any]) -> Layer:
        """Return the layer of a node, by its folder; the health of the sources stands apart."""
        if node["resource_type"] == "seed":
            return Layer.SEED
        if self._graph.models[node["unique_id"]].reads_health:
            return Layer.STATUS
        folders = {"staging": Layer.STAGING, "intermediate": Layer.INTERMEDIATE}
        return next((folders[part] for part in node["fqn"] if part in folders), Layer.MART)

    def _deps(self, spec: dg.AssetSpec) -> Iterator[dg.AssetDep]:
        """Yield what the model reads; the health of the sources is made from every table."""
        for dep in spec.deps:
            if dep.asset_key.path[0] != BUILD_SOURCE:
                yield dep
            elif dep.asset_key.path[-1] == HEALTH_INPUT:
                for source in self._domain.sources.values():
                    yield dg.AssetDep(asset_keys.table_key(source))

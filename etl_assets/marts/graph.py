"""A domain's dbt models and what each of them reads, taken from dbt's manifest.

Which of them are stale is decided in `marts.build`; dbt is run in `marts.dbt`. The tags `map` and
`reduce` are explained in `marts.keyed_build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etl_assets.model.errors import BuildError
from etl_assets.storage.sql_quoting import fold_case, quote_name

BUILD_SOURCE = "build"
HISTORY_INPUT = "history"
HEALTH_INPUT = "sources"
RUN_INPUT = "run"
MODEL_KINDS = frozenset({"model", "seed"})
MAP, REDUCE = "map", "reduce"


@dataclass(frozen=True, slots=True)
class RowKeys:
    """To which key a model's rows belong, as SQL over its columns.

    A row without a key, or of a model without one, concerns every key that lists the row's id.
    """

    key: str | None
    id_column: str | None


@dataclass(frozen=True, slots=True)
class Model:
    """One dbt node that is a relation in the warehouse.

    `tables` and the `reads_` flags include what is read through parents.
    """

    unique_id: str
    name: str
    relation: str
    """The quoted name in the warehouse, as compiled SQL has it."""
    materialized: str
    tags: frozenset[str]
    row_keys: RowKeys | None
    parents: frozenset[str]
    tables: frozenset[str]
    reads_history: bool
    reads_health: bool
    reads_time: bool
    key: tuple[str, ...]
    column_types: Mapping[str, str]

    @property
    def is_mart(self) -> bool:
        """True if the model declares a key; marts are exported from the warehouse."""
        return bool(self.key)

    @property
    def is_map(self) -> bool:
        """True if the model's rows for some keys follow from its parents' rows for those keys."""
        return MAP in self.tags

    @property
    def is_dated(self) -> bool:
        """True if its rows may differ in another run that reads the same tables."""
        return self.reads_history or self.reads_time


@dataclass(frozen=True, slots=True)
class Graph:
    """The models of one domain by unique id, parents before children."""

    models: Mapping[str, Model]

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Graph:
        """Build the graph from dbt's manifest of the domain."""
        nodes = {
            unique_id: node
            for unique_id, node in manifest["nodes"].items()
            if node["resource_type"] in MODEL_KINDS
        }
        models: dict[str, Model] = {}
        for unique_id in _parents_first(nodes):
            models[unique_id] = _read_model(nodes[unique_id], manifest["sources"], models)
        graph = cls(models)
        graph._require_maps_first()
        return graph

    def _require_maps_first(self) -> None:
        """Raise BuildError if a map model reads rows of other keys through a model that is none."""
        faults = [
            f"{model.name} reads {parent.name}"
            for model in self.models.values()
            if model.is_map
            for parent in map(self.models.__getitem__, sorted(model.parents))
            if not parent.is_map and self.has_map_above(parent)
        ]
        if faults:
            raise BuildError(
                f"expected models tagged {MAP} to read tables, small inputs and one another; found "
                f"that they read models of all keys: {'; '.join(faults)}"
            )

    def has_map_above(self, model: Model) -> bool:
        return any(self.models[each].is_map for each in self.ancestors(model.unique_id))

    def is_keyed(self, model: Model) -> bool:
        """True if the model can be built for some keys alone: a map model, or rows with a key."""
        return model.is_map or (model.row_keys is not None and model.row_keys.key is not None)

    @property
    def marts(self) -> list[Model]:
        return [model for model in self.models.values() if model.is_mart]

    def find(self, name: str) -> Model | None:
        return next((model for model in self.models.values() if model.name == name), None)

    def ancestors(self, unique_id: str) -> set[str]:
        """Every model above this one."""
        above, pending = set[str](), [unique_id]
        while pending:
            parents = self.models[pending.pop()].parents - above
            above |= parents
            pending += parents
        return above


def _parents_first(nodes: Mapping[str, Any]) -> list[str]:
    """Unique ids, each after its parents; by name where either order would do."""
    done: dict[str, None] = {}

    def visit(unique_id: str) -> None:
        for parent in sorted(_parents(nodes[unique_id])):
            if parent in nodes and parent not in done:
                visit(parent)
        done[unique_id] = None

    for unique_id in sorted(nodes):
        if unique_id not in done:
            visit(unique_id)
    return list(done)


def _parents(node: Mapping[str, Any]) -> list[str]:
    return list(node.get("depends_on", {}).get("nodes", []))


def _read_model(
    node: Mapping[str, Any], sources: Mapping[str, Any], models: Mapping[str, Model]
) -> Model:
    """The model of a node whose parents are in `models`."""
    parents = [models[parent] for parent in _parents(node) if parent in models]
    inputs, tables = set[str](), set[str]()
    for parent in _parents(node):
        if parent in sources:
            source = sources[parent]
            if source["source_name"] == BUILD_SOURCE:
                inputs.add(source["name"])
            else:
                tables.add(source["name"])
    columns = node["columns"].values()
    config = node["config"]
    return Model(
        unique_id=node["unique_id"],
        name=node["name"],
        relation=node["relation_name"],
        materialized=config["materialized"],
        tags=frozenset(config.get("tags", ())),
        row_keys=_read_row_keys(config.get("meta", {}).get("build", {})),
        parents=frozenset(model.unique_id for model in parents),
        tables=frozenset(tables).union(*(model.tables for model in parents)),
        reads_history=HISTORY_INPUT in inputs or any(model.reads_history for model in parents),
        reads_health=HEALTH_INPUT in inputs or any(model.reads_health for model in parents),
        reads_time=RUN_INPUT in inputs or any(model.reads_time for model in parents),
        key=tuple(config.get("meta", {}).get("key", ())),
        column_types={c["name"]: c["data_type"] for c in columns if c["data_type"]},
    )


def _read_row_keys(declared: Mapping[str, Any]) -> RowKeys | None:
    """Read the member `build` of a node's meta: `{key: ..., fold_case: true, id: ...}`."""
    if not declared:
        return None
    key = quote_name(declared["key"]) if "key" in declared else None
    if key and declared.get("fold_case"):
        key = fold_case(key)
    return RowKeys(key, declared.get("id"))

"""A domain's dbt models and what each of them reads, taken from dbt's manifest.

Which of them are stale is decided in `marts.build`; dbt is run in `marts.dbt`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

BUILD_SOURCE = "build"
HISTORY_INPUT = "history"
HEALTH_INPUT = "sources"
RUN_INPUT = "run"
MODEL_KINDS = frozenset({"model", "seed"})


@dataclass(frozen=True, slots=True)
class Model:
    """One dbt node that is a relation in the warehouse.

    `tables` and the `reads_` flags include what is read through parents.
    """

    unique_id: str
    name: str
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
        return cls(models)

    @property
    def marts(self) -> list[Model]:
        return [model for model in self.models.values() if model.is_mart]

    def find(self, name: str) -> Model | None:
        return next((model for model in self.models.values() if model.name == name), None)

    def ancestors(self, unique_id: str) -> Iterator[str]:
        """Every model above this one, nearest first; a model may appear more than once."""
        for parent in self.models[unique_id].parents:
            yield parent
            yield from self.ancestors(parent)


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
    return Model(
        unique_id=node["unique_id"],
        name=node["name"],
        parents=frozenset(model.unique_id for model in parents),
        tables=frozenset(tables).union(*(model.tables for model in parents)),
        reads_history=HISTORY_INPUT in inputs or any(model.reads_history for model in parents),
        reads_health=HEALTH_INPUT in inputs or any(model.reads_health for model in parents),
        reads_time=RUN_INPUT in inputs or any(model.reads_time for model in parents),
        key=tuple(node["config"].get("meta", {}).get("key", ())),
        column_types={c["name"]: c["data_type"] for c in columns if c["data_type"]},
    )

"""A domain's models and what each of them reads, as dbt's manifest tells.

Which of them are stale is decided in `marts.build`; running dbt is `marts.dbt`.
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
    """One node that leaves a relation in the warehouse."""

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
        """A model with a declared key is copied out of the warehouse."""
        return bool(self.key)

    @property
    def is_dated(self) -> bool:
        """Whether its rows may be others in another run that reads the same tables."""
        return self.reads_history or self.reads_time


@dataclass(frozen=True, slots=True)
class Graph:
    """The models of one domain, parents before children."""

    models: Mapping[str, Model]

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Graph:
        """Build from dbt's manifest of the domain."""
        nodes = {
            unique_id: node
            for unique_id, node in manifest["nodes"].items()
            if node["resource_type"] in MODEL_KINDS
        }
        models: dict[str, Model] = {}
        for unique_id in _parents_first(nodes):
            models[unique_id] = _model(manifest, nodes[unique_id], models)
        return cls(models)

    @property
    def marts(self) -> list[Model]:
        return [model for model in self.models.values() if model.is_mart]

    def named(self, name: str) -> Model | None:
        return next((model for model in self.models.values() if model.name == name), None)

    def ancestors(self, unique_id: str) -> Iterator[str]:
        """Every model above this one, nearest first; one may be named more than once."""
        for parent in self.models[unique_id].parents:
            yield parent
            yield from self.ancestors(parent)


def _parents_first(nodes: Mapping[str, Any]) -> list[str]:
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


def _model(
    manifest: Mapping[str, Any], node: Mapping[str, Any], known: Mapping[str, Model]
) -> Model:
    above = [known[parent] for parent in _parents(node) if parent in known]
    sources = [manifest["sources"][p] for p in _parents(node) if p in manifest["sources"]]
    inputs = {s["name"] for s in sources if s["source_name"] == BUILD_SOURCE}
    tables = {s["name"] for s in sources if s["source_name"] != BUILD_SOURCE}
    return Model(
        unique_id=node["unique_id"],
        name=node["name"],
        parents=frozenset(model.unique_id for model in above),
        tables=frozenset(tables).union(*(model.tables for model in above)),
        reads_history=HISTORY_INPUT in inputs or any(model.reads_history for model in above),
        reads_health=HEALTH_INPUT in inputs or any(model.reads_health for model in above),
        reads_time=RUN_INPUT in inputs or any(model.reads_time for model in above),
        key=tuple(node["config"].get("meta", {}).get("key", ())),
        column_types={
            c["name"]: c["data_type"] for c in node["columns"].values() if c["data_type"]
        },
    )

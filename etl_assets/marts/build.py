"""Which models have to be built, and from what; and building them.

A model's version is a digest over the code and all it reads, so equal versions mean equal rows.
How dbt is run is `marts.dbt`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from etl_assets.marts import build_inputs
from etl_assets.marts.dbt import DbtProject, NodeResult
from etl_assets.marts.graph import MODEL_KINDS, Graph, Model
from etl_assets.marts.source_status import SourceHealth
from etl_assets.model.errors import BuildError
from etl_assets.model.records import ModelBuild

SKIPPED = "skipped"


def compute_versions(
    graph: Graph, *, code_version: str, tables: Mapping[str, str], health: str
) -> dict[str, str]:
    """Each model's version by unique id; `tables` and `health` are the versions of what is read.

    The published history is no part of it: a history model reads its own last rows, and equal
    decisions leave them as they are.
    """
    return {
        unique_id: _digest(code_version, model, tables, health)
        for unique_id, model in graph.models.items()
    }


def select_models(
    graph: Graph,
    wanted: Mapping[str, str],
    standing: Mapping[str, ModelBuild],
    *,
    chosen: frozenset[str],
    whole: bool,
    history_stands: bool,
) -> list[str]:
    """Unique ids to build, parents first: the stale ones among `chosen`, and their stale ancestors.

    `whole` says that the warehouse holds what `standing` tells; `history_stands` that the published
    history is the one that the last build made.
    """

    def stale(unique_id: str) -> bool:
        before, model = standing.get(unique_id), graph.models[unique_id]
        if not whole or before is None or before.version != wanted[unique_id]:
            return True
        return model.reads_history and not history_stands

    targets = {unique_id for unique_id in chosen if stale(unique_id)}
    above = {a for unique_id in targets for a in graph.ancestors(unique_id) if stale(a)}
    return [unique_id for unique_id in graph.models if unique_id in targets | above]


def find_unpublishable_models(
    graph: Graph,
    wanted: Mapping[str, str],
    standing: Mapping[str, ModelBuild],
    *,
    history_model: str | None,
    history_sha256: str | None,
) -> list[str]:
    """Names of models that may not be published as they stand, parents first.

    Those are of another version than is wanted; or they are the history or below it, and were built
    on another than the published one, of which `history_sha256` is the digest.
    """
    history = graph.named(history_model) if history_model else None
    kept = standing.get(history.unique_id) if history else None

    def is_fit(unique_id: str) -> bool:
        record = standing.get(unique_id)
        if record is None or record.version != wanted[unique_id]:
            return False
        if history is None or history.unique_id not in {unique_id, *graph.ancestors(unique_id)}:
            return True
        return history_sha256 in {record.history_sha256, kept.sha256 if kept else None}

    return [model.name for unique_id, model in graph.models.items() if not is_fit(unique_id)]


def build_models(
    project: DbtProject,
    models: Sequence[Model],
    *,
    as_of: datetime,
    health: Sequence[SourceHealth],
    history: Path | None,
    history_model: Model | None,
    tests: bool = True,
) -> list[NodeResult]:
    """Lay out what they read beside tables and build the models, with their tests.

    Raises BuildError where a model could not be built; what a test says is the caller's.
    """
    build_inputs.write(
        project.home.build_inputs(project.domain),
        as_of=as_of,
        health=health,
        history=history,
        history_types=history_model.column_types if history_model else {},
    )
    results = project.build([model.name for model in models], tests=tests)
    if broken := [r for r in results if r.kind in MODEL_KINDS and not r.ok]:
        raise BuildError("dbt could not build:\n" + "\n".join(_reasons(broken, results)))
    return results


def _reasons(broken: Sequence[NodeResult], results: Sequence[NodeResult]) -> list[str]:
    """One line for each; what failed tests found stands for the models that were left out."""
    skipped = [r for r in broken if r.status == SKIPPED]
    lines = [f"{r.unique_id}: {r.status}: {r.message}" for r in broken if r.status != SKIPPED]
    if skipped:
        failed = [r for r in results if r.kind == "test" and not r.ok and r.status != SKIPPED]
        lines += [f"{r.unique_id}: {r.message}: {'; '.join(r.offenders)}" for r in failed]
        lines.append(f"left out for that: {', '.join(r.unique_id for r in skipped)}")
    return lines


def _digest(code_version: str, model: Model, tables: Mapping[str, str], health: str) -> str:
    reads = {name: tables.get(name, "") for name in sorted(model.tables)}
    parts = [code_version, model.unique_id, reads, health if model.reads_health else ""]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

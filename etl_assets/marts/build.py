"""Which models have to be built, what a build reads besides tables, and the build itself.

A model's version is a digest of its code and of all that it reads, so equal versions mean equal
rows. How dbt is run is in `marts.dbt`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from etl_assets.marts.dbt import DbtProject, add_advice
from etl_assets.marts.graph import (
    HEALTH_INPUT,
    HISTORY_INPUT,
    MODEL_KINDS,
    RUN_INPUT,
    Graph,
    Model,
)
from etl_assets.marts.node_result import SKIPPED, NodeResult
from etl_assets.marts.source_status import SourceHealth
from etl_assets.model.errors import BuildError
from etl_assets.model.records import ModelBuild
from etl_assets.model.run_log import StepProgress, no_step_progress
from etl_assets.storage.atomic_write import atomic_file
from etl_assets.storage.duckdb_connection import connect
from etl_assets.storage.sql_quoting import quote_name, quote_text

INSTANT = pa.timestamp("us", tz="UTC")
RUN_SCHEMA = pa.schema(
    [
        ("as_of", INSTANT),
        ("is_code_changed", pa.bool_()),
        ("changed_sources", pa.list_(pa.string())),
    ]
)
HEALTH_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("title", pa.string()),
        ("status", pa.string()),
        ("fetched_at", INSTANT),
        ("content_at", INSTANT),
        ("rows", pa.int64()),
        ("rejected", pa.int64()),
        ("last_good_at", INSTANT),
        ("source_sha256", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs from what the published set was made from."""

    is_code_changed: bool
    sources: AbstractSet[str]
    """The names of sources of which a raw file differs."""


def compute_versions(
    graph: Graph,
    *,
    code_version: str,
    tables: Mapping[str, str],
    health: str,
    moment: datetime | None = None,
) -> dict[str, str]:
    """Each model's version by unique id; `tables` and `health` are the versions of the inputs.

    `moment` is the last time at which models that read the run's time became due without other
    data. The run's time itself is not part of a version, as it differs in every run. The published
    history is not part of a version: a history model reads its own last rows, and
    equal decisions leave them unchanged.
    """
    versions = {}
    for unique_id, model in graph.models.items():
        table_versions = {name: tables.get(name, "") for name in sorted(model.tables)}
        parts = [code_version, unique_id, table_versions, health if model.reads_health else ""]
        if moment and model.reads_time:
            parts.append(moment.isoformat())
        versions[unique_id] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return versions


def select_models(
    graph: Graph,
    versions: Mapping[str, str],
    last_builds: Mapping[str, ModelBuild],
    *,
    selection: frozenset[str],
    is_warehouse_complete: bool,
    is_history_current: bool,
) -> list[str]:
    """Unique ids to build, parents first: stale models of `selection` and their stale ancestors.

    `is_warehouse_complete` says that the warehouse contains what `last_builds` records;
    `is_history_current` that the published history is the one that the last build wrote.
    """

    def is_stale(unique_id: str) -> bool:
        last_build = last_builds.get(unique_id)
        if not is_warehouse_complete or last_build is None:
            return True
        if last_build.version != versions[unique_id]:
            return True
        return graph.models[unique_id].reads_history and not is_history_current

    targets = {unique_id for unique_id in selection if is_stale(unique_id)}
    for unique_id in list(targets):
        targets.update(filter(is_stale, graph.ancestors(unique_id)))
    return [unique_id for unique_id in graph.models if unique_id in targets]


def find_unpublishable_models(
    graph: Graph,
    versions: Mapping[str, str],
    last_builds: Mapping[str, ModelBuild],
    *,
    history_model: str | None,
    history_sha256: str | None,
) -> list[str]:
    """Names of models whose current rows may not be published, parents first.

    A model is unpublishable if it was built in another version than `versions` says; or if it is
    the history or below it, and was built from another history than the published one, whose digest
    is `history_sha256`.
    """
    history = graph.find(history_model) if history_model else None
    written_sha256 = None
    if history and history.unique_id in last_builds:
        written_sha256 = last_builds[history.unique_id].sha256
    unpublishable = []
    for unique_id, model in graph.models.items():
        last_build = last_builds.get(unique_id)
        if last_build is not None and last_build.version == versions[unique_id]:
            if history is None or history.unique_id not in {unique_id, *graph.ancestors(unique_id)}:
                continue
            # Either it read the published history, or that history is what its build has written.
            if history_sha256 in {last_build.history_sha256, written_sha256}:
                continue
        unpublishable.append(model.name)
    return unpublishable


def build_models(
    project: DbtProject,
    models: Sequence[Model],
    *,
    as_of: datetime,
    health: Sequence[SourceHealth],
    history: Path | None,
    history_model: Model | None,
    changes: Changes | None = None,
    tests: bool = True,
) -> list[NodeResult]:
    """Write the inputs and build the models with their tests; returns the results of both.

    Raises BuildError if a model could not be built. A failed test raises nothing.
    """
    write_build_inputs(
        project.home.build_inputs(project.domain),
        as_of=as_of,
        health=health,
        history=history,
        history_types=history_model.column_types if history_model else {},
        changes=changes,
    )
    return build_from_inputs(project, models, tests=tests)


def build_from_inputs(
    project: DbtProject,
    models: Sequence[Model],
    *,
    tests: bool = True,
    advance: StepProgress = no_step_progress,
) -> list[NodeResult]:
    """Build the models with their tests from inputs that are written; see `build_models`."""
    results = project.build([model.name for model in models], tests=tests, advance=advance)
    require_built(results, project.domain)
    return results


def require_built(results: Sequence[NodeResult], domain: str) -> None:
    """Raise BuildError if a model failed, or was skipped because a test above it failed."""
    broken = [r for r in results if r.kind in MODEL_KINDS and not r.is_ok]
    if not broken:
        return
    lines = [f"{r.unique_id}: {r.status}: {r.message}" for r in broken if r.status != SKIPPED]
    skipped = [r.unique_id for r in broken if r.status == SKIPPED]
    if skipped:
        # dbt skips a model because a test above it failed; that test is the reason to report.
        failed = [r for r in results if r.kind == "test" and not r.is_ok and r.status != SKIPPED]
        for result in failed:
            rows = result.failing_rows.lines() if result.failing_rows else []
            lines.append("\n  ".join([f"{result.unique_id}: {result.message}", *rows]))
        lines.append(f"skipped for that reason: {', '.join(skipped)}")
    message = "dbt could not build:\n" + "\n".join(lines)
    raise BuildError(add_advice(message, domain))


def write_build_inputs(
    directory: Path,
    *,
    as_of: datetime,
    health: Sequence[SourceHealth],
    history: Path | None,
    history_types: Mapping[str, str],
    changes: Changes | None = None,
) -> None:
    """Write what models read besides tables, as parquet: run time, source health, history.

    Paths are constant, so that dbt's vars are too and its parsed project can be reused. Without a
    published history, the history is an empty table of the columns `history_types`.
    """
    run = {
        "as_of": as_of,
        "is_code_changed": changes.is_code_changed if changes else None,
        "changed_sources": sorted(changes.sources) if changes else None,
    }
    _write_table(directory / f"{RUN_INPUT}.parquet", pa.Table.from_pylist([run], RUN_SCHEMA))
    rows = [source.model_dump(mode="python") for source in health]
    _write_table(directory / f"{HEALTH_INPUT}.parquet", pa.Table.from_pylist(rows, HEALTH_SCHEMA))
    if history_types:
        _write_history(directory / f"{HISTORY_INPUT}.parquet", history, history_types)


def _write_table(target: Path, table: pa.Table) -> None:
    with atomic_file(target) as temporary:
        pq.write_table(table, temporary)


def _write_history(target: Path, history: Path | None, types: Mapping[str, str]) -> None:
    """Copy the published history; a column that its code version did not write yet is null."""
    existing = pq.read_schema(history).names if history else []
    missing = [
        f"cast(null as {sql_type}) as {quote_name(name)}"
        for name, sql_type in types.items()
        if name not in existing
    ]
    with atomic_file(target) as temporary:
        if history is None:
            query = f"select {', '.join(missing)} where false"
        elif missing:
            file = quote_text(str(history))
            query = f"select *, {', '.join(missing)} from read_parquet({file})"  # noqa: S608 - quoted
        else:
            shutil.copyfile(history, temporary)
            return
        with connect() as connection:
            connection.execute(
                f"copy ({query}) to {quote_text(str(temporary))} (format parquet)"
            ).fetchall()

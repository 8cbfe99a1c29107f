"""Build models for those keys alone whose rows changed, with the SQL that dbt has compiled.

A domain declares the key to which its decisions belong, such as a package. Each of its models is
tagged: `map`, if its rows for some keys follow from its parents' rows for those keys and from small
inputs that are read whole; or `reduce`, if it crosses keys. Of a map model, the rows of the changed
keys are computed from the tables on and replace those in the warehouse; a reduce model is computed
whole. Afterwards the warehouse has the same rows as after a build of everything by dbt, which is
made when code, vars or the published history are others.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from etl_assets.declarations.domain import BuildKey
from etl_assets.marts import changed_keys
from etl_assets.marts.build import require_built
from etl_assets.marts.data_tests import query_failing_rows, run_tests
from etl_assets.marts.dbt import DbtProject
from etl_assets.marts.graph import Graph, Model
from etl_assets.marts.node_result import NodeResult
from etl_assets.model.errors import BuildError
from etl_assets.storage.sql_quoting import quote_name, quote_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

KEYS = "temp.main.build_keys"


@dataclass(frozen=True, slots=True)
class BuildInputs:
    """The versions of all that the models of a build depend on."""

    tables: Mapping[str, str]
    """By the name of the table."""
    others: Mapping[str, str]
    """The code, and the time that has passed, for which a build of everything is needed."""

    @property
    def versions(self) -> dict[str, str]:
        return {f"table {name}": version for name, version in self.tables.items()} | {**self.others}

    def changed_tables(self, last_versions: Mapping[str, str]) -> frozenset[str]:
        """The tables of another version than the last one."""
        return frozenset(
            name
            for name, version in self.tables.items()
            if version != last_versions.get(f"table {name}")
        )


@dataclass(frozen=True, slots=True)
class KeyedResult:
    """What a build for some keys did."""

    keys: frozenset[str]
    rows: Mapping[str, int]
    """How many rows were written of each table, by the model's name."""
    nodes: Sequence[NodeResult]


def keep_state(project: DbtProject, graph: Graph, inputs: BuildInputs, as_of: datetime) -> None:
    """Keep the digests of all keys' rows, after a build of everything at the time `as_of`."""
    with project.writing() as connection:
        changed_keys.begin_state(connection)
        models = changed_keys.digested_models(graph, inputs.tables)
        changed_keys.keep_digests(connection, models)
        changed_keys.keep_input_versions(connection, inputs.versions)
        changed_keys.keep_full_build(connection, as_of)


def last_full_build(project: DbtProject) -> datetime | None:
    """The logical time of the last build of everything, if the state of one is kept."""
    with project.connect() as connection:
        is_kept = changed_keys.read_input_versions(connection)
        return changed_keys.read_full_build(connection) if is_kept else None


def discard_state(project: DbtProject) -> None:
    """Forget the digests, before a build after which they would not be those of the models."""
    with project.writing() as connection:
        changed_keys.discard_state(connection)


def find_obstacle(
    project: DbtProject, graph: Graph, stale: Sequence[Model], inputs: BuildInputs
) -> str | None:
    """Why the stale models cannot be built for some keys alone, or None if they can.

    The warehouse must be complete.
    """
    is_compiled = {model.unique_id for model in stale} <= project.compiled.models.keys()
    if not is_compiled or project.compiled_tests() is None:
        return "dbt has not compiled all models and tests"
    with project.connect() as connection:
        last_versions = changed_keys.read_input_versions(connection)
    if not last_versions:
        return "the digests of the last build are not kept"
    for name, version in inputs.others.items():
        if last_versions.get(name) != version:
            return f"the {name} is another one"
    changed = inputs.changed_tables(last_versions)
    digested = {model.unique_id for model in changed_keys.digested_models(graph, changed)}
    for model in stale:
        if model.is_map and model.reads_health:
            return f"{model.name} reads the status of the sources"
        for above in graph.ancestors(model.unique_id) if model.is_map else ():
            parent = graph.models[above]
            if not parent.parents and changed & parent.tables and above not in digested:
                return f"{parent.name}, which {model.name} reads, has no key"
    return None


@contextmanager
def compared_with_full_build(project: DbtProject, graph: Graph) -> Iterator[None]:
    """Raise BuildError if the build inside the block leaves other rows than there were before.

    Models that read the run's time or the history must have been built for the same time.
    """
    before = project.warehouse.with_suffix(".before")
    try:
        shutil.copyfile(project.warehouse, before)
        yield
        models = [model for model in graph.models.values() if model.materialized == "table"]
        if differences := [*_find_differences(project, models, before)]:
            raise BuildError(
                "expected a full build to make the rows that the builds for changed keys have made,"
                " found others; this is a fault of the models' tags or keys, please report it. The"
                " next run publishes the rows of a full build.\n" + "\n".join(differences)
            )
    finally:
        before.unlink(missing_ok=True)


def _find_differences(project: DbtProject, models: Iterable[Model], before: Path) -> Iterator[str]:
    """A line for each table with other rows than in the copy of the warehouse `before`."""
    with project.writing() as connection:
        connection.execute(f"attach {quote_text(str(before))} as before (read_only)").fetchall()
        for model in models:
            old = f"before.main.{quote_name(model.name)}"
            for rows, others, side in (
                (model.relation, old, "missing before"),
                (old, model.relation, "unexpected before"),
            ):
                query = f"select * from {rows} except all select * from {others}"  # noqa: S608 - quoted
                if found := query_failing_rows(connection, query):
                    yield "\n  ".join([f"{model.name}: {side}:", *found.lines()])


class KeyedBuild:
    """One build for the keys that changed, in one transaction of the warehouse."""

    def __init__(self, project: DbtProject, graph: Graph, spec: BuildKey) -> None:
        self._project, self._graph, self._spec = project, graph, spec
        self._compiled = project.compiled.models

    def run(self, stale: Sequence[Model], inputs: BuildInputs) -> KeyedResult:
        """Build the stale models; raises BuildError if a test fails above one of them."""
        stale_ids = {model.unique_id for model in stale}
        keyed = set(self._models_to_read(stale))
        results: list[NodeResult] = []
        rows: dict[str, int] = {}
        with self._project.writing() as connection:
            connection.execute("begin").fetchall()
            keys = self._find_keys(connection, inputs)
            for unique_id, model in self._graph.models.items():
                started = time.perf_counter()
                if unique_id in keyed:
                    self._create_keyed(connection, model, is_stale=unique_id in stale_ids)
                if unique_id in stale_ids and model.materialized == "table":
                    rows[model.name] = self._replace_rows(connection, model)
                if unique_id in stale_ids:
                    seconds = time.perf_counter() - started
                    results.append(NodeResult(unique_id, "model", "success", seconds, None, ""))
            results = self._run_tests(connection, results)
            connection.execute("commit").fetchall()
        return KeyedResult(keys, rows, results)

    def _run_tests(
        self, connection: DuckDBPyConnection, results: Sequence[NodeResult]
    ) -> list[NodeResult]:
        """Add the results of the tests; raises BuildError where dbt would build no further."""
        tests = self._project.compiled_tests() or []
        all_results = run_tests(connection, tests, results, self._project.ancestors(results))
        require_built(all_results, self._project.domain)
        # After an error DuckDB commits nothing.
        if errors := [result.message for result in all_results if result.status == "error"]:
            raise BuildError("a test could not be run:\n" + "\n".join(errors))
        return all_results

    def _find_keys(self, connection: DuckDBPyConnection, inputs: BuildInputs) -> frozenset[str]:
        """Put the changed keys into a temporary table, and keep the present digests."""
        ids = self._graph.find(self._spec.ids) if self._spec.ids else None
        query = f"select {self._key(ids)} as key, * from {ids.relation}" if ids else None  # noqa: S608 - quoted
        changed = inputs.changed_tables(changed_keys.read_input_versions(connection))
        connection.execute("create temp table found_keys (key varchar)").fetchall()
        changed_keys.find_changed_keys(
            connection,
            changed_keys.digested_models(self._graph, changed),
            query,
            "temp.main.found_keys",
        )
        changed_keys.keep_input_versions(connection, inputs.versions)
        connection.execute(
            f"create temp table {_last_part(KEYS)} as select distinct key from found_keys"  # noqa: S608 - a constant
        ).fetchall()
        rows = connection.execute(f"select key from {KEYS}").fetchall()  # noqa: S608 - a constant
        return frozenset(key for (key,) in rows)

    def _models_to_read(self, stale: Sequence[Model]) -> Iterator[str]:
        """The stale map models, and all models above them that have keys."""
        for model in stale:
            if model.is_map:
                yield model.unique_id
                for above in self._graph.ancestors(model.unique_id):
                    if self._graph.is_keyed(self._graph.models[above]):
                        yield above

    def _create_keyed(
        self, connection: DuckDBPyConnection, model: Model, *, is_stale: bool
    ) -> None:
        """Create a temporary relation with the model's rows for the changed keys alone."""
        kind = "view"
        if not model.is_map or (model.materialized == "table" and not is_stale):
            # Rows without a key are for all keys.
            query = (
                f"select * from {model.relation} where {self._key(model)} is null"  # noqa: S608 - quoted
                f" or {self._key(model)} in (select key from {KEYS})"
            )
        else:
            kind = model.materialized
            query = self._compiled[model.unique_id]
            for parent in map(self._graph.models.__getitem__, model.parents):
                if self._graph.is_keyed(parent):
                    query = query.replace(parent.relation, _keyed_name(parent))
        connection.execute(f"create temp {kind} {_keyed_name(model)} as {query}").fetchall()

    def _replace_rows(self, connection: DuckDBPyConnection, model: Model) -> int:
        """Write the rows of a table, of a map model those of the changed keys; return how many."""
        if model.is_map:
            rows = f"select * from {_keyed_name(model)}"  # noqa: S608 - quoted
            where = f" where {self._key(model)} in (select key from {KEYS})"  # noqa: S608 - quoted
        else:
            rows, where = self._compiled[model.unique_id], ""
        connection.execute(f"delete from {model.relation}{where}").fetchall()  # noqa: S608 - quoted
        statement = f"insert into {model.relation} by name {rows}"
        ((count,),) = connection.execute(statement).fetchall()
        return int(count)

    def _key(self, model: Model) -> str:
        """SQL of the key to which a row of the model belongs."""
        declared = model.row_keys.key if model.row_keys else None
        return declared or quote_name(self._spec.key)


def _keyed_name(model: Model) -> str:
    # DuckDB stores the SQL of a view without the database: a temporary relation with the name of a
    # model would take its place in the views that read the model.
    return f"temp.main.{quote_name(f'{model.name} of changed keys')}"


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]

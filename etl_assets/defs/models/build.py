"""One build of a domain's stale models, its records, and the marts in the run's directory.

Which models are stale is decided in `etl_assets.marts.build`; their SQL is in dbt_project/.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path

from etl_assets.defs.context import DomainSession, Run
from etl_assets.defs.models.state import (
    built_models,
    current_versions,
    is_full_build_due,
    is_warehouse_current,
    last_moments,
    published_history,
    read_tables,
)
from etl_assets.defs.run_events import run_sources
from etl_assets.marts import build, dbt, keyed_build
from etl_assets.marts.graph import Graph, Model
from etl_assets.marts.node_result import NodeResult
from etl_assets.model.errors import HomeError
from etl_assets.model.records import ModelBuild, TableResult
from etl_assets.model.run_manifest import MARTS
from etl_assets.model.run_options import Stage
from etl_assets.publish import run_directory
from etl_assets.storage.hashing import hash_file
from etl_assets.storage.signatures import Signatures, open_signatures

MAX_NAMES = 5  # tables that an error names; the rest are counted


class ModelsBuild:
    """One build of a domain's models: the stale ones, and the warehouse while it is incomplete."""

    def __init__(self, session: DomainSession, graph: Graph, run: Run) -> None:
        self._session, self._graph, self._run = session, graph, run
        self._health, self._tables = read_tables(session)
        self._versions = current_versions(session, graph, as_of=run.as_of)
        self._last_moments = last_moments(session)
        self._last_builds = built_models(session, graph)
        history = session.domain.history
        self._history_model = graph.find(history) if history else None
        self._history_file = published_history(session)
        self._history_sha256 = hash_file(self._history_file) if self._history_file else None
        self._is_complete_afterwards = False
        self.built: list[str] = []
        """The unique ids of the models that this run built."""

    def run(self, selection: frozenset[str], *, full: bool) -> list[NodeResult]:
        """Build the stale models of the selection, and return the results of models and tests.

        If `full`, all models are built whole afterwards, and compared with what they were.
        """
        home, name = self._session.home, self._session.domain.name
        # A build that was cut off has left models that the event log does not know, and an older
        # or edited database has other rows than it records.
        with open_signatures(home.signatures(name)) as signatures:
            is_complete = is_warehouse_current(self._session, signatures)
            self._require_intact_tables(signatures)
        is_everything = selection == frozenset(self._graph.models)
        self._is_complete_afterwards = is_complete or is_everything
        self.built = self._select(selection, is_complete=is_complete)
        is_due = bool(self.built) and is_full_build_due(self._session, self._run.as_of)
        full = is_everything and (full or is_due)
        if not self.built and not full:
            return []
        all_stale = self._select(frozenset(self._graph.models), is_complete=is_complete)
        is_current_afterwards = self.built == all_stale
        # Until the events are stored, the warehouse differs from what the event log records.
        dbt.unmark_warehouse(home, name)
        if not is_complete and is_everything:
            # DuckDB cannot repair a damaged file, and a full build needs nothing of it.
            dbt.discard_warehouse(home, name)
        build.write_build_inputs(
            home.build_inputs(name),
            as_of=self._run.as_of,
            health=self._health,
            history=self._history_file,
            history_types=self._history_model.column_types if self._history_model else {},
            changes=self._changes(),
        )
        keyed = None
        # A model without a record was built under another key, or never: its tests have no verdict,
        # and a build for changed keys might give none.
        has_records = len(self._last_builds) == len(self._graph.models)
        if is_current_afterwards and is_complete and has_records and self._is_history_current():
            keyed = self._build_for_keys(with_dated=full)
        if full:
            self.built = [*self._graph.models]
        if keyed is None:
            return self._build_by_dbt(keeps_state=is_current_afterwards)
        if not full:
            return list(keyed.nodes)
        with keyed_build.compared_with_full_build(self._session.dbt, self._graph):
            return self._build_by_dbt(keeps_state=True)

    def _require_intact_tables(self, signatures: Signatures) -> None:
        """Raise HomeError if a table is not what was written, before models are built from it."""
        if altered := self._find_altered_tables(signatures):
            raise HomeError(
                f"{altered}: expected the tables that were written, found them missing or altered; "
                f"`etl run {self._session.domain.name} --stage table` makes them again"
            )

    def require_same_tables(self) -> None:
        """Raise HomeError if a table was replaced while models were built from it.

        A process that was stopped while it wrote a table, and has lost its lock, does that when it
        goes on: the names of tables are fixed, and no question before a write rules it out.
        """
        if not self.built:
            return
        with open_signatures(
            self._session.home.signatures(self._session.domain.name)
        ) as signatures:
            altered = self._find_altered_tables(signatures)
        if altered:
            raise HomeError(
                f"{altered}: expected the tables to stay while models are built from them, found"
                " other ones, as a process writes that has lost its lock; the next run makes tables"
                " and models again"
            )

    def _find_altered_tables(self, signatures: Signatures) -> str:
        """Return the names of the tables that are not what was written; empty if all are."""
        root = self._session.home.root
        altered = [
            str(result.part)
            for result in self._written_tables
            if not signatures.has_digest(root / result.table.path, result.table.sha256)
        ]
        more = f" and {len(altered) - MAX_NAMES} more" if len(altered) > MAX_NAMES else ""
        return ", ".join(altered[:MAX_NAMES]) + more

    @cached_property
    def _written_tables(self) -> list[TableResult]:
        states = self._session.read_sources().values()
        return [result for state in states for result in state.tables.values()]

    def _select(self, selection: frozenset[str], *, is_complete: bool) -> list[str]:
        return build.select_models(
            self._graph,
            self._versions,
            self._last_builds,
            selection=selection,
            is_warehouse_complete=is_complete,
            is_history_current=self._is_history_current(),
        )

    def _build_for_keys(self, *, with_dated: bool) -> keyed_build.KeyedResult | None:
        """Build the models for the keys that changed, or return None if that is not possible.

        `with_dated` builds all models too that read the run's time, the history or the status of
        the sources.
        """
        spec, inputs = self._session.domain.build, self._inputs()
        if spec is None:
            return None
        stale = [
            model
            for unique_id, model in self._graph.models.items()
            if unique_id in self.built or (with_dated and (model.is_dated or model.reads_health))
        ]
        obstacle = keyed_build.find_obstacle(self._session.dbt, self._graph, stale, inputs)
        if obstacle:
            self._echo(f"every {spec.key} is built, because {obstacle}")
            return None
        result = keyed_build.KeyedBuild(self._session.dbt, self._graph, spec).run(stale, inputs)
        count = f"{len(stale)} of {len(self._graph.models)}"
        values = "value" if len(result.keys) == 1 else "values"
        self._echo(f"built {count} models for {len(result.keys):,} {values} of {spec.key}")
        return result

    def _build_by_dbt(self, *, keeps_state: bool) -> list[NodeResult]:
        """Build all rows of the models that are to be built."""
        models = [self._graph.models[unique_id] for unique_id in self.built]
        self._echo(f"building {len(self.built)} of {len(self._graph.models)} models")
        project, has_keys = self._session.dbt, self._session.domain.build is not None
        full_build_at = None
        if has_keys and project.warehouse.exists():
            full_build_at = keyed_build.last_full_build(project)
            keyed_build.discard_state(project)
        if full_build_at is None or len(models) == len(self._graph.models):
            full_build_at = self._run.as_of
        results = build.build_from_inputs(project, models, advance=self._session.project.advance)
        if has_keys and keeps_state:
            keyed_build.keep_state(project, self._graph, self._inputs(), full_build_at)
        return results

    def _inputs(self) -> keyed_build.BuildInputs:
        moment = self._last_moments.moment_at(self._run.as_of) if self._last_moments else None
        others = {
            "code": self._session.dbt.code_version,
            "last moment": moment.isoformat() if moment else "",
        }
        return keyed_build.BuildInputs(self._tables, others)

    def _echo(self, line: str) -> None:
        self._session.say(f"{self._session.domain.name}: {line}", stage=Stage.MARTS.value)

    def _changes(self) -> build.Changes | None:
        """Return what moved since the published set was made; None before the first one."""
        published = self._session.published_directory()
        if published is None:
            return None
        manifest = run_directory.read_manifest(published)
        # By the raw files: other code makes other tables of the same file.
        before = {(source.part, source.sha256) for source in manifest.sources}
        now = {(source.part, source.sha256) for source in run_sources(self._session)}
        return build.Changes(
            is_code_changed=manifest.code_version != self._session.code_version,
            sources={part.source.name for part, _ in before ^ now},
        )

    def records(self) -> dict[str, ModelBuild]:
        """Put all marts into the run's directory, and return the record of each model."""
        last_builds = {
            unique_id: record
            for unique_id, record in self._last_builds.items()
            if unique_id not in self.built
        }
        unchanged = {self._graph.models[key].name: record for key, record in last_builds.items()}
        files = provide_marts(self._session, self._graph, self._run.directory, unchanged=unchanged)
        records = {}
        for unique_id, model in self._graph.models.items():
            last_build, file = last_builds.get(unique_id), files.get(model.name)
            as_of, history_sha256 = self._run.as_of, self._history_sha256
            if last_build:
                as_of, history_sha256 = last_build.as_of, last_build.history_sha256
            records[unique_id] = ModelBuild(
                model=model.name,
                version=self._versions[unique_id],
                as_of=as_of,
                history_sha256=history_sha256,
                sha256=hash_file(file) if file else None,
                rows=run_directory.count_rows(file) if file else None,
            )
        moments_model = self._graph.find(self._session.domain.moments or "")
        if moments_model:
            record = records[moments_model.unique_id]
            moments = self._find_moments(moments_model, record)
            records[moments_model.unique_id] = record.model_copy(update=moments)
        warehouse = self._session.home.warehouse(self._session.domain.name)
        sha256 = hash_file(warehouse) if warehouse.is_file() else None
        full_build_at = self._full_build_at()
        return {
            unique_id: record.model_copy(
                update={"warehouse_sha256": sha256, "full_build_at": full_build_at}
            )
            for unique_id, record in records.items()
        }

    def _full_build_at(self) -> datetime | None:
        project = self._session.dbt
        if self._session.domain.build is None or not project.warehouse.is_file():
            return None
        return keyed_build.last_full_build(project)

    def _find_moments(self, model: Model, record: ModelBuild) -> dict[str, datetime | None]:
        """Return the fields of the record that say when models are due without new data."""
        last = self._last_moments
        if last and model.unique_id not in self.built:
            return {"last_moment": last.last_moment, "next_moment": last.next_moment}
        return {
            "last_moment": last.moment_at(self._run.as_of) if last else None,
            "next_moment": self._session.dbt.first_moment(model.name, after=record.as_of),
        }

    def finish(self) -> None:
        """Mark the warehouse as complete, now that the events are stored."""
        if self._is_complete_afterwards:
            dbt.mark_warehouse_complete(self._session.home, self._session.domain.name)

    def _is_history_current(self) -> bool:
        """Return True if the published history is the one that the last build wrote."""
        if self._history_model is None:
            return True
        last_build = self._last_builds.get(self._history_model.unique_id)
        return last_build is not None and last_build.sha256 == self._history_sha256


def provide_marts(
    session: DomainSession, graph: Graph, directory: Path, *, unchanged: Mapping[str, ModelBuild]
) -> dict[str, Path]:
    """Put all marts below `directory`, and return their files by name.

    An unchanged mart is a link to the published file; the others come from the warehouse.
    """
    published = session.published_directory()
    linked: dict[str, Path] = {}
    exported: dict[str, Sequence[str]] = {}
    with open_signatures(session.home.signatures(session.domain.name)) as signatures:
        for mart in graph.marts:
            name = f"{MARTS}/{mart.name}.parquet"
            record = unchanged.get(mart.name)
            if published and record and signatures.has_digest(published / name, record.sha256):
                run_directory.link_unchanged(published, directory, [name])
                linked[mart.name] = directory / name
            else:
                exported[mart.name] = mart.key
    return linked | session.dbt.export(exported, directory / MARTS)

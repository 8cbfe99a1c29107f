"""The dbt assets: specs, checks and lineage from dagster-dbt, run in this process.

Which models are stale is `marts.build`; what they say is SQL under dbt_project/.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt import DbtProject as DagsterDbtProject
from dagster_dbt.asset_utils import build_dbt_specs
from dagster_duckdb import DuckDBResource

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys, partial_runs, run_context
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.domain_lock import domain_lock
from etl_assets.defs.event_log import metadata_of
from etl_assets.defs.model_state import built_models, published_history, versions_of
from etl_assets.defs.preview import preview
from etl_assets.defs.source_health import read_tables
from etl_assets.marts import build, dbt
from etl_assets.marts.dbt import DbtProject, NodeResult
from etl_assets.marts.graph import BUILD_SOURCE, HEALTH_INPUT, Graph
from etl_assets.model.records import ModelBuild
from etl_assets.model.run_manifest import MARTS
from etl_assets.publish import run_directory
from etl_assets.storage.hashing import hash_file

UNIQUE_ID = "dagster_dbt/unique_id"


class MartsConfig(dg.Config):
    """What a person may say to this step at launch."""

    rebuild: bool = False


class Translator(DagsterDbtTranslator):
    """Names dbt's nodes as the rest of the project is named, and hangs them into their domain."""

    def __init__(self, domain: Domain, code_version: str) -> None:
        super().__init__()
        self._domain = domain
        self._code_version = code_version

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DagsterDbtProject | None
    ) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        if node["resource_type"] == "source":
            return spec.replace_attributes(key=dg.AssetKey([node["source_name"], node["name"]]))
        return spec.replace_attributes(
            key=asset_keys.model_key(self._domain.name, node["name"]),
            deps=list(self._deps(spec)),
            description=node["description"],
            group_name=self._domain.name,
            owners=[self._domain.owner],
            code_version=self._code_version,
            kinds={"dbt", "duckdb", node["config"]["materialized"]},
        )

    def _deps(self, spec: dg.AssetSpec) -> Iterator[dg.AssetDep]:
        """What the model reads; the sources' health comes from every table."""
        for dep in spec.deps:
            if dep.asset_key.path[0] != BUILD_SOURCE:
                yield dep
            elif dep.asset_key.path[-1] == HEALTH_INPUT:
                yield from map(
                    dg.AssetDep, map(asset_keys.table_key, self._domain.sources.values())
                )


def build_marts(domain: Domain, place: ProjectContext) -> dg.AssetsDefinition:
    """One step that builds the stale models and copies the marts into the run's directory."""
    project = place.dbt(domain)
    manifest = project.manifest
    graph = Graph.from_manifest(manifest)
    specs, check_specs = _specs(domain, project, manifest)
    checks = {spec.metadata[UNIQUE_ID]: _told(spec, manifest) for spec in check_specs}

    @dg.multi_asset(
        hooks={run_context.failure_hook(place, domain), partial_runs.success_hook(place, domain)},
        name=f"{domain.name}_marts",
        specs=specs,
        check_specs=list(checks.values()),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="duckdb",
    )
    @domain_lock(place, domain)
    def marts(
        context: dg.AssetExecutionContext, config: MartsConfig, duckdb: DuckDBResource
    ) -> Iterator[Any]:
        chosen = _chosen(graph, domain, context)
        run = run_context.current(context.instance, context.run.run_id, place, domain)
        built = _Build(context.instance, place, domain, project, graph, run)
        made, results = built.run(chosen, rebuild=config.rebuild)
        records = built.records(made)
        for unique_id in graph.models:
            if unique_id in chosen:
                file = run.directory / MARTS / f"{graph.models[unique_id].name}.parquet"
                shown = {"preview": preview(duckdb, file)} if file.exists() else {}
                yield _materialization(
                    domain, records[unique_id], made=unique_id in made, people=shown
                )
        asked_alone = not chosen and context.selected_asset_check_keys
        yield from _check_results(context, checks, project.test() if asked_alone else results)
        built.finish()

    return marts


def _chosen(graph: Graph, domain: Domain, context: dg.AssetExecutionContext) -> frozenset[str]:
    """The models that the launch names."""
    return frozenset(
        model.unique_id
        for model in graph.models.values()
        if asset_keys.model_key(domain.name, model.name) in context.selected_asset_keys
    )


def _specs(
    domain: Domain, project: DbtProject, manifest: Mapping[str, Any]
) -> tuple[Sequence[dg.AssetSpec], Sequence[dg.AssetCheckSpec]]:
    """The domain's models as assets and their tests as checks, as dagster-dbt reads them."""
    return build_dbt_specs(
        translator=Translator(domain, project.code_version),
        manifest=manifest,
        select="fqn:*",
        exclude="resource_type:unit_test",
        selector="",
        io_manager_key=None,
        project=None,
    )


class _Build:
    """One build of a domain: what stood, what is wanted, and the warehouse between the two."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        place: ProjectContext,
        domain: Domain,
        project: DbtProject,
        graph: Graph,
        run: run_context.Run,
    ) -> None:
        self._place, self._domain, self._project = place, domain, project
        self._graph, self._run = graph, run
        self._health, _ = read_tables(instance, domain)
        self._wanted = versions_of(instance, domain, project, graph)
        self._before = built_models(instance, domain, graph)
        self._history = graph.find(domain.history) if domain.history else None
        self._leaves_whole = False
        self._started_from: str | None = None

    def run(self, chosen: frozenset[str], *, rebuild: bool) -> tuple[list[str], list[NodeResult]]:
        whole = dbt.is_warehouse_complete(self._place.home, self._domain.name)
        self._leaves_whole = whole or chosen == frozenset(self._graph.models)
        published = published_history(self._place, self._domain)
        self._started_from = hash_file(published) if published else None
        made = build.select_models(
            self._graph,
            self._wanted,
            {} if rebuild else self._before,
            selection=chosen,
            is_warehouse_complete=whole,
            is_history_current=self._history_stands(),
        )
        if not made:
            return [], []
        self._place.say(
            f"{self._domain.name}: building {len(made)} of {len(self._graph.models)} models"
        )
        # From here until the events are stored the warehouse is not what the event log says.
        dbt.unmark_warehouse(self._place.home, self._domain.name)
        if not whole and chosen == frozenset(self._graph.models):
            dbt.discard_warehouse(self._place.home, self._domain.name)
        results = build.build_models(
            self._project,
            [self._graph.models[unique_id] for unique_id in made],
            as_of=self._run.as_of,
            health=self._health,
            history=published,
            history_model=self._history,
        )
        return made, results

    def records(self, made: list[str]) -> dict[str, ModelBuild]:
        files = provide_marts(
            self._project, self._graph, self._run.directory, kept=self._kept(made)
        )
        return {
            unique_id: self._record(unique_id, files.get(model.name), made=unique_id in made)
            for unique_id, model in self._graph.models.items()
        }

    def finish(self) -> None:
        """The events are stored: from now on the warehouse is what they say, if it all is."""
        if self._leaves_whole:
            dbt.mark_warehouse_complete(self._place.home, self._domain.name)

    def _kept(self, made: list[str]) -> dict[str, ModelBuild]:
        return {
            self._graph.models[unique_id].name: record
            for unique_id, record in self._before.items()
            if unique_id not in made
        }

    def _record(self, unique_id: str, file: Path | None, *, made: bool) -> ModelBuild:
        before = None if made else self._before.get(unique_id)
        return ModelBuild(
            model=self._graph.models[unique_id].name,
            version=self._wanted[unique_id],
            as_of=before.as_of if before else self._run.as_of,
            history_sha256=before.history_sha256 if before else self._started_from,
            sha256=hash_file(file) if file else None,
            rows=pq.read_metadata(file).num_rows if file else None,
        )

    def _history_stands(self) -> bool:
        if self._history is None:
            return True
        before = self._before.get(self._history.unique_id)
        return before is not None and before.sha256 == self._started_from


def provide_marts(
    project: DbtProject, graph: Graph, directory: Path, *, kept: Mapping[str, ModelBuild]
) -> dict[str, Path]:
    """All marts below `directory`: the unchanged as links, the others from the warehouse."""
    published = run_directory.published_directory(project.home, project.domain)
    linked, exported = {}, {}
    for mart in graph.marts:
        file = f"{MARTS}/{mart.name}.parquet"
        record = kept.get(mart.name)
        source = published / file if published else None
        if record and source and source.exists() and hash_file(source) == record.sha256:
            run_directory.link_unchanged(published, directory, [file])  # type: ignore[arg-type]
            linked[mart.name] = directory / file
        else:
            exported[mart.name] = mart.key
    return linked | project.export(exported, directory / MARTS)


def _materialization(
    domain: Domain, record: ModelBuild, *, made: bool, people: Mapping[str, Any]
) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        asset_key=asset_keys.model_key(domain.name, record.model),
        data_version=dg.DataVersion(record.version),
        metadata={
            "reused": not made,
            **metadata_of(
                record, {"dagster/row_count": record.rows, "sha256": record.sha256, **people}
            ),
        },
    )


def _told(spec: dg.AssetCheckSpec, manifest: Mapping[str, Any]) -> dg.AssetCheckSpec:
    """The check as its test describes itself.

    None blocks: the gate weighs failed tests together and leaves a report, and a blocking check
    would end the run before it.
    """
    description = manifest["nodes"][spec.metadata[UNIQUE_ID]].get("description") or None
    return spec._replace(blocking=False, description=description)


def _check_results(
    context: dg.AssetExecutionContext,
    checks: Mapping[str, dg.AssetCheckSpec],
    results: list[NodeResult],
) -> Iterator[dg.AssetCheckResult]:
    for result in results:
        spec = checks.get(result.unique_id)
        if spec is None or spec.key not in context.selected_asset_check_keys:
            continue
        warned = result.status == "warn"
        yield dg.AssetCheckResult(
            asset_key=spec.asset_key,
            check_name=spec.name,
            passed=result.status == "pass",
            severity=dg.AssetCheckSeverity.WARN if warned else dg.AssetCheckSeverity.ERROR,
            description=found_by(result, spec.description),
            metadata={"failures": result.failures or 0, "seconds": round(result.seconds, 3)},
        )


def found_by(result: NodeResult, description: str | None) -> str | None:
    """What was found, in the words in which the check is declared, and the first rows of it."""
    if result.status == "pass":
        return None
    if description and result.failures:
        told = f"{result.failures:,} found: {description}"
        more = result.failures - len(result.offenders)
        rest = [f"and {more:,} more"] if more > 0 and result.offenders else []
        return "\n".join([told, *result.offenders, *rest])
    return result.message or None

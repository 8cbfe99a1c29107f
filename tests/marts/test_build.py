"""Which models are built again, and what a build reads besides tables."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.marts import build
from etl_assets.marts.graph import Graph
from etl_assets.model.records import ModelBuild

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
TABLES = {"rain": "r1", "wind": "w1"}
HISTORY_TYPES = {"plant": "varchar", "height": "bigint"}


def _node(name: str, *parents: str, kind: str = "model", key: list[str] | None = None) -> Any:
    return {
        "unique_id": f"{kind}.etl.{name}",
        "name": name,
        "resource_type": kind,
        "relation_name": f'"garden"."main"."{name}"',
        "depends_on": {"nodes": list(parents)},
        "config": {"materialized": "table", "meta": {"key": key} if key else {}},
        "columns": {},
    }


def _source(source: str, name: str) -> dict[str, Any]:
    return {"source_name": source, "name": name}


@pytest.fixture
def graph() -> Graph:
    """Two staged tables, one mart over both, a mart over one, and a history of the first mart."""
    nodes = [
        _node("stg_rain", "source.rain"),
        _node("stg_wind", "source.wind"),
        _node("mart_day", "model.etl.stg_rain", "model.etl.stg_wind", key=["day"]),
        _node("mart_wind", "model.etl.stg_wind", key=["day"]),
        _node("mart_history", "model.etl.mart_day", "source.history", key=["day"]),
        _node("mart_health", "source.sources", key=["source"]),
    ]
    sources = {
        "source.rain": _source("weather", "rain"),
        "source.wind": _source("weather", "wind"),
        "source.history": _source("build", "history"),
        "source.sources": _source("build", "sources"),
    }
    manifest = {"nodes": {node["unique_id"]: node for node in nodes}, "sources": sources}
    return Graph.from_manifest(manifest)


def _last_builds(graph: Graph, versions: dict[str, str]) -> dict[str, ModelBuild]:
    return {
        unique_id: ModelBuild(model=model.name, version=versions[unique_id], as_of=AS_OF)
        for unique_id, model in graph.models.items()
    }


def _plan(graph: Graph, now: dict[str, str], before: dict[str, str], **options: Any) -> list[str]:
    defaults: dict[str, Any] = {
        "selection": frozenset(graph.models),
        "is_warehouse_complete": True,
        "is_history_current": True,
    }
    selected = build.select_models(graph, now, _last_builds(graph, before), **defaults | options)
    return [unique_id.rpartition(".")[2] for unique_id in selected]


def _versions(
    graph: Graph, *, code: str = "c1", health: str = "h1", **changed: str
) -> dict[str, str]:
    return build.compute_versions(graph, code_version=code, tables=TABLES | changed, health=health)


def test_nothing_is_built_if_nothing_changed(graph: Graph) -> None:
    assert _plan(graph, _versions(graph), _versions(graph)) == []


def test_a_changed_table_builds_the_models_below_it_parents_first(graph: Graph) -> None:
    made = _plan(graph, _versions(graph, rain="r2"), _versions(graph))

    assert made == ["stg_rain", "mart_day", "mart_history"]


@pytest.mark.parametrize(
    "options", [{"is_warehouse_complete": False}, {}], ids=["interrupted", "other code"]
)
def test_everything_is_built_if_no_last_build_can_be_trusted(
    graph: Graph, options: dict[str, Any]
) -> None:
    now = _versions(graph) if options else _versions(graph, code="c2")

    made = _plan(graph, now, _versions(graph), **options)

    assert len(made) == len(graph.models)


def test_another_published_history_builds_the_models_that_read_it(graph: Graph) -> None:
    made = _plan(graph, _versions(graph), _versions(graph), is_history_current=False)

    assert made == ["mart_history"]


def test_a_changed_health_builds_only_the_models_that_read_it(graph: Graph) -> None:
    made = _plan(graph, _versions(graph, health="h2"), _versions(graph))

    assert made == ["mart_health"]


def test_a_selected_model_brings_its_stale_ancestors_and_no_other(graph: Graph) -> None:
    selection = frozenset({"model.etl.mart_wind"})

    made = _plan(
        graph, _versions(graph, rain="r2", wind="w2"), _versions(graph), selection=selection
    )

    assert made == ["stg_wind", "mart_wind"]


def test_a_model_has_the_tables_of_its_parents(graph: Graph) -> None:
    mart = graph.find("mart_day")

    assert mart is not None
    assert mart.tables == {"rain", "wind"}
    marts = {"mart_day", "mart_wind", "mart_history", "mart_health"}
    assert {model.name for model in graph.marts} == marts


def _unpublishable(
    graph: Graph, versions: dict[str, str], *, published: str | None, read: str
) -> list[str]:
    """The unpublishable models, if all were built from the history `read`."""
    before = _last_builds(graph, _versions(graph))
    built = {
        unique_id: record.model_copy(update={"history_sha256": read * 64, "sha256": "b" * 64})
        for unique_id, record in before.items()
    }
    return build.find_unpublishable_models(
        graph,
        versions,
        built,
        history_model="mart_history",
        history_sha256=published and published * 64,
    )


@pytest.mark.parametrize("published", ["a", "b"], ids=["built on it", "it is this very one"])
def test_current_models_may_be_published(graph: Graph, published: str) -> None:
    assert _unpublishable(graph, _versions(graph), published=published, read="a") == []


def test_models_of_another_table_may_not_be_published(graph: Graph) -> None:
    unpublishable = _unpublishable(graph, _versions(graph, wind="w2"), published="a", read="a")

    assert "mart_wind" in unpublishable
    assert "stg_rain" not in unpublishable


def test_a_history_built_from_an_older_one_may_not_be_published(graph: Graph) -> None:
    assert _unpublishable(graph, _versions(graph), published="c", read="a") == ["mart_history"]


def test_models_that_were_never_built_may_not_be_published(graph: Graph) -> None:
    unpublishable = build.find_unpublishable_models(
        graph, _versions(graph), {}, history_model="mart_history", history_sha256=None
    )

    assert len(unpublishable) == len(graph.models)


def test_a_staging_model_of_the_history_may_have_read_an_older_one() -> None:
    nodes = [
        _node("stg_history", "source.history"),
        _node("mart_history", "model.etl.stg_history", key=["day"]),
    ]
    manifest = {"nodes": {node["unique_id"]: node for node in nodes}}
    graph = Graph.from_manifest(
        manifest | {"sources": {"source.history": _source("build", "history")}}
    )

    assert _unpublishable(graph, _versions(graph), published="c", read="a") == ["mart_history"]


def _write_history(directory: Path, history: Path | None) -> pa.Table:
    build.write_build_inputs(
        directory, as_of=AS_OF, health=[], history=history, history_types=HISTORY_TYPES
    )
    return pq.read_table(directory / "history.parquet")


def test_before_the_first_publication_the_history_is_an_empty_table(tmp_path: Path) -> None:
    history_table = _write_history(tmp_path / "inputs", None)

    assert history_table.to_pylist() == []
    assert history_table.column_names == ["plant", "height"]


def test_the_published_history_is_copied_byte_for_byte(tmp_path: Path) -> None:
    published = tmp_path / "published.parquet"
    pq.write_table(pa.table({"plant": ["oak"], "height": [4]}), published)

    _write_history(tmp_path / "inputs", published)

    assert (tmp_path / "inputs" / "history.parquet").read_bytes() == published.read_bytes()


def test_a_column_that_a_history_of_earlier_code_lacks_is_null(tmp_path: Path) -> None:
    published = tmp_path / "published.parquet"
    pq.write_table(pa.table({"plant": ["oak"]}), published)

    history_table = _write_history(tmp_path / "inputs", published)

    assert history_table.to_pylist() == [{"plant": "oak", "height": None}]

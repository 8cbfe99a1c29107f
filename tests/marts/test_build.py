from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from etl_assets.marts import build
from etl_assets.marts.graph import Graph
from etl_assets.model.records import ModelBuild

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
TABLES = {"rain": "r1", "wind": "w1"}


def _node(name: str, *parents: str, kind: str = "model", key: list[str] | None = None) -> Any:
    return {
        "unique_id": f"{kind}.etl.{name}",
        "name": name,
        "resource_type": kind,
        "depends_on": {"nodes": list(parents)},
        "config": {"meta": {"key": key} if key else {}},
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
    return Graph.of(manifest)


def _standing(graph: Graph, versions: dict[str, str]) -> dict[str, ModelBuild]:
    return {
        unique_id: ModelBuild(model=model.name, version=versions[unique_id], as_of=AS_OF)
        for unique_id, model in graph.models.items()
    }


def _plan(graph: Graph, now: dict[str, str], before: dict[str, str], **told: Any) -> list[str]:
    options: dict[str, Any] = {
        "chosen": frozenset(graph.models),
        "whole": True,
        "history_stands": True,
        **told,
    }
    made = build.select_models(graph, now, _standing(graph, before), **options)
    return [unique_id.rpartition(".")[2] for unique_id in made]


def _versions(
    graph: Graph, *, code: str = "c1", health: str = "h1", **moved: str
) -> dict[str, str]:
    return build.compute_versions(graph, code_version=code, tables=TABLES | moved, health=health)


def test_nothing_is_built_where_nothing_moved(graph: Graph) -> None:
    assert _plan(graph, _versions(graph), _versions(graph)) == []


def test_a_table_that_moved_builds_what_is_below_it_parents_first(graph: Graph) -> None:
    made = _plan(graph, _versions(graph, rain="r2"), _versions(graph))

    assert made == ["stg_rain", "mart_day", "mart_history"]


@pytest.mark.parametrize("told", [{"whole": False}, {}], ids=["cut off", "other code"])
def test_everything_is_built_where_nothing_can_be_trusted(
    graph: Graph, told: dict[str, Any]
) -> None:
    now = _versions(graph) if told else _versions(graph, code="c2")

    made = _plan(graph, now, _versions(graph), **told)

    assert len(made) == len(graph.models)


def test_another_published_history_builds_what_reads_it(graph: Graph) -> None:
    made = _plan(graph, _versions(graph), _versions(graph), history_stands=False)

    assert made == ["mart_history"]


def test_the_sources_health_moves_only_what_reads_it(graph: Graph) -> None:
    made = _plan(graph, _versions(graph, health="h2"), _versions(graph))

    assert made == ["mart_health"]


def test_a_chosen_model_brings_its_stale_ancestors_and_no_other(graph: Graph) -> None:
    chosen = frozenset({"model.etl.mart_wind"})

    made = _plan(graph, _versions(graph, rain="r2", wind="w2"), _versions(graph), chosen=chosen)

    assert made == ["stg_wind", "mart_wind"]


def test_a_model_knows_its_tables_through_its_parents(graph: Graph) -> None:
    mart = graph.named("mart_day")

    assert mart is not None
    assert mart.tables == {"rain", "wind"}
    marts = {"mart_day", "mart_wind", "mart_history", "mart_health"}
    assert {model.name for model in graph.marts} == marts


def _unfit(graph: Graph, wanted: dict[str, str], *, published: str | None, read: str) -> list[str]:
    """What may not be published of models that were built from the history `read`."""
    before = _standing(graph, _versions(graph))
    built = {
        unique_id: record.model_copy(update={"history_sha256": read * 64, "sha256": "b" * 64})
        for unique_id, record in before.items()
    }
    return build.find_unpublishable_models(
        graph,
        wanted,
        built,
        history_model="mart_history",
        history_sha256=published and published * 64,
    )


@pytest.mark.parametrize("published", ["a", "b"], ids=["built on it", "it is this very one"])
def test_models_of_what_stands_may_be_published(graph: Graph, published: str) -> None:
    assert _unfit(graph, _versions(graph), published=published, read="a") == []


def test_models_of_another_table_may_not_be_published(graph: Graph) -> None:
    unfit = _unfit(graph, _versions(graph, wind="w2"), published="a", read="a")

    assert "mart_wind" in unfit
    assert "stg_rain" not in unfit


def test_a_history_that_another_one_overtook_may_not_be_published(graph: Graph) -> None:
    assert _unfit(graph, _versions(graph), published="c", read="a") == ["mart_history"]


def test_what_was_never_built_may_not_be_published(graph: Graph) -> None:
    unfit = build.find_unpublishable_models(
        graph, _versions(graph), {}, history_model="mart_history", history_sha256=None
    )

    assert len(unfit) == len(graph.models)


def test_what_reads_the_history_above_its_model_may_have_read_an_older_one() -> None:
    nodes = [
        _node("stg_history", "source.history"),
        _node("mart_history", "model.etl.stg_history", key=["day"]),
    ]
    manifest = {"nodes": {node["unique_id"]: node for node in nodes}}
    graph = Graph.of(manifest | {"sources": {"source.history": _source("build", "history")}})

    assert _unfit(graph, _versions(graph), published="c", read="a") == ["mart_history"]

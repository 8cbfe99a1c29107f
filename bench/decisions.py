"""Decisions, history and documents over tables that exist: those of a run, or ten times as many.

Only the calls belong here; timing them is `bench.child`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import load
from etl_assets.marts import build
from etl_assets.marts.dbt import DbtProject
from etl_assets.marts.graph import Graph, Model
from etl_assets.marts.node_result import NodeResult
from etl_assets.model.home import Home
from etl_assets.model.run_manifest import MARTS
from etl_assets.publish import documents, run_directory
from etl_assets.settings import PACKAGE
from etl_assets.storage.signatures import Signatures

DOMAIN = "advisories"
HISTORY = "history.parquet"
OF_PACKAGES = ("echo", "overrides", "debian", "osv")
NAME = "case when copy = 0 then package_name else package_name || '-' || copy end"
COPIES = {
    "tables": f"* exclude (copy) replace ({NAME} as package_name)",
    "history": f"""* exclude (copy) replace (
        {NAME} as package_name, {NAME} || ':' || cve_id as advisory_id
    )""",
}


def lay(ran: Path, target: Path, *, copies: int = 1) -> int:
    """Make a home with the tables and history of a run, each package `copies` times."""
    old, new = Home(ran), Home(target)
    for table in sorted(old.tables(DOMAIN).iterdir()):
        laid = new.tables(DOMAIN) / table.name
        laid.parent.mkdir(parents=True, exist_ok=True)
        if table.name in OF_PACKAGES and copies > 1:
            laid.mkdir()
            _multiply(table / f"{table.name}.parquet", laid / f"{table.name}.parquet", copies)
        else:
            laid.symlink_to(table)
    published = old.latest(DOMAIN) / MARTS / "mart_advisory_state_history.parquet"
    _multiply(published, target / HISTORY, copies, "history")
    _ = _project(target, _domain()).manifest
    return copies


def decide(home: Path, _: Path) -> int:
    """Build the gated models and the history; returns the number of advisories."""
    domain = _domain()
    project = _project(home, domain)
    graph = Graph.from_manifest(project.manifest)
    history = graph.find(domain.history or "")
    build.write_build_inputs(
        project.home.build_inputs(domain.name),
        as_of=_as_of(home),
        health=[],
        history=home / HISTORY,
        history_types=history.column_types if history else {},
    )
    _build(project, _decided(graph, domain), home)
    return run_directory.count_rows(home / MARTS / f"{domain.gate[0].model}.parquet")


def document(home: Path, _: Path) -> int:
    """Build all other models, test every one, write and check all documents.

    Returns the number of files.
    """
    domain = _domain()
    project = _project(home, domain)
    graph = Graph.from_manifest(project.manifest)
    decided = _decided(graph, domain)
    _build(project, [model for model in graph.models.values() if model not in decided], home)
    _sound(project.test())
    marts, directory = home / MARTS, home / "documents"
    written = documents.write_documents(
        domain.documents,
        marts,
        directory,
        as_of=_as_of(home),
        previous=None,
        changed={document.model for document in domain.documents},
        signatures=Signatures.load(home / "signatures.json"),
    )
    assert documents.find_incomplete_documents(domain.documents, marts, directory, written) == []
    return len(written.files)


def _decided(graph: Graph, domain: Domain) -> list[Model]:
    """The gated models, the history, and all their ancestors."""
    names = {check.model for check in domain.gate} | {domain.history}
    ends = {unique_id for unique_id, model in graph.models.items() if model.name in names}
    selected = ends.union(*(graph.ancestors(unique_id) for unique_id in ends))
    return [model for unique_id, model in graph.models.items() if unique_id in selected]


def _multiply(source: Path, target: Path, copies: int, kind: str = "tables") -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select {COPIES[kind]} from read_parquet('{source}'),"
            f" range({copies}) as c (copy)) to '{target}' (format parquet)"
        )


def _build(project: DbtProject, models: list[Model], home: Path) -> None:
    _sound(project.build([model.name for model in models], tests=False))
    project.export({m.name: m.key for m in models if m.is_mart}, home / MARTS)


def _sound(results: list[NodeResult]) -> None:
    assert not (failed := [result for result in results if not result.is_ok]), failed


def _as_of(home: Path) -> datetime:
    """A day after the history that the home starts from."""
    with duckdb.connect() as connection:
        last: datetime
        [(last,)] = connection.execute(
            f"select max(effective_from) from read_parquet('{home / HISTORY}')"
        ).fetchall()
    return last + timedelta(days=1)


def _domain() -> Domain:
    return load(PACKAGE / "domains")[DOMAIN]


def _project(home: Path, domain: Domain) -> DbtProject:
    return DbtProject(PACKAGE.parent / "dbt_project", domain.name, Home(home), dict(domain.vars))

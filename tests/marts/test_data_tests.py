"""Data tests give the same results on one connection as dbt gives them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from etl_assets.marts.dbt import COMPILED_FILE, DbtProject
from etl_assets.model.home import Home

DOMAIN = "plants"
SETTINGS = ("dbt_project.yml", "profiles.yml", "macros/shared", "tests/shared")
MODELS = {
    "fruits": "select * from read_parquet('fruits.parquet')",
    "ripe": "select * from {{ ref('fruits') }}",
    "prices": "select number, try_cast(text as double) as price from {{ ref('ripe') }}",
    "baskets": "select 1 as number union all select 2",
    "sold": "select prices.* from {{ ref('prices') }} as prices"
    " inner join {{ ref('baskets') }} as baskets on prices.number = baskets.number",
}
TESTS = """\
groups:
  - name: plants
    owner: {name: the orchard, email: orchard@example.org}
models:
  - name: fruits
    columns:
      - name: number
        data_tests: [unique, {not_null: {config: {severity: warn}}}]
  - name: ripe
    data_tests:
      - no_rows_where:
          name: texts_are_numbers
          arguments: {condition: cast(text as integer) < 0}
      - no_rows_where:
          name: few_long_texts
          arguments: {condition: length(text) > 3}
          config: {warn_if: "> 0", error_if: "> 2", limit: 5}
  - name: baskets
    data_tests:
      - refers_to:
          name: fruits_are_in_baskets
          arguments: {column_name: number, to: ref('fruits'), field: number}
  - name: prices
    columns:
      - name: price
        data_tests: [{not_null: {config: {fail_calc: "count(*) * 2", where: "number > 1"}}}]
"""
GOOD = [(1, "1"), (2, "2")]
DATA = {
    "good": GOOD,
    "a repeated number": [*GOOD, (2, "3")],
    "a null": [*GOOD, (None, "3")],
    "a query that fails": [(1, "1"), (2, "x")],
    "some long texts": [*GOOD, (3, "1000")],
    "many long texts": [*GOOD, *[(number, "1000") for number in range(3, 20)]],
    "a number that is missing": [(1, "1")],
    "no rows": [],
    "a model that fails": None,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> DbtProject:
    """A project whose tests dbt has run once, so that their queries are known."""
    folder = tmp_path_factory.mktemp("plants")
    directory = folder / "dbt_project"
    directory.mkdir()
    for name in SETTINGS:
        source, target = repo_root / "dbt_project" / name, directory / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    models = directory / "models" / DOMAIN
    models.mkdir(parents=True)
    for name, sql in MODELS.items():
        (models / f"{name}.sql").write_text("{{ config(materialized='table') }} " + sql)
    (models / "_models.yml").write_text(TESTS)
    project = DbtProject(directory, DOMAIN, Home(folder / "home"))
    write_fruits(project, GOOD)
    project.build(list(MODELS))
    assert queries_file(project).exists()
    return project


def write_fruits(project: DbtProject, rows: list[tuple[int | None, str]] | None) -> None:
    file = project.home.root / "fruits.parquet"
    file.parent.mkdir(exist_ok=True)
    columns = {"number": [row[0] for row in rows or []], "text": [row[1] for row in rows or []]}
    schema = pa.schema([("number", pa.int64()), ("text", pa.string())])
    pq.write_table(pa.table(columns, schema), file)
    if rows is None:
        file.write_bytes(b"no parquet")


def queries_file(project: DbtProject) -> Path:
    return project.target / COMPILED_FILE


def results_of(project: DbtProject, models: list[str]) -> dict[str, Any]:
    results = {}
    for result in project.build(models):
        # DuckDB's own words for a broken query are the same, dbt adds where it has put the query.
        message = result.message.splitlines()[:2] if result.status in {"fail", "warn"} else ""
        results[result.unique_id] = (
            *(result.kind, result.status, result.failures, message, result.failing_rows),
        )
    return results


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    "models",
    [
        list(MODELS),
        pytest.param(["fruits"], marks=pytest.mark.long),
        pytest.param(["ripe", "prices"], marks=pytest.mark.long),
        pytest.param(["baskets"], marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("rows", DATA.values(), ids=DATA)
def test_results_are_those_of_dbt(
    project: DbtProject, rows: list[tuple[int | None, str]] | None, models: list[str]
) -> None:
    write_fruits(project, GOOD)
    project.build(list(MODELS))
    write_fruits(project, rows)
    queries = queries_file(project).read_bytes()

    on_one_connection = results_of(project, models)
    queries_file(project).unlink()
    write_fruits(project, GOOD)
    project.build(list(MODELS))
    queries_file(project).unlink()
    write_fruits(project, rows)
    by_dbt = results_of(project, models)
    queries_file(project).write_bytes(queries)

    assert on_one_connection == by_dbt


@pytest.mark.long
@pytest.mark.ci
def test_changed_code_is_tested_by_dbt_and_its_queries_are_stored_anew(
    project: DbtProject,
) -> None:
    write_fruits(project, GOOD)
    before = queries_file(project).read_bytes()
    changed = DbtProject(project.directory, DOMAIN, project.home, {"limit": 3})

    changed.build(["fruits"])
    assert changed.compiled_tests() is None  # a part of the tests was compiled
    changed.build(list(MODELS))

    assert changed.compiled_tests() is not None
    queries_file(project).unlink()
    project.build(list(MODELS))
    assert queries_file(project).read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{", b'["x", [{"name": 1}]]'])
def test_queries_that_cannot_be_read_are_compiled_again(
    project: DbtProject, content: bytes
) -> None:
    queries = queries_file(project).read_bytes()
    write_fruits(project, GOOD)
    queries_file(project).write_bytes(content)

    results = project.build(list(MODELS))

    assert {result.kind for result in results} == {"model", "test"}
    assert queries_file(project).read_bytes() == queries


def test_the_connection_has_the_settings_of_dbt(project: DbtProject) -> None:
    profiles = (project.directory / "profiles.yml").read_text(encoding="utf-8")
    text = profiles.replace("{{ var('memory_limit', '1GB') }}", "1GB")
    text = text.replace("{{ var('home') }}", str(project.home.root))
    settings = yaml.safe_load(text)["etl"]["outputs"]["etl"]["settings"]

    expected = {name: settings[name] for name in project.write_settings}

    assert project.write_settings == expected
    assert settings.keys() - expected.keys() == {"TimeZone"}

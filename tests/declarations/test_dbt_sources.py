from __future__ import annotations

from pathlib import Path
from typing import get_args

import yaml

from etl_assets.declarations import dbt_sources
from etl_assets.declarations.load import load
from etl_assets.declarations.source import ColumnType


def test_what_dbt_is_told_is_what_is_declared(repo_root: Path) -> None:
    models = repo_root / "dbt_project" / "models"

    for domain in load(repo_root / "etl_assets" / "domains").values():
        written = (models / domain.name / "staging" / "_sources.yml").read_text(encoding="utf-8")

        assert written == dbt_sources.render(domain), "stale: run make schemas"


def test_every_column_is_told_with_its_type_and_where_its_row_came_from(repo_root: Path) -> None:
    domain = load(repo_root / "etl_assets" / "domains")["advisories"]

    [told] = yaml.safe_load(dbt_sources.render(domain))["sources"]

    tables = {table["name"]: table for table in told["tables"]}
    scores = {column["name"]: column["data_type"] for column in tables["epss"]["columns"]}
    assert tables.keys() == domain.sources.keys()
    assert tables["epss"]["description"] == domain.sources["epss"].description
    assert scores == {
        "cve_id": "varchar",
        "epss": "double",
        "percentile": "double",
        "source_sha256": "varchar",
        "source_row": "bigint",
    }


def test_every_declared_type_has_its_type_in_dbt() -> None:
    assert dbt_sources.DATA_TYPES.keys() == set(get_args(ColumnType))


def test_files_are_written_into_the_staging_folders(repo_root: Path, tmp_path: Path) -> None:
    files = dbt_sources.write(repo_root / "etl_assets" / "domains", tmp_path)

    assert tmp_path / "models" / "advisories" / "staging" / "_sources.yml" in files

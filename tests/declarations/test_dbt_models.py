"""A field of a declaration that names a model names one that dbt has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.command_homes import call
from support.orchard import DOMAIN, create_project

from etl_assets.declarations.dbt_models import find_models, model_violations
from etl_assets.declarations.folders import list_domain_folders
from etl_assets.settings import Settings

MODELS = frozenset({"mart_trees", "stg_trees", "kinds"})
TYPO = "expected the name of a dbt model, perhaps 'mart_tree_history', found 'mart_tree_historys'"


@pytest.mark.parametrize(
    ("declaration", "places"),
    [
        pytest.param({"history": "mart_tree"}, [("history",)], id="history"),
        pytest.param({"moments": "nope"}, [("moments",)], id="moments"),
        pytest.param({"build": {"key": "k", "ids": "nope"}}, [("build", "ids")], id="ids"),
        pytest.param(
            {"documents": [{"from": "mart_trees"}, {"from": "nope", "made_with": "no"}]},
            [("documents", 1, "from"), ("documents", 1, "made_with")],
            id="documents",
        ),
        pytest.param(
            {"documents": [{"from": "kinds", "also_from": {"rules": "nope", "from": "stg_trees"}}]},
            [("documents", 0, "also_from", "rules")],
            id="also from",
        ),
        pytest.param({"gate": [{"from": "nope"}]}, [("gate", 0, "from")], id="gate"),
        pytest.param({"coverage": [{"from": "nope"}]}, [("coverage", 0, "from")], id="coverage"),
        pytest.param({"report": [{"from": "nope"}]}, [("report", 0, "from")], id="report"),
        pytest.param(
            {"explain": {"from": "nope", "claims": {"from": "no"}, "history": {"from": "n"}}},
            [("explain", "from"), ("explain", "claims", "from"), ("explain", "history", "from")],
            id="explain",
        ),
        pytest.param({"history": 7, "gate": "nope", "build": []}, [], id="values of another type"),
        pytest.param({"title": "nope", "vars": {"from": "nope"}}, [], id="fields of other things"),
    ],
)
def test_each_field_that_names_no_model_is_found(
    declaration: dict[str, Any], places: list[tuple[str | int, ...]]
) -> None:
    assert [violation.path for violation in model_violations(declaration, MODELS)] == places


def test_models_and_seeds_of_the_domain_and_of_all_are_known(tmp_path: Path) -> None:
    for name in (
        *("models/apples/marts/mart_trees.sql", "models/shared/stg_run.sql"),
        *("models/pears/mart_pears.sql", "models/apples/_marts.yml", "seeds/apples/kinds.csv"),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    assert find_models(tmp_path, "apples") == {"mart_trees", "stg_run", "kinds"}


@pytest.mark.parametrize("verb", [("sources", "check"), ("run", DOMAIN), ("status", DOMAIN)])
def test_a_typo_is_reported_by_its_line_before_anything_is_fetched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: tuple[str, ...],
) -> None:
    project = create_project(tmp_path / "project")
    file = project / "domains" / DOMAIN / "_domain.yaml"
    lines = file.read_text(encoding="utf-8").splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.startswith("history: "))
    lines[number - 1] += "s"
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    for name, value in {
        "ETL_HOME": tmp_path / "home",
        "ETL_DOMAINS_DIR": project / "domains",
        "ETL_DBT_DIR": project / "dbt_project",
    }.items():
        monkeypatch.setenv(name, str(value))

    assert call(*verb) == 2

    assert f"{file}:{number}: history: {TYPO}" in capsys.readouterr().err


def test_every_model_that_the_domains_name_exists() -> None:
    settings = Settings.load()
    for folder in list_domain_folders(settings.domains_dir):
        declared = yaml.safe_load((folder / "_domain.yaml").read_bytes())
        models = find_models(settings.dbt_dir, folder.name)

        assert models
        assert [*model_violations(declared, models)] == []

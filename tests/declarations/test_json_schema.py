from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from etl_assets.declarations import json_schema
from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source


@pytest.mark.parametrize(("name", "model"), json_schema.FILES.items(), ids=json_schema.FILES)
def test_the_schemas_of_the_repository_are_what_the_models_say(
    repo_root: Path, name: str, model: type[Declaration]
) -> None:
    written = (repo_root / "docs" / "schemas" / name).read_text(encoding="utf-8")

    assert written == json_schema.render(model), "stale: run make schemas"


@pytest.mark.parametrize(
    ("model", "pattern"),
    [
        pytest.param(Source, "*/[!_]*.yaml", id="sources"),
        pytest.param(Domain, "*/_domain.yaml", id="domains"),
    ],
)
def test_what_the_project_declares_fits_its_schema(
    repo_root: Path, model: type[Declaration], pattern: str
) -> None:
    validator = jsonschema_rs.validator_for(json_schema.json_schema(model))
    files = sorted((repo_root / "etl_assets" / "domains").glob(pattern))

    faults = {
        f"{file.name}: {fault.message}"
        for file in files
        for fault in validator.iter_errors(yaml.safe_load(file.read_text(encoding="utf-8")))
    }

    assert files
    assert faults == set()


def test_a_declaration_names_the_schema_that_checks_it(repo_root: Path) -> None:
    for file in sorted((repo_root / "etl_assets" / "domains").glob("*/*.yaml")):
        first = file.read_text(encoding="utf-8").splitlines()[0]
        named = file.parent / first.removeprefix("# yaml-language-server: $schema=")

        expected = "domain" if file.name.startswith("_") else "source"
        assert named.resolve() == repo_root / "docs" / "schemas" / f"{expected}.schema.json"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"titel": "a"}, id="misspelt key"),
        pytest.param({"name": "a"}, id="name that the file name says"),
        pytest.param({"format": {"name": "jsn"}}, id="unknown format"),
    ],
)
def test_an_editor_is_told_of_a_fault(repo_root: Path, fault: dict[str, Any]) -> None:
    file = min((repo_root / "etl_assets" / "domains").glob("*/[!_]*.yaml"))
    sound = yaml.safe_load(file.read_text(encoding="utf-8"))

    assert not jsonschema_rs.is_valid(json_schema.json_schema(Source), sound | fault)


def test_schemas_are_written_whole_into_the_folder(tmp_path: Path) -> None:
    files = json_schema.write(tmp_path / "schemas")

    assert [file.name for file in files] == list(json_schema.FILES)
    assert files[0].read_text(encoding="utf-8") == json_schema.render(Source)

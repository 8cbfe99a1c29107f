from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest
import yaml

from etl_assets.declarations import codegen
from etl_assets.declarations.contract import ColumnType
from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import load
from etl_assets.declarations.source import Source
from etl_assets.model.errors import DeclarationError, UsageError


@pytest.mark.parametrize(("name", "model"), codegen.SCHEMA_FILES.items(), ids=codegen.SCHEMA_FILES)
def test_the_schemas_of_the_repository_match_the_models(
    repo_root: Path, name: str, model: type[Declaration]
) -> None:
    written = (repo_root / "docs" / "schemas" / name).read_text(encoding="utf-8")

    assert written == codegen.render_schema(model), "stale: run make schemas"


@pytest.mark.parametrize(
    ("model", "pattern"),
    [
        pytest.param(Source, "*/[!_]*.yaml", id="sources"),
        pytest.param(Domain, "*/_domain.yaml", id="domains"),
    ],
)
def test_the_declarations_of_the_project_match_their_schema(
    repo_root: Path, model: type[Declaration], pattern: str
) -> None:
    validator = jsonschema_rs.validator_for(model.file_schema())
    files = sorted((repo_root / "etl_assets" / "domains").glob(pattern))

    faults = {
        f"{file.name}: {fault.message}"
        for file in files
        for fault in validator.iter_errors(yaml.safe_load(file.read_text(encoding="utf-8")))
    }

    assert files
    assert faults == set()


def test_every_declaration_refers_to_its_schema(repo_root: Path) -> None:
    for file in sorted((repo_root / "etl_assets" / "domains").glob("*/*.yaml")):
        first = file.read_text(encoding="utf-8").splitlines()[0]
        schema = file.parent / first.removeprefix("# yaml-language-server: $schema=")

        expected = "domain" if file.name.startswith("_") else "source"
        assert schema.resolve() == repo_root / "docs" / "schemas" / f"{expected}.schema.json"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"titel": "a"}, id="misspelt key"),
        pytest.param({"name": "a"}, id="name, which the file name implies"),
        pytest.param({"format": {"name": "jsn"}}, id="unknown format"),
    ],
)
def test_the_schema_rejects_a_wrong_declaration(repo_root: Path, fault: dict[str, Any]) -> None:
    file = min((repo_root / "etl_assets" / "domains").glob("*/[!_]*.yaml"))
    sound = yaml.safe_load(file.read_text(encoding="utf-8"))

    assert not jsonschema_rs.is_valid(Source.file_schema(), sound | fault)


def test_all_schemas_are_written_into_the_folder(tmp_path: Path) -> None:
    files = codegen.write_schemas(tmp_path / "schemas")

    assert [file.name for file in files] == list(codegen.SCHEMA_FILES)
    assert files[0].read_text(encoding="utf-8") == codegen.render_schema(Source)


@pytest.mark.parametrize(
    ("file", "render"),
    [
        pytest.param("staging/_sources.yml", codegen.render_dbt_sources, id="sources"),
        pytest.param("_groups.yml", codegen.render_dbt_group, id="groups"),
        pytest.param("_exposures.yml", codegen.render_dbt_exposures, id="exposures"),
    ],
)
def test_the_dbt_properties_of_the_repository_match_the_declarations(
    repo_root: Path, file: str, render: Callable[[Domain], str]
) -> None:
    models = repo_root / "dbt_project" / "models"

    for domain in load(repo_root / "etl_assets" / "domains").values():
        written = (models / domain.name / file).read_text(encoding="utf-8")

        assert written == render(domain), "stale: run make schemas"


def test_every_document_is_an_exposure_of_the_models_that_it_depends_on(repo_root: Path) -> None:
    domain = load(repo_root / "etl_assets" / "domains")["advisories"]

    exposures = yaml.safe_load(codegen.render_dbt_exposures(domain))["exposures"]

    changes = next(one for one in exposures if one["name"] == "advisories__changes_json")
    assert [one["label"] for one in exposures] == [one.title for one in domain.documents]
    assert changes["owner"] == {"name": domain.owner}
    assert changes["depends_on"] == [
        "ref('doc_advisories__changes')",
        "ref('mart_advisory_state_history')",
    ]


def test_dbt_knows_the_type_of_every_column_and_the_origin_of_every_row(repo_root: Path) -> None:
    domain = load(repo_root / "etl_assets" / "domains")["advisories"]

    [dbt_source] = yaml.safe_load(codegen.render_dbt_sources(domain))["sources"]

    tables = {table["name"]: table for table in dbt_source["tables"]}
    scores = {column["name"]: column["data_type"] for column in tables["epss"]["columns"]}
    assert tables.keys() == (domain.sources | domain.disabled_sources).keys()
    assert tables["epss"]["description"] == domain.sources["epss"].description
    assert scores == {
        "cve_id": "varchar",
        "epss": "double",
        "percentile": "double",
        "source_sha256": "varchar",
        "source_row": "bigint",
    }


def test_every_declared_type_has_its_type_in_dbt() -> None:
    assert codegen.DBT_TYPES.keys() == set(get_args(ColumnType))


def test_files_are_written_into_the_folders_of_each_domain(repo_root: Path, tmp_path: Path) -> None:
    files = codegen.write_dbt_properties(repo_root / "etl_assets" / "domains", tmp_path)

    folder = tmp_path / "models" / "advisories"
    assert {folder / "staging" / "_sources.yml", folder / "_exposures.yml"} <= set(files)


@pytest.fixture
def domains(repo_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(repo_root / "etl_assets" / "domains", tmp_path / "domains"))


def test_a_new_source_has_a_declaration_and_a_staging_model(domains: Path, tmp_path: Path) -> None:
    files = codegen.add_source(domains, tmp_path / "dbt", "advisories.ports")

    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "domains/advisories/ports.yaml",
        "dbt/models/advisories/staging/stg_advisories__ports.sql",
        "dbt/models/advisories/staging/_staging.yml",
    ]
    assert "{{ source('advisories', 'ports') }}" in files[1].read_text(encoding="utf-8")
    [model] = yaml.safe_load(files[2].read_text(encoding="utf-8"))["models"]
    assert model["name"] == "stg_advisories__ports"
    assert model["description"]


@pytest.mark.parametrize("domain", ["advisories", "galaxy", "molding", "transit"])
def test_a_new_staging_model_is_added_to_the_others(
    repo_root: Path, domains: Path, tmp_path: Path, domain: str
) -> None:
    properties = tmp_path / "dbt" / "models" / domain / "staging" / "_staging.yml"
    properties.parent.mkdir(parents=True)
    shutil.copyfile(
        repo_root / "dbt_project" / properties.relative_to(tmp_path / "dbt"), properties
    )
    before = properties.read_text(encoding="utf-8")

    codegen.add_source(domains, tmp_path / "dbt", f"{domain}.ports")

    text = properties.read_text(encoding="utf-8")
    assert text.startswith(before)
    models = yaml.safe_load(text)["models"]
    assert models[:-1] == yaml.safe_load(before)["models"]
    assert models[-1]["name"] == f"stg_{domain}__ports"


def test_a_new_declaration_fails_only_on_its_blanks(domains: Path, tmp_path: Path) -> None:
    codegen.add_source(domains, tmp_path / "dbt", "advisories.ports")

    with pytest.raises(DeclarationError) as raised:
        load(domains)

    assert {str(problem).split(": ")[1] for problem in raised.value.problems} == {
        "title",
        "description",
        "producer",
        "licence.name",
        "licence.attribution",
        "location",
        "format.name",
        "contract.columns[0].name",
        "contract.columns[0].type",
        "contract.columns[0].description",
        "contract.key",
    }


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("ports", id="no domain"),
        pytest.param("ships.ports", id="unknown domain"),
        pytest.param("advisories.Ports", id="no name"),
        pytest.param("advisories.../ports", id="path"),
    ],
)
def test_an_invalid_name_of_a_source_is_refused(domains: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="where the domain is one of advisories"):
        codegen.add_source(domains, tmp_path / "dbt", name)


def test_an_existing_source_is_not_overwritten(domains: Path, tmp_path: Path) -> None:
    declared = domains / "advisories" / "kev.yaml"
    before = declared.read_bytes()

    with pytest.raises(UsageError, match="expected no such file yet"):
        codegen.add_source(domains, tmp_path / "dbt", "advisories.kev")

    assert declared.read_bytes() == before


def test_the_command_prints_the_files_or_the_error(
    domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["source", str(domains), str(tmp_path / "dbt"), "advisories.ports"]

    codes = codegen.main(arguments), codegen.main(arguments)

    output = capsys.readouterr()
    assert codes == (0, 2)
    assert [line.rpartition("/")[2] for line in output.out.splitlines()] == [
        "ports.yaml",
        "stg_advisories__ports.sql",
        "_staging.yml",
    ]
    assert "expected no such file yet, found one" in output.err


def test_a_wrong_call_prints_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert codegen.main(["schemas"]) == 2

    assert "usage: codegen schemas FOLDER" in capsys.readouterr().err

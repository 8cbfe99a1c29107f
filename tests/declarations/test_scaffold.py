from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from etl_assets.declarations.load import load
from etl_assets.declarations.scaffold import add_source, main
from etl_assets.model.errors import DeclarationError, UsageError


@pytest.fixture
def domains(repo_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(repo_root / "etl_assets" / "domains", tmp_path / "domains"))


def test_both_files_bear_the_source_s_name(domains: Path, tmp_path: Path) -> None:
    files = add_source(domains, tmp_path / "dbt", "advisories.ports")

    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "domains/advisories/ports.yaml",
        "dbt/models/advisories/staging/stg_advisories__ports.sql",
    ]
    assert "{{ source('advisories', 'ports') }}" in files[1].read_text(encoding="utf-8")


def test_only_the_blanks_keep_the_declaration_from_loading(domains: Path, tmp_path: Path) -> None:
    add_source(domains, tmp_path / "dbt", "advisories.ports")

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
def test_a_name_that_is_none_is_refused(domains: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="where the domain is one of advisories"):
        add_source(domains, tmp_path / "dbt", name)


def test_a_source_that_exists_is_left_alone(domains: Path, tmp_path: Path) -> None:
    declared = domains / "advisories" / "kev.yaml"
    before = declared.read_bytes()

    with pytest.raises(UsageError, match="expected no such file yet"):
        add_source(domains, tmp_path / "dbt", "advisories.kev")

    assert declared.read_bytes() == before


def test_the_command_names_the_files_or_says_what_is_wrong(
    domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (str(domains), str(tmp_path / "dbt"), "advisories.ports")

    codes = main(*arguments), main(*arguments)

    said = capsys.readouterr()
    assert codes == (0, 2)
    assert [line.rpartition("/")[2] for line in said.out.splitlines()] == [
        "ports.yaml",
        "stg_advisories__ports.sql",
    ]
    assert "expected no such file yet, found one" in said.err

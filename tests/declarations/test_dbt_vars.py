"""Vars of a domain are of the kind that its SQL reads, and documents fit their formats."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_homes import call
from support.orchard import DOMAIN, create_project

from etl_assets.declarations.dbt_vars import find_vars
from etl_assets.declarations.load import load_each
from etl_assets.publish.writers.registry import document_violations
from etl_assets.settings import Settings

SQL = """
select
    {{ var('most_trees', 60) | int }} as most_trees,
    {{ var("edge_m", 2.5) }} as edge_m,
    {{ var('kinds', ['pear', 'apple']) }} as kinds,
    '{{ var('label', 'a tree') }}' as label,
    {{ var('any_value') }} as any_value,
    {{ var('computed', [1, 2] | length) }} as computed,
    '{{ var("tables") }}' as tables
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = create_project(tmp_path / "project")
    folder = project / "dbt_project" / "models" / DOMAIN / "staging"
    (folder / "stg_vars.sql").write_text(SQL, encoding="utf-8")
    return project


def faults(project: Path) -> list[str]:
    declarations = load_each(
        project / "domains", dbt_dir=project / "dbt_project", document_rules=document_violations
    )
    return [str(problem) for each in declarations.broken.values() for problem in each.problems]


def add_line(project: Path, line: str) -> str:
    """Add a line to the declaration of the domain; return its place."""
    file = project / "domains" / DOMAIN / "_domain.yaml"
    text = file.read_text(encoding="utf-8").rstrip("\n")
    file.write_text(f"{text}\n{line}\n", encoding="utf-8")
    return f"{file}:{len(text.splitlines()) + 1}"


def test_the_vars_that_sql_reads_have_the_kinds_of_their_defaults(project: Path) -> None:
    assert find_vars(project / "dbt_project", DOMAIN) == {
        "any_value": [],
        "computed": [],
        "edge_m": [2.5],
        "kinds": [["pear", "apple"]],
        "label": ["a tree"],
        "most_trees": [60],
    }


@pytest.mark.parametrize(
    ("name", "value", "expected", "actual"),
    [
        ("most_trees", "abc", "a whole number not below 0, as its default 60", "'abc'"),
        ("most_trees", '"60"', "a whole number not below 0, as its default 60", "'60'"),
        ("most_trees", "-1", "a whole number not below 0, as its default 60", "-1"),
        ("most_trees", "1.5", "a whole number not below 0, as its default 60", "1.5"),
        ("edge_m", "wide", "a number not below 0, as its default 2.5", "'wide'"),
        ("edge_m", "-0.5", "a number not below 0, as its default 2.5", "-0.5"),
        ("kinds", "pear", "a list of texts with at least one", "'pear'"),
        ("kinds", "[]", "a list of texts with at least one", "an empty list"),
        ("label", "7", "text, as its default 'a tree'", "7"),
        ("most_tree", "60", "a var that the SQL reads: ", "another"),
        ("tables", "elsewhere", "a var that the SQL reads: ", "another"),
    ],
)
def test_a_var_of_another_kind_is_named_with_its_line(
    project: Path, name: str, value: str, expected: str, actual: str
) -> None:
    place = add_line(project, f"vars: {{{name}: {value}}}")

    [fault] = faults(project)

    assert fault.startswith(f"{place}: vars.{name}: expected {expected}")
    assert fault.endswith(f", found {actual}")


@pytest.mark.parametrize(
    "line",
    [
        "most_trees: 0", "edge_m: 3", "edge_m: 0.5", "kinds: [quince]", "label: a bush",
        "any_value: 7", "any_value: text", "computed: 9",
    ],
)  # fmt: skip
def test_a_var_of_the_kind_of_its_default_is_accepted(project: Path, line: str) -> None:
    add_line(project, f"vars: {{{line}}}")

    assert faults(project) == []


@pytest.mark.parametrize(
    ("declared", "field", "expected"),
    [
        ("format: json_envelop", "format", "one of the formats change_feed, csaf, "),
        (
            "format: json_record, options: {format_version: one}",
            "options.format_version",
            "Input should be a valid integer",
        ),
        (
            'format: json_record, options: {format_version: "1"}',
            "options.format_version",
            "Input should be a valid integer",
        ),
        (
            "format: json_record, options: {format_versoin: 1}",
            "options.format_versoin",
            "Extra inputs are not permitted",
        ),
        (
            "format: json_record, also_from: {news: mart_trees}",
            "also_from.news",
            "no further model",
        ),
    ],
    ids=["format", "text", "text of digits", "unknown option", "another model"],
)
def test_a_document_that_no_format_can_write_is_named_with_its_line(
    project: Path, declared: str, field: str, expected: str
) -> None:
    file = project / "domains" / DOMAIN / "_domain.yaml"
    lines = file.read_text(encoding="utf-8").splitlines()
    row = lines.index("documents:") + 1
    lines.insert(row, f"  - {{file: a.json, title: A, from: mart_trees, {declared}}}")
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")

    [fault] = faults(project)

    assert fault.startswith(f"{file}:{row + 1}: documents[0].{field}: expected {expected}")


@pytest.mark.parametrize("verb", [("sources", "check"), ("run", DOMAIN), ("status", DOMAIN)])
def test_the_verbs_refuse_a_wrong_var_before_anything_is_fetched(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: tuple[str, ...],
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"overrides:\n  {DOMAIN}.vars.most_trees: abc\n", encoding="utf-8")
    for name, value in {
        "ETL_HOME": tmp_path / "home",
        "ETL_DOMAINS_DIR": project / "domains",
        "ETL_DBT_DIR": project / "dbt_project",
        "ETL_CONFIG": settings,
    }.items():
        monkeypatch.setenv(name, str(value))

    assert call(*verb) == 2

    where = f"{settings}:2: overrides.{DOMAIN}.vars.most_trees: expected a whole number"
    assert where in capsys.readouterr().err


def test_every_var_of_this_project_is_of_the_kind_that_its_sql_reads() -> None:
    settings = Settings.load()

    declarations = load_each(
        settings.domains_dir, dbt_dir=settings.dbt_dir, document_rules=document_violations
    )

    assert not declarations.broken

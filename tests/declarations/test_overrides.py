"""Values of a settings file in place of declared ones: what they change, and where faults are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from support.command_homes import (
    DOMAIN,
    Galaxy,
    call,
    clean_environment,
    empty_galaxy,
    packed_galaxy,
    run_and_read_manifest,
)

from etl_assets.declarations.load import load, load_each
from etl_assets.declarations.overrides import Override, read_overrides
from etl_assets.declarations.yaml_positions import read_yaml
from etl_assets.model.errors import DeclarationError
from etl_assets.settings import Settings

__all__ = ["clean_environment", "empty_galaxy", "packed_galaxy"]

DECLARATIONS = {
    "_domain": {
        "title": "Plants",
        "description": "What grows where.",
        "owner": "team:garden",
        "schedule": "0 5 * * *",
    },
    "trees": {
        "title": "Trees",
        "description": "One row per tree.",
        "producer": "The gardeners",
        "licence": {"name": "CC0-1.0", "attribution": "The gardeners"},
        "location": {"url": "https://garden.example/trees.json"},
        "required": True,
        "freshness": {"warn_after_hours": 24, "fail_after_hours": 72},
        "format": {"name": "json", "rows": "{tree_id}"},
        "contract": {
            "columns": [{"name": "tree_id", "type": "string", "description": "its number"}],
            "key": ["tree_id"],
        },
    },
}


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    folder = tmp_path / "domains" / "plants"
    folder.mkdir(parents=True)
    for name, data in DECLARATIONS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return folder.parent


def overrides(folder: Path, *lines: str) -> list[Override]:
    """The overrides of a settings file with these lines below its first one."""
    file = folder / "settings.yaml"
    text = "\n".join(["overrides:", *(f"  {line}" for line in lines), ""])
    file.write_text(text, encoding="utf-8")
    found, violations = read_overrides(read_yaml(file))
    assert violations == []
    return found


def faults(domains: Path, found: list[Override]) -> list[str]:
    with pytest.raises(DeclarationError) as raised:
        load(domains, found)
    return [str(problem) for problem in raised.value.problems]


def test_a_value_replaces_one_of_a_source_or_of_its_domain(garden: Path) -> None:
    found = overrides(
        garden,
        "plants.trees.freshness.warn_after_hours: 12",
        "plants.schedule: 30 6 * * *",
        "plants.trees.location: {url: https://other.example/trees.json}",
    )

    domain = load(garden, found)["plants"]

    assert domain.schedule == "30 6 * * *"
    assert domain.sources["trees"].freshness.warn_after_hours == 12
    assert domain.sources["trees"].freshness.fail_after_hours == 72
    assert str(domain.sources["trees"].location.url) == "https://other.example/trees.json"
    assert set(domain.overrides) == {override.name for override in found}


def test_a_value_may_be_below_a_mapping_that_the_file_does_not_have(garden: Path) -> None:
    found = overrides(garden, "plants.trees.limits.read_timeout_seconds: 90")

    assert load(garden, found)["plants"].sources["trees"].limits.read_timeout_seconds == 90
    assert load(garden)["plants"].sources["trees"].limits.read_timeout_seconds != 90


def test_a_source_can_be_disabled(garden: Path) -> None:
    found = overrides(garden, "plants.trees.enabled: false", "plants.trees.required: false")

    domain = load(garden, found)["plants"]

    assert (list(domain.sources), list(domain.disabled_sources)) == ([], ["trees"])


@pytest.mark.parametrize(
    ("line", "place", "expected"),
    [
        pytest.param(
            "plants.trees.limits.read_timeout_seconds: soon",
            "plants.trees.limits.read_timeout_seconds",
            "a number, found 'soon'",
            id="a value of another type",
        ),
        pytest.param(
            "plants.trees.freshness.warn_after_hors: 1",
            "plants.trees.freshness.warn_after_hors",
            "perhaps 'warn_after_hours', found an unknown key",
            id="an unknown key",
        ),
        pytest.param(
            "plants.trees.title.short: Trees",
            "plants.trees.title.short",
            "a mapping as title, to replace a value below it, found 'Trees'",
            id="below a text",
        ),
        pytest.param(
            "plants.trees: {title: Trees}",
            "plants.trees: document",
            "a key of the source after its name, found none",
            id="a whole source",
        ),
        pytest.param(
            "plants.bushes.title: Bushes",
            "plants.bushes.title: bushes",
            "found an unknown key",
            id="an unknown source",
        ),
        pytest.param(
            "plants.trees.location: {url: 7}",
            "plants.trees.location: location.url",
            "found 7",
            id="below the value",
        ),
        pytest.param(
            "plants.trees.name: oaks",
            "plants.trees.name",
            "no such key",
            id="what the file's name implies",
        ),
        pytest.param(
            "plant.trees.title: Trees",
            "plant.trees.title",
            "one of plants, perhaps 'plants', found 'plant'",
            id="an unknown domain",
        ),
    ],
)
def test_a_fault_is_reported_at_its_line_of_the_settings_file(
    garden: Path, line: str, place: str, expected: str
) -> None:
    found = overrides(garden, "plants.schedule: 30 6 * * *", line)

    [fault, *_] = faults(garden, found)

    assert fault.startswith(f"{garden / 'settings.yaml'}:3: overrides.{place}: expected ")
    assert expected in fault


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            "plants.trees.freshness.warn_after_hours: 96",
            "freshness: expected warn_after_hours not to exceed fail_after_hours, found 96 and 72",
        ),
        (
            "plants.trees.contract.columns: [{name: id, type: string, description: its number}]",
            "contract.key[0]: expected a column of the contract, found 'tree_id'",
        ),
        (
            "plants.trees.freshness.fail_after_hours: 1",
            "freshness: expected warn_after_hours not to exceed fail_after_hours, found 24 and 1",
        ),
    ],
    ids=["a limit", "a column", "another limit"],
)
def test_a_fault_at_a_declared_line_names_the_override_that_makes_it(
    garden: Path, line: str, fault: str
) -> None:
    name = line.partition(":")[0]
    settings = garden / "settings.yaml"

    found = faults(garden, overrides(garden, "plants.schedule: 30 6 * * *", line))

    [shown] = [each for each in found if fault in each]
    assert shown.endswith(f"; with overrides.{name} ({settings}:3)")


def test_a_fault_that_two_overrides_make_names_both(garden: Path) -> None:
    pair = [f"plants.trees.freshness.{key}: 9" for key in ("fail_after_hours", "warn_after_hours")]
    lines = [pair[0].replace("9", "8"), pair[1]]

    [fault] = faults(garden, overrides(garden, "plants.schedule: 30 6 * * *", *lines))

    assert "plants.schedule" not in fault
    assert all(f"overrides.{line.partition(':')[0]} (" in fault for line in lines)


@pytest.mark.parametrize("field", ["required: often", "title: 7", "freshness: none"])
def test_a_fault_of_a_file_blames_no_override(garden: Path, field: str) -> None:
    file, key = garden / "plants" / "trees.yaml", field.partition(":")[0]
    data = yaml.safe_load(file.read_text("utf-8")) | yaml.safe_load(field)
    file.write_text(yaml.safe_dump(data), encoding="utf-8")

    found = faults(garden, overrides(garden, "plants.schedule: 30 6 * * *"))

    assert all(f"{file}:" in each and "overrides" not in each for each in found)
    assert any(f": {key}: expected" in each for each in found)


def test_a_fault_of_a_file_keeps_its_place_beside_an_override(garden: Path) -> None:
    file = garden / "plants" / "trees.yaml"
    text = file.read_text(encoding="utf-8").replace("required: true", "required: often")
    file.write_text(text, encoding="utf-8")
    line = text.splitlines().index("required: often") + 1

    [fault] = faults(garden, overrides(garden, "plants.trees.title: Trees"))

    assert fault == f"{file}:{line}: required: expected true or false, found 'often'"


def test_a_fault_of_one_domain_stops_that_domain_only(garden: Path) -> None:
    shutil.copytree(garden / "plants", garden / "herbs")

    declarations = load_each(garden, overrides(garden, "herbs.trees.required: often"))

    assert (list(declarations.domains), list(declarations.broken)) == (["plants"], ["herbs"])


def test_the_operator_is_told_which_file_to_correct(garden: Path) -> None:
    shutil.copytree(garden / "plants", garden / "herbs")
    herbs = garden / "herbs" / "trees.yaml"
    herbs.write_text(f"{herbs.read_text(encoding='utf-8')}colour: red\n", encoding="utf-8")
    found = overrides(garden, "plants.trees.required: often", "herbs.trees.required: often")
    file = found[0].place.file

    of_one = load_each(garden, found).broken["plants"]
    of_both = load_each(garden, found).broken["herbs"]
    of_the_other = load_each(garden, overrides(garden, "herbs.trees.required: true")).broken

    assert f"plants: correct its overrides in {file} and run" in str(of_one.error)
    assert f"1 fault in its overrides in {file}, first {file}:2" in str(of_one)
    assert f"herbs: correct its declarations and its overrides in {file}" in str(of_both.error)
    assert "herbs: correct its declarations and run" in str(of_the_other["herbs"].error)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("overrides: [a]", ":1: overrides: expected a mapping of paths to values, found a list"),
        ("overrides: {home: x}", ":1: overrides.home: expected a path with dots, such as "),
        ("overrides: {a..b: x}", ":1: overrides.a..b: expected a path with dots, such as "),
        (
            "overrides: {a.b.c: 1, a.b: {c: 2}}",
            ":1: overrides.a.b.c: expected one override of a value, not a.b too, found both",
        ),
    ],
)
def test_overrides_without_their_form_are_faults_of_the_settings_file(
    empty_galaxy: Galaxy, capsys: pytest.CaptureFixture[str], line: str, fault: str
) -> None:
    file = empty_galaxy.folder / "settings.yaml"
    file.write_text(f"{line}\n", encoding="utf-8")

    assert call("run", DOMAIN, "--config", str(file)) == 2

    assert f"{file}{fault}" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.ci
def test_a_run_applies_overrides_and_records_them(
    empty_galaxy: Galaxy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = empty_galaxy.folder / "settings.yaml"
    name = f"{DOMAIN}.systems.limits.max_bytes"
    file.write_text(f"overrides:\n  {name}: 10\n", encoding="utf-8")
    monkeypatch.setenv("ETL_CONFIG", str(file))

    assert call("run", DOMAIN, "--json") == 1

    [manifest] = json.loads(capsys.readouterr().out)
    assert manifest["overrides"] == {name: 10}
    assert call("config", "show") == 0
    assert f"{name} = 10 ({file}:2)" in capsys.readouterr().out
    assert call("config", "get", name) == 0
    assert capsys.readouterr().out == "10\n"
    monkeypatch.delenv("ETL_CONFIG")
    assert run_and_read_manifest(capsys).overrides == {}


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("vars.my_api_token", "s3cret", "***"),
        ("vars", "{password: s3cret, rows: 3}", '{"password": "***", "rows": 3}'),
        ("vars.address", "https://me:s3cret@a.example/x", "https://a.example/x"),
    ],
)
def test_secrets_among_overrides_are_shown_nowhere(
    empty_galaxy: Galaxy,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    shown: str,
) -> None:
    file, dbt_dir = empty_galaxy.folder / "settings.yaml", empty_galaxy.folder / "dbt_project"
    file.write_text(f"overrides:\n  {DOMAIN}.{name}: {value}\n", encoding="utf-8")
    read = [f"{{{{ var('{each}') }}}}" for each in ("my_api_token", "password", "rows", "address")]
    ignored = shutil.ignore_patterns("target", "logs")
    shutil.copytree(Settings.load().dbt_dir, dbt_dir, ignore=ignored)
    (dbt_dir / "models" / DOMAIN / "stg_vars.sql").write_text("\n".join(read), encoding="utf-8")
    monkeypatch.setenv("ETL_CONFIG", str(file))
    monkeypatch.setenv("ETL_DBT_DIR", str(dbt_dir))

    assert call("config", "show") == 0
    assert f"{DOMAIN}.{name} = {shown} ({file}:2)" in capsys.readouterr().out
    assert call("run", DOMAIN, "--json", "--stage", "raw") == 0

    printed = capsys.readouterr()
    assert json.loads(printed.out)[0]["overrides"] == {
        f"{DOMAIN}.{name}": json.loads(shown) if shown.startswith("{") else shown
    }
    assert "s3cret" not in printed.out + printed.err

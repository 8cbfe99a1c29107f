"""A home of a version in which the keys of models were their names in dbt."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from support.orchard import DOMAIN, Files, Orchard, create_project

from etl_assets.declarations.load import load
from etl_assets.defs import asset_keys
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.materialize import PartOutcome
from etl_assets.model.records import ModelBuild

MODELS = ("harvests", "notes", "trees", "history", "run")
TEST, CHECK = "orchard__trees_have_ids", "trees_have_ids"


def short(name: str) -> dg.AssetKey:
    return asset_keys.model_key(DOMAIN, f"stg_{DOMAIN}__{name}")


def former(name: str) -> dg.AssetKey:
    return dg.AssetKey([DOMAIN, f"stg_{DOMAIN}__{name}"])


def rename_back(event_log: EventLog, *, passed: bool) -> None:
    """Leave the records of models, and a verdict on one, under the former keys alone."""
    records = event_log.latest_records(map(short, MODELS), ModelBuild)
    for name in MODELS:
        record = records[short(name)]
        outcome = PartOutcome(record, record.version, reused=False)
        event_log.report_outcome(former(name), None, outcome)
    event_log.report(
        dg.AssetCheckEvaluation(former("trees"), TEST, passed, description="as it was")
    )
    event_log.wipe_assets([short(name) for name in MODELS])


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    project = create_project(tmp_path / "project")
    staging = project / "dbt_project" / "models" / DOMAIN / "staging" / "_staging.yml"
    text = staging.read_text(encoding="utf-8")
    model = "    description: One row per tree.\n"
    test = f"{{not_null: {{name: {TEST}, description: Every tree has an id.}}}}"
    columns = f"    columns:\n      - name: tree_id\n        data_tests: [{test}]\n"
    staging.write_text(text.replace(model, model + columns), encoding="utf-8")
    orchard = Orchard(tmp_path, project=project)
    orchard.serve(Files.create())
    return orchard


def change_declaration(orchard: Orchard) -> None:
    """Change what another version of the code changes too: the code version."""
    file = orchard.settings.domains_dir / DOMAIN / "_domain.yaml"
    text = file.read_text(encoding="utf-8").replace("title: Orchard", "title: An orchard")
    file.write_text(text, encoding="utf-8")
    orchard.domain = load(orchard.settings.domains_dir)[DOMAIN]


def test_a_model_has_its_name_in_dbt_without_the_domain_as_its_key() -> None:
    keys = {
        name: asset_keys.model_key(DOMAIN, name).path[-1]
        for name in ("stg_orchard__trees", "mart_trees", "stg_orchard__orchard__x", "seed")
    }

    assert keys == {
        "stg_orchard__trees": "stg_trees",
        "mart_trees": "mart_trees",
        "stg_orchard__orchard__x": "stg_orchard__x",
        "seed": "seed",
    }


def test_what_was_recorded_under_the_former_keys_is_taken_over(orchard: Orchard) -> None:
    first = orchard.run()
    with orchard.session() as session:
        before = session.event_log.latest_records(map(short, MODELS), ModelBuild)
        rename_back(session.event_log, passed=True)
    change_declaration(orchard)

    second = orchard.run()

    with orchard.session() as session:
        after = session.event_log.latest_records(map(short, MODELS), ModelBuild)
        is_known = session.event_log.instance.has_asset_key(former("trees"))
    assert second.published, second.note
    assert [mart.sha256 for mart in second.marts] == [mart.sha256 for mart in first.marts]
    models = {f"{DOMAIN}/stg_{name}" for name in MODELS}
    assert {a.outcome for a in second.assets if a.key in models} == {"reused"}
    assert not [a.key for a in second.assets if a.key.endswith("_raw") and a.outcome == "made"]
    assert {key: r.version for key, r in after.items()} == {
        key: r.version for key, r in before.items()
    }
    assert not is_known
    assert orchard.run().is_unchanged


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    ("passed", "published"),
    [pytest.param(True, True, id="passed"), pytest.param(False, False, id="failed")],
)
def test_the_gate_knows_the_verdicts_under_the_former_keys(
    orchard: Orchard, passed: bool, published: bool
) -> None:
    orchard.run()
    with orchard.session() as session:
        rename_back(session.event_log, passed=passed)
    change_declaration(orchard)

    manifest = orchard.run()

    [verdict] = [check for check in manifest.checks if check.name == CHECK]
    assert verdict.asset == f"{DOMAIN}/stg_trees"
    assert verdict.passed is passed
    assert manifest.published is published, manifest.note

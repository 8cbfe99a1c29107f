"""A home of a version in which checks on models had the names of dbt's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from support.orchard import DOMAIN, Files, Orchard, create_project

from etl_assets.defs import asset_keys
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_defs
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.launch import open_instance

TEST, CHECK = "orchard__trees_have_ids", "trees_have_ids"
TREES = asset_keys.model_key(DOMAIN, f"stg_{DOMAIN}__trees")
LAUNCHES = ["command", "pages"]


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
    orchard.run()
    return orchard


def judge(event_log: EventLog, check: str, *, passed: bool) -> None:
    event_log.report(dg.AssetCheckEvaluation(TREES, check, passed, description=f"as {check}"))


def forget(event_log: EventLog, check: str) -> None:
    """Remove all verdicts under a name, which the former version never recorded."""
    executions = AssetCheckExecutionsTable
    storage = event_log.instance.event_log_storage
    with storage.index_connection() as connection:
        connection.execute(executions.delete().where(executions.c.check_name == check))


def change_a_note(orchard: Orchard) -> None:
    """Change a source that the checked model does not read, so that its test does not run."""
    files = Files.create()
    files.notes["T-1"] = "was felled"
    orchard.serve(files)


def launch(orchard: Orchard, by: str) -> bool:
    """Run the domain, and return True if the run published its set."""
    before = orchard.latest
    if by == "command":
        orchard.run()
    else:
        defs = build_defs(ProjectContext(orchard.settings, {DOMAIN: orchard.domain}))
        job = defs.resolve_job_def(asset_keys.job_name(orchard.domain))
        with open_instance(orchard.settings) as instance:
            job.execute_in_process(instance=instance, raise_on_error=False)
    return orchard.latest != before


def last_verdict(orchard: Orchard, check: str) -> bool | None:
    key = dg.AssetCheckKey(TREES, check)
    with orchard.session() as session:
        verdict = session.event_log.latest_checks([key]).get(key)
        return verdict.passed if verdict else None


@pytest.mark.long
@pytest.mark.ci
def test_a_check_has_the_name_of_its_test_without_the_domain(orchard: Orchard) -> None:
    assert (last_verdict(orchard, CHECK), last_verdict(orchard, TEST)) == (True, None)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("by", LAUNCHES)
@pytest.mark.parametrize("passed", [True, False], ids=["passed", "failed"])
def test_the_gate_knows_the_verdict_under_the_former_name(
    orchard: Orchard, by: str, passed: bool
) -> None:
    with orchard.session() as session:
        forget(session.event_log, CHECK)
        judge(session.event_log, TEST, passed=passed)
    change_a_note(orchard)

    published = launch(orchard, by)

    assert published is passed
    assert last_verdict(orchard, CHECK) is passed


def passed_then_failed(event_log: EventLog) -> None:
    judge(event_log, CHECK, passed=True)
    judge(event_log, TEST, passed=False)


def failed_then_passed(event_log: EventLog) -> None:
    judge(event_log, TEST, passed=False)
    judge(event_log, CHECK, passed=True)


def failed_under_both(event_log: EventLog) -> None:
    judge(event_log, TEST, passed=True)
    judge(event_log, CHECK, passed=False)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    ("verdicts", "published"),
    [
        pytest.param(passed_then_failed, False, id="the former version judged last"),
        pytest.param(failed_then_passed, True, id="this version judged last and passed it"),
        pytest.param(failed_under_both, False, id="this version judged last and failed it"),
    ],
)
def test_the_newest_verdict_counts_under_whichever_name(
    orchard: Orchard, verdicts: Callable[[EventLog], None], published: bool
) -> None:
    with orchard.session() as session:
        verdicts(session.event_log)
    change_a_note(orchard)

    assert launch(orchard, "command") is published

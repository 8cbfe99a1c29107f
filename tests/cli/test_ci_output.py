"""What CI systems read: JUnit's XML, and annotations of GitHub."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from support.command_homes import (
    DOMAIN,
    Galaxy,
    call,
    clean_environment,
    empty_galaxy,
    packed_galaxy,
)

from etl_assets.cli.ci_output import annotate_checks, annotate_problems, write_junit
from etl_assets.model.errors import Problem
from etl_assets.model.run_manifest import RunCheck

__all__ = ["clean_environment", "empty_galaxy", "packed_galaxy"]


def check(
    name: str = "gate", *, passed: bool = False, severity: str = "error", text: str = ""
) -> RunCheck:
    values = {"asset": "orchard/published", "name": name, "passed": passed}
    return RunCheck.model_validate(values | {"severity": severity, "description": text})


def test_junit_has_a_suite_for_each_domain_with_failures_and_warnings(tmp_path: Path) -> None:
    file = tmp_path / "reports" / "checks.xml"
    checks = [
        check("good", passed=True),
        check("warned", severity="warn", text="few rows"),
        check("failed", text="two trees\nT-1 <a>\nT-2 \x00"),
    ]

    write_junit(file, [("orchard", checks), ("vineyard", [check(passed=True)])])

    orchard, vineyard = ET.parse(file).getroot()
    assert (orchard.get("name"), orchard.get("tests"), orchard.get("failures")) == (
        "orchard", "3", "1",
    )  # fmt: skip
    assert (vineyard.get("name"), vineyard.get("failures")) == ("vineyard", "0")
    good, warned, failed = orchard.findall("testcase")
    assert list(good) == []
    assert [(each.tag, each.text) for each in warned] == [("system-out", "WARN: few rows")]
    [failure] = failed
    assert (failure.tag, failure.get("message")) == ("failure", "two trees")
    assert failure.text == "two trees\nT-1 <a>\nT-2 \ufffd"
    assert failed.get("classname") == "orchard/published"


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        (check(text="lost"), "::error title=orchard/published%3A gate::lost"),
        (
            check("a,b", severity="warn", text="100 %\nlost"),
            "::warning title=orchard/published%3A a%2Cb::100 %25%0Alost",
        ),
        (check(text="::error::\r"), "::error title=orchard/published%3A gate::::error::%0D"),
    ],
    ids=["error", "warning", "hostile text"],
)
def test_a_failed_check_is_an_annotation(failed: RunCheck, expected: str) -> None:
    assert list(annotate_checks([check(passed=True), failed])) == [expected]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("/repo/a/trees.yaml:7: title", "::error file=a/trees.yaml,line=7,title=title::"),
        ("/else/trees.yaml:7: title", "::error file=/else/trees.yaml,line=7,title=title::"),
        ("somewhere", "::error title=declarations::somewhere: "),
    ],
)
def test_a_fault_of_a_declaration_is_an_annotation_at_its_line(where: str, expected: str) -> None:
    [line] = annotate_problems([Problem(where, "text", "7")], Path("/repo"))

    assert line == f"{expected}expected text, found 7"


@pytest.mark.long
@pytest.mark.ci
def test_the_command_writes_the_results_of_the_samples(
    clean_environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = clean_environment / "checks.xml"

    assert call("check", DOMAIN, "--samples", "--junit", str(file), "--annotations") == 0

    [suite] = ET.parse(file).getroot()
    lines = capsys.readouterr().out.splitlines()
    results = [line for line in lines if line.startswith(("ok ", "WARN ", "ERROR "))]
    assert int(suite.get("tests", 0)) == len(results) > 10
    warnings = [line for line in lines if line.startswith("WARN ")]
    assert len([line for line in lines if line.startswith("::warning ")]) == len(warnings)
    counts = f"{len(results) - len(warnings)} ok, {len(warnings)} warning"
    assert lines[-1].startswith(f"{DOMAIN}: {len(results)} checks: {counts}")


def test_faults_of_declarations_are_annotated_before_they_are_reported(
    empty_galaxy: Galaxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = empty_galaxy.folder / "domains" / "plants"
    folder.mkdir(parents=True)
    (folder / "_domain.yaml").write_text("title: 7\n", encoding="utf-8")
    monkeypatch.setenv("ETL_DOMAINS_DIR", str(folder.parent))
    monkeypatch.chdir(empty_galaxy.folder)

    assert call("sources", "check", "--annotations") == 2

    printed = capsys.readouterr()
    assert "::error file=domains/plants/_domain.yaml,line=1,title=title::" in printed.out
    assert "_domain.yaml:1: title: expected text, found 7" in printed.err


@pytest.mark.long
@pytest.mark.ci
def test_the_commands_of_the_example_workflow_succeed(
    clean_environment: Path, repo_root: Path
) -> None:
    text = (repo_root / "docs" / "ci.md").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    commands = [
        step["run"].split()[1:]
        for step in workflow["jobs"]["check"]["steps"]
        if step.get("run", "").startswith(".venv/bin/etl ")
    ]

    assert len(commands) == 2
    assert [call(*command) for command in commands] == [0, 0]
    assert (clean_environment / "checks.xml").exists()

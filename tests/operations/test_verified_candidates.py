"""Commands that a domain declares look at each candidate before it is published."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from support.orchard import FIRST, Files, Orchard, create_project

from etl_assets.declarations.domain import VerifyCommand
from etl_assets.model.run_manifest import RunCheck, RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.verify import verify_set

pytestmark = pytest.mark.long


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    orchard = Orchard(tmp_path / "live", project=create_project(tmp_path / "project"))
    orchard.serve(Files.create(4))
    return orchard


def run_with(orchard: Orchard, *codes: str, hour: int = 0, accept: bool = False) -> RunManifest:
    commands = [
        VerifyCommand(command=[sys.executable, "-I", "-c", code], timeout_seconds=30)
        for code in codes
    ]
    orchard.domain = orchard.domain.model_copy(update={"verify": commands})
    as_of = FIRST + timedelta(hours=hour)
    return orchard.run(RunOptions(as_of=as_of, accept_changes=accept))


def command_checks(manifest: RunManifest) -> list[RunCheck]:
    return [check for check in manifest.checks if check.name.startswith("verify_")]


READ = "import json, sys; assert json.load(open(sys.argv[1] + '/trees.json'))['tree_count'] == {}"


def test_a_candidate_that_passes_is_published(orchard: Orchard) -> None:
    manifest = run_with(orchard, READ.format(4), "print('seen')")

    assert manifest.published, manifest.note
    assert [check.description for check in command_checks(manifest)] == ["", "seen"]
    assert verify_set(orchard.latest).faults == []


@pytest.mark.parametrize("accept", [False, True], ids=["as it is", "--accept-changes"])
@pytest.mark.parametrize(
    "code", [READ.format(5), "raise SystemExit('nothing suppressed')", "import no_scanner"]
)
def test_a_candidate_that_fails_a_command_is_refused(
    orchard: Orchard, code: str, accept: bool
) -> None:
    assert run_with(orchard, "print('seen')").published
    before = orchard.latest
    files = Files.create(5)
    files.trees["T-9"] = "plum"
    orchard.serve(files)

    manifest = run_with(orchard, "print('seen')", code, hour=1, accept=accept)

    assert not manifest.published
    assert orchard.latest == before
    first, second = command_checks(manifest)
    assert (first.passed, second.passed, second.severity) == (True, False, "error")
    assert "expected exit code 0, found 1" in second.description
    assert run_with(orchard, "print('seen')", hour=2).published

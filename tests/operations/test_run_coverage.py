"""The declared coverage of an enrichment, from the run to `etl check`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.orchard import DOMAIN, FIRST, Files, Orchard, create_project

from etl_assets.defs.launch import open_project
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.check import check_domain

COVERAGE = """
coverage:
  - from: mart_trees
    key: tree_id
    column: note
    source: notes
    warn: 0.7
    floor: 0.3
"""


@pytest.fixture(scope="module")
def covered(tmp_path_factory: pytest.TempPathFactory) -> Orchard:
    """An orchard whose notes cover eight of ten trees, run once."""
    folder = tmp_path_factory.mktemp("covered")
    project = create_project(folder / "project")
    domain_file = project / "domains" / DOMAIN / "_domain.yaml"
    domain_file.write_text(domain_file.read_text("utf-8") + COVERAGE, encoding="utf-8")
    orchard = Orchard(folder / "live", project=project)
    serve_notes(orchard, 8)
    manifest = orchard.run(RunOptions(as_of=FIRST))
    assert (manifest.status, manifest.failed_checks) == (RunStatus.SUCCESS, [])
    return orchard


def serve_notes(orchard: Orchard, count: int) -> None:
    files = Files.create(10)
    files.notes = dict.fromkeys(list(files.trees)[:count], "by the gate")
    orchard.serve(files)


def checked(orchard: Orchard) -> dict[str, tuple[bool, str]]:
    """Returns what `etl check` reports of the gate and of the coverage."""
    with open_project(orchard.settings, {DOMAIN: orchard.domain}, echo=lambda _: None) as session:
        checks = check_domain(session.for_domain(DOMAIN))
    names = {"gate", "mart_trees_note_coverage"}
    return {c.name: (c.passed, c.severity) for c in checks if c.name in names}


@pytest.mark.long
def test_a_coverage_warns_and_refuses_at_its_declared_limits(
    covered: Orchard, tmp_path: Path
) -> None:
    shutil.copytree(covered.folder, tmp_path / "copy", symlinks=True)
    orchard = Orchard(tmp_path / "copy", project=covered.project)
    good = checked(orchard)
    serve_notes(orchard, 5)
    warned, warned_check = orchard.run(), checked(orchard)
    serve_notes(orchard, 2)
    refused, again, published = orchard.run(), orchard.run(), orchard.latest
    refused_check = checked(orchard)
    accepted, accepted_check = orchard.run(RunOptions(accept_changes=True)), checked(orchard)
    unchanged, unchanged_check = orchard.run(), checked(orchard)

    assert good == {"gate": (True, "error"), "mart_trees_note_coverage": (True, "error")}
    assert (warned.status, warned.published) == (RunStatus.SUCCESS, True)
    [warning] = warned.failed_checks
    assert warning.description == (
        "mart_trees_note_coverage: expected at least 70% of rows with a value of notes,"
        " refused below 30%, found 5 of 10 (50.0%), without: T-10, T-6, T-7, T-8, T-9"
    )
    assert warned_check == {"gate": (True, "error"), "mart_trees_note_coverage": (False, "warn")}
    for manifest in (refused, again):
        assert (manifest.status, manifest.published) == (RunStatus.FAILED, False)
    # The gate refused the candidate; the published set is the one with the warning.
    assert refused_check == {"gate": (False, "error"), "mart_trees_note_coverage": (False, "warn")}
    assert "found 2 of 10 (20.0%), without: T-10, T-3, T-4, T-5, T-6 and 3 more" in refused.note
    assert "--accept-changes" in refused.note
    assert published.name == warned_directory(orchard, warned)
    assert (accepted.status, accepted.published) == (RunStatus.SUCCESS, True)
    assert accepted_check == {"gate": (True, "error"), "mart_trees_note_coverage": (False, "warn")}
    # Nothing moved, so the accepted set stays in place.
    assert (unchanged.status, unchanged.published) == (RunStatus.SUCCESS, False)
    assert unchanged.published_set == orchard.latest.name == warned_directory(orchard, accepted)
    assert unchanged_check == accepted_check


def warned_directory(orchard: Orchard, manifest: RunManifest) -> str:
    """Returns the name of the run directory that a manifest was written to."""
    for file in orchard.home.outputs(DOMAIN).glob("2*/manifest.json"):
        if RunManifest.model_validate_json(file.read_bytes()) == manifest:
            return file.parent.name
    raise AssertionError("no run directory has this manifest")

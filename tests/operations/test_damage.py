"""Damage of documents of many files, and of what belongs together.

Every kind of file, times every damage, is in `test_damage_table`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from support.damage import delete, edit, empty, flip, truncate
from support.sample_home import AS_OF, SampleHome

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import MANIFEST_FILE
from etl_assets.model.run_options import RunOptions
from etl_assets.publish import run_directory, set_index
from etl_assets.report.gather import RUN_FILES
from etl_assets.storage.hashing import hash_file

Damage = Callable[[Path], object]


KEPT = {
    "one of many": "outputs/advisories/latest/csaf/2026/echo-vex-garnet.json",
    "archive": "outputs/advisories/latest/osv/all.zip",
    "table": "data/tables/advisories/debian/debian.parquet",
}
FILES_OF_A_RUN = {MANIFEST_FILE, "index.jsonl", *RUN_FILES, "SHA256SUMS"}


def content_of(sample: SampleHome) -> dict[str, str]:
    """Return the digests of the published files but those that name their run."""
    names = set(run_directory.list_files(sample.latest)) - FILES_OF_A_RUN
    return {name: hash_file(sample.latest / name) for name in sorted(names)}


def damage_and_run(sample: SampleHome, damage: Damage, *kept: str) -> None:
    """Damage files and run; the published set must be what it was, in new files."""
    before = content_of(sample)
    for name in kept:
        damage((sample.home.root / KEPT[name]).resolve())

    manifest = sample.run(RunOptions(as_of=AS_OF + timedelta(days=1)))

    assert manifest.status is RunStatus.SUCCESS, manifest.note
    assert content_of(sample) == before
    sums = run_directory.read_sums(sample.latest)
    assert {name: sums[name] for name in before} == before
    assert sample.run(RunOptions(as_of=AS_OF + timedelta(days=2))).note == "nothing moved"


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output")
def test_rot_is_found_and_healed(sample: SampleHome) -> None:
    damage_and_run(sample, flip, "one of many", "table")


@pytest.mark.long
@pytest.mark.fault("altered-output")
@pytest.mark.parametrize("damage", [flip, edit, truncate, empty, delete])
@pytest.mark.parametrize("kept", KEPT)
def test_a_damaged_file_is_made_again(sample: SampleHome, kept: str, damage: Damage) -> None:
    damage_and_run(sample, damage, kept)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output")
def test_a_manifest_that_was_edited_with_its_document_vouches_for_nothing(
    sample: SampleHome,
) -> None:
    before = content_of(sample)
    directory, document = sample.latest, sample.latest / "openvex.json"
    manifest = run_directory.read_manifest(directory)
    files = set_index.read_index(directory, manifest)
    edit(document)
    forged = [
        file.model_copy(update={"sha256": hash_file(document)}) if file.file == document.name
        else file
        for file in files
    ]  # fmt: skip
    sha256 = set_index.write_index(directory, forged)
    run_directory.write_manifest(directory, manifest.model_copy(update={"index_sha256": sha256}))

    assert sample.run(RunOptions(as_of=AS_OF + timedelta(days=1))).status is RunStatus.SUCCESS
    assert sample.latest != directory
    assert content_of(sample).keys() == before.keys()
    assert hash_file(sample.latest / document.name) != hash_file(document)


@pytest.mark.fault("altered-output")
def test_latest_that_was_removed_is_linked_again(sample: SampleHome) -> None:
    before, history = content_of(sample), sample.rows("mart_advisory_state_history")
    sample.home.latest("advisories").unlink()

    manifest = sample.run(RunOptions(as_of=AS_OF + timedelta(days=1)))

    assert manifest.note == "nothing moved"
    assert content_of(sample) == before
    assert sample.rows("mart_advisory_state_history") == history


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output")
def test_outputs_that_are_gone_are_not_taken_for_a_first_run(sample: SampleHome) -> None:
    before, history = content_of(sample), sample.rows("mart_advisory_state_history")
    shutil.rmtree(sample.home.outputs("advisories"))

    manifest = sample.run(RunOptions(as_of=AS_OF + timedelta(days=1)))

    after = content_of(sample)
    assert manifest.published
    assert after.keys() == before.keys()
    assert {n: d for n, d in after.items() if n.startswith("marts/")} == {
        n: d for n, d in before.items() if n.startswith("marts/")
    }
    assert sample.rows("mart_advisory_state_history") == history

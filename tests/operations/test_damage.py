"""What a home keeps is used only if it is what was written; damage is healed by the next run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from support.sample_home import AS_OF, SampleHome

from etl_assets.model.errors import HomeError
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import MANIFEST_FILE
from etl_assets.model.run_options import RunOptions
from etl_assets.publish import run_directory
from etl_assets.storage.hashing import hash_file

Damage = Callable[[Path], object]


def flip(path: Path) -> None:
    """Change one byte in place; size, time and inode stay, as when a disk fails."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def edit(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"\n")


def truncate(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:100])


def empty(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"")


KEPT = {
    "document": "outputs/advisories/latest/openvex.json",
    "one of many": "outputs/advisories/latest/csaf/garnet.json",
    "archive": "outputs/advisories/latest/osv/all.zip",
    "mart": "outputs/advisories/latest/marts/mart_advisory_current.parquet",
    "history": "outputs/advisories/latest/marts/mart_advisory_state_history.parquet",
    "table": "data/tables/advisories/debian/debian.parquet",
}
RUN_FILES = {MANIFEST_FILE, "run_report.md", "run_report.html", "SHA256SUMS"}


def content_of(sample: SampleHome) -> dict[str, str]:
    """Return the digests of the published files but those that name their run."""
    names = set(run_directory.list_files(sample.latest)) - RUN_FILES
    return {name: hash_file(sample.latest / name) for name in sorted(names)}


def damage_and_run(sample: SampleHome, kept: str, damage: Damage) -> None:
    """Damage a file and run; the published set must be what it was, in new files."""
    before = content_of(sample)
    path = sample.home.root / KEPT[kept]
    damage(path.resolve())

    manifest = sample.run(RunOptions(as_of=AS_OF + timedelta(days=1)))

    assert manifest.status is RunStatus.SUCCESS, manifest.note
    assert content_of(sample) == before
    sums = run_directory.read_sums(sample.latest)
    assert {name: sums[name] for name in before} == before
    assert sample.run(RunOptions(as_of=AS_OF + timedelta(days=2))).note == "nothing moved"


@pytest.mark.fault("altered-output")
@pytest.mark.parametrize("kept", ["one of many", "table"])
def test_rot_is_found_and_healed(sample: SampleHome, kept: str) -> None:
    damage_and_run(sample, kept, flip)


@pytest.mark.long
@pytest.mark.fault("altered-output")
@pytest.mark.parametrize("damage", [flip, edit, truncate, empty, Path.unlink])
@pytest.mark.parametrize("kept", KEPT)
def test_a_damaged_file_is_made_again(sample: SampleHome, kept: str, damage: Damage) -> None:
    damage_and_run(sample, kept, damage)


@pytest.mark.long
@pytest.mark.fault("altered-output")
def test_a_manifest_that_was_edited_with_its_document_vouches_for_nothing(
    sample: SampleHome,
) -> None:
    before = content_of(sample)
    document, manifest_file = sample.latest / "openvex.json", sample.latest / MANIFEST_FILE
    manifest = run_directory.read_manifest(sample.latest)
    [listed] = [file for file in manifest.documents if file.file == document.name]
    edit(document)
    forged = listed.model_copy(update={"sha256": hash_file(document)}).model_dump_json()
    manifest_file.chmod(0o644)
    manifest_file.write_text(
        manifest.model_copy(
            update={
                "documents": [
                    type(listed).model_validate_json(forged) if file == listed else file
                    for file in manifest.documents
                ]
            }
        ).model_dump_json(by_alias=True)
    )

    forged_bytes = document.read_bytes()

    assert sample.run(RunOptions(as_of=AS_OF + timedelta(days=1))).status is RunStatus.SUCCESS
    assert (sample.latest / document.name).read_bytes() != forged_bytes
    assert content_of(sample).keys() == before.keys()


@pytest.mark.fault("altered-output")
def test_latest_that_was_removed_is_linked_again(sample: SampleHome) -> None:
    before, history = content_of(sample), sample.rows("mart_advisory_state_history")
    sample.home.latest("advisories").unlink()

    manifest = sample.run(RunOptions(as_of=AS_OF + timedelta(days=1)))

    assert manifest.note == "nothing moved"
    assert content_of(sample) == before
    assert sample.rows("mart_advisory_state_history") == history


@pytest.mark.fault("altered-output")
def test_outputs_that_are_gone_are_not_taken_for_a_first_run(sample: SampleHome) -> None:
    shutil.rmtree(sample.home.outputs("advisories"))

    with pytest.raises(HomeError, match="expected the published set of"):
        sample.run(RunOptions(as_of=AS_OF + timedelta(days=1)))

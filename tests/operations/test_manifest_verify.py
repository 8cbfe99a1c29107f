"""The look at every stored raw file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.sample_home import DOMAIN, SampleHome

from etl_assets.ledger.manifest import Process, manifest_file
from etl_assets.model.errors import HomeError
from etl_assets.operations.manifest_verify import verify_store
from etl_assets.operations.store_results import Fault, Verification
from etl_assets.publish import run_directory


def verify(sample: SampleHome) -> Verification:
    with sample.project_session() as session:
        return verify_store(session, sample.domain)


def stored(sample: SampleHome, source: str) -> Path:
    """The raw file of a source in the published set."""
    sources = run_directory.read_manifest(sample.latest).sources
    [sha256] = {s.sha256 for s in sources if str(s.source) == f"{DOMAIN}.{source}" and s.sha256}
    return sample.home.raw_file(sha256)


def test_a_store_that_is_whole_has_no_fault(second_sample: SampleHome) -> None:
    found = verify(second_sample)

    assert found.faults == []
    assert found.files == len(
        [path for path in second_sample.home.raw.rglob("*") if path.is_file()]
    )


@pytest.mark.fault("raw-file-lost")
def test_a_file_that_is_gone_is_told_with_every_manifest_that_names_it(sample: SampleHome) -> None:
    path = stored(sample, "kev")
    path.unlink()

    [fault] = verify(sample).faults

    assert (fault.fault, fault.path) == (Fault.MISSING, sample.home.relative(path))
    assert f"manifests/{DOMAIN}_download.manifest.json" in fault.named_by
    assert f"outputs/{DOMAIN}/{sample.latest.name}/manifest.json" in fault.named_by


@pytest.mark.fault("raw-file-lost")
def test_a_file_that_was_edited_is_told_though_its_size_is_right(sample: SampleHome) -> None:
    path = stored(sample, "kev")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])

    assert [fault.fault for fault in verify(sample).faults] == [Fault.ALTERED]


@pytest.mark.parametrize("name", ["ab/" + "ab" * 32, "readme.txt", "ab/cd/" + "ab" * 32])
def test_a_file_that_nothing_names_is_an_orphan(sample: SampleHome, name: str) -> None:
    stray = sample.home.raw / name
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("stray", encoding="utf-8")

    [fault] = verify(sample).faults

    assert str(fault) == f"orphaned data/raw/{name}"


def test_a_version_that_only_the_event_log_knows_is_no_orphan(second_sample: SampleHome) -> None:
    first = list(run_directory.list_runs(second_sample.home, DOMAIN))[-1]
    shutil.rmtree(first)

    assert verify(second_sample).faults == []


@pytest.mark.fault("corrupt-manifest")
def test_a_damaged_ledger_is_named_with_its_line(sample: SampleHome) -> None:
    path = manifest_file(sample.home, DOMAIN, Process.DOWNLOAD)
    path.write_text(path.read_text("utf-8").replace('"url"', "url", 1), encoding="utf-8")

    with pytest.raises(HomeError, match=rf"{path}:\d+: expected JSON"):
        verify(sample)


def test_a_damaged_manifest_of_a_run_is_named(sample: SampleHome) -> None:
    path = sample.latest / "manifest.json"
    manifest = json.loads(path.read_text("utf-8")) | {"status": "fine"}
    path.write_text(json.dumps(manifest), encoding="utf-8")

    with pytest.raises(HomeError, match=f"{path}: status: "):
        verify(sample)

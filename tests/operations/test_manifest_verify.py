"""Every raw file that a manifest lists is hashed, and orphans are found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.sample_home import DOMAIN, SampleHome

from etl_assets.ledger.manifest import Process, manifest_file
from etl_assets.model.errors import HomeError
from etl_assets.operations.manifest import Verification, verify_store
from etl_assets.operations.verify import Fault, StoreFault
from etl_assets.publish import run_directory


def verify(sample: SampleHome) -> Verification:
    with sample.project_session() as session:
        return verify_store(session, sample.domain)


def raw_file_of(sample: SampleHome, source: str) -> Path:
    """Return the raw file of a source in the published set."""
    sources = run_directory.read_manifest(sample.latest).sources
    [sha256] = {s.sha256 for s in sources if str(s.source) == f"{DOMAIN}.{source}" and s.sha256}
    return sample.home.raw_file(sha256)


def test_a_complete_store_has_no_fault(second_sample: SampleHome) -> None:
    verification = verify(second_sample)

    assert verification.faults == []
    assert verification.files == len(
        [path for path in second_sample.home.raw.rglob("*") if path.is_file()]
    )


@pytest.mark.fault("raw-file-lost")
def test_a_missing_file_is_reported_with_every_manifest_that_lists_it(sample: SampleHome) -> None:
    path = raw_file_of(sample, "kev")
    path.unlink()

    [fault] = verify(sample).faults

    assert (fault.fault, fault.path) == (Fault.MISSING, sample.home.relative(path))
    assert f"manifests/{DOMAIN}_download.manifest.json" in fault.named_by
    assert f"outputs/{DOMAIN}/{sample.latest.name}/manifest.json" in fault.named_by


@pytest.mark.fault("raw-file-lost")
def test_an_edited_file_of_the_same_size_is_reported(sample: SampleHome) -> None:
    path = raw_file_of(sample, "kev")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])

    assert [fault.fault for fault in verify(sample).faults] == [Fault.ALTERED]


@pytest.mark.parametrize("name", ["ab/" + "ab" * 32, "readme.txt", "ab/cd/" + "ab" * 32])
def test_a_file_that_nothing_lists_is_an_orphan(sample: SampleHome, name: str) -> None:
    stray = sample.home.raw / name
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("stray", encoding="utf-8")

    [fault] = verify(sample).faults

    assert str(fault) == f"orphaned data/raw/{name}"


def test_a_version_that_only_the_event_log_lists_is_not_an_orphan(
    second_sample: SampleHome,
) -> None:
    first = list(run_directory.list_runs(second_sample.home, DOMAIN))[-1]
    shutil.rmtree(first)

    assert verify(second_sample).faults == []


@pytest.mark.fault("corrupt-manifest")
def test_a_damaged_ledger_is_reported_with_the_line(sample: SampleHome) -> None:
    path = manifest_file(sample.home, DOMAIN, Process.DOWNLOAD)
    path.write_text(path.read_text("utf-8").replace('"url"', "url", 1), encoding="utf-8")

    with pytest.raises(HomeError, match=rf"{path}:\d+: expected JSON"):
        verify(sample)


def test_a_damaged_run_manifest_is_reported(sample: SampleHome) -> None:
    path = sample.latest / "manifest.json"
    manifest = json.loads(path.read_text("utf-8")) | {"status": "fine"}
    path.write_text(json.dumps(manifest), encoding="utf-8")

    with pytest.raises(HomeError, match=f"{path}: status: "):
        verify(sample)


def test_a_complete_store_is_one_line() -> None:
    assert Verification(files=3, size_bytes=12345, faults=[]).lines() == [
        "3 raw files, 12,345 bytes, and 0 other files: all as recorded"
    ]


def test_each_fault_has_the_first_of_its_manifests() -> None:
    fault = StoreFault(path="data/raw/ab/abc", fault=Fault.MISSING, named_by=["a", "b", "c", "d"])

    assert Verification(files=1, size_bytes=0, faults=[fault]).lines() == [
        "1 raw files, 0 bytes, and 0 other files: 1 fault",
        "missing  data/raw/ab/abc, listed in a, b, c and 1 more",
        "the next run fetches or makes again what it needs",
    ]

"""Documents over several runs: a record is dated when it changes, and none is lost."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.published_set import PublishedSet
from support.sample_home import AS_OF, SampleHome

from etl_assets.model.run_options import RunOptions
from etl_assets.report.gather import RUN_FILES

pytestmark = pytest.mark.long

FEED = "advisory.echohq.com/data.json"
EPSS = "epss.empiricalsecurity.com/epss_scores-current.csv.gz"
NO_CHANGES = {"format_version": 1, "baseline": True, "changes": []}
SECOND, THIRD = AS_OF + timedelta(days=1), AS_OF + timedelta(days=2)


def again(sample: SampleHome, at: Any) -> PublishedSet:
    manifest = sample.run(RunOptions(as_of=at, force_refresh=True))
    assert manifest.published, manifest.note
    return PublishedSet(sample.latest)


def rescore(sample: SampleHome, change: Any) -> None:
    path = sample.mirror / EPSS
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))


def edited(sample: SampleHome, change: Any) -> None:
    """Change the parsed feed of the vendor."""

    def rewrite(text: str) -> str:
        feed = json.loads(text)
        change(feed)
        return json.dumps(feed)

    sample.change(FEED, rewrite)


def by_id(published_set: PublishedSet) -> dict[str, Any]:
    return {record["id"]: record for record in published_set.osv_records()}


@pytest.fixture(scope="module")
def fixed_later(
    first_run: SampleHome, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PublishedSet, PublishedSet]:
    """The set before and after the vendor names a fix for cobalt, and drops an id of pebble."""
    sample = first_run.copy_to(tmp_path_factory.mktemp("later") / "copy")
    before = PublishedSet(sample.latest)
    edited(sample, lambda feed: feed["cobalt"]["CVE-2024-900035"].update(fixed_version="9.9-1"))
    edited(sample, lambda feed: feed["pebble"].pop("CVE-2026-900043"))
    return before, again(sample, SECOND)


def test_a_change_is_listed_with_its_cause_and_changes_nothing_else(
    fixed_later: tuple[PublishedSet, PublishedSet],
) -> None:
    before, after = fixed_later

    changes = after.json("changes.json")
    assert not changes["baseline"]
    assert [(c["advisory_id"], c["old_state"], c["new_state"]) for c in changes["changes"]] == [
        ("cobalt:CVE-2024-900035", "pending_upstream", "fixed"),
        ("pebble:CVE-2026-900043", "under_investigation", None),
    ]
    assert changes["changes"][0]["cause_source"] == "echo"
    assert changes["changes"][0]["new_fixed_version"] == "9.9-1"

    old, new = by_id(before), by_id(after)
    assert set(old) == set(new)
    assert {i for i in old if old[i] != new[i]} == {
        "ECHO-CVE-2024-900035",
        "ECHO-CVE-2026-900043",
    }


def test_a_removed_advisory_is_withdrawn_with_a_date(
    fixed_later: tuple[PublishedSet, PublishedSet],
) -> None:
    before, after = fixed_later
    old, new = (by_id(published_set)["ECHO-CVE-2026-900043"] for published_set in (before, after))

    assert new["withdrawn"] == new["modified"] == "2026-03-02T12:00:00Z"
    assert new["published"] == old["published"]
    assert new["affected"] == old["affected"]
    assert ("pebble", "CVE-2026-900043") not in after.osv()
    listed = (after.directory / "osv/modified_id.csv").read_text().splitlines()
    assert set(listed[:2]) == {
        f"2026-03-02T12:00:00Z,ECHO-CVE-{i}" for i in ("2024-900035", "2026-900043")
    }


def test_a_record_that_returns_is_not_withdrawn(sample: SampleHome) -> None:
    entry: dict[str, Any] = {}
    edited(sample, lambda feed: entry.update(feed["pebble"].pop("CVE-2026-900043")))
    again(sample, SECOND)
    edited(sample, lambda feed: feed["pebble"].update({"CVE-2026-900043": entry}))

    after = again(sample, THIRD)

    record = by_id(after)["ECHO-CVE-2026-900043"]
    assert "withdrawn" not in record
    assert record["modified"] == "2026-03-03T12:00:00Z"
    assert record["published"] == "2026-03-01T12:00:00Z"


def test_a_document_of_a_package_changes_only_with_its_states(
    fixed_later: tuple[PublishedSet, PublishedSet],
) -> None:
    before, after = fixed_later
    old = {path.name: path.read_bytes() for path in before.csaf_files()}
    new = {path.name: path.read_bytes() for path in after.csaf_files()}

    changed = {name for name in old if old[name] != new[name]}
    assert changed == {"echo-vex-cobalt.json", "echo-vex-pebble.json"}
    tracking = json.loads(new["echo-vex-cobalt.json"])["document"]["tracking"]
    assert [(entry["number"], entry["summary"]) for entry in tracking["revision_history"]] == [
        ("1.0.0", "First publication."), ("1.1.0", "1 advisory changed."),
    ]  # fmt: skip
    assert tracking["current_release_date"] == "2026-03-02T12:00:00Z"


def test_new_exploitation_scores_change_no_statement(sample: SampleHome) -> None:
    first = sample.latest
    rescore(sample, lambda scores: scores.replace(b",0.0", b",0.1"))

    after = again(sample, SECOND)

    assert after.json("changes.json") == NO_CHANGES
    same = [
        "changes.json",
        "data.json",
        "openvex.json",
        "vex-repository.zip",
        "osv/all.zip",
        "cyclonedx.vex.json",
        "csaf/index.txt",
        "csaf/provider-metadata.json",
    ]
    assert all((after.directory / name).samefile(first / name) for name in same)
    assert not (after.directory / "advisory_current.json").samefile(first / "advisory_current.json")


def test_a_change_outside_of_our_packages_leaves_every_document(
    sample: SampleHome,
) -> None:
    first = sample.latest
    rescore(sample, lambda scores: scores + b"CVE-2019-999999,0.5,0.5\n")

    after = again(sample, SECOND)

    unchanged = [
        path for path in _files(after) if path.samefile(first / path.relative_to(after.directory))
    ]
    assert {path.name for path in _files(after)} - {path.name for path in unchanged} == set()
    assert after.json("changes.json") == NO_CHANGES


def _files(published_set: PublishedSet) -> list[Path]:
    run_files = {"manifest.json", "index.jsonl", "SHA256SUMS", *RUN_FILES}
    files = [path for path in sorted(published_set.directory.rglob("*")) if path.is_file()]
    return [p for p in files if p.name not in run_files and p.suffix != ".parquet"]

"""A run of the sample, from sources to published set, against states derived by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.sample_home import AS_OF, SampleHome

from etl_assets.ledger.manifest import Process, load_manifest
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.publish import run_directory

DOMAIN = "advisories"
EXPECTED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "expected_states.json").read_text(encoding="utf-8")
)
SEED_KEYS = [
    *("advisory_id", "cve_id", "package_name", "state", "state_type", "fixed_version"),
    *("confidence", "explanation", "reason_code", "contributing_sources", "dissenting_sources"),
]


@pytest.fixture(scope="module")
def manifest(first_run: SampleHome) -> RunManifest:
    return run_directory.read_manifest(first_run.latest)


def test_the_sample_run_succeeds(manifest: RunManifest) -> None:
    assert manifest.status is RunStatus.SUCCESS, manifest.note
    assert manifest.published
    assert manifest.outages == []


def test_every_state_is_the_one_derived_by_hand(first_run: SampleHome) -> None:
    columns = ("state", "reason_code", "decision_rule", "fixed_version", "confidence")

    states = {
        row["advisory_id"]: {column: row[column] for column in columns}
        for row in first_run.rows("mart_advisory_current")
    }

    assert states == EXPECTED["advisories"]


def test_only_claims_of_final_rules_for_other_states_dissent(first_run: SampleHome) -> None:
    dissent = {
        row["advisory_id"]: row["dissenting_sources"]
        for row in first_run.rows("mart_advisory_current")
    }

    assert {key: dissent[key] for key in EXPECTED["dissenting_sources"]} == EXPECTED[
        "dissenting_sources"
    ]


def test_pairs_that_only_an_upstream_names_are_unlisted(first_run: SampleHome) -> None:
    pairs = [
        f"{row['package_name']}:{row['cve_id']}" for row in first_run.rows("mart_advisory_unlisted")
    ]

    assert sorted(pairs) == EXPECTED["unlisted"]


def test_only_bad_rows_are_rejected(manifest: RunManifest) -> None:
    rejected = dict.fromkeys(EXPECTED["rejected"], 0)
    for source in manifest.sources:
        rejected[source.source.name] += source.rejected or 0

    assert rejected == EXPECTED["rejected"]


def test_the_published_document_has_its_fields(first_run: SampleHome) -> None:
    document = json.loads((first_run.latest / "advisory_current.json").read_text(encoding="utf-8"))

    assert document["format_version"] == 1
    assert document["generated_at"] == EXPECTED["as_of"]
    assert document["advisory_count"] == len(document["advisories"]) == len(EXPECTED["advisories"])
    assert all(set(SEED_KEYS) <= set(advisory) for advisory in document["advisories"])


def test_the_ledger_names_every_file_once_per_process(
    first_run: SampleHome, manifest: RunManifest
) -> None:
    files = {source.name: source.sha256 for source in manifest.sources}

    ledgers = [load_manifest(first_run.home, DOMAIN, process) for process in Process]

    for ledger in ledgers:
        assert ledger is not None
        assert {key: record.file.sha256 for key, record in ledger.records.items()} == files


def test_the_report_counts_states_and_rejects(first_run: SampleHome) -> None:
    report = (first_run.latest / "run_report.md").read_text(encoding="utf-8")

    assert "| fixed | 16 |" in report
    assert "| `advisories.overrides` | `values` | 1 |" in report


def test_an_unchanged_run_leaves_the_published_set_in_place(sample: SampleHome) -> None:
    published = sample.latest

    second_run = sample.run()

    assert second_run.status is RunStatus.SUCCESS
    assert sample.made_assets(second_run) == set()
    assert (sample.latest, second_run.published_set) == (published, published.name)


@pytest.mark.long
def test_another_home_has_the_same_bytes(first_run: SampleHome, tmp_path: Path) -> None:
    other = SampleHome.create(tmp_path)

    other.run(RunOptions(as_of=AS_OF))

    names = [
        n
        for n in run_directory.list_files(first_run.latest)
        if n.startswith(("advisory", "marts/"))
    ]
    different = [
        name
        for name in names
        if (other.latest / name).read_bytes() != (first_run.latest / name).read_bytes()
    ]
    assert [name for name in different if "source_health" not in name] == []

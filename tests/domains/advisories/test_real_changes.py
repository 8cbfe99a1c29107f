"""Real changes of the feeds: the published transitions against the differences of two snapshots.

The decisions on one snapshot are checked in test_real_feeds.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from domains.advisories import mirrors, raw_feeds
from domains.advisories.raw_feeds import EPSS, Pair
from domains.advisories.reference_rules import Decision, decisions
from domains.advisories.snapshots import (
    FIXED,
    FORMER_EPSS,
    LISTED,
    Histories,
    affected_pairs,
    distribution_id,
    make_newer,
    make_older,
    read_histories,
)
from support.sample_home import SampleHome

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions

pytestmark = pytest.mark.long

AS_OF = datetime(2026, 9, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Decisions = Mapping[Pair, Decision]
Rows = list[dict[str, Any]]
Records = Mapping[str, Mapping[str, Any]]
"""The records of a snapshot, by source and id."""


class SnapshotRun:
    """A run over one mirror, in a home that runs over several mirrors one after the other."""

    def __init__(self, folder: Path, mirror: Path, as_of: datetime) -> None:
        self.mirror = mirror
        sample = SampleHome(folder, mirror_url=str(mirror))
        self.manifest: RunManifest = sample.run(RunOptions(as_of=as_of))
        assert self.manifest.status is RunStatus.SUCCESS, self.manifest.note
        assert self.manifest.published
        self.directory = sample.latest

    def transitions(self) -> Rows:
        return self.rows("mart_advisory_transitions")

    def rows(self, mart: str) -> Rows:
        table = pq.read_table(self.directory / "marts" / f"{mart}.parquet")
        rows: Rows = table.to_pylist()
        return rows

    def digests(self) -> dict[str, str | None]:
        return {source.name: source.sha256 for source in self.manifest.sources}


@pytest.fixture(scope="module")
def versions(mirror: Path) -> Path:
    folder = mirror.parent / "versions"
    if not folder.is_dir():
        pytest.skip(f"former versions of the feeds are needed, and there is no {folder.name}/")
    return folder


@pytest.fixture(scope="module")
def histories(versions: Path) -> Histories:
    return read_histories(versions)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("changes")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def older(mirror: Path, versions: Path, histories: Histories, folder: Path) -> SnapshotRun:
    return SnapshotRun(folder, make_older(mirror, versions, histories, folder / "older"), AS_OF)


@pytest.fixture(scope="module")
def newer(mirror: Path, histories: Histories, folder: Path, older: SnapshotRun) -> SnapshotRun:
    return SnapshotRun(
        folder, make_newer(mirror, histories, folder / "newer"), older.manifest.as_of + DAY
    )


@pytest.fixture(scope="module")
def refreshed(versions: Path, folder: Path, newer: SnapshotRun) -> SnapshotRun:
    """The newer snapshot with other exploit scores and another time on each CVE record."""
    mirror = mirrors.copy_feeds(newer.mirror, folder / "refreshed")
    mirrors.touch_cves(mirror)
    mirrors.put(versions / FORMER_EPSS, mirror / EPSS)
    return SnapshotRun(folder, mirror, newer.manifest.as_of + DAY)


@pytest.fixture(scope="module")
def before(older: SnapshotRun) -> Decisions:
    return decisions(older.mirror, as_of=AS_OF)


@pytest.fixture(scope="module")
def after(newer: SnapshotRun) -> Decisions:
    return decisions(newer.mirror, as_of=AS_OF)


@pytest.fixture(scope="module")
def former_records(older: SnapshotRun) -> Records:
    return _records(older.mirror)


@pytest.fixture(scope="module")
def later_records(newer: SnapshotRun) -> Records:
    return _records(newer.mirror)


def test_every_record_of_a_former_archive_can_be_read(older: SnapshotRun) -> None:
    records = list(raw_feeds.osv_records(older.mirror))
    single_ranges = 0
    for record in records:
        single_ranges += sum(isinstance(a.get("ranges"), dict) for a in record.get("affected", ()))
    [archive] = [s for s in older.manifest.sources if s.source.name == "osv"]

    assert single_ranges == 1_729
    assert "record" not in archive.rejects_by_rule


def test_the_first_publication_has_no_transitions(older: SnapshotRun) -> None:
    assert older.transitions() == []


def test_every_change_is_a_transition_and_no_transition_is_invented(
    newer: SnapshotRun, before: Decisions, after: Decisions
) -> None:
    expected = {
        pair: (_key_facts(before[pair]), _key_facts(after[pair]))
        for pair in before.keys() | after.keys()
        if _key_facts(before[pair]) != _key_facts(after[pair])
    }

    transitions = {
        _pair(row): (_side(row, "old"), _side(row, "new")) for row in newer.transitions()
    }

    assert transitions == expected
    assert len(newer.transitions()) == len(expected) == 465


def test_a_change_from_a_final_state_to_another_kind_is_a_regression(
    newer: SnapshotRun, before: Decisions, after: Decisions
) -> None:
    lost = {pair for pair in before if before[pair].is_final and not after[pair].is_final}

    regressions = {_pair(row) for row in newer.transitions() if row["is_regression"]}

    assert regressions == lost
    assert len(lost) == 10


@pytest.mark.parametrize("kind", ["state", "detail"])
def test_a_transition_names_a_record_that_differs_between_the_snapshots(
    kind: str, newer: SnapshotRun, former_records: Records, later_records: Records
) -> None:
    rows = [row for row in newer.transitions() if row["kind"] == kind]

    unexplained = [
        (row["advisory_id"], row["cause"], row["cause_source"], row["cause_record"])
        for row in rows
        if not _explains(row, former_records, later_records)
    ]

    assert rows
    assert unexplained == []


def test_a_rejected_id_becomes_not_applicable_because_of_its_record(
    newer: SnapshotRun, histories: Histories
) -> None:
    expected = {(package, name) for package in (LISTED, FIXED) for name in histories.rejected}

    rows = {
        _pair(row): row for row in newer.transitions() if row["new_reason_code"] == "NVD_REJECTED"
    }

    assert len(histories.rejected) == 62
    assert expected <= rows.keys()
    assert {rows[pair]["cause_source"] for pair in expected} == {"nvd"}
    assert all(rows[pair]["cause_record"] == pair[1] for pair in expected)


def test_a_withdrawn_record_ends_the_state_that_it_decided(
    newer: SnapshotRun, histories: Histories, before: Decisions
) -> None:
    expected = set()
    for name in histories.withdrawn:
        for pair in affected_pairs(histories.osv[name][0]):
            if before[pair].source == "osv":
                expected.add((pair, distribution_id(name)))

    withdrawals = {
        (_pair(row), row["cause_record"])
        for row in newer.transitions()
        if row["cause"] == "record_withdrawn"
    }

    assert withdrawals == expected
    assert len(withdrawals) == 29


def test_records_of_other_ecosystems_make_no_claims(
    newer: SnapshotRun, later_records: Records
) -> None:
    records = later_records["osv"].values()
    foreign = {record["id"] for record in records if not _is_of_the_distribution(record)}
    foreign_pairs = set()
    for record in records:
        if record["id"] in foreign:
            foreign_pairs |= set(affected_pairs(record))
    shipped = {_pair(row) for row in newer.rows("mart_advisory_current")}

    claim_records = {row["record_id"] for row in newer.rows("mart_advisory_claims")}

    assert len(foreign) > 800
    assert foreign_pairs
    assert foreign_pairs <= shipped
    assert claim_records & foreign == set()


def test_new_scores_and_times_change_no_state(newer: SnapshotRun, refreshed: SnapshotRun) -> None:
    changes = json.loads((refreshed.directory / "changes.json").read_bytes())

    assert refreshed.transitions() == newer.transitions()
    assert changes == {"format_version": 1, "baseline": False, "changes": []}


def test_the_new_scores_and_times_were_fetched(newer: SnapshotRun, refreshed: SnapshotRun) -> None:
    changed_sources = {
        name for name, digest in refreshed.digests().items() if digest != newer.digests()[name]
    }
    scores = next(s for s in refreshed.manifest.sources if s.source.name == "epss")
    cve_files = {
        source.name for source in refreshed.manifest.sources if source.source.name.startswith("nvd")
    }

    assert changed_sources == cve_files | {scores.name}
    assert (scores.rows, scores.rejected) == (360_142, 0)


def _key_facts(decision: Decision) -> tuple[str, str | None, str, str]:
    return decision.state, decision.version, decision.reason, decision.confidence


def _side(row: dict[str, Any], side: str) -> tuple[str, str | None, str, str]:
    columns = ("state", "fixed_version", "reason_code", "confidence")
    state, version, reason, confidence = (row[f"{side}_{column}"] for column in columns)
    return state, version, reason, confidence


def _pair(row: dict[str, Any]) -> Pair:
    return row["package_name"].lower(), row["cve_id"]


def _records(mirror: Path) -> Records:
    return {
        "nvd": raw_feeds.read_nvd(mirror),
        "kev": raw_feeds.read_exploited(mirror),
        "osv": {record["id"]: record for record in raw_feeds.osv_records(mirror)},
        "debian": {":".join(pair): e for pair, e in raw_feeds.tracker_entries(mirror)},
        "echo": {":".join(pair): e for pair, e in raw_feeds.read_vendor(mirror).items()},
    }


def _is_of_the_distribution(record: dict[str, Any]) -> bool:
    packages = [affected.get("package", {}) for affected in record.get("affected") or ()]
    return any(package.get("ecosystem", "").startswith("Debian") for package in packages)


def _explains(row: dict[str, Any], former: Records, later: Records) -> bool:
    """True if the record changed as the cause says; only for `evidence_gone` may it be missing."""
    source, name = row["cause_source"], row["cause_record"]
    old, new = former[source].get(name), later[source].get(name)
    if row["cause"] == "record_withdrawn":
        return bool(old and new and not old.get("withdrawn") and new["withdrawn"])
    return old != new and (new is not None or row["cause"] == "evidence_gone")

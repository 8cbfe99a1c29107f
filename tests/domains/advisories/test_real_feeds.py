"""A run over the real feeds: the published set against the raw files and the reference rules.

Changes between two snapshots of the feeds are checked in test_real_changes.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from domains.advisories.debian_versions import RELEASE_MARK, is_rebuild
from domains.advisories.mirrors import copy_feeds
from domains.advisories.raw_feeds import (
    RULINGS,
    CveRecord,
    Feeds,
    Pair,
    cve_records,
    is_well_formed,
    nvd_files,
    osv_ids,
    osv_ranges,
    osv_records,
    read_feeds,
    tracker_entries,
    version_in,
)
from domains.advisories.reference_rules import TARGETS, Decision, decide
from support.sample_home import DOMAIN, SampleHome, fingerprint

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import INDEX_FILE, MANIFEST_FILE, RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.report.gather import RUN_FILES

pytestmark = [pytest.mark.long, pytest.mark.ci]

AS_OF = datetime(2026, 9, 1, 12, tzinfo=UTC)
FILES_OF_A_RUN = {MANIFEST_FILE, INDEX_FILE, *RUN_FILES, "SHA256SUMS"}
"""Published files about the run, which differ between runs with the same content."""
HEALTH = "marts/mart_source_health.parquet"
Rows = dict[Pair, dict[str, Any]]


@pytest.fixture(scope="module")
def real(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleHome]:
    """A home with a copy of the real feeds as its mirror."""
    folder = tmp_path_factory.mktemp("real")
    copy_feeds(mirror, folder / "mirror")
    yield SampleHome(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def first(real: SampleHome) -> RunManifest:
    return real.run(RunOptions(as_of=AS_OF))


@pytest.fixture
def published_home(real: SampleHome, first: RunManifest) -> SampleHome:
    """The home after the first run, for tests that do not change its content."""
    assert first.published, first.note
    return real


@pytest.fixture
def changeable_home(published_home: SampleHome, tmp_path: Path) -> Iterator[SampleHome]:
    """The home after the first run, for tests that change it; it is restored afterwards.

    The test gets no copy, because a home at another path builds all its models again.
    """
    shutil.copytree(published_home.folder, tmp_path / "backup", symlinks=True)
    yield published_home
    shutil.rmtree(published_home.folder)
    shutil.move(tmp_path / "backup", published_home.folder)


@pytest.fixture(scope="module")
def feeds(mirror: Path) -> Feeds:
    return read_feeds(mirror)


@pytest.fixture(scope="module")
def expected_decisions(feeds: Feeds) -> dict[Pair, Decision]:
    return {pair: decide(feeds, pair, as_of=AS_OF, targets=TARGETS) for pair in feeds.pairs}


@pytest.fixture(scope="module")
def rows(real: SampleHome, first: RunManifest) -> Rows:
    assert first.published, first.note
    return {
        (row["package_name"].lower(), row["cve_id"]): row
        for row in real.rows("mart_advisory_current")
    }


@pytest.fixture(scope="module")
def tables(real: SampleHome, first: RunManifest) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with a view of each table, and of the rejects of `debian`."""
    with duckdb.connect() as connection:
        for source in real.domain.sources:
            file = real.home.table_file(DOMAIN, source, "*")
            connection.read_parquet(str(file)).create_view(source)
        rejects = real.home.rejects_file(DOMAIN, "debian", None)
        connection.read_parquet(str(rejects)).create_view("debian_rejects")
        yield connection


def test_the_first_run_is_a_full_success(first: RunManifest) -> None:
    assert first.status is RunStatus.SUCCESS, first.note
    assert first.published
    assert first.outages == []


def test_the_advisories_are_the_pairs_of_the_feed_and_of_the_rulings(
    rows: Rows, feeds: Feeds
) -> None:
    unlisted = set(rows) - set(feeds.vendor)

    assert set(rows) == feeds.pairs
    assert len(rows) == 40_626
    assert unlisted == {("auth-lib", "CVE-2024-0002")}


def test_every_decision_is_that_of_the_reference_rules(
    rows: Rows, expected_decisions: dict[Pair, Decision]
) -> None:
    decisions = {pair: _as_decision(row) for pair, row in rows.items()}

    different = [pair for pair in expected_decisions if decisions[pair] != expected_decisions[pair]]

    assert different == []


def test_states_and_reasons_have_the_counts_of_these_files(rows: Rows) -> None:
    counts = Counter((row["state"], row["reason_code"]) for row in rows.values())

    assert counts == {
        ("fixed", "UPSTREAM_FIX"): 36_584,
        ("not_applicable", "CSV_OVERRIDE"): 1_970,
        ("not_applicable", "NVD_REJECTED"): 1,
        ("pending_upstream", "AWAITING_FIX"): 738,
        ("pending_upstream", "LINEAGE_UNPROVEN"): 16,
        ("under_investigation", "NEW_CVE"): 652,
        ("under_investigation", "NO_ASSESSMENT"): 665,
    }


def test_a_ruling_always_decides(rows: Rows, feeds: Feeds) -> None:
    decided_by_ruling = {pair for pair, row in rows.items() if row["decision_rule"] == "R0"}

    assert decided_by_ruling == {pair for pair in feeds.pairs if feeds.ruling(pair)}
    assert len(decided_by_ruling) == 1_970


def test_a_rejected_id_is_not_applicable_although_the_vendor_names_a_version(
    rows: Rows, feeds: Feeds
) -> None:
    pair = ("ant", "CVE-2018-10886")

    row = rows[pair]

    assert feeds.vendor_version(pair) is not None
    assert (row["state"], row["reason_code"]) == ("not_applicable", "NVD_REJECTED")


def test_a_version_of_the_vendor_is_the_fixed_version(rows: Rows, feeds: Feeds) -> None:
    fixed = {pair: row for pair, row in rows.items() if row["state"] == "fixed"}

    by_vendor = [pair for pair in fixed if feeds.vendor_version(pair)]

    assert len(by_vendor) == 36_515
    assert [p for p in by_vendor if fixed[p]["fixed_version"] != feeds.vendor_version(p)] == []


SAME_RELEASE = "the tracker names another fix in the same release, which it speaks for"
OSV_CLAIMS = {
    ("ansible", "CVE-2019-10206"): (None, SAME_RELEASE),
    ("apache2", "CVE-2019-10092"): ("2.4.25-3+deb9u9", "stretch alone is not in the tracker"),
    ("apache2", "CVE-2020-1927"): ("2.4.25-3+deb9u10", "stretch alone is not in the tracker"),
    ("chromium", "CVE-2022-2163"): (None, SAME_RELEASE),
    ("chromium", "CVE-2022-3201"): (None, SAME_RELEASE),
    ("chromium", "CVE-2025-12036"): (None, SAME_RELEASE),
    ("dcmtk", "CVE-2024-47796"): (None, SAME_RELEASE),
    ("linux", "CVE-2022-2153"): ("4.9.320-2", "stretch alone is not in the tracker"),
    ("mbedtls", "CVE-2025-47917"): (None, SAME_RELEASE),
    ("symfony", "CVE-2024-50340"): ("6.4.41+dfsg-0+deb13u1", "trixie agrees, bookworm does not"),
    ("xorg-server", "CVE-2023-6377"): (None, SAME_RELEASE),
    ("yajl", "CVE-2023-33460"): (None, SAME_RELEASE),
}
"""Every OSV claim that differs from one over OSV alone: its version now, and the reason."""


def test_every_claim_of_osv_that_the_tracker_changes_is_known(real: SampleHome, rows: Rows) -> None:
    claims = {
        (row["package_name"], row["cve_id"]): row["version"]
        for row in real.rows("mart_advisory_claims")
        if row["source"] == "osv"
    }

    assert {pair: claims.get(pair) for pair in OSV_CLAIMS} == {
        pair: version for pair, (version, _) in OSV_CLAIMS.items()
    }
    # Of the decisions, only the sources or the confidence of these three follow from it.
    changed = {
        ("chromium", "CVE-2025-12036"): ("high", ["debian", "echo"]),
        ("xorg-server", "CVE-2023-6377"): ("high", ["debian", "echo"]),
        ("symfony", "CVE-2024-50340"): ("high", ["debian", "echo", "osv"]),
    }
    assert {
        pair: (rows[pair]["confidence"], rows[pair]["contributing_sources"]) for pair in changed
    } == changed


def test_an_empty_revision_is_read_as_none(rows: Rows) -> None:
    row = rows["golang-golang-x-net", "CVE-2023-45288"]

    assert (row["state"], row["fixed_version"]) == ("fixed", "1:0.23.0+dfsg")


def test_the_next_state_is_unsure_only_where_tracker_and_osv_differ(rows: Rows) -> None:
    unsure = {p for p, row in rows.items() if row["would_flip"].startswith("Is decided again")}

    assert unsure == {
        ("backupninja", "CVE-2005-3111"),
        ("chromium", "CVE-2022-0456"),
        ("chromium", "CVE-2025-12036"),
        ("xorg-server", "CVE-2023-6377"),
    }


def test_exactly_the_fixed_advisories_have_a_version(rows: Rows) -> None:
    states = {row["state"] for row in rows.values()}
    wrong = [
        p for p, row in rows.items() if (row["state"] == "fixed") != bool(row["fixed_version"])
    ]

    assert states <= {
        *("fixed", "not_applicable", "wont_fix", "pending_upstream", "under_investigation")
    }
    assert wrong == []


def test_ids_of_the_tracker_that_are_no_cve_are_advisories_too(rows: Rows, feeds: Feeds) -> None:
    temporary = [pair for pair in rows if pair[1].startswith("TEMP-")]

    assert len(temporary) == 436
    assert set(temporary) == {pair for pair in feeds.vendor if pair[1].startswith("TEMP-")}


def test_no_version_comes_from_another_package_ecosystem_or_release(
    rows: Rows, feeds: Feeds, mirror: Path
) -> None:
    distribution_versions = _distribution_versions(mirror)
    fixed = {pair: row["fixed_version"] for pair, row in rows.items() if row["state"] == "fixed"}
    by_others = {pair for pair in fixed if not feeds.vendor_version(pair)}

    unknown = [pair for pair in by_others if fixed[pair] not in distribution_versions[pair]]

    assert len(by_others) == 69
    assert unknown == []


def test_a_rebuilt_package_is_not_fixed_by_the_distribution_alone(rows: Rows, feeds: Feeds) -> None:
    versions = _vendor_versions(feeds)
    rebuilt = {package for package, texts in versions.items() if any(map(is_rebuild, texts))}
    mixed = {package for package in rebuilt if any(map(RELEASE_MARK.search, versions[package]))}
    unproven = {
        pair
        for pair, entry in feeds.vendor.items()
        if is_rebuild(feeds.newest.get(pair[0], "")) and not entry.get("fixed_version")
    }

    states = Counter(rows[pair]["state"] for pair in unproven)

    assert (len(rebuilt), len(mixed)) == (85, 36)
    assert unproven
    assert states["fixed"] == 0


def test_the_scanner_feed_has_a_version_for_fixed_advisories_only(
    real: SampleHome, rows: Rows
) -> None:
    feed = json.loads((real.latest / "data.json").read_bytes())
    versions = {}
    for package, entries in feed.items():
        for vulnerability_id, entry in entries.items():
            versions[package.lower(), vulnerability_id] = entry.get("fixed_version")

    assert versions == {
        pair: "0" if row["state"] == "not_applicable" else row["fixed_version"]
        for pair, row in rows.items()
    }


def test_every_cve_record_arrives(tables: duckdb.DuckDBPyConnection, mirror: Path) -> None:
    *yearly_files, recent_file = nvd_files(mirror)
    yearly = {}
    for file in yearly_files:
        yearly |= {record.id: record for record in cve_records(file)}
    recent = {record.id: record for record in cve_records(recent_file)}
    newer = [
        name
        for name, record in recent.items()
        if name in yearly and record.changed_at > yearly[name].changed_at
    ]

    arrived = _ids(tables, "select cve_id from nvd union select cve_id from nvd_modified")

    assert (len(yearly), len(recent.keys() - yearly), len(newer)) == (153_522, 15, 51)
    assert arrived == yearly.keys() | recent.keys()
    assert len(arrived) == 153_537


def test_the_newer_of_two_records_of_a_cve_makes_the_claim(real: SampleHome, feeds: Feeds) -> None:
    expected_times = {
        pair: feeds.nvd[pair[1]].changed_at
        for pair in feeds.pairs
        if pair[1] in feeds.nvd and _makes_claim(feeds.nvd[pair[1]])
    }

    claim_times = {
        (row["package_name"].lower(), row["cve_id"]): row["record_modified_at"]
        for row in real.rows("mart_advisory_claims")
        if row["source"] == "nvd"
    }

    assert claim_times == expected_times


def test_every_osv_record_arrives(tables: duckdb.DuckDBPyConnection, mirror: Path) -> None:
    records = list(osv_records(mirror))

    arrived = _ids(tables, "select osv_id from osv")

    assert len(records) == 13_077
    assert all(map(is_well_formed, records))
    assert arrived == {record["id"] for record in records}


def test_every_pair_of_the_tracker_arrives_or_is_rejected(
    tables: duckdb.DuckDBPyConnection, mirror: Path
) -> None:
    entries = dict(tracker_entries(mirror))
    malformed = {pair for pair, entry in entries.items() if not isinstance(entry["releases"], dict)}

    pairs = tables.sql("select distinct lower(package_name), cve_id from debian").fetchall()
    rejected = _ids(tables, 'select "where" from debian_rejects')

    assert len(entries) == 22_500
    assert set(pairs) == entries.keys() - malformed
    assert rejected == {f"{package}.{cve}.releases" for package, cve in malformed}


def test_an_immediate_second_run_only_probes_the_remotes(published_home: SampleHome) -> None:
    before = (
        published_home.count_runs(),
        fingerprint(published_home.home.tables(DOMAIN)),
        _content(published_home),
    )
    last = published_home.latest.name

    manifest = published_home.run()

    after = (
        published_home.count_runs(),
        fingerprint(published_home.home.tables(DOMAIN)),
        _content(published_home),
    )
    assert after == before
    assert (manifest.status, manifest.note) == (RunStatus.SUCCESS, "nothing moved")
    assert (manifest.published_set, published_home.latest.name) == (last, last)
    assert (published_home.latest / MANIFEST_FILE).exists()


def test_a_launch_of_the_whole_job_reuses_every_asset(published_home: SampleHome) -> None:
    manifest = published_home.launch_job()

    assert manifest.assets
    assert published_home.made_assets(manifest) == set()


def test_a_new_ruling_runs_its_downstream_assets_and_changes_one_advisory(
    changeable_home: SampleHome, expected_decisions: dict[Pair, Decision]
) -> None:
    # One is due after a week, and would build every model beside the ruling.
    assert changeable_home.run(RunOptions(full=True)).status is RunStatus.SUCCESS
    before = changeable_home.states()
    package, cve = min(
        pair for pair, d in expected_decisions.items() if d.state == "under_investigation"
    )
    ruling = f"{cve},{package},not_applicable,,code_not_in_use\n"
    changeable_home.change(RULINGS, lambda text: text.rstrip("\n") + "\n" + ruling)

    manifest = changeable_home.run()

    asset_names = {asset.key.rpartition("/")[2] for asset in manifest.assets}
    changed_states = changeable_home.states().items() - before.items()
    assert changed_states == {(f"{package}:{cve}", "not_applicable")}
    assert {"overrides_raw", "overrides_validated", "overrides"} <= changeable_home.made_assets(
        manifest
    )
    assert asset_names & _steps_of_other_sources(changeable_home) == set()


def test_a_deleted_table_file_is_written_again(published_home: SampleHome) -> None:
    table = published_home.home.table_file(DOMAIN, "nvd", "2018")
    before = table.read_bytes()
    table.unlink()

    manifest = published_home.run()

    assert table.read_bytes() == before
    assert published_home.made_assets(manifest) == {"nvd"}


def test_the_command_publishes_the_same_bytes_in_another_home(
    real: SampleHome, first: RunManifest, mirror: Path, tmp_path: Path
) -> None:
    other = SampleHome(tmp_path, mirror_url=str(mirror))
    program = [sys.executable, "-m", "etl_assets.cli.main", "run", DOMAIN]

    process = subprocess.run(
        [*program, "--as-of", AS_OF.isoformat()],
        env=other.settings.child_environment(),
        check=False,
        capture_output=True,
        text=True,
    )

    different = _different(_bytes(real), _bytes(other))
    shutil.rmtree(tmp_path)
    assert (process.returncode, different) == (0, []), process.stderr


def _as_decision(row: dict[str, Any]) -> Decision:
    return Decision(
        state=row["state"],
        version=row["fixed_version"],
        reason=row["reason_code"],
        confidence=row["confidence"],
        source=row["evidence"]["source"],
        contributing=row["contributing_sources"],
        dissenting=row["dissenting_sources"],
    )


def _distribution_versions(mirror: Path) -> dict[Pair, set[str]]:
    """Returns the fixed versions of all target releases in the distribution's records, by pair."""
    fixed_versions: dict[Pair, set[str]] = defaultdict(set)
    for pair, entry in tracker_entries(mirror):
        for release in set(entry["releases"]).intersection(TARGETS):
            fixed_versions[pair].add(entry["releases"][release].get("fixed_version"))
    for record in filter(is_well_formed, osv_records(mirror)):
        for (package, release), ranges in osv_ranges(record).items():
            if release not in TARGETS:
                continue
            versions = set()
            for events in ranges:
                versions |= {event["fixed"] for event in events if "fixed" in event}
            for name in osv_ids(record):
                fixed_versions[package, name] |= versions
    return fixed_versions


def _makes_claim(record: CveRecord) -> bool:
    return record.is_rejected or record.is_scored


def _vendor_versions(feeds: Feeds) -> dict[str, set[str]]:
    versions: dict[str, set[str]] = defaultdict(set)
    for (package, _), entry in feeds.vendor.items():
        if version := version_in(entry):
            versions[package].add(version)
    return versions


def _ids(tables: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    return {name for (name,) in tables.sql(query).fetchall()}


def _steps_of_other_sources(sample: SampleHome) -> set[str]:
    others = set(sample.domain.sources) - {"overrides"}
    steps = ("{}_raw", "{}_validated", "{}", "stg_{}")
    return {step.format(name) for name in others for step in steps}


def _content(sample: SampleHome) -> dict[str, tuple[int, bytes]]:
    """Returns time and bytes of the published files, without those about the run."""
    files = fingerprint(sample.latest)
    return {name: files[name] for name in files.keys() - FILES_OF_A_RUN}


def _bytes(sample: SampleHome) -> dict[str, bytes]:
    files = fingerprint(sample.home.tables(DOMAIN)) | _content(sample)
    return {name: data for name, (_, data) in files.items() if name != HEALTH}


def _different(some: dict[str, bytes], others: dict[str, bytes]) -> list[str]:
    return sorted(n for n in some.keys() | others.keys() if some.get(n) != others.get(n))

"""The real feeds, run from end to end: what is published is held against the raw files themselves.

How one snapshot of the feeds follows another is test_real_changes.py.
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
from domains.advisories.mirrors import copy_feeds
from domains.advisories.raw_feeds import (
    RULINGS,
    CveRecord,
    Feeds,
    Pair,
    cve_records,
    is_well_formed,
    named_version,
    nvd_files,
    osv_ids,
    osv_ranges,
    osv_records,
    read,
    tracker_entries,
)
from domains.advisories.reading import TARGETS, Decision, decide
from domains.advisories.versions import RELEASE_MARK, is_rebuild
from support.sample_home import DOMAIN, SampleHome, fingerprint

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import MANIFEST_FILE, RunManifest
from etl_assets.model.run_options import RunOptions

pytestmark = [pytest.mark.long, pytest.mark.ci]

AS_OF = datetime(2026, 9, 1, 12, tzinfo=UTC)
OF_THE_RUN = {MANIFEST_FILE, "run_report.md", "run_report.html", "SHA256SUMS"}
"""Published files that tell of the run, not of its content."""
HEALTH = "marts/mart_source_health.parquet"
Rows = dict[Pair, dict[str, Any]]


@pytest.fixture(scope="module")
def real(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleHome]:
    """A home of its own, with a copy of the real feeds for its mirror."""
    folder = tmp_path_factory.mktemp("real")
    copy_feeds(mirror, folder / "mirror")
    yield SampleHome(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def first(real: SampleHome) -> RunManifest:
    return real.run(RunOptions(as_of=AS_OF))


@pytest.fixture
def standing(real: SampleHome, first: RunManifest) -> SampleHome:
    """The home with what the first run published, for a test that leaves its content as it is."""
    assert first.published, first.note
    return real


@pytest.fixture
def changing(standing: SampleHome, tmp_path: Path) -> Iterator[SampleHome]:
    """The same for a test that changes it: all is put back in its place.

    A copy would not do, for a home that was moved builds its models anew.
    """
    shutil.copytree(standing.folder, tmp_path / "kept", symlinks=True)
    yield standing
    shutil.rmtree(standing.folder)
    shutil.move(tmp_path / "kept", standing.folder)


@pytest.fixture(scope="module")
def feeds(mirror: Path) -> Feeds:
    return read(mirror)


@pytest.fixture(scope="module")
def decided(feeds: Feeds) -> dict[Pair, Decision]:
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
    """Every table of the home, and its rejects, by name."""
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


def test_every_advisory_is_decided_as_a_second_reading_of_the_rules_decides_it(
    rows: Rows, decided: dict[Pair, Decision]
) -> None:
    published = {pair: _as_decided(row) for pair, row in rows.items()}

    different = [pair for pair in decided if published[pair] != decided[pair]]

    assert different == []


def test_states_and_reasons_are_as_they_were_counted_from_the_files(rows: Rows) -> None:
    counted = Counter((row["state"], row["reason_code"]) for row in rows.values())

    assert counted == {
        ("fixed", "UPSTREAM_FIX"): 36_584,
        ("not_applicable", "CSV_OVERRIDE"): 1_970,
        ("not_applicable", "NVD_REJECTED"): 1,
        ("pending_upstream", "AWAITING_FIX"): 738,
        ("pending_upstream", "LINEAGE_UNPROVEN"): 16,
        ("under_investigation", "NEW_CVE"): 652,
        ("under_investigation", "NO_ASSESSMENT"): 665,
    }


def test_a_ruling_decides_wherever_there_is_one(rows: Rows, feeds: Feeds) -> None:
    second_sample = {pair for pair, row in rows.items() if row["decision_rule"] == "R0"}

    assert second_sample == {pair for pair in feeds.pairs if feeds.ruling(pair)}
    assert len(second_sample) == 1_970


def test_a_rejected_id_is_not_applicable_although_the_vendor_names_a_version(
    rows: Rows, feeds: Feeds
) -> None:
    pair = ("ant", "CVE-2018-10886")

    row = rows[pair]

    assert feeds.vendor_version(pair) is not None
    assert (row["state"], row["reason_code"]) == ("not_applicable", "NVD_REJECTED")


def test_what_the_vendor_has_fixed_is_fixed_in_exactly_its_version(
    rows: Rows, feeds: Feeds
) -> None:
    fixed = {pair: row for pair, row in rows.items() if row["state"] == "fixed"}

    by_vendor = [pair for pair in fixed if feeds.vendor_version(pair)]

    assert len(by_vendor) == 36_515
    assert [p for p in by_vendor if fixed[p]["fixed_version"] != feeds.vendor_version(p)] == []


def test_a_version_stands_with_every_fixed_advisory_and_with_no_other(rows: Rows) -> None:
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
    named = _versions_named_by_the_distribution(mirror)
    fixed = {pair: row["fixed_version"] for pair, row in rows.items() if row["state"] == "fixed"}
    by_others = {pair for pair in fixed if not feeds.vendor_version(pair)}

    strangers = [pair for pair in by_others if fixed[pair] not in named[pair]]

    assert len(by_others) == 69
    assert strangers == []


def test_a_rebuilt_package_is_not_fixed_by_the_distribution_alone(rows: Rows, feeds: Feeds) -> None:
    versions = _vendor_versions(feeds)
    rebuilt = {package for package, named in versions.items() if any(map(is_rebuild, named))}
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


def test_the_scanners_get_a_version_for_what_is_fixed_and_for_nothing_else(
    real: SampleHome, rows: Rows
) -> None:
    feed = json.loads((real.latest / "data.json").read_bytes())
    told = {
        (package.lower(), vulnerability_id): entry.get("fixed_version")
        for package, entries in feed.items()
        for vulnerability_id, entry in entries.items()
    }

    assert told == {
        pair: "0" if row["state"] == "not_applicable" else row["fixed_version"]
        for pair, row in rows.items()
    }


def test_every_cve_record_arrives(tables: duckdb.DuckDBPyConnection, mirror: Path) -> None:
    *years, late = nvd_files(mirror)
    in_years = {record.id: record for file in years for record in cve_records(file)}
    in_late = {record.id: record for record in cve_records(late)}
    newer = [
        name
        for name, record in in_late.items()
        if name in in_years and record.changed_at > in_years[name].changed_at
    ]

    arrived = _ids(tables, "select cve_id from nvd union select cve_id from nvd_modified")

    assert (len(in_years), len(in_late.keys() - in_years), len(newer)) == (153_522, 15, 51)
    assert arrived == in_years.keys() | in_late.keys()
    assert len(arrived) == 153_537


def test_of_two_records_of_a_cve_the_newer_one_speaks(real: SampleHome, feeds: Feeds) -> None:
    spoken_of = {
        pair: feeds.nvd[pair[1]].changed_at
        for pair in feeds.pairs
        if pair[1] in feeds.nvd and _says_something(feeds.nvd[pair[1]])
    }

    claimed = {
        (row["package_name"].lower(), row["cve_id"]): row["record_modified_at"]
        for row in real.rows("mart_advisory_claims")
        if row["source"] == "nvd"
    }

    assert claimed == spoken_of


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

    found = tables.sql("select distinct lower(package_name), cve_id from debian").fetchall()
    rejected = _ids(tables, 'select "where" from debian_rejects')

    assert len(entries) == 22_500
    assert set(found) == entries.keys() - malformed
    assert rejected == {f"{package}.{cve}.releases" for package, cve in malformed}


def test_a_run_at_once_asks_the_remotes_and_does_nothing_else(standing: SampleHome) -> None:
    before = standing.count_runs(), fingerprint(standing.home.tables(DOMAIN)), _content(standing)
    last = standing.latest.name

    manifest = standing.run()

    after = standing.count_runs(), fingerprint(standing.home.tables(DOMAIN)), _content(standing)
    assert after == before
    assert (manifest.status, manifest.note) == (RunStatus.SUCCESS, "nothing moved")
    assert last != manifest.run_id == standing.latest.name
    assert (standing.latest / MANIFEST_FILE).exists()


def test_a_launch_of_the_whole_job_reuses_every_asset(standing: SampleHome) -> None:
    manifest = standing.launch_job()

    assert manifest.assets
    assert standing.made_assets(manifest) == set()


def test_one_more_ruling_runs_what_is_below_the_rulings_and_changes_one_advisory(
    changing: SampleHome, decided: dict[Pair, Decision]
) -> None:
    before = changing.states()
    package, cve = min(pair for pair, d in decided.items() if d.state == "under_investigation")
    ruling = f"{cve},{package},not_applicable,,code_not_in_use\n"
    changing.change(RULINGS, lambda text: text.rstrip("\n") + "\n" + ruling)

    manifest = changing.run()

    ran = {asset.key.rpartition("/")[2] for asset in manifest.assets}
    changed = changing.states().items() - before.items()
    assert changed == {(f"{package}:{cve}", "not_applicable")}
    assert {"overrides_raw", "overrides_validated", "overrides"} <= changing.made_assets(manifest)
    assert ran & _steps_of_other_sources(changing) == set()


def test_a_table_file_that_is_gone_comes_back(standing: SampleHome) -> None:
    table = standing.home.table_file(DOMAIN, "nvd", "2018")
    before = table.read_bytes()
    table.unlink()

    manifest = standing.run()

    assert table.read_bytes() == before
    assert standing.made_assets(manifest) == {"nvd"}


def test_the_command_makes_the_same_bytes_in_another_home(
    real: SampleHome, first: RunManifest, mirror: Path, tmp_path: Path
) -> None:
    other = SampleHome(tmp_path, mirror_url=str(mirror))
    program = [sys.executable, "-m", "etl_assets.cli.main", "run", DOMAIN]

    done = subprocess.run(
        [*program, "--as-of", AS_OF.isoformat()],
        env=other.settings.child_environment(),
        check=False,
        capture_output=True,
        text=True,
    )

    different = _different(_bytes(real), _bytes(other))
    shutil.rmtree(tmp_path)
    assert (done.returncode, different) == (0, []), done.stderr


def _as_decided(row: dict[str, Any]) -> Decision:
    return Decision(
        state=row["state"],
        version=row["fixed_version"],
        reason=row["reason_code"],
        confidence=row["confidence"],
        source=row["evidence"]["source"],
        contributing=row["contributing_sources"],
        dissenting=row["dissenting_sources"],
    )


def _versions_named_by_the_distribution(mirror: Path) -> dict[Pair, set[str]]:
    """The fixed versions in the distribution's own records, by pair, of any target release."""
    named: dict[Pair, set[str]] = defaultdict(set)
    for pair, entry in tracker_entries(mirror):
        for release in set(entry["releases"]).intersection(TARGETS):
            named[pair].add(entry["releases"][release].get("fixed_version"))
    for record in filter(is_well_formed, osv_records(mirror)):
        for (package, release), ranges in osv_ranges(record).items():
            versions = {event["fixed"] for events in ranges for event in events if "fixed" in event}
            for name in osv_ids(record) if release in TARGETS else ():
                named[package, name] |= versions
    return named


def _says_something(record: CveRecord) -> bool:
    return record.is_rejected or record.is_scored


def _vendor_versions(feeds: Feeds) -> dict[str, set[str]]:
    versions: dict[str, set[str]] = defaultdict(set)
    for (package, _), entry in feeds.vendor.items():
        if version := named_version(entry):
            versions[package].add(version)
    return versions


def _ids(tables: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    return {name for (name,) in tables.sql(query).fetchall()}


def _steps_of_other_sources(sample: SampleHome) -> set[str]:
    others = set(sample.domain.sources) - {"overrides"}
    steps = ("{}_raw", "{}_validated", "{}", "stg_advisories__{}")
    return {step.format(name) for name in others for step in steps}


def _content(sample: SampleHome) -> dict[str, tuple[int, bytes]]:
    """Time and bytes of what is published, apart from the files that tell of the run."""
    found = fingerprint(sample.latest)
    return {name: found[name] for name in found.keys() - OF_THE_RUN}


def _bytes(sample: SampleHome) -> dict[str, bytes]:
    found = fingerprint(sample.home.tables(DOMAIN)) | _content(sample)
    return {name: data for name, (_, data) in found.items() if name != HEALTH}


def _different(some: dict[str, bytes], others: dict[str, bytes]) -> list[str]:
    return sorted(n for n in some.keys() | others.keys() if some.get(n) != others.get(n))

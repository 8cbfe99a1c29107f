"""What a run does when this or that has moved: the sample, run again and again."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from support.sample_home import AS_OF, DOMAIN, Sampled, fingerprint

from etl_assets.model.errors import UsageError
from etl_assets.model.records import FetchStatus, Reason, RunStatus
from etl_assets.model.run_manifest import MANIFEST_FILE, RunCheck, RunManifest, RunSource
from etl_assets.model.run_options import RunOptions
from etl_assets.publish import run_directory

RULINGS = "analyst/advisory-not-applicable.csv"
FEED = "advisory.echohq.com/data.json"
RULING = "CVE-2026-900043,pebble,not_applicable,,code_not_in_use\n"
PEBBLE = "pebble:CVE-2026-900043"


def test_a_run_in_which_nothing_moved_launches_nothing_and_rewrites_nothing(
    sampled: Sampled,
) -> None:
    tables, marts = sampled.home.tables(DOMAIN), sampled.latest / "marts"
    before = fingerprint(tables), fingerprint(marts), sampled.runs_launched()
    document = (sampled.latest / "advisory_current.json").stat()

    manifest = sampled.run()

    again = (sampled.latest / "advisory_current.json").stat()
    assert (fingerprint(tables), fingerprint(marts), sampled.runs_launched()) == before
    assert (again.st_mtime_ns, again.st_ino) == (document.st_mtime_ns, document.st_ino)
    assert manifest.status is RunStatus.SUCCESS
    assert sampled.latest.name == manifest.run_id
    assert not sampled.made(manifest)


@pytest.mark.parametrize(
    ("room", "spared"),
    [
        pytest.param("etl_assets.operations.run", "dagster_dbt", id="a run in which nothing moved"),
        pytest.param("etl_assets.fetch.http", "pyarrow", id="a fetch"),
    ],
)
def test_what_is_dear_to_import_is_not_imported_for(room: str, spared: str) -> None:
    program = f"import sys, {room}; sys.exit({spared!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_changed_ruling_runs_only_what_is_below_it(sampled: Sampled) -> None:
    sampled.change(RULINGS, lambda text: text + RULING)

    manifest = sampled.run()

    ran = {asset.key.rpartition("/")[2] for asset in manifest.assets}
    assert sampled.states()[PEBBLE] == "not_applicable"
    assert {"overrides_raw", "overrides", "mart_advisory_current"} <= sampled.made(manifest)
    assert not ran & {"nvd_raw", "nvd", "osv", "kev", "stg_advisories__epss", "stg_advisories__kev"}


@pytest.mark.long
def test_a_launch_of_the_whole_job_reuses_every_asset(sampled: Sampled) -> None:
    manifest = sampled.launch_job()

    assert manifest.assets
    assert not sampled.made(manifest)


@pytest.mark.long
def test_a_table_file_that_is_gone_comes_back(sampled: Sampled) -> None:
    table = sampled.home.table_file(DOMAIN, "kev", None)
    before = table.read_bytes()
    table.unlink()

    manifest = sampled.run()

    assert table.read_bytes() == before
    assert sampled.made(manifest) == {"kev"}


@pytest.mark.fault("raw-file-lost")
@pytest.mark.long
def test_a_raw_file_that_is_gone_is_fetched_again(sampled: Sampled) -> None:
    raw = next(source for source in _sources(sampled) if source.source.name == "kev")
    file = sampled.home.raw_file(raw.sha256 or "")
    file.unlink()

    with sampled.launcher() as launcher:
        plan = launcher.plan(DOMAIN, RunOptions())
        launcher.run(DOMAIN, RunOptions())

    assert [d.reason for d in plan.decisions if d.fetch] == [Reason.FILE_MISSING]
    assert file.exists()


@pytest.mark.long
def test_a_published_file_that_was_altered_is_made_again(sampled: Sampled) -> None:
    mart = sampled.latest / "marts" / "mart_advisory_current_by_cve.parquet"
    good = mart.read_bytes()
    mart.unlink()
    mart.write_bytes(good[:100])

    sampled.run()

    assert (sampled.latest / "marts" / mart.name).read_bytes() == good


@pytest.mark.fault("outage")
@pytest.mark.long
def test_an_upstream_without_its_feed_is_served_from_the_last_good_file(sampled: Sampled) -> None:
    before = sampled.states()
    (sampled.mirror / FEED).unlink()

    manifest = sampled.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert "advisories.echo" in manifest.note
    assert sampled.states() == before
    assert _check(manifest, "advisories/echo_raw").passed is False


@pytest.mark.long
@pytest.mark.fault("error-page")
def test_a_page_in_a_feeds_place_is_quarantined_and_the_published_content_stays(
    sampled: Sampled,
) -> None:
    before = sampled.states()
    sampled.change(FEED, lambda _: "<!doctype html><title>Sign in</title>")

    manifest = sampled.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert sampled.states() == before
    assert len(list(sampled.home.quarantine(DOMAIN, "echo").iterdir())) == 2


@pytest.mark.long
def test_a_feed_that_recovers_is_read_again(sampled: Sampled) -> None:
    good = (sampled.mirror / FEED).read_text(encoding="utf-8")
    sampled.change(FEED, lambda _: "<!doctype html><title>Sign in</title>")
    sampled.run()
    sampled.change(FEED, lambda _: good)

    manifest = sampled.run()

    assert manifest.status is RunStatus.SUCCESS


@pytest.mark.fault("outage-nothing-held")
@pytest.mark.long
def test_an_optional_source_that_was_never_there_is_an_empty_table(tmp_path: Path) -> None:
    sampled = Sampled.packed(tmp_path)
    feed = next(sampled.mirror.glob("www.cisa.gov/**/*.json"))
    feed.unlink()

    manifest = sampled.run(RunOptions(as_of=AS_OF))

    kev = next(s for s in manifest.sources if s.source.name == "kev")
    assert (manifest.status, kev.status) == (RunStatus.PARTIAL_SUCCESS, FetchStatus.MISSING)
    assert kev.rows == 0
    assert manifest.published


@pytest.mark.long
@pytest.mark.fault("outage-nothing-held")
def test_a_required_source_that_was_never_there_fails_the_run(tmp_path: Path) -> None:
    sampled = Sampled.packed(tmp_path)
    (sampled.mirror / FEED).unlink()

    manifest = sampled.run()

    assert manifest.status is RunStatus.FAILED
    assert "advisories.echo" in manifest.note
    assert not sampled.home.latest(DOMAIN).exists()


@pytest.mark.long
def test_two_homes_with_one_logical_time_hold_the_same_bytes(
    first_run: Sampled, tmp_path: Path
) -> None:
    other = Sampled.packed(tmp_path)

    other.run(RunOptions(as_of=AS_OF))

    assert _bytes_of(other) == _bytes_of(first_run)


def test_a_home_that_was_moved_goes_on_where_it_was(sampled: Sampled) -> None:
    manifest = sampled.run()

    assert manifest.note == "nothing moved"


def test_a_logical_time_before_the_published_one_is_refused(sampled: Sampled) -> None:
    with pytest.raises(UsageError, match="after the published set's"):
        sampled.run(RunOptions(as_of=AS_OF - timedelta(days=1)))


@pytest.mark.fault("killed")
@pytest.mark.long
def test_a_run_that_was_cut_off_before_its_build_ended_builds_again(sampled: Sampled) -> None:
    sampled.home.whole_marker(DOMAIN).unlink()

    manifest = sampled.run()

    assert "mart_advisory_current" in sampled.made(manifest)
    assert manifest.status is RunStatus.SUCCESS


@pytest.mark.long
def test_every_run_leaves_a_directory_with_its_manifest(sampled: Sampled) -> None:
    sampled.run()
    sampled.change(RULINGS, lambda text: text + RULING)
    sampled.run()

    found = sorted(sampled.home.outputs(DOMAIN).glob(f"2*/{MANIFEST_FILE}"))
    statuses = {run_directory.read_manifest(path.parent).status for path in found}

    assert len(found) == 3
    assert statuses == {RunStatus.SUCCESS}


def _sources(sampled: Sampled) -> list[RunSource]:
    return list(run_directory.read_manifest(sampled.latest).sources)


def _check(manifest: RunManifest, asset: str) -> RunCheck:
    return next(c for c in manifest.checks if c.asset == asset)


def _bytes_of(sampled: Sampled) -> dict[str, bytes]:
    tables = fingerprint(sampled.home.tables(DOMAIN))
    marts = fingerprint(sampled.latest / "marts")
    found = {f"tables/{name}": data for name, (_, data) in tables.items()}
    found |= {
        name: data for name, (_, data) in marts.items() if name != "mart_source_health.parquet"
    }
    found["advisory_current.json"] = (sampled.latest / "advisory_current.json").read_bytes()
    return found

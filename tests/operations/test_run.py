"""What a run does when this or that has moved: the sample, run again and again."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.sample_home import AS_OF, DOMAIN, SampleHome, fingerprint

from etl_assets.model.errors import UsageError
from etl_assets.model.records import FetchStatus, Reason, RunStatus
from etl_assets.model.run_manifest import MANIFEST_FILE, RunCheck, RunManifest, RunSource
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import plan_run, run_domain
from etl_assets.publish import run_directory

RULINGS = "analyst/advisory-not-applicable.csv"
FEED = "advisory.echohq.com/data.json"
RULING = "CVE-2026-900043,pebble,not_applicable,,code_not_in_use\n"
PEBBLE = "pebble:CVE-2026-900043"


def test_a_run_in_which_nothing_moved_launches_nothing_and_rewrites_nothing(
    sample: SampleHome,
) -> None:
    tables, marts = sample.home.tables(DOMAIN), sample.latest / "marts"
    before = fingerprint(tables), fingerprint(marts), sample.count_runs()
    document = (sample.latest / "advisory_current.json").stat()

    manifest = sample.run()

    again = (sample.latest / "advisory_current.json").stat()
    assert (fingerprint(tables), fingerprint(marts), sample.count_runs()) == before
    assert (again.st_mtime_ns, again.st_ino) == (document.st_mtime_ns, document.st_ino)
    assert manifest.status is RunStatus.SUCCESS
    assert manifest.published_set == sample.latest.name
    assert not sample.made_assets(manifest)


@pytest.mark.long
@pytest.mark.ci
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


@pytest.mark.long
@pytest.mark.ci
def test_a_changed_ruling_runs_only_what_is_below_it(sample: SampleHome) -> None:
    sample.change(RULINGS, lambda text: text + RULING)

    manifest = sample.run(RunOptions(as_of=AS_OF + timedelta(days=1)))

    ran = {asset.key.rpartition("/")[2] for asset in manifest.assets}
    assert sample.states()[PEBBLE] == "not_applicable"
    assert {"overrides_raw", "overrides", "mart_advisory_current"} <= sample.made_assets(manifest)
    assert not ran & {"nvd_raw", "nvd", "osv", "kev", "stg_epss", "stg_kev"}


@pytest.mark.long
def test_a_launch_of_the_whole_job_reuses_every_asset(sample: SampleHome) -> None:
    manifest = sample.launch_job()

    assert manifest.assets
    assert not sample.made_assets(manifest)


@pytest.mark.long
def test_a_table_file_that_is_gone_comes_back(sample: SampleHome) -> None:
    table = sample.home.table_file(DOMAIN, "kev", None)
    before = table.read_bytes()
    table.unlink()

    manifest = sample.run()

    assert table.read_bytes() == before
    assert sample.made_assets(manifest) == {"kev"}


@pytest.mark.fault("raw-file-lost")
@pytest.mark.long
def test_a_raw_file_that_is_gone_is_fetched_again(sample: SampleHome) -> None:
    raw = next(source for source in _sources(sample) if source.source.name == "kev")
    file = sample.home.raw_file(raw.sha256 or "")
    file.unlink()

    with sample.session() as session:
        plan = plan_run(session, RunOptions())
        run_domain(session, RunOptions())

    assert [d.reason for d in plan.decisions if d.fetch] == [Reason.FILE_MISSING]
    assert file.exists()


@pytest.mark.long
def test_a_published_file_that_was_altered_is_made_again(sample: SampleHome) -> None:
    mart = sample.latest / "marts" / "mart_advisory_current_by_cve.parquet"
    good = mart.read_bytes()
    mart.unlink()
    mart.write_bytes(good[:100])

    sample.run()

    assert (sample.latest / "marts" / mart.name).read_bytes() == good


@pytest.mark.fault("outage")
@pytest.mark.long
def test_an_upstream_without_its_feed_is_served_from_the_last_good_file(sample: SampleHome) -> None:
    before = sample.states()
    (sample.mirror / FEED).unlink()

    manifest = sample.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert "advisories.echo" in manifest.note
    assert sample.states() == before
    assert _check(manifest, "advisories/echo_raw").passed is False


@pytest.mark.long
@pytest.mark.fault("error-page")
def test_a_page_in_a_feeds_place_is_quarantined_and_the_published_content_stays(
    sample: SampleHome,
) -> None:
    before = sample.states()
    sample.change(FEED, lambda _: "<!doctype html><title>Sign in</title>")

    manifest = sample.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert sample.states() == before
    assert len(list(sample.home.quarantine(DOMAIN, "echo").iterdir())) == 2


@pytest.mark.long
def test_a_feed_that_recovers_is_read_again(sample: SampleHome) -> None:
    good = (sample.mirror / FEED).read_text(encoding="utf-8")
    sample.change(FEED, lambda _: "<!doctype html><title>Sign in</title>")
    sample.run()
    sample.change(FEED, lambda _: good)

    manifest = sample.run()

    assert manifest.status is RunStatus.SUCCESS


@pytest.mark.fault("outage-nothing-held")
@pytest.mark.long
def test_an_optional_source_that_was_never_there_is_an_empty_table(tmp_path: Path) -> None:
    sample = SampleHome.create(tmp_path)
    feed = next(sample.mirror.glob("www.cisa.gov/**/*.json"))
    feed.unlink()

    manifest = sample.run(RunOptions(as_of=AS_OF))

    kev = next(s for s in manifest.sources if s.source.name == "kev")
    assert (manifest.status, kev.status) == (RunStatus.PARTIAL_SUCCESS, FetchStatus.MISSING)
    assert kev.rows == 0
    assert manifest.published


@pytest.mark.long
@pytest.mark.fault("outage-nothing-held")
def test_a_required_source_that_was_never_there_fails_the_run(tmp_path: Path) -> None:
    sample = SampleHome.create(tmp_path)
    (sample.mirror / FEED).unlink()

    manifest = sample.run()

    assert manifest.status is RunStatus.FAILED
    assert "advisories.echo" in manifest.note
    assert not sample.home.latest(DOMAIN).exists()


@pytest.mark.long
def test_two_homes_with_one_logical_time_hold_the_same_bytes(
    first_run: SampleHome, tmp_path: Path
) -> None:
    other = SampleHome.create(tmp_path)

    other.run(RunOptions(as_of=AS_OF))

    assert _bytes_of(other) == _bytes_of(first_run)


def test_a_home_that_was_moved_goes_on_where_it_was(sample: SampleHome) -> None:
    manifest = sample.run()

    assert manifest.note == "nothing moved"


def test_a_logical_time_before_the_published_one_is_refused(sample: SampleHome) -> None:
    with pytest.raises(UsageError, match="after the published set's"):
        sample.run(RunOptions(as_of=AS_OF - timedelta(days=1)))


@pytest.mark.fault("clock")
@pytest.mark.parametrize("days", [1.01, 2, 365, 36_500])
def test_a_logical_time_far_ahead_of_the_clock_is_refused(sample: SampleHome, days: float) -> None:
    before = sample.latest, sample.count_runs()

    with pytest.raises(UsageError, match="at most 1 day ahead of the clock"):
        sample.run(RunOptions(as_of=datetime.now(UTC) + timedelta(days=days)))

    assert (sample.latest, sample.count_runs()) == before


@pytest.mark.fault("killed")
@pytest.mark.long
def test_a_run_that_was_cut_off_before_its_build_ended_builds_again(sample: SampleHome) -> None:
    sample.home.complete_marker(DOMAIN).unlink()

    manifest = sample.run()

    assert "mart_advisory_current" in sample.made_assets(manifest)
    assert manifest.status is RunStatus.SUCCESS


@pytest.mark.long
def test_every_run_leaves_a_directory_with_its_manifest(sample: SampleHome) -> None:
    sample.run()
    sample.change(RULINGS, lambda text: text + RULING)
    sample.run()

    found = sorted(sample.home.outputs(DOMAIN).glob(f"2*/{MANIFEST_FILE}"))
    statuses = {run_directory.read_manifest(path.parent).status for path in found}

    assert len(found) == 3
    assert statuses == {RunStatus.SUCCESS}


def _sources(sample: SampleHome) -> list[RunSource]:
    return list(run_directory.read_manifest(sample.latest).sources)


def _check(manifest: RunManifest, asset: str) -> RunCheck:
    return next(c for c in manifest.checks if c.asset == asset)


def _bytes_of(sample: SampleHome) -> dict[str, bytes]:
    tables = fingerprint(sample.home.tables(DOMAIN))
    marts = fingerprint(sample.latest / "marts")
    found = {f"tables/{name}": data for name, (_, data) in tables.items()}
    found |= {
        name: data for name, (_, data) in marts.items() if name != "mart_source_health.parquet"
    }
    found["advisory_current.json"] = (sample.latest / "advisory_current.json").read_bytes()
    return found

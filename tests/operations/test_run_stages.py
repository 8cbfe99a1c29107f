"""`etl run` over some of the stages: what it makes, asks and leaves, and what comes next."""

from __future__ import annotations

import gzip
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.command_homes import (
    AS_OF,
    DOMAIN,
    SYSTEMS,
    Galaxy,
    MirrorRequests,
    call,
    empty_galaxy,
    galaxy,
    mirror_requests,
    packed_galaxy,
    point_environment_at,
    published_galaxy,
    run_and_read_manifest,
)
from support.sample_home import SampleHome, fingerprint

from etl_assets.defs import asset_keys
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_defs
from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import RunManifest, RunSource
from etl_assets.model.run_options import RunOptions, Stage, StageRange
from etl_assets.publish import run_directory
from etl_assets.report.gather import RUN_FILES

__all__ = ["empty_galaxy", "galaxy", "mirror_requests", "packed_galaxy", "published_galaxy"]

OF_ONE_RUN = {"manifest.json", *RUN_FILES, "SHA256SUMS"}
OF_ONE_RUN |= {"marts/mart_galaxy_source_health.parquet"}


def alone(*stages: Stage) -> list[RunOptions]:
    return [RunOptions(stages=StageRange(stage, stage), as_of=AS_OF) for stage in stages]


def same_for_all(directory: Path) -> dict[str, bytes]:
    """What of a published set does not tell of its own run or home."""
    found = fingerprint(directory)
    return {name: data for name, (_, data) in found.items() if name not in OF_ONE_RUN}


def another_dump(home: Galaxy) -> bytes:
    """The dump of a day on which a system bears another name."""
    dump = gzip.decompress((home.mirror / SYSTEMS).read_bytes())
    return gzip.compress(dump.replace(b"Quarry", b"Pit"))


@pytest.fixture(scope="session")
def first_fetched(packed_galaxy: Galaxy, build_once: Any) -> Galaxy:
    def fill(folder: Path) -> None:
        home = packed_galaxy.copy_to(folder)
        for options in alone(Stage.RAW):
            assert home.run(options).status is RunStatus.SUCCESS

    return Galaxy(build_once("galaxy-fetched", fill))


@pytest.fixture(scope="session")
def first_built(first_fetched: Galaxy, build_once: Any) -> Galaxy:
    def fill(folder: Path) -> None:
        home = first_fetched.copy_to(folder)
        for options in alone(Stage.VALIDATED, Stage.TABLE, Stage.MARTS):
            assert home.run(options).status is RunStatus.SUCCESS

    return Galaxy(build_once("galaxy-built", fill))


@pytest.fixture
def fetched(first_fetched: Galaxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    """A home after `--stage raw`."""
    return point_environment_at(first_fetched.copy_to(tmp_path / "copy"), monkeypatch)


@pytest.fixture
def built(first_built: Galaxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    """A home after each stage but the last, one by one."""
    return point_environment_at(first_built.copy_to(tmp_path / "copy"), monkeypatch)


def last_manifest(home: Galaxy) -> RunManifest:
    return run_directory.read_manifest(next(run_directory.list_runs(home.home, DOMAIN)))


def systems_of(manifest: RunManifest) -> RunSource:
    return next(source for source in manifest.sources if source.source.name == "systems")


@pytest.mark.long
def test_five_stages_one_by_one_make_the_bytes_of_one_run(
    built: Galaxy, published_galaxy: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = run_and_read_manifest(capsys, "--stage", "publish")

    assert manifest.published
    assert manifest.as_of == AS_OF
    assert same_for_all(built.latest) == same_for_all(published_galaxy.latest)


@pytest.mark.long
def test_five_stages_go_on_from_a_published_history_as_one_run_does(
    galaxy: Galaxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (galaxy.mirror / SYSTEMS).write_bytes(another_dump(galaxy))
    at_once = galaxy.copy_to(tmp_path / "at once")
    at_once.run(RunOptions(as_of=AS_OF + timedelta(days=1)))
    for stage in ("raw", "validated", "table", "marts"):
        run_and_read_manifest(
            capsys, "--stage", stage, "--as-of", f"{AS_OF + timedelta(days=1):%Y-%m-%dT%H:%M:%S}"
        )

    run_and_read_manifest(capsys, "--stage", "publish")

    assert same_for_all(galaxy.latest) == same_for_all(at_once.latest)


def test_a_run_that_ends_before_it_publishes_says_so_and_moves_nothing(fetched: Galaxy) -> None:
    manifest = last_manifest(fetched)

    assert (manifest.status, manifest.published) == (RunStatus.SUCCESS, False)
    assert manifest.note == "stage raw: nothing is published"
    assert fetched.made_assets(manifest) >= {"systems_raw", "stations_raw"}
    assert not fetched.home.latest(DOMAIN).exists()
    assert not fetched.home.tables(DOMAIN).exists()


@pytest.mark.long
def test_its_report_and_its_result_tell_of_no_failure(built: Galaxy) -> None:
    manifest = last_manifest(built)

    report = next(run_directory.list_runs(built.home, DOMAIN)) / "run_report.md"
    assert manifest.result
    assert manifest.result.collector_result.status == "success"
    assert manifest.result.loader_result.status == "skipped"
    assert "stage marts: nothing is published" in report.read_text(encoding="utf-8")


def test_what_is_fetched_is_not_fetched_again(
    fetched: Galaxy, mirror_requests: MirrorRequests
) -> None:
    assert call("run", DOMAIN, "--stage", "raw") == 0

    assert len(mirror_requests.paths) == 4  # one question for each file
    assert last_manifest(fetched).note == "stage raw: nothing moved, nothing is published"
    assert last_manifest(fetched).assets == []


def test_from_a_later_stage_on_no_remote_is_asked(
    fetched: Galaxy, mirror_requests: MirrorRequests, capsys: pytest.CaptureFixture[str]
) -> None:
    (fetched.mirror / SYSTEMS).unlink()

    manifest = run_and_read_manifest(capsys, "--stage", "validated")

    assert mirror_requests.paths == []
    assert manifest.note == "stage validated: nothing is published"
    assert fetched.made_assets(manifest) >= {"systems_validated"}


@pytest.mark.long
def test_the_rest_of_a_run_is_made_from_what_was_fetched(
    fetched: Galaxy,
    published_galaxy: Galaxy,
    mirror_requests: MirrorRequests,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = run_and_read_manifest(
        capsys, "--from", "validated", "--as-of", f"{AS_OF:%Y-%m-%dT%H:%M:%S}"
    )

    assert mirror_requests.paths == []
    assert manifest.published
    assert same_for_all(fetched.latest) == same_for_all(published_galaxy.latest)


@pytest.mark.long
def test_the_next_run_goes_on_from_there(
    built: Galaxy, mirror_requests: MirrorRequests, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = run_and_read_manifest(capsys)

    ran = {asset.key.rpartition("/")[2] for asset in manifest.assets}
    assert manifest.published
    assert len(mirror_requests.paths) == 4
    assert not ran & {"systems_raw", "systems_validated", "systems"}


@pytest.mark.parametrize("stage", ["validated", "publish"])
def test_from_any_stage_on_an_unmoved_home_publishes_nothing_new(
    galaxy: Galaxy, mirror_requests: MirrorRequests, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    before = galaxy.count_runs(), same_for_all(galaxy.latest)

    manifest = run_and_read_manifest(capsys, "--from", stage)

    assert manifest.note == "nothing moved"
    assert (galaxy.count_runs(), same_for_all(galaxy.latest)) == before
    assert mirror_requests.paths == []


@pytest.mark.long
def test_what_was_never_fetched_is_fetched_and_the_rest_is_spared(
    empty_galaxy: Galaxy, mirror_requests: MirrorRequests, capsys: pytest.CaptureFixture[str]
) -> None:
    run_and_read_manifest(capsys, "--stage", "raw", "--source", "systems")
    asked = len(mirror_requests.paths)

    manifest = run_and_read_manifest(capsys, "--stage", "raw", "--skip-existing")

    assert asked == 2
    assert not any(path.endswith(SYSTEMS) for path in mirror_requests.paths[asked:])
    assert empty_galaxy.made_assets(manifest) == {
        "bodies_raw",
        "populated_bodies_raw",
        "stations_raw",
    }


@pytest.mark.parametrize("stage", ["validated", "marts"])
def test_a_stage_without_its_input_names_the_sources_and_the_command(
    empty_galaxy: Galaxy, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    assert call("run", DOMAIN, "--from", stage) == 2

    shown = capsys.readouterr().err
    assert "galaxy.bodies, galaxy.populated_bodies, galaxy.stations, galaxy.systems" in shown
    assert "nothing was fetched yet; `etl run galaxy --stage raw` first" in shown
    assert not empty_galaxy.home.outputs(DOMAIN).exists()


@pytest.mark.parametrize("stage", ["table", "publish"])
def test_the_first_stage_that_is_missing_is_named(
    fetched: Galaxy, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    assert call("run", DOMAIN, "--stage", stage) == 2

    wanted = "the newest file is not validated; `etl run galaxy --stage validated` first"
    assert wanted in capsys.readouterr().err


@pytest.mark.long
def test_a_table_that_is_gone_is_named_with_its_source(
    built: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    built.home.table_file(DOMAIN, "stations", None).unlink()

    assert call("run", DOMAIN, "--stage", "marts") == 2

    found = "galaxy.stations: no table stands; `etl run galaxy --stage table --source stations`"
    assert found in capsys.readouterr().err


@pytest.mark.long
def test_a_warehouse_that_was_cut_off_is_not_published(
    built: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    built.home.complete_marker(DOMAIN).unlink()

    assert call("run", DOMAIN, "--stage", "publish") == 2

    assert "a build was cut off; `etl run galaxy --stage marts` first" in capsys.readouterr().err


@pytest.mark.long
def test_marts_of_other_tables_are_not_published(
    built: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    (built.mirror / SYSTEMS).write_bytes(another_dump(built))
    for stage in ("raw", "validated", "table"):
        run_and_read_manifest(capsys, "--stage", stage)

    assert call("run", DOMAIN, "--stage", "publish") == 2

    shown = capsys.readouterr().err
    assert "mart_systems" in shown
    assert "built from other code, tables or history than stand" in shown
    assert "mart_system_bodies" not in shown


@pytest.mark.long
def test_built_marts_are_published_for_the_moment_they_were_built_for(
    built: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", DOMAIN, "--stage", "publish", "--as-of", "2026-04-01T00:00:00") == 2

    assert f"--as-of: expected {AS_OF.isoformat()}" in capsys.readouterr().err


@pytest.mark.long
def test_the_status_tells_of_a_run_that_published_nothing(
    built: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("status", DOMAIN) == 0

    shown = capsys.readouterr().out
    assert "galaxy: nothing is published yet" in shown
    assert ": success: stage marts: nothing is published" in shown


def test_a_dry_run_says_what_a_stage_would_do(
    fetched: Galaxy, mirror_requests: MirrorRequests, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", DOMAIN, "--stage", "validated", "--dry-run") == 0

    shown = capsys.readouterr().out
    assert "stage validated: no remote is probed" in shown
    assert f"{DOMAIN}.systems: its newest file is not validated" in shown
    assert mirror_requests.paths == []


def test_an_outage_of_a_fetch_that_ends_early_is_told(
    fetched: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    (fetched.mirror / SYSTEMS).unlink()

    manifest = run_and_read_manifest(capsys, "--stage", "raw")

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert manifest.note.startswith("stage raw: nothing is published; galaxy.systems: outage")
    assert systems_of(manifest).status is FetchStatus.OUTAGE


def test_a_launch_of_the_pages_that_leaves_the_set_out_leaves_its_manifest_too(
    fetched: Galaxy,
) -> None:
    source = fetched.domain.sources["systems"]
    defs = build_defs(ProjectContext(fetched.settings, {DOMAIN: fetched.domain}))

    with fetched.instance() as instance:
        result = defs.resolve_job_def(asset_keys.job_name(fetched.domain)).execute_in_process(
            instance=instance,
            asset_selection=[asset_keys.validated_key(source), asset_keys.table_key(source)],
        )

    manifest = last_manifest(fetched)
    assert manifest.run_id == result.run_id
    assert manifest.note == "stages validated to table: nothing is published"
    assert fetched.made_assets(manifest) == {"systems", "systems_validated"}


@pytest.mark.long
def test_a_launch_of_the_pages_may_leave_alone_what_is_held(galaxy: Galaxy) -> None:
    (galaxy.mirror / SYSTEMS).unlink()
    source = galaxy.domain.sources["systems"]
    defs = build_defs(ProjectContext(galaxy.settings, {DOMAIN: galaxy.domain}))

    with galaxy.instance() as instance:
        defs.resolve_job_def(asset_keys.job_name(galaxy.domain)).execute_in_process(
            instance=instance,
            asset_selection=[asset_keys.raw_key(source)],
            run_config={"ops": {f"{DOMAIN}_raw": {"config": {"skip_existing": True}}}},
        )

    before = run_directory.read_manifest(galaxy.latest)
    systems = systems_of(last_manifest(galaxy))
    assert systems.status is FetchStatus.UNCHANGED
    assert systems.contacted_at == systems_of(before).contacted_at


@pytest.mark.long
def test_old_marts_that_the_pages_publish_are_made_anew_by_the_next_run(
    galaxy: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    (galaxy.mirror / SYSTEMS).write_bytes(another_dump(galaxy))
    for stage in ("raw", "validated", "table"):
        run_and_read_manifest(capsys, "--stage", stage)
    defs = build_defs(ProjectContext(galaxy.settings, {DOMAIN: galaxy.domain}))

    with galaxy.instance() as instance:
        job = defs.resolve_job_def(asset_keys.job_name(galaxy.domain))
        assets = list(job.asset_layer.executable_asset_keys)
        job.execute_in_process(
            instance=instance,
            asset_selection=[
                key for key in assets if asset_keys.stage_of(galaxy.domain, key) is Stage.PUBLISH
            ],
        )

    assert "some of what is published is older than its tables or its code" in galaxy.plan()


def test_the_first_and_the_last_stage_of_steps_are_their_stretch() -> None:
    stretch = StageRange.spanning([Stage.TABLE, Stage.RAW])

    assert str(stretch) == "stages raw to table"
    assert list(stretch) == [Stage.RAW, Stage.VALIDATED, Stage.TABLE]


class Transit(SampleHome):
    """Its later sources ask for the rows of earlier ones."""

    name = "transit"


def test_a_source_that_asks_for_the_rows_of_a_table_waits_for_it(tmp_path: Path) -> None:
    lines = Transit.create(tmp_path).plan(RunOptions(stages=StageRange(Stage.RAW, Stage.RAW)))

    waiting = [line for line in lines if "waits for the table" in line]
    assert waiting[0] == (
        "transit.station_answers: waits for the table station_pages, whose rows it asks for"
    )
    assert len(waiting) == 3
    assert "transit.station_exits: fetch, no record" in lines


@pytest.mark.long
def test_a_manifest_tells_of_the_file_that_the_table_is_of(
    built: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    (built.mirror / SYSTEMS).write_bytes(another_dump(built))

    fetched = run_and_read_manifest(capsys, "--stage", "raw")

    before = run_directory.read_manifest(list(run_directory.list_runs(built.home, DOMAIN))[1])
    assert "systems_raw" in built.made_assets(fetched)
    assert systems_of(fetched).fetched_at == systems_of(before).fetched_at
    assert systems_of(fetched).sha256 == systems_of(before).sha256

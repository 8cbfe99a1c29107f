"""Ticks of a domain's sensor, against a local server whose ETags change."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.misbehaving_server import MisbehavingServer, never_answers
from support.orchard import DOMAIN as ORCHARD
from support.orchard import HOST, Files, Orchard, create_project
from support.pages import REPOSITORY, Pages, serve_pages
from support.sample_home import DOMAIN, SampleHome

from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_defs
from etl_assets.defs.sensors import Cursor, build_sensor
from etl_assets.demo.server import serving

KEV = "www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
RULINGS = "analyst/advisory-not-applicable.csv"
TICKS = """query($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) {
  ... on Sensor { sensorState { status ticks { status runIds } } }
} }"""
SCHEDULES = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
  schedules { name scheduleState { status } }
} } } }"""


def _tick(sample: SampleHome, cursor: str | None) -> dg.SensorResult | dg.SkipReason:
    repository = sample.defs().get_repository_def()
    sensor = repository.get_sensor_def(f"{DOMAIN}_probe")
    with (
        sample.instance() as instance,
        dg.build_sensor_context(
            instance=instance, cursor=cursor, repository_def=repository
        ) as context,
    ):
        answer = sensor(context)
    assert isinstance(answer, dg.SensorResult | dg.SkipReason)
    return answer


@pytest.mark.long
def test_a_tick_requests_once_what_moved_and_what_is_below(sample: SampleHome) -> None:
    with serving(sample.mirror) as server:
        served = SampleHome(sample.folder, mirror_url=server.url)
        quiet = _tick(served, None)
        served.change(KEV, lambda text: text + "\n")
        moved = _tick(served, None)
        assert isinstance(moved, dg.SensorResult)
        again = _tick(served, moved.cursor)

    assert isinstance(quiet, dg.SkipReason)
    assert isinstance(again, dg.SkipReason)
    [request] = moved.run_requests or []
    names = {key.path[-1] for key in request.asset_selection or []}
    assert {"kev_raw", "kev_validated", "kev", "mart_advisory_current"} <= names
    assert not names & {"echo_raw", "nvd_raw", "stg_osv"}
    assert not moved.asset_events  # the requested run records what it fetches


@pytest.mark.long
def test_an_unreachable_remote_requests_nothing_and_keeps_its_entry(
    sample: SampleHome,
) -> None:
    with serving(sample.mirror) as server:
        served = SampleHome(sample.folder, mirror_url=server.url)
        served.change(KEV, lambda text: text + "\n")
        moved = _tick(served, None)
        assert isinstance(moved, dg.SensorResult)
        entry = Cursor.parse(moved.cursor).answers[f"{DOMAIN}.kev"]
        (sample.mirror / KEV).write_bytes(b"")
        Path(sample.mirror / KEV).chmod(0)

    silent = _tick(SampleHome(sample.folder, mirror_url=server.url), moved.cursor)

    assert isinstance(silent, dg.SkipReason)
    assert entry


def test_a_yearly_file_that_moved_is_requested_with_its_partition(sample: SampleHome) -> None:
    feed = next(sample.mirror.glob("nvd.nist.gov/**/nvdcve-2.0-2024.meta"))
    feed.write_text(feed.read_text().replace("sha256:", "sha256:0")[:-2] + "\n")

    moved = _tick(sample, None)

    assert isinstance(moved, dg.SensorResult)
    [request] = moved.run_requests or []
    assert request.tags["dagster/asset_partition_range_start"] == "2024"
    assert request.tags["dagster/asset_partition_range_end"] == "2024"


@pytest.mark.long
@pytest.mark.ci
def test_a_tick_over_hundreds_of_silent_remotes_ends_in_time_and_the_next_one_goes_on(
    tmp_path: Path, server: MisbehavingServer
) -> None:
    project = create_project(tmp_path / "project")
    folder = project / "domains" / ORCHARD
    text = (folder / "harvests.yaml").read_text(encoding="utf-8")
    text = text.replace("read_timeout_seconds: 0.3", "read_timeout_seconds: 60")
    for number in range(200):
        name = f"remote_{number:03}"
        copy = text.replace("harvests.csv", f"{name}.csv")
        (folder / f"{name}.yaml").write_text(copy, encoding="utf-8")
        server.always[f"/{HOST}/{name}.csv"] = never_answers
    for name in Files.create().render():
        server.always[f"/{HOST}/{name}"] = never_answers
    orchard = Orchard(tmp_path, project=project, mirror_url=server.url)
    context = ProjectContext(orchard.settings, {ORCHARD: orchard.domain})
    job = dg.define_asset_job("job")
    sensor = build_sensor(orchard.domain, context, job, probe_seconds=1)
    cursors: list[Cursor] = []
    seconds: list[float] = []

    with orchard.session() as session:
        instance = session.event_log.instance
        for _ in range(4):
            cursor = str(cursors[-1]) if cursors else None
            started = time.monotonic()
            with dg.build_sensor_context(instance=instance, cursor=cursor) as tick:
                assert isinstance(sensor(tick), dg.SkipReason)
                cursors.append(Cursor.parse(tick.cursor))
            seconds.append(time.monotonic() - started)

    assert max(seconds) < 15
    slices = ["remote_062", "remote_126", "remote_190", "remote_051"]  # of 203 remotes, by 64
    assert [cursor.next_part for cursor in cursors] == [f"{ORCHARD}.{name}" for name in slices]


def test_a_cursor_of_an_earlier_version_keeps_its_answers() -> None:
    cursor = Cursor.parse('{"orchard.trees": "{}"}')

    assert cursor == Cursor({"orchard.trees": "{}"})
    assert Cursor.parse(str(cursor)) == cursor
    assert Cursor.parse(None) == Cursor()


@pytest.mark.long
def test_the_daemon_publishes_what_moved_once(tmp_path: Path, server: MisbehavingServer) -> None:
    project = create_project(tmp_path / "project")
    domain_file = project / "domains" / ORCHARD / "_domain.yaml"
    text = domain_file.read_text(encoding="utf-8")
    domain_file.write_text(f"{text}probe_interval_minutes: 1\n", encoding="utf-8")
    orchard = Orchard(tmp_path, project=project, mirror_url=server.url)
    files = Files.create()
    _publish(server, files)
    first = orchard.run()
    files.trees["T-1"] = "medlar"
    _publish(server, files)

    with serve_pages(orchard.settings, environment={"ETL_AUTOMATION": "on"}) as pages:
        ticks = pages.wait(lambda: _ended_ticks(pages, 2), seconds=240)
        [nodes] = pages.ask(SCHEDULES)["repositoriesOrError"]["nodes"]
        [moved, *_] = pages.runs()
        published = pages.wait_for_run(moved["runId"])
        count = len(pages.runs())

    assert [tick["status"] for tick in ticks] == ["SUCCESS", "SKIPPED"]
    assert ticks[0]["runIds"] == [published["runId"]]
    assert published["status"] == "SUCCESS"
    assert published["pipelineName"] == f"refresh_{ORCHARD}"
    assert count == 2  # with the first one
    assert orchard.latest.name != first.run_id
    assert {row["tree_id"]: row["kind"] for row in orchard.rows("mart_trees")}["T-1"] == "medlar"
    assert {each["name"]: each["scheduleState"]["status"] for each in nodes["schedules"]} == {
        f"{ORCHARD}_daily": "RUNNING",
        f"{ORCHARD}_verify": "RUNNING",
    }


@pytest.mark.long
@pytest.mark.parametrize(
    ("is_damaged", "status"),
    [pytest.param(False, True, id="intact"), pytest.param(True, False, id="damaged")],
)
def test_the_verification_job_fails_if_a_stored_file_was_altered(
    tmp_path: Path, is_damaged: bool, status: bool
) -> None:
    orchard = Orchard(tmp_path, project=create_project(tmp_path / "project"))
    orchard.serve(Files.create())
    manifest = orchard.run()
    raw = orchard.home.raw_file(manifest.sources[0].sha256 or "")
    if is_damaged:
        raw.write_bytes(raw.read_bytes() + b" ")
    defs = build_defs(ProjectContext(orchard.settings, {ORCHARD: orchard.domain}))

    with orchard.session() as session:
        result = defs.resolve_job_def(f"verify_{ORCHARD}").execute_in_process(
            instance=session.event_log.instance, raise_on_error=False
        )

    assert result.success is status


def _publish(server: MisbehavingServer, files: Files) -> None:
    for name, data in files.render().items():
        server.publish(f"/{HOST}/{name}", data)


def _ended_ticks(pages: Pages, count: int) -> list[dict[str, Any]] | None:
    """Return the first ticks of the sensor, the oldest first, once so many have ended."""
    sensor = {**REPOSITORY, "sensorName": f"{ORCHARD}_probe"}
    state = pages.ask(TICKS, sensor=sensor)["sensorOrError"]["sensorState"]
    ticks = [tick for tick in reversed(state["ticks"]) if tick["status"] != "STARTED"]
    return ticks[:count] if len(ticks) >= count else None

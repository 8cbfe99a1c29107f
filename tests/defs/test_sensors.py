"""Ticks of a domain's sensor, against a local server whose ETags change."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from support.sample_home import DOMAIN, SampleHome

from etl_assets.demo.server import serving

KEV = "www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
RULINGS = "analyst/advisory-not-applicable.csv"


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
    assert not names & {"echo_raw", "nvd_raw", "stg_advisories__osv"}
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
        entry = json.loads(moved.cursor or "{}")[f"{DOMAIN}.kev"]
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

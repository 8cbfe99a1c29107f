"""What a dump that is half gone, shrunk or not there gets: the last good one stands."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions

if TYPE_CHECKING:
    from conftest import Galaxy

pytestmark = pytest.mark.long

DUMP = "downloads.spansh.co.uk/systems_1day.json.gz"


def systems(galaxy: Galaxy) -> list[int]:
    return [row["id64"] for row in galaxy.rows("mart_systems")]


def test_a_dump_that_breaks_off_leaves_the_last_good_one_until_a_whole_one_comes(
    galaxy: Galaxy,
) -> None:
    whole = (galaxy.mirror / DUMP).read_bytes()
    before = systems(galaxy)
    (galaxy.mirror / DUMP).write_bytes(whole[: len(whole) // 2])

    broken = galaxy.run()
    said, stood = galaxy.check_description("systems_raw", "fetched"), systems(galaxy)
    (galaxy.mirror / DUMP).write_bytes(whole)
    galaxy.dump(lambda records: [*records, records[4] | {"id64": 7001}])
    healed = galaxy.run()

    assert (broken.status, broken.published) == (RunStatus.PARTIAL_SUCCESS, True)
    assert "cut off" in said
    assert stood == before
    assert list(galaxy.home.quarantine("galaxy", "systems").glob("*.json"))
    assert healed.status is RunStatus.SUCCESS, healed.note
    assert systems(galaxy) == sorted([*before, 7001])


def test_a_well_formed_dump_with_half_its_systems_is_an_outage_until_it_is_accepted(
    galaxy: Galaxy,
) -> None:
    galaxy.dump(lambda records: [r for r in records if r["id64"]][:28])

    refused = galaxy.run()
    said, stood = galaxy.check_description("systems", "contract"), len(galaxy.table("systems"))
    accepted = galaxy.run(RunOptions(accept_changes=True))

    assert refused.status is RunStatus.PARTIAL_SUCCESS
    assert "expected about 60 rows as last time, found 26" in said
    assert stood == 60
    assert accepted.status is RunStatus.SUCCESS, accepted.note
    assert len(galaxy.table("systems")) == 26
    assert len(systems(galaxy)) == 60  # what a day leaves out stays known


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"<!doctype html><title>Busy</title>", "gzip", id="a page"),
        pytest.param(gzip.compress(b"[\n]\n"), "at least 1 records", id="an empty list"),
    ],
)
def test_what_is_no_dump_never_becomes_one(galaxy: Galaxy, content: bytes, told: str) -> None:
    (galaxy.mirror / DUMP).write_bytes(content)

    manifest = galaxy.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert told in galaxy.check_description("systems_raw", "fetched")
    assert len(systems(galaxy)) == 60


def test_a_dump_that_nobody_serves_is_an_outage_of_that_source_alone(galaxy: Galaxy) -> None:
    (galaxy.mirror / "downloads.spansh.co.uk/galaxy_stations.json.gz").unlink()
    galaxy.dump(lambda records: [*records, records[4] | {"id64": 7001}])

    manifest = galaxy.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert [str(outage.source) for outage in manifest.outages] == ["galaxy.stations"]
    assert 7001 in systems(galaxy)
    assert len(galaxy.rows("mart_system_stations")) == 3


def test_a_dry_run_gives_a_reason_for_each_source_and_does_nothing(galaxy: Galaxy) -> None:
    galaxy.dump(lambda records: records[::-1])
    before = sorted(galaxy.home.root.rglob("*.parquet"))

    lines = galaxy.plan()

    assert [line.partition(" (")[0] for line in lines if line.startswith("galaxy.")] == [
        "galaxy.bodies: keep, up to date",
        "galaxy.populated_bodies: keep, up to date",
        "galaxy.stations: keep, up to date",
        "galaxy.systems: fetch, Last-Modified changed",
    ]
    assert sorted(galaxy.home.root.rglob("*.parquet")) == before


def test_force_refresh_fetches_what_is_up_to_date_and_makes_nothing_of_equal_bytes(
    galaxy: Galaxy,
) -> None:
    lines = galaxy.plan(RunOptions(force_refresh=True))
    manifest = galaxy.run(RunOptions(force_refresh=True))

    assert sum(line.endswith("fetch, force_refresh") for line in lines) == 4
    assert manifest.status is RunStatus.SUCCESS
    made = {a.key.rpartition("/")[2] for a in manifest.assets if a.outcome == "made"}
    assert made <= {"run_report", "galaxy_published"}

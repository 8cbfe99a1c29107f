"""Dumps that are cut off, too small, invalid or missing: the last good dump is used."""

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


def test_the_last_good_dump_is_used_until_a_complete_one_arrives(
    galaxy: Galaxy,
) -> None:
    complete_dump = (galaxy.mirror / DUMP).read_bytes()
    before = systems(galaxy)
    (galaxy.mirror / DUMP).write_bytes(complete_dump[: len(complete_dump) // 2])

    partial_run = galaxy.run()
    description = galaxy.check_description("systems_raw", "fetched")
    systems_after_outage = systems(galaxy)
    (galaxy.mirror / DUMP).write_bytes(complete_dump)
    galaxy.change_dump(lambda records: [*records, records[4] | {"id64": 7001}])
    complete_run = galaxy.run()

    assert (partial_run.status, partial_run.published) == (RunStatus.PARTIAL_SUCCESS, True)
    assert "cut off" in description
    assert systems_after_outage == before
    assert list(galaxy.home.quarantine("galaxy", "systems").glob("*.json"))
    assert complete_run.status is RunStatus.SUCCESS, complete_run.note
    assert systems(galaxy) == sorted([*before, 7001])


def test_a_dump_with_half_its_systems_is_an_outage_until_it_is_accepted(
    galaxy: Galaxy,
) -> None:
    galaxy.change_dump(lambda records: [r for r in records if r["id64"]][:28])

    refused_run = galaxy.run()
    description = galaxy.check_description("systems", "contract")
    rows_after_refusal = len(galaxy.table("systems"))
    accepted_run = galaxy.run(RunOptions(accept_changes=True))

    assert refused_run.status is RunStatus.PARTIAL_SUCCESS
    assert "expected about 60 rows as last time, found 26" in description
    assert rows_after_refusal == 60
    assert accepted_run.status is RunStatus.SUCCESS, accepted_run.note
    assert len(galaxy.table("systems")) == 26
    assert len(systems(galaxy)) == 60  # systems that a dump leaves out are kept


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"<!doctype html><title>Busy</title>", "gzip", id="web page"),
        pytest.param(gzip.compress(b"[\n]\n"), "at least 1 records", id="empty list"),
    ],
)
def test_a_file_that_is_no_dump_is_an_outage(galaxy: Galaxy, content: bytes, message: str) -> None:
    (galaxy.mirror / DUMP).write_bytes(content)

    manifest = galaxy.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert message in galaxy.check_description("systems_raw", "fetched")
    assert len(systems(galaxy)) == 60


def test_a_missing_dump_is_an_outage_of_its_source_only(galaxy: Galaxy) -> None:
    (galaxy.mirror / "downloads.spansh.co.uk/galaxy_stations.json.gz").unlink()
    galaxy.change_dump(lambda records: [*records, records[4] | {"id64": 7001}])

    manifest = galaxy.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert [str(outage.source) for outage in manifest.outages] == ["galaxy.stations"]
    assert 7001 in systems(galaxy)
    assert len(galaxy.rows("mart_system_stations")) == 3


def test_a_dry_run_prints_a_reason_for_each_source_and_writes_nothing(galaxy: Galaxy) -> None:
    galaxy.change_dump(lambda records: records[::-1])
    before = sorted(galaxy.home.root.rglob("*.parquet"))

    lines = galaxy.plan()

    assert [line.partition(" (")[0] for line in lines if line.startswith("galaxy.")] == [
        "galaxy.bodies: keep, up to date",
        "galaxy.populated_bodies: keep, up to date",
        "galaxy.stations: keep, up to date",
        "galaxy.systems: fetch, Last-Modified changed",
    ]
    assert sorted(galaxy.home.root.rglob("*.parquet")) == before


def test_force_refresh_fetches_all_files_and_reuses_assets_of_equal_bytes(
    galaxy: Galaxy,
) -> None:
    lines = galaxy.plan(RunOptions(force_refresh=True))
    manifest = galaxy.run(RunOptions(force_refresh=True))

    assert sum(line.endswith("fetch, force_refresh") for line in lines) == 4
    assert manifest.status is RunStatus.SUCCESS
    made_assets = {a.key.rpartition("/")[2] for a in manifest.assets if a.outcome == "made"}
    assert made_assets <= {"run_report", "galaxy_published"}

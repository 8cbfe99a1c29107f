"""Search, pages and answers of a model: what they add, what they may not touch, what they cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import chat_endpoint as chats

from etl_assets.model.records import RunStatus
from etl_assets.publish.run_directory import read_manifest

if TYPE_CHECKING:
    from conftest import Transit

SECRET = "sk-planted-in-a-test"
NAMES = ["Elmgate", "Millpond_South", "Millpond_South_Pier", "Fairview", "Old_Quay", "Ab5"]
NAMES += ["Linden", "Linden_East", "Hillcrest", "Copperwood", "Lp3"]
BAD = [chats.not_json, chats.wrong_schema, chats.rate_limited, chats.refusal]  # all for the first
PAGES = "singapore-mrt-lines.fandom.com/api.php"


def give_key(transit: Transit) -> None:
    transit.home.root.mkdir(parents=True, exist_ok=True)
    env = transit.home.root / ".env"
    env.write_text(f"OPENROUTER_API_KEY={SECRET}\n", encoding="utf-8")


def expect_coverage(transit: Transit, share: float) -> None:
    declared = {**transit.domain.vars, "min_coverage": share}
    transit.domain = transit.domain.model_copy(update={"vars": declared})


def without_manners(transit: Transit) -> None:
    """A local server needs no waiting for."""
    sources = {
        name: source.model_copy(
            update={
                "limits": source.limits.model_copy(
                    update={"requests_per_second": 1000, "backoff_seconds": 0}
                ),
                "for_each": source.for_each
                and source.for_each.model_copy(update={"delay_seconds": 0}),
            }
        )
        for name, source in transit.domain.sources.items()
    }
    transit.domain = transit.domain.model_copy(update={"sources": sources})


def write_pages(folder: Path) -> None:
    for name in NAMES:
        revisions = [{"slots": {"main": {"content": f"About {name}."}}}]
        page = {"query": {"pages": [{"title": name, "revisions": revisions}]}}
        (folder / f"{name}.json").write_text(json.dumps(page), encoding="utf-8")


def files_with(folder: Path, secret: str) -> list[str]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".env")
    return [path.as_posix() for path in files if secret.encode() in path.read_bytes()]


def test_a_building_of_the_name_confirms_the_station_and_a_far_one_does_not(
    first_transit: Transit,
) -> None:
    stations = first_transit.by("mart_stations", "station_id")

    assert stations["AB1"]["address"] == "12 ELM ROAD ELMGATE MRT STATION 100012"
    assert (stations["AB1"]["found_by"], stations["AB4"]["found_by"]) == ("name", "code")
    assert stations["AB2"]["postal_code"] == "100030"
    assert stations["AB4"]["found_distance_m"] < 800
    assert stations["AB5"]["address"] is None


def test_without_its_key_the_enrichment_is_off_and_no_answer_is_required(
    first_transit: Transit,
) -> None:
    health = first_transit.by("mart_transit_source_health", "source")
    checks = {check.name: check for check in read_manifest(first_transit.latest).checks}

    assert health["station_answers"]["status"] == "off"
    assert checks["gate_transit__stations_have_answers"].passed


@pytest.mark.long
def test_answers_are_claims_and_make_no_exit(transit: Transit) -> None:
    give_key(transit)
    expect_coverage(transit, 0.1)
    before = {row["exit_id"] for row in transit.rows("mart_exits")}

    manifest = transit.run()

    assert manifest.status is RunStatus.SUCCESS, manifest.note
    assert {row["exit_id"] for row in transit.rows("mart_exits")} == before
    stations = transit.by("mart_stations", "station_id")
    assert stations["AB1"]["extraction_confidence"] == "high"
    assert stations["CD1"]["extraction_confidence"] is None  # its answer was about another station
    exits = {(e["station_id"], e["exit_id"]): e for e in transit.rows("mart_exits")}
    assert exits["AB1", "MRT-A"]["nearby_landmarks"] == ["Elm Park"]
    assert exits["AB1", "MRT-A"]["platforms"][0]["towards_code"] == "AB5"
    unplaced = [c for c in transit.rows("mart_transit_claims") if not c["is_placed"]]
    assert [(c["station_id"], c["told_exit_code"]) for c in unplaced] == [("AB1", "Z")]
    assert exits["AB1", "MRT-B"]["bus_stops"] == [{"code": "10011", "services": ["7", "12"]}]


@pytest.mark.long
def test_too_few_answers_fail_the_gate(transit: Transit) -> None:
    before = transit.latest
    give_key(transit)

    manifest = transit.run()

    assert (manifest.status, manifest.published) == (RunStatus.FAILED, False)
    assert "gate_transit__stations_have_answers" in manifest.note
    assert "expected at least 0.7, found 0.2" in manifest.note
    assert transit.latest == before


@pytest.fixture(scope="module")
def endpoint(
    first_transit: Transit, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[chats.Endpoint]:
    """A mirror that is served, with a page for every name and a model that reads it."""
    transit = first_transit.copy_to(tmp_path_factory.mktemp("asked"))
    write_pages(transit.mirror / PAGES)
    with chats.run_endpoint(transit.mirror) as server:
        yield server


@pytest.fixture(scope="module")
def answered(
    first_transit: Transit, endpoint: chats.Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Transit:
    """A home that asked about every station, of an endpoint that first answered badly."""
    transit = type(first_transit)(
        tmp_path_factory.mktemp("fresh"),
        mirror_url=endpoint.url,
        dbt_dir=first_transit.settings.dbt_dir,
    )
    give_key(transit)
    without_manners(transit)
    endpoint.next_behaviours += BAD
    manifest = transit.run()
    assert manifest.published, manifest.note
    assert len(endpoint.stations) == len(BAD) + len(
        NAMES
    )  # Hillcrest is asked for each of its modes
    return transit


@pytest.mark.long
def test_an_answer_about_one_part_of_a_station_is_not_of_the_other(answered: Transit) -> None:
    exits = [e for e in answered.rows("mart_exits") if e["station_id"] == "CD4"]

    assert {e["exit_id"]: e["nearby_landmarks"] for e in exits} == {
        "LRT-A": ["a park by Hillcrest Lrt Station"],
        "LRT-B": [],
        "MRT-A": ["a park by Hillcrest Mrt Station"],
        "MRT-A-2": ["a park by Hillcrest Mrt Station"],
        "MRT-B": [],
    }


@pytest.mark.long
def test_running_again_asks_nobody(answered: Transit, endpoint: chats.Endpoint) -> None:
    endpoint.clear_requests()

    again = answered.run()

    assert (again.published, endpoint.stations) == (True, [])
    assert endpoint.fetched == ["HEAD LTAMRTStationExitGEOJSON.geojson"]
    assert {asset.outcome for asset in again.assets} == {"reused"}
    assert files_with(answered.home.root, SECRET) == []

"""Search, pages and answers of a model: which columns they add, and when they are requested."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import chat_endpoint as chats

from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.publish.run_directory import read_manifest

if TYPE_CHECKING:
    from conftest import Transit

SECRET = "sk-planted-in-a-test"
NAMES = ["Elmgate", "Millpond_South", "Millpond_South_Pier", "Fairview", "Old_Quay", "Ab5"]
NAMES += ["Linden", "Linden_East", "Hillcrest", "Copperwood", "Lp3"]
BAD = [
    chats.not_json,
    chats.wrong_schema,
    chats.rate_limited,
    chats.error_object(429),
    chats.refusal,
]  # all for the first station
COVERAGE = "mart_stations_extraction_confidence_coverage"
SEARCHES = "www.onemap.gov.sg/api/common/elastic/search"
PAGES = "singapore-mrt-lines.fandom.com/api.php"


def write_key(transit: Transit) -> None:
    transit.home.root.mkdir(parents=True, exist_ok=True)
    env = transit.home.root / ".env"
    env.write_text(f"OPENROUTER_API_KEY={SECRET}\n", encoding="utf-8")


def set_floor(transit: Transit, floor: float) -> None:
    [coverage] = transit.domain.coverage
    limits = {"floor": floor, "warn": max(floor, coverage.warn)}
    coverages = [coverage.model_copy(update=limits)]
    transit.domain = transit.domain.model_copy(update={"coverage": coverages})


def remove_delays(transit: Transit) -> None:
    """Remove rate limits and delays, which a local server does not need."""
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


def write_pages(folder: Path, *, text: str = "About {name}.") -> None:
    for name in NAMES:
        revisions = [{"slots": {"main": {"content": text.format(name=name)}}}]
        page = {"query": {"pages": [{"title": name, "revisions": revisions}]}}
        (folder / f"{name}.json").write_text(json.dumps(page), encoding="utf-8")


def files_with(folder: Path, secret: str) -> list[str]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".env")
    return [path.as_posix() for path in files if secret.encode() in path.read_bytes()]


def test_a_building_matches_a_station_by_name_or_code_unless_it_is_far(
    first_transit: Transit,
) -> None:
    stations = first_transit.rows_by("mart_stations", "station_id")

    assert stations["AB1"]["address"] == "12 ELM ROAD ELMGATE MRT STATION 100012"
    assert (stations["AB1"]["found_by"], stations["AB4"]["found_by"]) == ("name", "code")
    assert stations["AB2"]["postal_code"] == "100030"
    assert stations["AB4"]["found_distance_m"] < 800
    assert stations["AB5"]["address"] is None


def test_without_its_key_the_enrichment_is_off_and_its_check_passes(
    first_transit: Transit,
) -> None:
    health = first_transit.rows_by("mart_transit_source_health", "source")
    checks = {check.name: check for check in read_manifest(first_transit.latest).checks}

    assert health["station_answers"]["status"] == "off"
    assert checks[COVERAGE].passed
    assert checks[COVERAGE].description == "not applicable, station_answers is off"


@pytest.mark.long
def test_answers_add_claims_but_no_exits(transit: Transit) -> None:
    write_key(transit)
    before = {row["exit_id"] for row in transit.rows("mart_exits")}

    manifest = transit.run()

    assert manifest.status is RunStatus.SUCCESS, manifest.note
    assert {row["exit_id"] for row in transit.rows("mart_exits")} == before
    stations = transit.rows_by("mart_stations", "station_id")
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
    write_key(transit)
    set_floor(transit, 0.3)

    manifest = transit.run()

    assert (manifest.status, manifest.published) == (RunStatus.FAILED, False)
    assert f"{COVERAGE}: expected at least 70% of rows" in manifest.note
    assert "refused below 30%" in manifest.note
    assert transit.latest == before


@pytest.mark.long
def test_few_answers_are_a_warning(transit: Transit) -> None:
    write_key(transit)

    manifest = transit.run()

    [warning] = [check for check in manifest.failed_checks if check.name == COVERAGE]
    assert (manifest.status, manifest.published) == (RunStatus.SUCCESS, True)
    assert warning.severity == "warn"


@pytest.fixture(scope="module")
def endpoint(
    first_transit: Transit, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[chats.Endpoint]:
    """A server of a mirror with a page for each name, and of a model that reads the pages."""
    transit = first_transit.copy_to(tmp_path_factory.mktemp("served"))
    write_pages(transit.mirror / PAGES)
    with chats.run_endpoint(transit.mirror) as server:
        yield server


@pytest.fixture(scope="module")
def enriched(
    first_transit: Transit, endpoint: chats.Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Transit:
    """A home with answers on all stations, from an endpoint whose first responses are bad."""
    transit = type(first_transit)(
        tmp_path_factory.mktemp("fresh"),
        mirror_url=endpoint.url,
        dbt_dir=first_transit.settings.dbt_dir,
    )
    write_key(transit)
    remove_delays(transit)
    endpoint.next_behaviours += BAD
    manifest = transit.run()
    assert manifest.published, manifest.note
    assert len(endpoint.stations) == len(BAD) + len(
        NAMES
    )  # there is a question for each mode of Hillcrest
    return transit


@pytest.mark.long
def test_an_answer_about_one_part_of_a_station_does_not_apply_to_the_other(
    enriched: Transit,
) -> None:
    exits = [e for e in enriched.rows("mart_exits") if e["station_id"] == "CD4"]

    assert {e["exit_id"]: e["nearby_landmarks"] for e in exits} == {
        "LRT-A": ["a park by Hillcrest Lrt Station"],
        "LRT-B": [],
        "MRT-A": ["a park by Hillcrest Mrt Station"],
        "MRT-A-2": ["a park by Hillcrest Mrt Station"],
        "MRT-B": [],
    }


@pytest.mark.long
def test_an_unchanged_run_sends_no_question(enriched: Transit, endpoint: chats.Endpoint) -> None:
    endpoint.clear_requests()

    second_run = enriched.run()

    assert (second_run.published, endpoint.stations) == (True, [])
    assert endpoint.fetched == ["HEAD LTAMRTStationExitGEOJSON.geojson"]
    assert {asset.outcome for asset in second_run.assets} == {"reused"}
    assert files_with(enriched.home.root, SECRET) == []


@pytest.fixture
def changed_pages(
    enriched: Transit, endpoint: chats.Endpoint, tmp_path: Path
) -> Iterator[tuple[Transit, chats.Endpoint]]:
    """A copy of the enriched home, and an endpoint of its own whose pages have changed."""
    shutil.copytree(endpoint.directory, tmp_path / "mirror")
    write_pages(tmp_path / "mirror" / PAGES, text="Rebuilt: {name}.")
    enriched.copy_to(tmp_path / "copy")
    with chats.run_endpoint(tmp_path / "mirror") as other:
        dbt_dir = enriched.settings.dbt_dir
        transit = type(enriched)(tmp_path / "copy", mirror_url=other.url, dbt_dir=dbt_dir)
        remove_delays(transit)
        yield transit, other


@pytest.mark.long
@pytest.mark.fault("answer-error")
def test_a_model_that_answers_with_errors_leaves_the_last_good_answers_in_use(
    changed_pages: tuple[Transit, chats.Endpoint],
) -> None:
    transit, endpoint = changed_pages
    before = transit.rows_by("mart_stations", "station_id")
    endpoint.default_behaviour = chats.error_object(402, "no credits left")

    cut = transit.run(RunOptions(force_refresh=True))
    asked_in_vain = list(endpoint.stations)
    used = transit.rows_by("mart_stations", "station_id")
    endpoint.default_behaviour = chats.answer_well
    endpoint.clear_requests()
    healed = transit.run()

    assert (cut.status, cut.published) == (RunStatus.PARTIAL_SUCCESS, True)
    assert "no credits left" in cut.note
    assert len(asked_in_vain) == 1  # 402 ends the requests
    columns = ("extraction_status", "extraction_confidence")
    for station, row in before.items():
        assert [used[station][name] for name in columns] == [row[name] for name in columns]
    assert healed.status is RunStatus.SUCCESS, healed.note
    assert len(endpoint.stations) == len(NAMES) + 1


@pytest.mark.long
@pytest.mark.fault("answer-error")
@pytest.mark.parametrize(
    ("folder", "error"),
    [
        pytest.param(SEARCHES, {"error": "token expired"}, id="search"),
        pytest.param(PAGES, {"error": {"code": "ratelimited", "info": "wait"}}, id="wiki"),
    ],
)
def test_an_error_that_an_earlier_version_stored_is_requested_again(
    transit: Transit, folder: str, error: dict[str, Any]
) -> None:
    source = {SEARCHES: "station_search", PAGES: "station_pages"}[folder]
    before = transit.rows("mart_stations")
    answers = transit.home.answers("transit", source)
    [stored] = [p for p in answers.rglob("*.json") if "ELMGATE" in p.read_text(encoding="utf-8")]
    good = json.loads(stored.read_bytes())
    stored.write_text(json.dumps(good | {"body": error}), encoding="utf-8")

    manifest = transit.run()

    assert (manifest.status, manifest.published) == (RunStatus.SUCCESS, True)
    assert json.loads(stored.read_bytes())["body"] == good["body"]
    assert transit.rows("mart_stations") == before

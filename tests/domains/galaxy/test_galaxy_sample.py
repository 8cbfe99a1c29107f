"""A run of the sample, from dumps to published set, against rows derived by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.raw_fields import raw_fields

from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_defs
from etl_assets.ledger.manifest import Process, load_manifest
from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions

if TYPE_CHECKING:
    from conftest import Galaxy

DOMAIN = "galaxy"
REPORTED = datetime(2026, 2, 27, 12, tzinfo=UTC)


def test_the_sample_becomes_the_declared_tables(first_galaxy: Galaxy) -> None:
    systems = {row["id64"]: row for row in first_galaxy.table("systems")}

    assert len(systems) == 60
    assert systems[1001] == {
        "id64": 1001,
        "name": "Harbour",
        "x": 0.0,
        "y": 0.0,
        "z": 0.0,
        "main_star": "G (White-Yellow) Star",
        "needs_permit": True,
        "updated_at": REPORTED,
        "source_sha256": systems[1002]["source_sha256"],
        "source_row": 1,
    }


def test_unsigned_ids_survive_to_the_published_set(first_galaxy: Galaxy) -> None:
    names = {row["id64"]: row["name"] for row in first_galaxy.rows("mart_systems")}

    assert names[2**64 - 1] == "Last Number"
    assert names[2**63] == "First Unsigned"


def test_the_newest_of_several_reports_is_kept(first_galaxy: Galaxy) -> None:
    (system,) = (row for row in first_galaxy.table("systems") if row["id64"] == 1010)

    assert system["main_star"] == "K (Yellow-Orange) Star"
    assert system["updated_at"] == datetime(2026, 2, 27, 9, 30, tzinfo=UTC)
    assert system["source_row"] == 11


def test_rows_without_id_or_coordinates_are_rejected_with_their_line(first_galaxy: Galaxy) -> None:
    rejects = [(r["where"], r["column"], r["rule"]) for r in first_galaxy.rejects("systems")]

    assert rejects == [
        ("line 22", "id64", "required"),
        ("line 42", "y", "required"),
        ("line 66", "x", "maximum"),
    ]


def test_a_star_of_an_unknown_class_is_kept_with_a_warning(first_galaxy: Galaxy) -> None:
    (system,) = (row for row in first_galaxy.table("systems") if row["id64"] == 1007)

    description = first_galaxy.check_description("systems", "contract")

    assert system["main_star"] == "Purple Star"
    assert "1 values of main_star are not among the declared ones: 'Purple Star' (1)" in description
    assert "3 of 65 records rejected (1 by maximum, 2 by required)" in description
    assert "2 rows set aside for a newer one of the same key" in description


def test_stations_on_bodies_have_their_body_and_their_system(first_galaxy: Galaxy) -> None:
    stations = {row["market_id"]: row for row in first_galaxy.table("stations")}

    columns = ("system_id64", "body_id", "body_name")

    assert {n: tuple(r[c] for c in columns) for n, r in stations.items()} == {
        128000001: (1001, None, None),
        128000003: (1001, 2, "Harbour 2"),
        128000004: (1002, None, None),
        128000005: (4001, None, None),
        3700000001: (1002, None, None),  # the carrier moved there from 1001
    }


def test_systems_are_counted_by_cube(first_galaxy: Galaxy) -> None:
    counts = {r["cube"]: r["systems_count"] for r in first_galaxy.rows("mart_region_cubes")}

    assert counts == {
        "-2/0/-1": 1,
        "-1/0/-1": 1,
        "-1/0/0": 14,
        "-1/0/65": 1,
        "0/-1/0": 26,
        "0/0/0": 7,
        "1/-1/25": 10,
    }


def test_stations_are_counted_by_system_and_joined_by_id(first_galaxy: Galaxy) -> None:
    columns = ("system_name", "main_star", "stations_count", "carriers_count", "is_known_system")

    rows = first_galaxy.rows("mart_system_stations")

    assert {r["system_id64"]: tuple(r[c] for c in columns) for r in rows} == {
        1001: ("Harbour", "G (White-Yellow) Star", 2, 0, True),
        1002: ("Lantern", "M (Red dwarf) Star", 2, 1, True),
        4001: ("Never Dumped", None, 1, 0, False),
    }


def test_the_newest_report_of_a_body_in_two_dumps_counts(first_galaxy: Galaxy) -> None:
    columns = ("stars_count", "planets_count", "landable_count", "terraformable_count")

    rows = first_galaxy.rows("mart_system_bodies")

    assert {r["system_id64"]: tuple(r[c] for c in columns) for r in rows} == {
        1001: (1, 2, 1, 0),  # Harbour 2 is terraformable in the older report only
        1003: (1, 1, 1, 1),
        1004: (1, 0, 0, 0),
        1006: (1, 0, 0, 0),
    }


def test_the_first_load_has_no_changes(first_galaxy: Galaxy) -> None:
    assert first_galaxy.rows("mart_system_changes") == []


@pytest.mark.long
def test_a_new_dump_publishes_its_changes(galaxy: Galaxy) -> None:
    def next_day(records: list[dict]) -> list[dict]:
        by_id = {record["id64"]: record for record in records}
        visited = by_id[1006] | {"mainStar": "Neutron Star", "updateTime": "2026-02-28 07:00:00+00"}
        moved = by_id[1002] | {"coords": {"x": 12.5, "y": -0.25, "z": 44.75}}
        older = by_id[1001] | {"name": "Haven", "updateTime": "2026-01-01 00:00:00+00"}
        new = by_id[1004] | {"id64": 5001, "name": "Newfound"}
        return [visited, moved, older, new, *records[7:]]

    galaxy.change_dump(next_day)
    manifest = galaxy.run()
    changes = {row["id64"]: row for row in galaxy.rows("mart_system_changes")}

    assert manifest.status is RunStatus.SUCCESS, manifest.note
    assert {n: (r["change"], r["changed_columns"]) for n, r in changes.items()} == {
        1002: ("changed", ["y_ly", "z_ly"]),
        1006: ("changed", ["main_star"]),
        5001: ("appeared", []),
    }
    assert changes[1002]["moved_ly"] == 5.0
    assert (changes[1006]["old_main_star"], changes[1006]["new_main_star"]) == (
        None,
        "Neutron Star",
    )
    assert len(galaxy.rows("mart_systems")) == 61


@pytest.mark.long
def test_the_changes_of_a_dump_are_kept_until_the_next_dump(galaxy: Galaxy) -> None:
    galaxy.change_dump(lambda records: [records[0] | {"name": "Haven"}, *records[1:]])
    galaxy.run()

    galaxy.home.warehouse(DOMAIN).unlink()
    galaxy.home.complete_marker(DOMAIN).unlink()
    galaxy.run()
    changes_after_rebuild = [row["id64"] for row in galaxy.rows("mart_system_changes")]
    galaxy.change_dump(lambda records: [*records, records[5] | {"id64": 6001}])
    galaxy.run()
    changes_after_next_dump = [row["id64"] for row in galaxy.rows("mart_system_changes")]

    assert changes_after_rebuild == [1001]
    assert changes_after_next_dump == [6001]


def test_the_changes_are_published_as_a_document(first_galaxy: Galaxy) -> None:
    document = json.loads((first_galaxy.latest / "system_stations.json").read_bytes())

    assert document["system_count"] == len(document["systems"]) == 3
    assert [system["system_id64"] for system in document["systems"]] == [1001, 1002, 4001]


def test_the_download_ledger_names_each_file_of_each_source(first_galaxy: Galaxy) -> None:
    path = first_galaxy.home.root / "manifests" / "galaxy_download.manifest.json"
    document = json.loads(path.read_bytes())

    ledger = load_manifest(first_galaxy.home, DOMAIN, Process.DOWNLOAD)

    assert ledger is not None
    assert set(document["metadata"]) == {
        *("process", "etl_version", "root_dir", "total_records", "ts_created", "ts_updated")
    }
    assert document["metadata"]["process"] == "download"
    assert sorted(ledger.records) == [
        *("galaxy.bodies", "galaxy.populated_bodies", "galaxy.stations", "galaxy.systems")
    ]
    for record in ledger.records.values():
        stored = first_galaxy.home.root / record.file.path
        assert stored.name == record.file.sha256
        assert stored.stat().st_size == record.file.size_bytes


def test_a_disabled_source_is_never_fetched(first_galaxy: Galaxy) -> None:
    assert "systems_all" in first_galaxy.domain.disabled_sources
    assert not [key for key in first_galaxy.asset_keys() if key.startswith("galaxy/systems_all_")]
    assert not [line for line in first_galaxy.plan() if "systems_all" in line]


def test_the_asset_keys_are_unchanged(first_galaxy: Galaxy) -> None:
    graph = build_defs(
        ProjectContext(first_galaxy.settings, {DOMAIN: first_galaxy.domain})
    ).resolve_asset_graph()
    expected = (Path(__file__).parent / "asset_keys.txt").read_text(encoding="utf-8")

    keys = sorted(key.to_user_string() for key in graph.get_all_asset_keys())

    assert [key for key in keys if key.startswith(f"{DOMAIN}/")] == expected.split()


@pytest.mark.long
def test_the_same_dumps_have_the_same_bytes_in_another_home(
    first_galaxy: Galaxy, tmp_path: Path
) -> None:
    other = type(first_galaxy).create(tmp_path)
    other.run(RunOptions(as_of=datetime(2026, 3, 1, 9, tzinfo=UTC)))

    marts = {path.name: path for path in (first_galaxy.latest / "marts").iterdir()}
    different = [
        name
        for name, path in marts.items()
        if path.read_bytes() != (other.latest / "marts" / name).read_bytes()
    ]

    assert different == ["mart_galaxy_source_health.parquet"]


@pytest.mark.parametrize(
    ("mart", "column", "fields"),
    [
        pytest.param(
            "mart_system_bodies",
            "hottest_k",
            {"bodies_raw: surfaceTemperature", "populated_bodies_raw: surfaceTemperature"},
            id="a union of two dumps",
        ),
        pytest.param(
            "mart_system_stations",
            "with_large_pads_count",
            {"stations_raw: landingPads.large"},
            id="a count of some rows",
        ),
        pytest.param(
            "mart_region_cubes",
            "cube_x",
            # A report counts if it is newer than the published one, or the system is a new one.
            {"systems_raw: coords.x", "systems_raw: updateTime", "systems_raw: id64"},
            id="a fact that depends on the time of its report",
        ),
        pytest.param("mart_region_cubes", "systems_count", set(), id="a count of all rows"),
    ],
)
def test_a_column_is_followed_to_the_dumps(
    first_galaxy: Galaxy, mart: str, column: str, fields: set[str]
) -> None:
    assert raw_fields(first_galaxy, mart, column) == fields

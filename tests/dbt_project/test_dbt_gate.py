"""The data tests: damage to a mart fails, and doubtful input is a warning."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import duckdb
import pytest

if TYPE_CHECKING:
    from conftest import Row, Warehouse

pytestmark = pytest.mark.long

THEN = datetime(2026, 1, 1, tzinfo=UTC)
FEED: list[Row] = [
    ("echo", {"package_name": "alpha", "cve_id": "CVE-2026-1001", "fixed_version": "1.0-1"}),
    ("echo", {"package_name": "alpha", "cve_id": "CVE-2026-1002"}),
    ("echo", {"package_name": "beta", "cve_id": "CVE-2026-1001", "fixed_version": "1.0-1"}),
    ("echo", {"package_name": "gamma", "cve_id": "TEMP-0000001-ABCDEF", "fixed_version": "1"}),
]
DOUBTFUL: list[Row] = [
    *FEED,
    ("echo", {"package_name": "Alpha", "cve_id": "CVE-2026-1002"}),
    ("echo", {"package_name": "delta", "cve_id": "CVE-2026-1003", "fixed_version": "1-1+deb12u1"}),
    ("echo", {"package_name": "delta", "cve_id": "CVE-2026-1004"}),
    ("echo", {"package_name": "delta", "cve_id": "CVE-2026-1005", "fixed_version": "0.1-1"}),
    (
        "debian",
        {
            "package_name": "delta", "cve_id": "CVE-2026-1003", "release": "bookworm",
            "status": "resolved", "fixed_version": "1-1+deb12u2",
        },
    ),
    (
        "debian",
        {
            "package_name": "delta", "cve_id": "CVE-2026-1004", "release": "bookworm",
            "status": "resolved", "fixed_version": "0.9-1",
        },
    ),
    ("nvd", {"cve_id": "CVE-2026-1005", "vuln_status": "Rejected", "last_modified_at": THEN}),
    ("kev", {"cve_id": "CVE-2026-1001", "date_added": date(2026, 1, 1)}),
    ("overrides", {"package_name": "beta", "cve_id": "CVE-2026-1001", "status": "wont_fix"}),
    ("overrides", {"package_name": "Beta", "cve_id": "CVE-2026-1001", "status": "not_applicable"}),
    ("overrides", {"package_name": None, "cve_id": "CVE-2026-1999", "status": "not_applicable"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def doubtful(shared_warehouse: Warehouse) -> dict[str, tuple[str, int | None]]:
    """Status and failures of each check for doubtful rows that are a quarter of a year old."""
    shared_warehouse.build(DOUBTFUL, at=THEN)
    later = datetime(2026, 4, 10, tzinfo=UTC)
    results = shared_warehouse.build(DOUBTFUL, at=later)
    return {name: (result.status, result.failures) for name, result in results.items()}


@pytest.mark.parametrize(
    ("check", "offenders"),
    [
        ("gate_advisories__lineage_is_proven", 1),
        ("gate_advisories__vendor_is_not_below_distro", 1),
        ("gate_advisories__rejections_are_uncontested", 1),
        ("gate_advisories__rulings_spare_the_exploited", 1),
        ("gate_advisories__rulings_match_the_feed", 1),
        ("gate_advisories__no_advisory_is_stale", 2),
        ("gate_advisories__no_advisory_is_critically_stale", 2),
        ("advisories__rulings_are_given_once", 2),
        ("advisories__packages_have_one_spelling", 2),
    ],
)
def test_doubtful_input_is_a_warning(
    doubtful: dict[str, tuple[str, int | None]], check: str, offenders: int
) -> None:
    assert doubtful[check] == ("warn", offenders)


def test_doubtful_input_fails_no_check(doubtful: dict[str, tuple[str, int | None]]) -> None:
    assert not [name for name, (status, _) in doubtful.items() if status in {"fail", "error"}]


def test_a_final_state_that_becomes_non_final_is_a_warning(warehouse: Warehouse) -> None:
    warehouse.build(FEED, at=THEN)

    without_versions = [("echo", row | {"fixed_version": None}) for _, row in FEED]
    results = warehouse.build(without_versions, at=datetime(2026, 1, 2, tzinfo=UTC))

    assert results["gate_advisories__no_state_regresses"].failures == 3


@pytest.fixture(scope="module")
def sound_warehouse(
    tmp_path_factory: pytest.TempPathFactory, shared_warehouse: Warehouse
) -> Warehouse:
    """A separate warehouse, for tests that damage it and restore it."""
    warehouse = type(shared_warehouse)(
        tmp_path_factory.mktemp("sound"), shared_warehouse.project.directory.parent
    )
    warehouse.build(FEED)
    return warehouse


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("update mart_advisory_current set state = 'unknown'", "states_are_known"),
        ("update mart_advisory_current set explanation = ' '", "advisories_are_explained"),
        ("update int_advisories__decided set is_explained = false", "advisories_are_explained"),
        ("update mart_advisory_current set evidence = null", "final_states_have_evidence"),
        ("update mart_advisory_current set fixed_version = null", "only_fixed_has_a_version"),
        ("update mart_advisory_current set fixed_version = '0'", "only_fixed_has_a_version"),
        ("delete from mart_advisory_current where package_name = 'gamma'", "universe_is_complete"),
        ("update mart_advisory_current set package_name = 'omega'", "universe_is_complete"),
        ("insert into mart_advisory_current select * from mart_advisory_current",
         "current_keys_are_unique"),
        ("update mart_advisory_claims set claim = 'distro_fixed', ecosystem = 'PyPI'",
         "upstream_fixes_fit_the_distribution"),
        ("update mart_advisory_state_history set effective_to = effective_from",
         "periods_are_sound"),
    ],
)  # fmt: skip
def test_damage_fails_its_check(sound_warehouse: Warehouse, damage: str, check: str) -> None:
    file = sound_warehouse.home.warehouse("advisories")
    undamaged = file.read_bytes()
    with duckdb.connect(str(file)) as connection:
        connection.execute(damage).fetchall()

    results = {result.unique_id.split(".")[2]: result for result in sound_warehouse.project.test()}

    file.write_bytes(undamaged)
    assert results[f"gate_advisories__{check}"].status == "fail"


def test_a_claim_without_a_rule_stops_the_build(warehouse: Warehouse) -> None:
    ruling = ("overrides", {"package_name": "alpha", "cve_id": "CVE-2026-1001", "status": "odd"})

    results = warehouse.build([*FEED, ruling], publish=False)

    assert results["advisories__claims_have_a_rule"].status == "fail"
    assert results["mart_advisory_current"].status == "skipped"

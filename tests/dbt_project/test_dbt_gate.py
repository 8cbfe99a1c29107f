"""What the checks over a candidate find: damage to a mart, and what a person should look at."""

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
    """What each check says where nothing is wrong and much is doubtful, a quarter of a year on."""
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
def test_what_is_doubtful_is_warned_of(
    doubtful: dict[str, tuple[str, int | None]], check: str, offenders: int
) -> None:
    assert doubtful[check] == ("warn", offenders)


def test_nothing_doubtful_blocks(doubtful: dict[str, tuple[str, int | None]]) -> None:
    assert not [name for name, (status, _) in doubtful.items() if status in {"fail", "error"}]


def test_a_state_that_is_taken_back_is_warned_of(warehouse: Warehouse) -> None:
    warehouse.build(FEED, at=THEN)

    taken_back = [("echo", row | {"fixed_version": None}) for _, row in FEED]
    results = warehouse.build(taken_back, at=datetime(2026, 1, 2, tzinfo=UTC))

    assert results["gate_advisories__no_state_regresses"].failures == 3


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, shared_warehouse: Warehouse) -> Warehouse:
    """A warehouse of its own, for tests that damage it and put it right again."""
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
        ("update mart_advisory_current set explanation = 'Fixed in {version}.'",
         "advisories_are_explained"),
        ("update mart_advisory_current set evidence = null", "final_states_have_evidence"),
        ("update mart_advisory_current set fixed_version = null", "only_fixed_has_a_version"),
        ("update mart_advisory_current set fixed_version = '1'", "only_fixed_has_a_version"),
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
def test_damage_is_found(sound: Warehouse, damage: str, check: str) -> None:
    kept = sound.home.warehouse("advisories").read_bytes()
    with duckdb.connect(str(sound.home.warehouse("advisories"))) as connection:
        connection.execute(damage).fetchall()

    results = {result.unique_id.split(".")[2]: result for result in sound.project.test()}

    sound.home.warehouse("advisories").write_bytes(kept)
    assert results[f"gate_advisories__{check}"].status == "fail"


def test_a_claim_without_a_rule_stops_the_build(warehouse: Warehouse) -> None:
    ruling = ("overrides", {"package_name": "alpha", "cve_id": "CVE-2026-1001", "status": "odd"})

    results = warehouse.build([*FEED, ruling], publish=False)

    assert results["advisories__claims_have_a_rule"].status == "fail"
    assert results["mart_advisory_current"].status == "skipped"

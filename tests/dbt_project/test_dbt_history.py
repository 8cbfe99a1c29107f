"""The history of advisories over several runs, each built from the last published history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Row, Warehouse

pytestmark = pytest.mark.long

DAYS = [datetime(2026, 3, day, 12, tzinfo=UTC) for day in (1, 2, 3, 4)]
CVES = {
    name: f"CVE-2026-{2000 + number}"
    for number, name in enumerate(
        (
            *("steady", "improves", "bumped", "vanishes", "returns", "withdrawn", "loses"),
            *("appears", "doubted", "trusted", "contested", "rebuilt", "lowered"),
        )
    )
}
OTHER = "CVE-2026-3000"


def feed(name: str, version: str | None = None) -> Row:
    return "echo", {"package_name": name, "cve_id": CVES[name], "fixed_version": version}


def osv(name: str, withdrawn_at: datetime | None) -> Row:
    return "osv", {
        "osv_id": f"DSA-{name}",
        "upstream": [CVES[name]],
        "modified_at": DAYS[0],
        "withdrawn_at": withdrawn_at,
        "ecosystem": "Debian:13",
        "package_name": name,
        "affected_number": 1,
        "range_number": 1,
        "range_type": "ECOSYSTEM",
        "introduced": "0",
        "fixed": "2.0-1",
    }


def tracker(name: str) -> Row:
    return "debian", {
        "package_name": name,
        "cve_id": CVES[name],
        "release": "trixie",
        "status": "resolved",
        "fixed_version": "2.0-1",
    }


def churn(day: datetime) -> Iterator[Row]:
    """Rows that change daily and have no influence on a decision."""
    cve = CVES["steady"]
    yield "epss", {"cve_id": cve, "epss": day.day / 100}
    yield (
        "nvd",
        {
            "cve_id": cve,
            "vuln_status": "Analyzed",
            "last_modified_at": day,
            "cvss_version": "3.1",
            "cvss_score": float(day.day),
        },
    )


def rejected(name: str) -> Row:
    return "nvd", {"cve_id": CVES[name], "vuln_status": "Rejected", "last_modified_at": DAYS[0]}


def tipped_claims(first: bool) -> Iterator[Row]:
    """Records that stay the same, and records of a second source that change their claims."""
    yield from (feed("doubted", "1.0-1"), feed("trusted", "1.0-1"), tracker("rebuilt"))
    yield from (tracker("lowered"), feed("lowered", "2.0-1" if first else "1.0-1"))
    yield from (rejected("contested"), feed("contested", None if first else "1.0-1"))
    yield from (feed("rebuilt"), tracker("trusted" if first else "doubted"))
    if not first:
        yield "echo", {"package_name": "rebuilt", "cve_id": OTHER, "fixed_version": "2.0-1+e1"}


def rows_of(run: int) -> list[Row]:
    """Returns the rows of a run, counted from 0."""
    first = run == 0
    rows = [
        *tipped_claims(first),
        *churn(DAYS[run]),
        feed("steady", "1.0-1"),
        feed("improves", None if first else "1.0-1"),
        feed("bumped", "1.0-1" if first else "1.1-1"),
        feed("withdrawn"),
        osv("withdrawn", None if first else DAYS[1] - timedelta(hours=1)),
        feed("loses"),
    ]
    if first:
        rows += [feed("vanishes", "1.0-1"), feed("returns"), tracker("loses")]
    else:
        rows += [feed("appears")]
    if run >= 2:
        rows += [feed("returns", "1.0-1")]
    return rows


@pytest.fixture(scope="module")
def four_runs(shared_warehouse: Warehouse) -> Warehouse:
    """A warehouse after four runs: a first one, changes, a return, and no change."""
    for run, day in enumerate(DAYS):
        results = shared_warehouse.build(rows_of(run if run < 3 else 2), at=day)
        assert not [result for result in results.values() if not result.is_ok]
    return shared_warehouse


@pytest.mark.parametrize(
    ("name", "periods"),
    [
        ("steady", [("fixed", "1.0-1", 1, None, "first_seen")]),
        ("improves", [("under_investigation", None, 1, 2, "first_seen"),
                      ("fixed", "1.0-1", 2, None, "new_evidence")]),
        ("bumped", [("fixed", "1.0-1", 1, 2, "first_seen"),
                    ("fixed", "1.1-1", 2, None, "new_evidence")]),
        ("vanishes", [("fixed", "1.0-1", 1, 2, "first_seen")]),
        ("returns", [("under_investigation", None, 1, 2, "first_seen"),
                     ("fixed", "1.0-1", 3, None, "returned")]),
        ("withdrawn", [("fixed", "2.0-1", 1, 2, "first_seen"),
                       ("under_investigation", None, 2, None, "record_withdrawn")]),
        ("loses", [("fixed", "2.0-1", 1, 2, "first_seen"),
                   ("under_investigation", None, 2, None, "evidence_gone")]),
        ("appears", [("under_investigation", None, 2, None, "first_seen")]),
    ],
)  # fmt: skip
def test_periods_follow_the_decisions(
    four_runs: Warehouse, name: str, periods: list[tuple[Any, ...]]
) -> None:
    rows = four_runs.query(
        "select state, fixed_version, day(effective_from), day(effective_to), cause"
        " from mart_advisory_state_history where package_name = ? order by effective_from",
        name,
    )

    assert rows == periods


def test_each_change_is_one_transition_with_its_cause(four_runs: Warehouse) -> None:
    rows = four_runs.query(
        "select package_name, day(changed_at), kind, old_state, new_state, cause, cause_source,"
        " cause_record, is_regression from mart_advisory_transitions order by 1, 2, 3"
    )

    new, echo = "under_investigation", "echo"
    record = {name: f"{name}:{cve}" for name, cve in CVES.items()}
    assert rows == [
        ("appears", 2, "appeared", None, new, "first_seen", echo, record["appears"], False),
        ("bumped", 2, "detail", "fixed", "fixed", "new_evidence", echo, record["bumped"], False),
        (
            "contested",
            2,
            "detail",
            "not_applicable",
            "not_applicable",
            "new_evidence",
            echo,
            record["contested"],
            False,
        ),
        (
            "doubted",
            2,
            "detail",
            "fixed",
            "fixed",
            "new_evidence",
            "debian",
            record["doubted"],
            False,
        ),
        ("improves", 2, "state", new, "fixed", "new_evidence", echo, record["improves"], False),
        ("loses", 2, "state", "fixed", new, "evidence_gone", "debian", record["loses"], True),
        ("lowered", 2, "detail", "fixed", "fixed", "new_evidence", echo, record["lowered"], False),
        ("rebuilt", 2, "appeared", None, "fixed", "first_seen", echo, f"rebuilt:{OTHER}", False),
        (
            "rebuilt",
            2,
            "state",
            "fixed",
            "pending_upstream",
            "new_evidence",
            echo,
            f"rebuilt:{OTHER}",
            True,
        ),
        ("returns", 2, "vanished", new, None, "vanished", echo, record["returns"], False),
        ("returns", 3, "returned", new, "fixed", "returned", echo, record["returns"], False),
        (
            "trusted",
            2,
            "detail",
            "fixed",
            "fixed",
            "evidence_gone",
            "debian",
            record["trusted"],
            False,
        ),
        ("vanishes", 2, "vanished", "fixed", None, "vanished", echo, record["vanishes"], False),
        ("withdrawn", 2, "state", "fixed", new, "record_withdrawn", "osv", "DSA-withdrawn", True),
    ]


@pytest.mark.parametrize(
    ("name", "first_seen", "non_final_since"),
    [
        ("steady", date(2026, 3, 1), None),
        ("appears", date(2026, 3, 2), date(2026, 3, 2)),
        ("loses", date(2026, 3, 1), date(2026, 3, 2)),
        ("returns", date(2026, 3, 1), None),
    ],
)
def test_days_come_from_the_history(
    four_runs: Warehouse, name: str, first_seen: date, non_final_since: date | None
) -> None:
    rows = four_runs.query(
        "select first_seen, non_final_since from mart_advisory_current where package_name = ?",
        name,
    )

    assert rows == [(first_seen, non_final_since)]


def test_a_repeated_run_has_the_same_bytes(warehouse: Warehouse) -> None:
    warehouse.build(rows_of(0), at=DAYS[0])
    keys = {
        "mart_advisory_current": ["advisory_id"],
        "mart_advisory_claims": ["advisory_id", "rank"],
        "mart_advisory_state_history": ["advisory_id", "effective_from"],
    }

    copies = []
    for attempt in ("first", "again"):
        warehouse.build(rows_of(1), at=DAYS[1], publish=False)
        files = warehouse.project.export(keys, warehouse.marts / attempt)
        copies.append({name: path.read_bytes() for name, path in files.items()})

    assert copies[0] == copies[1]


def test_a_run_before_the_last_published_one_fails_its_check(warehouse: Warehouse) -> None:
    warehouse.build(rows_of(0), at=DAYS[1])

    results = warehouse.build(rows_of(1), at=DAYS[0])

    assert results["gate_advisories__time_goes_forward"].status == "fail"

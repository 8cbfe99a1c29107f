"""The models of documents: the terms of each state, and the checks on lost or added advisories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

if TYPE_CHECKING:
    from conftest import Row, Warehouse

pytestmark = pytest.mark.long

FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = FIRST + timedelta(days=1)
THIRD = SECOND + timedelta(days=1)


def feed(package: str, cve: str, **columns: str) -> Row:
    return "echo", {"package_name": package, "cve_id": cve} | columns


def ruling(package: str, cve: str, reason: str) -> Row:
    columns = {"status": "not_applicable", "internal_status": reason}
    return "overrides", {"package_name": package, "cve_id": cve} | columns


ROWS: list[Row] = [
    feed("alpha", "CVE-2026-1001", fixed_version="1.0-1", severity="HIGH"),
    feed("alpha", "CVE-2026-1002", severity="low"),
    feed("beta", "CVE-2026-1001", fixed_version="2.0-1"),
    feed("beta", "CVE-2026-1003", fixed_version="1"),
    feed("gamma", "CVE-2026-1004"),
    ruling("beta", "CVE-2026-1003", "os_specific"),
    ruling("gamma", "CVE-2026-1004", "we asked the author"),
    ruling("nowhere", "CVE-2026-1005", "code_not_in_use"),
]
LATER = [row for row in ROWS if row[1] not in (ROWS[0][1], ROWS[2][1], ROWS[1][1])]


@pytest.fixture(scope="module")
def first_results(shared_warehouse: Warehouse) -> Any:
    return shared_warehouse.build(ROWS, at=FIRST)


@pytest.fixture(scope="module")
def documents(shared_warehouse: Warehouse, first_results: Any) -> Warehouse:
    assert first_results
    return shared_warehouse


def test_the_scanner_feed_has_the_severity_of_the_vendor_only(documents: Warehouse) -> None:
    rows = documents.query("select * from doc_advisories__scanner_feed order by all")

    assert rows == [
        ("alpha", "CVE-2026-1001", "1.0-1", "High"),
        ("alpha", "CVE-2026-1002", None, "Low"),
        ("beta", "CVE-2026-1001", "2.0-1", None),
        ("beta", "CVE-2026-1003", "0", None),
        ("gamma", "CVE-2026-1004", "0", None),
        ("nowhere", "CVE-2026-1005", "0", None),
    ]


def test_only_a_reason_in_the_seed_has_a_label(documents: Warehouse) -> None:
    rows = documents.query(
        "select package_name, justification, impact_statement is not null "
        "from doc_advisories__openvex where status = 'not_affected' order by all"
    )

    assert rows == [
        ("beta", "vulnerable_code_not_present", True),
        ("gamma", None, True),
        ("nowhere", "vulnerable_code_not_in_execute_path", True),
    ]


@pytest.mark.parametrize(
    "check", ["gate_advisories__reasons_are_known", "gate_advisories__statements_match_the_feed"]
)
def test_a_doubtful_statement_is_a_warning(first_results: Any, check: str) -> None:
    assert (first_results[check].status, first_results[check].failures) == ("warn", 1)


def test_an_osv_record_covers_all_packages_of_its_id(documents: Warehouse) -> None:
    rows = documents.query(
        "select distinct summary, details from doc_advisories__osv "
        "where vulnerability_id = 'CVE-2026-1001'"
    )

    assert rows == [
        (
            "CVE-2026-1001 in alpha and 1 other package",
            (
                "- alpha: Fixed in version 1.0-1. Source: the vendor's feed.\n"
                "- beta: Fixed in version 2.0-1. Source: the vendor's feed."
            ),
        )
    ]


@pytest.mark.parametrize(
    ("check", "damage"),
    [
        pytest.param(
            "gate_advisories__scanner_feed_says_zero_for_not_applicable",
            "update doc_advisories__scanner_feed set fixed_version = '1' where cve_id like '%4'",
            id="1 in place of 0",
        ),
        pytest.param(
            "gate_advisories__openvex_loses_no_advisory",
            "delete from doc_advisories__openvex where package_name = 'gamma'",
            id="lost advisory",
        ),
        pytest.param(
            "gate_advisories__csaf_loses_no_advisory",
            "update doc_advisories__csaf set package_name = 'delta' where package_name = 'gamma'",
            id="wrong package name",
        ),
        pytest.param(
            "gate_advisories__cyclonedx_loses_no_advisory",
            "insert into doc_advisories__cyclonedx from doc_advisories__cyclonedx limit 1",
            id="duplicate",
        ),
        pytest.param(
            "gate_advisories__osv_loses_no_advisory",
            "update doc_advisories__osv set withdrawn_at = now() where package_name = 'beta'",
            id="current advisory withdrawn",
        ),
        pytest.param(
            "gate_advisories__osv_names_no_sentinel",
            "update doc_advisories__osv set fixed_version = '0' where package_name = 'beta'",
            id="sentinel as version",
        ),
        pytest.param(
            "gate_advisories__changes_are_those_of_this_run",
            "update doc_advisories__changes set changes = [changes[1]]",
            id="invented change",
        ),
    ],
)
def test_a_damaged_document_model_fails_its_check(
    documents: Warehouse, check: str, damage: str
) -> None:
    file = documents.home.warehouse("advisories")
    undamaged = file.read_bytes()
    with duckdb.connect(str(file)) as connection:
        connection.execute(damage).fetchall()

    [result] = [r for r in documents.project.test() if r.unique_id.split(".")[2] == check]

    file.write_bytes(undamaged)
    assert result.status == "fail"


def test_the_record_of_a_vanished_id_is_withdrawn_with_its_last_statements(
    warehouse: Warehouse,
) -> None:
    warehouse.build(ROWS, at=FIRST)

    warehouse.build(LATER, at=SECOND)

    rows = warehouse.query(
        "select vulnerability_id, package_name, fixed_version, modified_at, withdrawn_at "
        "from doc_advisories__osv where withdrawn_at is not null or modified_at > ? order by all",
        FIRST,
    )
    assert [(i, p, v) for i, p, v, *_ in rows] == [
        ("CVE-2026-1001", "alpha", "1.0-1"),
        ("CVE-2026-1001", "beta", "2.0-1"),
        ("CVE-2026-1002", "alpha", None),
    ]
    assert [row[3:] for row in rows] == [(SECOND, SECOND)] * 3


def test_the_record_of_a_dismissed_id_is_withdrawn_with_what_it_affected_last(
    warehouse: Warehouse,
) -> None:
    dismissals = [ruling("alpha", "CVE-2026-1001", "a"), ruling("beta", "CVE-2026-1001", "b")]
    query = (
        "select package_name, is_affected, fixed_version, modified_at, withdrawn_at"
        " from doc_advisories__osv where vulnerability_id = 'CVE-2026-1001' order by all"
    )
    warehouse.build(ROWS, at=FIRST)

    warehouse.build([*ROWS, dismissals[0]], at=SECOND)
    one_dismissed = warehouse.query(query)
    warehouse.build([*ROWS, *dismissals], at=THIRD)
    all_dismissed = warehouse.query(query)
    warehouse.build([*ROWS, dismissals[1]], at=THIRD + timedelta(days=1))

    assert [row[:3] for row in one_dismissed] == [("alpha", False, None), ("beta", True, "2.0-1")]
    assert all_dismissed == [("beta", True, "2.0-1", THIRD, THIRD)]
    assert [row[::4] for row in warehouse.query(query)] == [("alpha", None), ("beta", None)]


def test_an_id_that_never_affected_a_package_has_no_record(documents: Warehouse) -> None:
    ids = documents.query("select distinct vulnerability_id from doc_advisories__osv order by all")

    assert ids == [("CVE-2026-1001",), ("CVE-2026-1002",)]


@pytest.mark.parametrize(
    ("vector", "scored", "modified"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", FIRST - timedelta(days=9), FIRST),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", SECOND, SECOND),
        (None, SECOND, SECOND),  # it may have had one
        ("AV:N/AC:L/Au:N/C:P/I:P/A:P", THIRD + timedelta(days=300), FIRST),
    ],
    ids=["scored before", "scored later", "vector gone", "time ahead"],
)
def test_the_record_has_the_vector_of_the_nvd_and_moves_with_it(
    warehouse: Warehouse, vector: str | None, scored: datetime, modified: datetime
) -> None:
    score = {
        "cve_id": "CVE-2026-1002",
        "last_modified_at": scored,
        "cvss_vector": vector,
    }
    warehouse.build(ROWS, at=FIRST)

    warehouse.build([*ROWS, ("nvd", score)], at=THIRD)

    rows = warehouse.query(
        "select cvss_vector, modified_at from doc_advisories__osv where"
        " vulnerability_id = 'CVE-2026-1002'"
    )
    assert rows == [(vector, modified)]


def test_a_vanished_package_changes_the_record_and_does_not_withdraw_it(
    warehouse: Warehouse,
) -> None:
    warehouse.build(ROWS, at=FIRST)

    warehouse.build(ROWS[1:], at=SECOND)

    rows = warehouse.query(
        "select package_name, modified_at, withdrawn_at from doc_advisories__osv "
        "where vulnerability_id = 'CVE-2026-1001'"
    )
    assert rows == [("beta", SECOND, None)]

"""dbt's own unit tests, which stand beside the models, pass in a warehouse that was just built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Warehouse


def test_every_unit_test_of_dbt_passes(warehouse: Warehouse) -> None:
    warehouse.build([("echo", {"package_name": "alpha", "cve_id": "CVE-2026-1001"})])

    results = warehouse.project.unit_test()

    assert {result.unique_id: result.message for result in results if not result.is_ok} == {}
    assert len(results) >= 20


@pytest.mark.long
def test_a_change_of_one_source_builds_what_is_below_it(warehouse: Warehouse) -> None:
    row = {"package_name": "alpha", "cve_id": "CVE-2026-1001"}
    warehouse.build([("echo", row)], publish=False)
    warehouse.lay([("echo", row), ("overrides", row | {"status": "wont_fix"})])

    warehouse.project.build([f"source:{warehouse.domain.name}.overrides+"])

    assert warehouse.query("select state from mart_advisory_current") == [("wont_fix",)]

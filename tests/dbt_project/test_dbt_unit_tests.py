"""dbt's unit tests of the models, which need the relations of a warehouse but none of its rows."""

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
def test_a_build_from_one_source_updates_the_models_downstream(warehouse: Warehouse) -> None:
    row = {"package_name": "alpha", "cve_id": "CVE-2026-1001"}
    warehouse.build([("echo", row)], publish=False)
    warehouse.write_tables([("echo", row), ("overrides", row | {"status": "wont_fix"})])

    warehouse.project.build([f"source:{warehouse.domain.name}.overrides+"])

    assert warehouse.query("select state from mart_advisory_current") == [("wont_fix",)]

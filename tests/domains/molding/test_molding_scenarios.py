"""The five outcomes of the collect and load phases, and the result of the run in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from domains.molding.factory_home import DOMAIN, ORDERS, Cells, FactoryHome

from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import run_domain

if TYPE_CHECKING:
    from pathlib import Path

    from etl_assets.model.run_manifest import RunManifest

FIRST_ORDERS = f"{ORDERS}/purchaseOrder_241220.xlsx"
SECOND_ORDERS = f"{ORDERS}/purchaseOrder_250105.xlsx"


def statuses(manifest: RunManifest) -> tuple[str, str, str]:
    assert manifest.result is not None
    result = manifest.result
    return (
        result.overall_status.value,
        result.collector_result.status,
        result.loader_result.status,
    )


def run_with_a_strict_gate(factory: FactoryHome) -> RunManifest:
    """Run with a gate that allows no order to vanish."""
    (check,) = factory.domain.gate
    strict = check.model_copy(update={"floor": 0, "max_vanished_pct": 0})
    domain = factory.domain.model_copy(update={"gate": [strict]})
    with factory.session(domain) as session:
        return run_domain(session, RunOptions())


def without_last_row(cells: Cells) -> Cells:
    return cells[:-1]


def test_both_phases_succeed(first_factory: FactoryHome) -> None:
    manifest = first_factory.run()
    result: dict[str, Any] = manifest.model_dump(mode="json")["result"]

    assert statuses(manifest) == ("success", "success", "success")
    assert result["collector_result"]["files_processed"] == 10
    assert result["collector_result"]["records_count"] == 53
    assert result["collector_result"]["healing_actions"] == []
    assert result["loader_result"]["tables_created"] == 8
    assert result["loader_result"]["data_validation"] == "passed"
    assert set(result) == {"overall_status", "collector_result", "loader_result", "timestamp"}


@pytest.mark.long
def test_collect_fails_and_load_uses_the_last_good_rows(factory: FactoryHome) -> None:
    (factory.mirror / FIRST_ORDERS).write_bytes(b"no workbook")

    manifest = factory.run()

    assert statuses(manifest) == ("partial_success", "error", "success")
    assert manifest.result is not None
    (action,) = manifest.result.collector_result.healing_actions
    assert action.startswith("molding.purchase_orders[241220]: used the last good file of 20")
    assert "expected zip, found text" in action


@pytest.mark.long
def test_collect_fails_without_a_last_good_file(tmp_path: Path) -> None:
    factory = FactoryHome.create(tmp_path)
    for file in (factory.mirror / ORDERS).iterdir():
        file.unlink()

    manifest = factory.run()

    assert statuses(manifest) == ("failed", "error", "skipped")
    assert "molding.purchase_orders[no-file]" in manifest.note
    assert not factory.home.latest(DOMAIN).exists()


@pytest.mark.long
def test_load_fails_and_the_published_set_is_kept(factory: FactoryHome) -> None:
    before = factory.latest
    factory.correct(SECOND_ORDERS, "poList", without_last_row)
    factory.correct(FIRST_ORDERS, "poList", without_last_row)

    manifest = run_with_a_strict_gate(factory)

    assert statuses(manifest) == ("failed", "success", "error")
    assert manifest.result is not None
    assert manifest.result.loader_result.data_validation == "failed"
    assert factory.latest == before


@pytest.mark.long
def test_both_phases_fail(factory: FactoryHome) -> None:
    before = factory.latest
    factory.correct(FIRST_ORDERS, "poList", without_last_row)
    (factory.mirror / SECOND_ORDERS).write_bytes(b"no workbook")

    manifest = run_with_a_strict_gate(factory)

    assert statuses(manifest) == ("failed", "error", "error")
    assert factory.latest == before

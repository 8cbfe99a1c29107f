"""The five ways in which collecting and loading may end, and what the result says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from domains.molding.factory import DOMAIN, ORDERS, Cells, Factory

from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import run_domain

if TYPE_CHECKING:
    from pathlib import Path

    from etl_assets.model.run_manifest import RunManifest

FIRST_ORDERS = f"{ORDERS}/purchaseOrder_241220.xlsx"
SECOND_ORDERS = f"{ORDERS}/purchaseOrder_250105.xlsx"


def told(manifest: RunManifest) -> tuple[str, str, str]:
    assert manifest.result is not None
    result = manifest.result
    return (
        result.overall_status.value,
        result.collector_result.status,
        result.loader_result.status,
    )


def run_with_a_strict_gate(factory: Factory) -> RunManifest:
    """A run whose gate lets no order vanish."""
    (check,) = factory.domain.gate
    strict = check.model_copy(update={"floor": 0, "max_vanished_pct": 0})
    domain = factory.domain.model_copy(update={"gate": [strict]})
    with factory.session(domain) as session:
        return run_domain(session, RunOptions())


def without_its_last_row(cells: Cells) -> Cells:
    return cells[:-1]


def test_both_phases_succeed(first_factory: Factory) -> None:
    manifest = first_factory.run()
    written: dict[str, Any] = manifest.model_dump(mode="json")["result"]

    assert told(manifest) == ("success", "success", "success")
    assert written["collector_result"]["files_processed"] == 10
    assert written["collector_result"]["records_count"] == 53
    assert written["collector_result"]["healing_actions"] == []
    assert written["loader_result"]["tables_created"] == 8
    assert written["loader_result"]["data_validation"] == "passed"
    assert set(written) == {"overall_status", "collector_result", "loader_result", "timestamp"}


@pytest.mark.long
def test_collecting_fails_and_the_last_good_rows_are_loaded(factory: Factory) -> None:
    (factory.mirror / FIRST_ORDERS).write_bytes(b"no workbook")

    manifest = factory.run()

    assert told(manifest) == ("partial_success", "error", "success")
    assert manifest.result is not None
    (healed,) = manifest.result.collector_result.healing_actions
    assert healed.startswith("molding.purchase_orders[241220]: used the last good file of 20")
    assert "expected zip, found text" in healed


@pytest.mark.long
def test_collecting_fails_with_nothing_to_fall_back_on(tmp_path: Path) -> None:
    factory = Factory.create(tmp_path)
    for file in (factory.mirror / ORDERS).iterdir():
        file.unlink()

    manifest = factory.run()

    assert told(manifest) == ("failed", "error", "skipped")
    assert "molding.purchase_orders[no-file]" in manifest.note
    assert not factory.home.latest(DOMAIN).exists()


@pytest.mark.long
def test_loading_fails_and_what_is_published_stays(factory: Factory) -> None:
    before = factory.latest
    factory.correct(SECOND_ORDERS, "poList", without_its_last_row)
    factory.correct(FIRST_ORDERS, "poList", without_its_last_row)

    manifest = run_with_a_strict_gate(factory)

    assert told(manifest) == ("failed", "success", "error")
    assert manifest.result is not None
    assert manifest.result.loader_result.data_validation == "failed"
    assert factory.latest == before


@pytest.mark.long
def test_both_phases_fail(factory: Factory) -> None:
    before = factory.latest
    factory.correct(FIRST_ORDERS, "poList", without_its_last_row)
    (factory.mirror / SECOND_ORDERS).write_bytes(b"no workbook")

    manifest = run_with_a_strict_gate(factory)

    assert told(manifest) == ("failed", "error", "error")
    assert factory.latest == before

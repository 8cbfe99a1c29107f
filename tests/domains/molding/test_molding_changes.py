"""Runs after workbooks were corrected, added, damaged or deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from domains.molding.factory_home import DOMAIN, ORDERS, REPORTS, STATIC, Cells

from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_defs
from etl_assets.model.errors import UsageError
from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions

if TYPE_CHECKING:
    from domains.molding.factory_home import FactoryHome

FIRST_ORDERS = f"{ORDERS}/purchaseOrder_241220.xlsx"
JANUARY = f"{REPORTS}/monthlyReports_202501.xlsb"
QUANTITY = 5


def quantity(po_no: str, value: str) -> Any:
    """Returns a correction of the quantity of one order, for `correct`."""

    def correction(cells: Cells) -> Cells:
        return [
            [*row[:QUANTITY], value, *row[QUANTITY + 1 :]] if row[1] == po_no else row
            for row in cells
        ]

    return correction


@pytest.mark.long
def test_a_corrected_workbook_changes_exactly_its_rows(factory: FactoryHome) -> None:
    before = {row["poNo"]: row for row in factory.table("purchaseOrders")}

    factory.correct(FIRST_ORDERS, "poList", quantity("PO2501003", "2500"))
    manifest = factory.run()

    after = {row["poNo"]: row for row in factory.table("purchaseOrders")}
    assert factory.fetched_files(manifest) == ["purchase_orders_raw[241220]"]
    assert after == before | {"PO2501003": before["PO2501003"] | {"itemQuantity": 2500}}
    assert len(factory.change_log()) == 9
    assert factory.change_log()[-1].endswith(
        "purchaseOrders: 9 rows; 0 added, 1 changed, 0 removed"
    )


@pytest.mark.long
def test_a_reference_is_checked_again_when_its_master_table_changes(
    factory: FactoryHome,
) -> None:
    check_name = "records_name_known_items"

    factory.correct(
        f"{STATIC}/itemInfo.xlsx", "itemInfo", lambda cells: [*cells, ["7001X", "DUCK-X"]]
    )
    manifest = factory.run()

    failed = {check.name for check in manifest.failed_checks}
    assert {check_name: True}.items() <= {
        check.name: check.passed for check in manifest.checks
    }.items()
    assert failed >= {
        "records_name_known_molds",
        "shots_give_the_pieces",
        "contract",
    }, "checks that did not run again keep their results"


@pytest.mark.long
def test_the_sixteenth_digit_of_a_number_is_no_change(factory: FactoryHome) -> None:
    def with_sixteenth_digit(cells: Cells) -> Cells:
        return [[{"100.4": "100.40000000000002"}.get(cell, cell) for cell in row] for row in cells]

    correction = quantity("PO2501003", "2500")
    factory.correct(FIRST_ORDERS, "poList", lambda cells: correction(with_sixteenth_digit(cells)))
    factory.run()

    (first, *_) = factory.table("purchaseOrders")
    assert first["plasticResinQuantity"] == 100.40000000000002
    assert factory.change_log()[-1].endswith("0 added, 1 changed, 0 removed")


@pytest.mark.long
def test_a_later_workbook_overrides_an_order_of_an_earlier_one(factory: FactoryHome) -> None:
    header, *rows = quantity("PO2501002", "9000")(factory.read_sample(FIRST_ORDERS, "poList"))

    factory.write_workbook(f"{ORDERS}/purchaseOrder_250110.xlsx", "poList", [header, *rows])
    factory.run()

    quantities = {row["poNo"]: row["itemQuantity"] for row in factory.table("purchaseOrders")}
    assert len(factory.table("purchaseOrders")) == 9
    assert quantities["PO2501002"] == 9000
    assert factory.change_log()[-1].endswith("0 added, 1 changed, 0 removed")


@pytest.mark.long
def test_the_sensor_requests_a_new_workbook_and_only_that_is_read(factory: FactoryHome) -> None:
    header, *rows = factory.read_sample(JANUARY, "Sheet1")
    # A date is the number of a day in this workbook; March begins 59 days after January.
    march = [[str(int(row[0]) + 59), *row[1:]] for row in rows]
    factory.write_workbook(f"{REPORTS}/monthlyReports_202503.xlsb", "Sheet1", [header, *march])

    tick = sensor_tick(factory)
    manifest = factory.run()

    (request,) = tick.run_requests
    selected = {key.path[-1] for key in request.asset_selection}
    assert {name for name in selected if name.endswith("_raw")} == {"product_records_raw"}
    assert request.tags["dagster/asset_partition_range_end"] == "202503"
    assert "202503" in tick.dynamic_partitions_requests[0].partition_keys
    assert factory.fetched_files(manifest) == ["product_records_raw[202503]"]
    assert manifest.status is RunStatus.SUCCESS
    assert len(factory.table("productRecords")) == 26


def test_an_unchanged_run_reads_no_workbook(factory: FactoryHome) -> None:
    manifest = factory.run()

    assert [asset.key for asset in manifest.assets if asset.outcome == "made"] == []
    assert all("keep, up to date" in line for line in factory.plan())


@pytest.mark.long
def test_the_rows_of_a_deleted_workbook_are_kept_and_its_check_fails(factory: FactoryHome) -> None:
    (factory.mirror / FIRST_ORDERS).unlink()

    manifest = factory.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert len(factory.table("purchaseOrders")) == 9
    assert "no such file; the last good file" in factory.check_description(
        "purchase_orders_raw", "fetched"
    )


@pytest.mark.long
def test_a_damaged_workbook_does_not_affect_the_others(factory: FactoryHome) -> None:
    (factory.mirror / JANUARY).write_bytes(b"PK\x03\x04 half of it")
    factory.correct(FIRST_ORDERS, "poList", quantity("PO2501003", "2500"))

    manifest = factory.run()

    quantities = {row["poNo"]: row["itemQuantity"] for row in factory.table("purchaseOrders")}
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert quantities["PO2501003"] == 2500
    assert len(factory.table("productRecords")) == 16
    assert list(factory.home.quarantine(DOMAIN, "product_records").iterdir())


@pytest.mark.long
def test_a_damaged_new_workbook_does_not_affect_the_others(factory: FactoryHome) -> None:
    (factory.mirror / REPORTS / "monthlyReports_202503.xlsb").write_bytes(b"PK\x03\x04 half of it")
    without_quantity = [
        [*row[:QUANTITY], *row[6:]] for row in factory.read_sample(FIRST_ORDERS, "poList")
    ]
    factory.write_workbook(f"{ORDERS}/purchaseOrder_250301.xlsx", "poList", without_quantity)
    factory.correct(FIRST_ORDERS, "poList", quantity("PO2501003", "2500"))

    manifest = factory.run()

    quantities = {row["poNo"]: row["itemQuantity"] for row in factory.table("purchaseOrders")}
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert "product_records[202503]: missing" in manifest.note
    assert "purchase_orders[250301]: outage (sheet poList, row 1: expected" in manifest.note
    assert (len(quantities), quantities["PO2501003"]) == (9, 2500)
    assert len(factory.table("productRecords")) == 16


@pytest.mark.long
def test_a_workbook_without_a_declared_column_fails_with_its_sheet_and_column(
    factory: FactoryHome,
) -> None:
    factory.correct(
        FIRST_ORDERS, "poList", lambda cells: [[*row[:QUANTITY], *row[6:]] for row in cells]
    )

    manifest = factory.run()

    description = factory.check_description("purchase_orders", "contract")
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert (
        "purchase_orders[241220]: sheet poList, row 1: expected a header with itemQuantity"
        in description
    )
    assert "the last table is kept" in description
    assert len(factory.table("purchaseOrders")) == 9


@pytest.mark.long
def test_a_number_with_a_comma_rejects_its_row(factory: FactoryHome) -> None:
    factory.correct(f"{ORDERS}/purchaseOrder_250105.xlsx", "poList", quantity("PO2501009", "1,000"))

    factory.run()

    assert factory.check_description("purchase_orders", "contract").startswith(
        "molding.purchase_orders[250105]: expected at most 20 % of rows rejected, or 1, and"
        " not all, found 2 of 6"
    )


@pytest.mark.long
def test_a_file_with_an_unexpected_name_is_reported_and_ignored(factory: FactoryHome) -> None:
    copy = factory.mirror / ORDERS / "purchaseOrder_copy.xlsx"
    copy.write_bytes((factory.mirror / FIRST_ORDERS).read_bytes())

    lines = factory.plan()

    assert (
        "molding.purchase_orders: 'purchaseOrder_copy.xlsx' is ignored: expected "
        "purchaseOrder_{partition}.xlsx with [0-9]{6}.*"
    ) in lines


@pytest.mark.long
def test_a_missing_master_table_does_not_affect_new_reports(factory: FactoryHome) -> None:
    (factory.mirror / STATIC / "itemInfo.xlsx").unlink()
    factory.correct(JANUARY, "Sheet1", lambda cells: cells[:-1])

    manifest = factory.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert len(factory.table("productRecords")) == 15
    assert len(factory.table("itemInfo")) == 4


def sensor_tick(factory: FactoryHome) -> Any:
    defs = build_defs(ProjectContext(factory.settings, {DOMAIN: factory.domain}))
    with factory.instance() as instance:
        context = dg.build_sensor_context(
            instance=instance, repository_def=defs.get_repository_def()
        )
        return defs.resolve_sensor_def(f"{DOMAIN}_probe").evaluate_tick(context)


@pytest.mark.long
def test_a_deleted_workbook_is_used_until_the_operator_forgets_it(factory: FactoryHome) -> None:
    orders = {row["poNo"] for row in factory.table("purchaseOrders")}
    file = factory.mirror / FIRST_ORDERS
    content = file.read_bytes()

    with pytest.raises(UsageError, match="expected a deleted file, found it in"):
        factory.forget("purchase_orders", "241220")
    file.unlink()
    run_without_file = factory.run()
    description = factory.check_description("purchase_orders_raw", "fetched")
    orders_without_file = {row["poNo"] for row in factory.table("purchaseOrders")}
    factory.forget("purchase_orders", "241220")
    run_after_forget = factory.run(RunOptions(accept_changes=True))
    orders_after_forget = {row["poNo"] for row in factory.table("purchaseOrders")}
    unchanged_run = factory.run()
    file.write_bytes(content)
    run_with_restored_file = factory.run()

    assert run_without_file.status is RunStatus.PARTIAL_SUCCESS
    assert orders_without_file == orders
    assert "`etl forget 'molding.purchase_orders[241220]' --why TEXT`" in description
    assert run_after_forget.status is RunStatus.SUCCESS
    assert set() < orders_after_forget < orders
    assert unchanged_run.status is RunStatus.SUCCESS
    assert factory.fetched_files(unchanged_run) == []
    assert factory.fetched_files(run_with_restored_file) == ["purchase_orders_raw[241220]"]
    assert {row["poNo"] for row in factory.table("purchaseOrders")} == orders

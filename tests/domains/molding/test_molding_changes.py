"""Workbooks that are corrected, added, broken or gone: what a run makes of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from domains.molding.factory import DOMAIN, ORDERS, REPORTS, STATIC, Cells

from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_defs
from etl_assets.model.errors import UsageError
from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions

if TYPE_CHECKING:
    from domains.molding.factory import Factory

FIRST_ORDERS = f"{ORDERS}/purchaseOrder_241220.xlsx"
JANUARY = f"{REPORTS}/monthlyReports_202501.xlsb"
QUANTITY = 5


def quantity(po_no: str, value: str) -> Any:
    """A correction of the ordered quantity of one order."""

    def corrected(cells: Cells) -> Cells:
        return [
            [*row[:QUANTITY], value, *row[QUANTITY + 1 :]] if row[1] == po_no else row
            for row in cells
        ]

    return corrected


@pytest.mark.long
def test_a_corrected_workbook_changes_exactly_its_rows(factory: Factory) -> None:
    before = {row["poNo"]: row for row in factory.table("purchaseOrders")}

    factory.correct(FIRST_ORDERS, "poList", quantity("PO2501003", "2500"))
    manifest = factory.run()

    after = {row["poNo"]: row for row in factory.table("purchaseOrders")}
    assert factory.fetched(manifest) == ["purchase_orders_raw[241220]"]
    assert after == before | {"PO2501003": before["PO2501003"] | {"itemQuantity": 2500}}
    assert len(factory.change_log()) == 9
    assert factory.change_log()[-1].endswith(
        "purchaseOrders: 9 rows; 0 added, 1 changed, 0 removed"
    )


@pytest.mark.long
def test_a_reference_is_judged_anew_when_the_master_that_it_names_changes(
    factory: Factory,
) -> None:
    known = "molding__records_name_known_items"

    factory.correct(
        f"{STATIC}/itemInfo.xlsx", "itemInfo", lambda cells: [*cells, ["7001X", "DUCK-X"]]
    )
    manifest = factory.run()

    failed = {check.name for check in manifest.failed_checks}
    assert {known: True}.items() <= {check.name: check.passed for check in manifest.checks}.items()
    assert failed >= {
        "molding__records_name_known_molds",
        "molding__shots_give_the_pieces",
        "contract",
    }, "a verdict that this run did not give anew still stands"


@pytest.mark.long
def test_the_sixteenth_digit_of_a_number_is_no_change(factory: Factory) -> None:
    def saved_anew(cells: Cells) -> Cells:
        return [[{"100.4": "100.40000000000002"}.get(cell, cell) for cell in row] for row in cells]

    corrected = quantity("PO2501003", "2500")
    factory.correct(FIRST_ORDERS, "poList", lambda cells: corrected(saved_anew(cells)))
    factory.run()

    (first, *_) = factory.table("purchaseOrders")
    assert first["plasticResinQuantity"] == 100.40000000000002
    assert factory.change_log()[-1].endswith("0 added, 1 changed, 0 removed")


@pytest.mark.long
def test_a_later_workbook_has_the_word_on_an_order_of_an_earlier_one(factory: Factory) -> None:
    header, *rows = quantity("PO2501002", "9000")(factory.sample(FIRST_ORDERS, "poList"))

    factory.put(f"{ORDERS}/purchaseOrder_250110.xlsx", "poList", [header, *rows])
    factory.run()

    found = {row["poNo"]: row["itemQuantity"] for row in factory.table("purchaseOrders")}
    assert len(factory.table("purchaseOrders")) == 9
    assert found["PO2501002"] == 9000
    assert factory.change_log()[-1].endswith("0 added, 1 changed, 0 removed")


@pytest.mark.long
def test_the_sensor_asks_for_a_new_workbook_and_only_that_is_read(factory: Factory) -> None:
    header, *rows = factory.sample(JANUARY, "Sheet1")
    # A date is the number of a day in this workbook; March begins 59 days after January.
    march = [[str(int(row[0]) + 59), *row[1:]] for row in rows]
    factory.put(f"{REPORTS}/monthlyReports_202503.xlsb", "Sheet1", [header, *march])

    asked = sensor_tick(factory)
    manifest = factory.run()

    (request,) = asked.run_requests
    selected = {key.path[-1] for key in request.asset_selection}
    assert {name for name in selected if name.endswith("_raw")} == {"product_records_raw"}
    assert request.tags["dagster/asset_partition_range_end"] == "202503"
    assert "202503" in asked.dynamic_partitions_requests[0].partition_keys
    assert factory.fetched(manifest) == ["product_records_raw[202503]"]
    assert manifest.status is RunStatus.SUCCESS
    assert len(factory.table("productRecords")) == 26


def test_an_unchanged_run_reads_no_workbook(factory: Factory) -> None:
    manifest = factory.run()

    assert [asset.key for asset in manifest.assets if asset.outcome == "made"] == []
    assert all("keep, up to date" in line for line in factory.plan())


@pytest.mark.long
def test_a_workbook_that_is_gone_leaves_its_rows_and_is_told(factory: Factory) -> None:
    (factory.mirror / FIRST_ORDERS).unlink()

    manifest = factory.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert len(factory.table("purchaseOrders")) == 9
    assert "no such file; the last good file" in factory.check_description(
        "purchase_orders_raw", "fetched"
    )


@pytest.mark.long
def test_one_bad_workbook_does_not_keep_the_others_back(factory: Factory) -> None:
    (factory.mirror / JANUARY).write_bytes(b"PK\x03\x04 half of it")
    factory.correct(FIRST_ORDERS, "poList", quantity("PO2501003", "2500"))

    manifest = factory.run()

    found = {row["poNo"]: row["itemQuantity"] for row in factory.table("purchaseOrders")}
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert found["PO2501003"] == 2500
    assert len(factory.table("productRecords")) == 16
    assert list(factory.home.quarantine(DOMAIN, "product_records").iterdir())


@pytest.mark.long
def test_a_new_workbook_that_is_broken_does_not_keep_the_others_back(factory: Factory) -> None:
    (factory.mirror / REPORTS / "monthlyReports_202503.xlsb").write_bytes(b"PK\x03\x04 half of it")
    without = [[*row[:QUANTITY], *row[6:]] for row in factory.sample(FIRST_ORDERS, "poList")]
    factory.put(f"{ORDERS}/purchaseOrder_250301.xlsx", "poList", without)
    factory.correct(FIRST_ORDERS, "poList", quantity("PO2501003", "2500"))

    manifest = factory.run()

    found = {row["poNo"]: row["itemQuantity"] for row in factory.table("purchaseOrders")}
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert "product_records[202503]: missing" in manifest.note
    assert "purchase_orders[250301]: outage (sheet poList, row 1: expected" in manifest.note
    assert (len(found), found["PO2501003"]) == (9, 2500)
    assert len(factory.table("productRecords")) == 16


@pytest.mark.long
def test_a_workbook_without_a_declared_column_is_refused_by_sheet_and_column(
    factory: Factory,
) -> None:
    factory.correct(
        FIRST_ORDERS, "poList", lambda cells: [[*row[:QUANTITY], *row[6:]] for row in cells]
    )

    manifest = factory.run()

    said = factory.check_description("purchase_orders", "contract")
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert (
        "purchase_orders[241220]: sheet poList, row 1: expected a header with itemQuantity" in said
    )
    assert "the last table stands" in said
    assert len(factory.table("purchaseOrders")) == 9


@pytest.mark.long
def test_a_number_with_a_comma_rejects_its_row(factory: Factory) -> None:
    factory.correct(f"{ORDERS}/purchaseOrder_250105.xlsx", "poList", quantity("PO2501009", "1,000"))

    factory.run()

    assert factory.check_description("purchase_orders", "contract").startswith(
        "molding.purchase_orders[250105]: expected at most 20 % of rows rejected, found 2 of 6"
    )


@pytest.mark.long
def test_a_file_of_nearly_the_form_is_told_and_left_alone(factory: Factory) -> None:
    stranger = factory.mirror / ORDERS / "purchaseOrder_copy.xlsx"
    stranger.write_bytes((factory.mirror / FIRST_ORDERS).read_bytes())

    lines = factory.plan()

    assert (
        "molding.purchase_orders: 'purchaseOrder_copy.xlsx' is ignored: expected "
        "purchaseOrder_{partition}.xlsx with [0-9]{6}.*"
    ) in lines


@pytest.mark.long
def test_a_missing_master_does_not_keep_fresh_reports_back(factory: Factory) -> None:
    (factory.mirror / STATIC / "itemInfo.xlsx").unlink()
    factory.correct(JANUARY, "Sheet1", lambda cells: cells[:-1])

    manifest = factory.run()

    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert len(factory.table("productRecords")) == 15
    assert len(factory.table("itemInfo")) == 4


def sensor_tick(factory: Factory) -> Any:
    defs = build_defs(ProjectContext(factory.settings, {DOMAIN: factory.domain}))
    with factory.instance() as instance:
        context = dg.build_sensor_context(
            instance=instance, repository_def=defs.get_repository_def()
        )
        return defs.resolve_sensor_def(f"{DOMAIN}_probe").evaluate_tick(context)


@pytest.mark.long
def test_a_workbook_that_is_gone_stands_until_a_person_lets_it_go(factory: Factory) -> None:
    orders = {row["poNo"] for row in factory.table("purchaseOrders")}
    file = factory.mirror / FIRST_ORDERS
    held = file.read_bytes()

    with pytest.raises(UsageError, match="expected a file that is gone, found it in"):
        factory.forget("purchase_orders", "241220")
    file.unlink()
    missing = factory.run()
    told = factory.check_description("purchase_orders_raw", "fetched")
    stood = {row["poNo"] for row in factory.table("purchaseOrders")}
    factory.forget("purchase_orders", "241220")
    without = factory.run(RunOptions(accept_changes=True))
    left = {row["poNo"] for row in factory.table("purchaseOrders")}
    again = factory.run()
    file.write_bytes(held)
    back = factory.run()

    assert (missing.status, stood) == (RunStatus.PARTIAL_SUCCESS, orders)
    assert "`etl forget 'molding.purchase_orders[241220]' --why TEXT`" in told
    assert without.status is RunStatus.SUCCESS
    assert set() < left < orders
    assert (again.status, factory.fetched(again)) == (RunStatus.SUCCESS, [])
    assert factory.fetched(back) == ["purchase_orders_raw[241220]"]
    assert {row["poNo"] for row in factory.table("purchaseOrders")} == orders

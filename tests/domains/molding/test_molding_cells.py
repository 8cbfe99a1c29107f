"""A run after workbooks of March came in, whose cells are not just values."""

from __future__ import annotations

from datetime import date

import pytest
from domains.molding.factory_home import ORDERS, REPORTS, FactoryHome
from openpyxl.utils import get_column_letter
from support.workbooks import CellValue, Error, Formula, Serial, Table, workbook

from etl_assets.model.records import RunStatus

pytestmark = [pytest.mark.long, pytest.mark.ci]

MARCH_3, MARCH_31 = 45719, 45747  # of 2025, counted from 1900
DAYS_TO_1904 = 1462
RECORD: dict[str, CellValue] = {
    "recordDate": MARCH_3,
    "machineNo": "NO.01",
    "itemCode": "7001M",
    "poNote": "PO2501001",
    "moldNo": "DUCK-M-001",
    "itemTotalQuantity": 400,
    "itemGoodQuantity": 380,
}
ORDER: dict[str, CellValue] = {
    "poReceivedDate": MARCH_3 - DAYS_TO_1904,
    "poETA": Serial(MARCH_31 - DAYS_TO_1904),
    "itemCode": "7001M",
    "itemQuantity": 100,
    "plasticResinQuantity": 1.5,
}


@pytest.fixture(scope="module")
def march(first_factory: FactoryHome, tmp_path_factory: pytest.TempPathFactory) -> FactoryHome:
    """The home after a run with a report of March, and with orders in the 1904 date system."""
    factory = first_factory.copy_to(tmp_path_factory.mktemp("march") / "copy")
    factory.write_file(f"{REPORTS}/monthlyReports_202503.xlsb", report(factory))
    factory.write_file(f"{ORDERS}/purchaseOrder_250301.xlsx", orders(factory))
    manifest = factory.run()
    assert manifest.status is RunStatus.SUCCESS, manifest.note
    return factory


def table(header: list[str], rows: list[dict[str, CellValue]]) -> Table:
    return [header, *([row.get(name) for name in header] for row in rows)]


def report(factory: FactoryHome) -> bytes:
    header = factory.read_sample(f"{REPORTS}/monthlyReports_202501.xlsb", "Sheet1")[0]
    sound_rows = [RECORD | {"workingShift": f"A{number}"} for number in range(60)]
    other_rows = [
        RECORD | {"workingShift": "B1", "itemGoodQuantity": Formula(Error("#REF!"))},
        RECORD | {"workingShift": "B2", "poNote": Error("#N/A")},
        RECORD | {"workingShift": "C1"},
        RECORD | {"workingShift": "C2", "poNote": None},
        RECORD | {"workingShift": "C3", "poNote": None},
        RECORD | {"workingShift": "D1", "poNote": None},
    ]
    column = get_column_letter(header.index("poNote") + 1)
    merged = f"{column}64:{column}66"  # C1 to C3
    return workbook("xlsb", {"Sheet1": table(header, sound_rows + other_rows)}, merged=[merged])


def orders(factory: FactoryHome) -> bytes:
    header = factory.read_sample(f"{ORDERS}/purchaseOrder_250105.xlsx", "poList")[0]
    sound_rows = [ORDER | {"poNo": f"PO25030{number}"} for number in range(10, 30)]
    other_rows = [
        ORDER | {"poNo": "PO2503030", "poETA": Formula()},
        ORDER | {"poNo": "PO2503031", "plasticResinQuantity": Error("#DIV/0!")},
    ]
    return workbook("xlsx", {"poList": table(header, sound_rows + other_rows)}, is_1904=True)


def places(factory: FactoryHome, source: str, partition: str) -> list[tuple[str, str, str]]:
    rejects = factory.rejects(source, partition)
    return [(row["where"], row["column"], row["found"]) for row in rejects]


@pytest.mark.fault("excel-error-cell")
def test_a_record_with_an_error_is_rejected_and_no_idle_machine(march: FactoryHome) -> None:
    assert places(march, "product_records", "202503") == [
        ("sheet Sheet1, row 62", "itemGoodQuantity", "#REF!"),
        ("sheet Sheet1, row 63", "poNote", "#N/A"),
    ]
    assert {"B1", "B2"}.isdisjoint(row["workingShift"] for row in march.table("productRecords"))


@pytest.mark.fault("excel-error-cell", "excel-no-value")
def test_an_order_with_an_unknown_date_or_measure_is_rejected(march: FactoryHome) -> None:
    assert places(march, "purchase_orders", "250301") == [
        ("sheet poList, row 22", "poETA", "a formula without a stored value"),
        ("sheet poList, row 23", "plasticResinQuantity", "#DIV/0!"),
    ]


@pytest.mark.fault("excel-1904")
def test_orders_of_a_workbook_from_1904_have_their_days(march: FactoryHome) -> None:
    days = {
        (row["poReceivedDate"].date(), row["poETA"].date())
        for row in march.table("purchaseOrders")
        if row["poNo"].startswith("PO2503")
    }

    assert days == {(date(2025, 3, 3), date(2025, 3, 31))}


@pytest.mark.fault("excel-merged")
def test_a_merged_order_number_is_that_of_each_shift(march: FactoryHome) -> None:
    shifts = {row["workingShift"]: row["poNote"] for row in march.table("productRecords")}

    assert [shifts[name] for name in ("C1", "C2", "C3")] == ["PO2501001"] * 3


def test_a_record_with_an_item_and_no_order_fails_a_check(march: FactoryHome) -> None:
    check = "records_with_an_item_have_an_order"

    rows = march.failing_rows("int_product_records", check)

    assert rows == ["2025-03-03, D1, NO.01, 7001M"]

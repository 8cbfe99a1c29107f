"""A run of the sample, from workbooks to published set, against rows derived by hand."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from support.raw_fields import raw_fields

from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_defs

if TYPE_CHECKING:
    from domains.molding.factory_home import FactoryHome

DOMAIN = "molding"


def test_each_table_is_published_under_its_name_in_the_factory(first_factory: FactoryHome) -> None:
    row_counts = {path.stem: pq.read_metadata(path).num_rows for path in _tables(first_factory)}

    assert row_counts == {
        "itemCompositionSummary": 5,
        "itemInfo": 4,
        "machineInfo": 3,
        "moldInfo": 4,
        "moldSpecificationSummary": 5,
        "productRecords": 16,
        "purchaseOrders": 9,
        "resinInfo": 6,
    }


def test_a_serial_number_is_read_as_a_day_and_a_numeric_code_as_text(
    first_factory: FactoryHome,
) -> None:
    (first,) = (
        row
        for row in first_factory.table("productRecords")
        if (row["recordDate"], row["workingShift"], row["machineNo"])
        == (datetime(2025, 1, 2), "1", "NO.01")  # noqa: DTZ001 - the schema's times have no zone
    )

    assert first["plasticResinCode"] == "20010"
    assert first["colorMasterbatchCode"] == "20050"
    assert first["moldShot"] == 1000
    assert first["itemBlackSpot"] == 20


def test_texts_for_null_are_null_and_a_shift_is_in_capitals(first_factory: FactoryHome) -> None:
    machines = first_factory.table("machineInfo")
    shifts = {row["workingShift"] for row in first_factory.table("productRecords")}

    assert {row["previousMachineCode"] for row in machines} == {None}
    assert shifts == {"1", "2", "HC"}


def test_a_text_in_place_of_a_date_rejects_its_row(first_factory: FactoryHome) -> None:
    (reject,) = first_factory.rejects("purchase_orders", "250105")

    facts = {name: reject[name] for name in ("where", "column", "rule", "found")}

    assert facts == {
        "where": "sheet poList, row 7",
        "column": "poETA",
        "rule": "type",
        "found": '"next week"',
    }
    assert "PO2501010" not in {row["poNo"] for row in first_factory.table("purchaseOrders")}


def test_an_idle_machine_is_a_row_without_an_order(first_factory: FactoryHome) -> None:
    idle = [row for row in first_factory.table("productRecords") if row["poNote"] is None]

    assert len(idle) == 3
    assert {row["itemCode"] for row in idle} == {None}


def test_orders_have_their_progress(first_factory: FactoryHome) -> None:
    columns = ("produced_pieces", "remaining_pieces", "state", "completed_date", "days_late")

    progress = {r["po_no"]: tuple(r[c] for c in columns) for r in _progress(first_factory)}

    assert progress == {
        "PO2501001": (8000, 0, "complete", date(2025, 1, 2), None),
        "PO2501002": (8120, 0, "complete", date(2025, 1, 3), None),
        "PO2501003": (2040, 0, "complete", date(2025, 1, 9), 1),
        "PO2501004": (3162, 838, "in progress", None, 16),
        "PO2501005": (3188, 2812, "in progress", None, None),
        "PO2501006": (598, 902, "in progress", None, None),
        "PO2501007": (0, 1000, "not started", None, None),
        "PO2501008": (800, 1200, "in progress", None, None),
        "PO2501009": (0, 3000, "not started", None, None),
    }


def test_open_orders_have_what_they_still_need(first_factory: FactoryHome) -> None:
    columns = ("po_no", "remaining_pieces", "days_left", "fitting_molds", "last_machine_no")

    orders = [tuple(row[c] for c in columns) for row in first_factory.rows("mart_open_orders")]

    assert orders == [
        ("PO2501004", 838, -16, "SPAD-M-001", "NO.03"),
        ("PO2501005", 2812, 5, "DUCK-M-001", "NO.01"),
        ("PO2501006", 902, 7, "BUCK-M-001, BUCK-M-002", "NO.02"),
        ("PO2501007", 1000, 7, "SPAD-M-001", None),
        ("PO2501008", 1200, 15, "SPAD-M-001", "NO.02"),
        ("PO2501009", 3000, 15, "BEAK-M-001", None),
    ]


def test_a_day_is_the_sum_of_its_machines(first_factory: FactoryHome) -> None:
    days = {row["record_date"]: row for row in first_factory.rows("mart_daily_production")}

    assert days[date(2025, 2, 4)] == {
        "record_date": date(2025, 2, 4),
        "machines_count": 2,
        "total_pieces": 2590,
        "good_pieces": 2568,
        "ng_pieces": 22,
        "yield_pct": 99.15,
    }


def test_production_is_summed_by_day_machine_mold_and_item(first_factory: FactoryHome) -> None:
    (duck,) = (
        row
        for row in first_factory.rows("mart_production")
        if (row["record_date"], row["item_code"]) == (date(2025, 1, 2), "7001M")
    )

    counts = {name: value for name, value in duck.items() if isinstance(value, int) and value}

    assert counts == {
        "shifts_count": 2,
        "mold_shots": 2030,
        "total_pieces": 8120,
        "good_pieces": 8000,
        "ng_pieces": 120,
        "black_spot_pieces": 20,
        "other_ng_pieces": 100,
    }
    assert duck["yield_pct"] == 98.52


@pytest.mark.parametrize(
    ("asset", "check", "offender"),
    [
        ("int_product_records", "records_name_known_items", "7001X, rows: 1"),
        ("int_product_records", "records_name_known_molds", "DUCK-M-009, rows: 1"),
        ("int_purchase_orders", "orders_name_known_items", "7009M, rows: 1"),
        (
            "stg_mold_specification_summary",
            "specifications_name_known_items",
            "7009M, rows: 1",
        ),
        ("int_item_molds", "specifications_name_known_molds", "BUCK-M-002, rows: 1"),
        (
            "int_order_records",
            "records_make_the_ordered_item",
            "PO2501005, 2025-02-03, 2, NO.01, 7001X, 7001M",
        ),
        (
            "int_order_records",
            "records_use_the_ordered_plastic_resin",
            "PO2501006, 2025-02-04, 1, NO.02, 20010, 20011",
        ),
        (
            "int_product_records",
            "shots_give_the_pieces",
            "PO2501004, 2025-02-04, 1, NO.03",
        ),
        (
            "int_product_records",
            "records_add_up",
            "PO2501008, 2025-02-05, 1, NO.02",
        ),
    ],
    ids=lambda value: value.replace(" ", "_"),
)
def test_a_check_lists_exactly_the_failing_rows(
    first_factory: FactoryHome, asset: str, check: str, offender: str
) -> None:
    assert first_factory.failing_rows(asset, check) == [offender]


def test_the_change_log_has_one_line_per_table(first_factory: FactoryHome) -> None:
    lines = first_factory.change_log()

    assert len(lines) == 8
    assert lines[5] == (
        "2026-03-01T09:00:00Z productRecords: 16 rows; 16 added, 0 changed, 0 removed"
    )


def test_the_asset_keys_are_unchanged(first_factory: FactoryHome) -> None:
    graph = build_defs(
        ProjectContext(first_factory.settings, {DOMAIN: first_factory.domain})
    ).resolve_asset_graph()
    expected = (Path(__file__).parent / "asset_keys.txt").read_text(encoding="utf-8")

    keys = sorted(key.to_user_string() for key in graph.get_all_asset_keys())

    assert [key for key in keys if key.startswith(f"{DOMAIN}/")] == expected.split()


def _tables(factory: FactoryHome) -> list[Path]:
    return sorted((factory.latest / "tables").glob("*.parquet"))


def _progress(factory: FactoryHome) -> list[dict]:
    return factory.rows("mart_order_progress")


@pytest.mark.parametrize(
    ("mart", "column", "fields"),
    [
        pytest.param(
            "mart_order_progress",
            "remaining_pieces",
            {"purchase_orders_raw: itemQuantity", "product_records_raw: itemGoodQuantity"},
            id="a difference of two workbooks",
        ),
        pytest.param(
            "mart_daily_production",
            "yield_pct",
            {"product_records_raw: itemGoodQuantity", "product_records_raw: itemTotalQuantity"},
            id="a share of sums",
        ),
        pytest.param(
            "mart_machine_use",
            "tonnage_t",
            {"machine_info_raw: machineTonnage"},
            id="a column under another name",
        ),
        pytest.param(
            "mart_table_product_records",
            "plasticResin",
            {"product_records_raw: plasticResine"},
            id="a misspelled heading",
        ),
    ],
)
def test_a_column_is_followed_to_the_workbooks(
    first_factory: FactoryHome, mart: str, column: str, fields: set[str]
) -> None:
    assert raw_fields(first_factory, mart, column) == fields

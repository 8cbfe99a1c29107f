"""The published tables of the real workbooks against the same files read by pandas."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import pytest
from domains.molding.factory_home import AS_OF, ORDERS, FactoryHome, Rows
from support.environments import Environment

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions

pytestmark = [pytest.mark.long, pytest.mark.ci]

READERS = ("pandas==3.1.1", "openpyxl==3.1.5", "pyxlsb==1.0.10")
KEYS = {
    "productRecords": ["recordDate", "workingShift", "machineNo", "poNote"],
    "purchaseOrders": ["poNo"],
    "itemInfo": ["itemCode"],
    "moldInfo": ["moldNo"],
    "machineInfo": ["machineNo"],
    "resinInfo": ["resinCode"],
    "moldSpecificationSummary": ["itemCode"],
    "itemCompositionSummary": [
        *("itemCode", "plasticResinCode", "colorMasterbatchCode", "additiveMasterbatchCode")
    ],
}


@pytest.fixture(scope="session")
def real(mirror: Path) -> Path:
    if not (mirror / "factory/databaseSchemas.json").is_file():
        pytest.skip(f"the factory's workbooks are needed, and {mirror} has none")
    return mirror


@pytest.fixture(scope="session")
def real_run(
    real: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FactoryHome, RunManifest]:
    """The home after a run of the real workbooks, with a copy of them as its mirror."""
    folder = tmp_path_factory.mktemp("real")
    for file in real.glob("factory/**/*"):
        if file.is_file():
            target = folder / "mirror" / file.relative_to(real)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    factory = FactoryHome(folder)
    return factory, factory.run(RunOptions(as_of=AS_OF))


@pytest.fixture(scope="session")
def expected_tables(real: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    readers = Environment.create(tmp_path_factory.mktemp("readers"), *READERS)
    schema = real / "factory/databaseSchemas.json"
    tables: dict[str, Rows] = readers.run_script(
        Path(__file__).with_name("pandas_reader.py"), schema, real / "factory"
    )
    return tables


def in_order(rows: Rows, key: list[str]) -> Rows:
    return sorted(rows, key=lambda row: tuple(str(row[name]) for name in key))


def published(factory: FactoryHome, table: str) -> Rows:
    """Returns the rows of a table with days as ISO dates."""
    rows = factory.table(table)
    for row in rows:
        for name, value in row.items():
            if hasattr(value, "date"):
                row[name] = value.date().isoformat()
    return rows


@pytest.mark.parametrize("name", list(KEYS))
def test_every_table_has_the_values_that_pandas_reads(
    name: str, real_run: tuple[FactoryHome, RunManifest], expected_tables: dict[str, Rows]
) -> None:
    rows = published(real_run[0], name)

    assert list(rows[0]) == list(expected_tables[name][0])
    assert in_order(rows, KEYS[name]) == in_order(expected_tables[name], KEYS[name])


def test_the_checks_list_exactly_the_failing_rows_of_these_workbooks(
    real_run: tuple[FactoryHome, RunManifest],
) -> None:
    factory, manifest = real_run
    failing_rows = {
        check.name: [", ".join(row) for row in check.rows.rows]
        if check.rows
        else check.description.splitlines()[1:]
        for check in manifest.failed_checks
    }

    assert manifest.status is RunStatus.SUCCESS
    assert failing_rows == expected_failing_rows(factory)


def expected_failing_rows(factory: FactoryHome) -> dict[str, list[str]]:
    """Returns the failing rows by check, derived from the published tables without SQL."""
    tables = {name: factory.table(name) for name in KEYS}
    items = {row["itemCode"] for row in tables["itemInfo"]}
    molds = {row["moldNo"] for row in tables["moldInfo"]}
    references = [
        ("records_name_known_items", tables["productRecords"], "itemCode", items),
        ("orders_name_known_items", tables["purchaseOrders"], "itemCode", items),
        ("specifications_name_known_items", tables["moldSpecificationSummary"], "itemCode", items),
        ("compositions_name_known_items", tables["itemCompositionSummary"], "itemCode", items),
        ("records_name_known_molds", tables["productRecords"], "moldNo", molds),
    ]
    failing_rows = {}
    for check, rows, column, master_values in references:
        unknown = [r[column] for r in rows if r[column] and r[column] not in master_values]
        if unknown:
            failing_rows[check] = [f"{v}, rows: {unknown.count(v)}" for v in sorted(set(unknown))]
    # The check `contract`, of the only workbook with errors.
    failing_rows["contract"] = [
        f"sheet moldInfo, row {row}, itemsWeight: expected a value, found #REF!, which is read as"
        " null"
        for row in (8, 10, 39)
    ]
    return failing_rows


def correct(path: Path, cell: str, old: str, new: str) -> None:
    """Replace the number in one cell.

    The XML is edited because a library would change the last digit of every measure on saving.
    """
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    pattern = rf'(<c r="{cell}"[^>]*>.*?<v>){old}(?=</v>)'.encode()
    parts[sheet], count = re.subn(pattern, rb"\g<1>" + new.encode(), parts[sheet], count=1)
    assert count == 1
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def test_correcting_one_real_workbook_changes_exactly_its_rows(
    real_run: tuple[FactoryHome, RunManifest], tmp_path: Path
) -> None:
    factory = real_run[0].copy_to(tmp_path / "copy")
    before = {row["poNo"]: row for row in factory.table("purchaseOrders")}
    correct(factory.mirror / ORDERS / "purchaseOrder_181101.xlsx", "F3", "40000", "41000")

    manifest = factory.run()

    after = {row["poNo"]: row for row in factory.table("purchaseOrders")}
    assert factory.fetched_files(manifest) == ["purchase_orders_raw[181101]"]
    assert after == before | {"IM1811003": before["IM1811003"] | {"itemQuantity": 41_000}}
    assert factory.change_log()[-1].endswith("129 rows; 0 added, 1 changed, 0 removed")

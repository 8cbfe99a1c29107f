"""The real workbooks, against a plain reading of them by other means."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import pytest
from domains.molding.factory import AS_OF, ORDERS, Factory, Rows
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
def real_run(real: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Factory, RunManifest]:
    """The real workbooks, run once from a mirror that tests may change in a copy."""
    folder = tmp_path_factory.mktemp("real")
    for file in real.glob("factory/**/*"):
        if file.is_file():
            target = folder / "mirror" / file.relative_to(real)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    factory = Factory(folder)
    return factory, factory.run(RunOptions(as_of=AS_OF))


@pytest.fixture(scope="session")
def plain(real: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    readers = Environment.create(tmp_path_factory.mktemp("readers"), *READERS)
    schema = real / "factory/databaseSchemas.json"
    tables: dict[str, Rows] = readers.run_script(
        Path(__file__).with_name("plain_reading.py"), schema, real / "factory"
    )
    return tables


def in_order(rows: Rows, key: list[str]) -> Rows:
    return sorted(rows, key=lambda row: tuple(str(row[name]) for name in key))


def published(factory: Factory, table: str) -> Rows:
    return [
        {n: v.date().isoformat() if hasattr(v, "date") else v for n, v in row.items()}
        for row in factory.table(table)
    ]


@pytest.mark.parametrize("name", list(KEYS))
def test_every_table_equals_a_plain_reading_value_for_value(
    name: str, real_run: tuple[Factory, RunManifest], plain: dict[str, Rows]
) -> None:
    found = published(real_run[0], name)

    assert list(found[0]) == list(plain[name][0])
    assert in_order(found, KEYS[name]) == in_order(plain[name], KEYS[name])


def test_the_checks_name_exactly_the_offenders_of_these_workbooks(
    real_run: tuple[Factory, RunManifest],
) -> None:
    factory, manifest = real_run
    found = {
        check.name.partition("__")[2]: check.description.splitlines()[1:]
        for check in manifest.failed_checks
    }

    assert manifest.status is RunStatus.SUCCESS
    assert found == expected_offenders(factory)


def expected_offenders(factory: Factory) -> dict[str, list[str]]:
    """Worked out from the published tables by sets, without SQL."""
    tables = {name: factory.table(name) for name in KEYS}
    items = {row["itemCode"] for row in tables["itemInfo"]}
    molds = {row["moldNo"] for row in tables["moldInfo"]}
    wanted = [
        ("records_name_known_items", tables["productRecords"], "itemCode", items),
        ("orders_name_known_items", tables["purchaseOrders"], "itemCode", items),
        ("specifications_name_known_items", tables["moldSpecificationSummary"], "itemCode", items),
        ("compositions_name_known_items", tables["itemCompositionSummary"], "itemCode", items),
        ("records_name_known_molds", tables["productRecords"], "moldNo", molds),
    ]
    found = {}
    for check, rows, column, known in wanted:
        unknown = [r[column] for r in rows if r[column] and r[column] not in known]
        if unknown:
            found[check] = [f"{v}, rows: {unknown.count(v)}" for v in sorted(set(unknown))]
    return found


def correct(path: Path, cell: str, old: str, new: str) -> None:
    """Another number in one cell; saved by a library, every measure would lose its last digit."""
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
    real_run: tuple[Factory, RunManifest], tmp_path: Path
) -> None:
    factory = real_run[0].copy_to(tmp_path / "copy")
    before = {row["poNo"]: row for row in factory.table("purchaseOrders")}
    correct(factory.mirror / ORDERS / "purchaseOrder_181101.xlsx", "F3", "40000", "41000")

    manifest = factory.run()

    after = {row["poNo"]: row for row in factory.table("purchaseOrders")}
    assert factory.fetched(manifest) == ["purchase_orders_raw[181101]"]
    assert after == before | {"IM1811003": before["IM1811003"] | {"itemQuantity": 41_000}}
    assert factory.change_log()[-1].endswith("129 rows; 0 added, 1 changed, 0 removed")

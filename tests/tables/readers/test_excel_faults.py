"""What a workbook may bring that is no plain table, and what becomes of it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.table_declarations import column, contract, source
from support.workbooks import Cells, Kind, Serial, Table, workbook, xlsx

from etl_assets.declarations.formats import ExcelFormat
from etl_assets.model.errors import ContentError
from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.readers import excel
from etl_assets.tables.readers.batch import Batch
from etl_assets.validate.validate import inspect_content

FORM = ExcelFormat(name="excel", sheet="Fruits")
HELD = contract("name", column("weight", "int64"), column("picked", "date"))
TABLE: Cells = [["name", "weight", "picked"], ["'007", "12", "2026-03-01"], ["fig", "", ""]]
SHEET = "xl/worksheets/sheet1.xml"
SHEET_BIN = "xl/worksheets/sheet1.bin"
XLSB = Path(__file__).parent / "fruits.xlsb"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "book"


def read(file: Path, content: bytes, form: ExcelFormat = FORM) -> Batch:
    file.write_bytes(content)
    [batch] = excel.read(file, form, HELD)
    return batch


def texts(batch: Batch) -> dict[str, list[str | None]]:
    return {name: list(values.to_pylist()) for name, values in batch.columns.items()}  # type: ignore[attr-defined]


def changed(part: str, how: Callable[[bytes], bytes], content: bytes) -> bytes:
    """The workbook with one part of it changed, or added."""
    old, new = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    parts = {name: old.read(name) for name in old.namelist()}
    parts[part] = how(parts.get(part, b""))
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return new.getvalue()


def refused(file: Path, content: bytes) -> str:
    file.write_bytes(content)
    with pytest.raises(ContentError) as error:
        inspect_content(source(HELD, {"name": "excel", "sheet": "Fruits"}), file)
    return str(error.value)


@pytest.mark.parametrize(
    "book",
    [xlsx({"Other": [["x"]], "Fruits": [[], *TABLE]}), XLSB.read_bytes()],
    ids=["xlsx", "xlsb"],
)
def test_cells_are_texts_under_their_header_with_their_rows(file: Path, book: bytes) -> None:
    batch = read(file, book)

    assert texts(batch) == {
        "name": ["007", "fig"],
        "weight": ["12", None],
        "picked": ["2026-03-01", None],
    }
    assert (batch.records, list(batch.lines or [])) == (2, [3, 4])


def test_rows_without_a_value_are_no_records(file: Path) -> None:
    batch = read(file, xlsx({"Fruits": [TABLE[0], [""], TABLE[1], [], TABLE[2]]}))

    assert list(batch.lines or []) == [3, 5]


SERIALS = {"46082": "2026-03-01", "46082.5": "2026-03-01 12:00:00", "7": "7", "soon": "soon"}


@pytest.mark.parametrize(
    "book",
    [
        xlsx({"Serials": [TABLE[0], *(["fig", "1", serial] for serial in SERIALS)]}),
        XLSB.read_bytes(),
    ],
    ids=["xlsx", "xlsb"],
)
def test_a_serial_number_counts_days(file: Path, book: bytes) -> None:
    batch = read(file, book, ExcelFormat(name="excel", sheet="Serials"))

    assert texts(batch)["picked"] == list(SERIALS.values())


@pytest.mark.fault("excel-formula")
def test_a_formula_is_its_last_value(file: Path) -> None:
    formula = b'<c r="B2"><f>HYPERLINK("http://x",6*7)</f><v>42</v></c>'
    book = xlsx({"Fruits": [TABLE[0], ["fig", "1", ""]]})

    batch = read(
        file, changed(SHEET, lambda x: x.replace(b'<c r="B2" t="n"><v>1</v></c>', formula), book)
    )

    assert texts(batch)["weight"] == ["42"]


@pytest.mark.fault("excel-macro")
def test_a_macro_is_not_looked_at(file: Path) -> None:
    book = changed(
        "xl/vbaProject.bin", lambda _: b"\xd0\xcf\x11\xe0 Shell", xlsx({"Fruits": TABLE})
    )

    assert texts(read(file, book))["name"] == ["007", "fig"]


@pytest.mark.fault("excel-header")
@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["name", "weight", ""], "picked once each"),
        (["name", "weight", "weight"], "weight, picked once each"),
    ],
    ids=["merged", "twice"],
)
def test_a_header_with_a_gap_is_refused_with_sheet_and_row(
    file: Path, header: list[str], names: str
) -> None:
    merged = b'</sheetData><mergeCells count="1"><mergeCell ref="B1:C1"/></mergeCells>'
    book = xlsx({"Fruits": [header, ["fig", "1", "2"]]})

    with pytest.raises(ContentError, match=rf"sheet Fruits, row 1: expected a header with {names}"):
        read(file, changed(SHEET, lambda x: x.replace(b"</sheetData>", merged), book))


def test_an_optional_column_that_the_sheet_lacks_is_null_in_the_table(file: Path) -> None:
    lacking = contract("name", column("weight", "int64"), column("picked", "date", optional=True))
    file.write_bytes(xlsx({"Fruits": [["name", "weight"], ["fig", "1"]]}))

    [batch] = excel.read(file, FORM, lacking)
    rows = ContractChecker(lacking).check(batch).rows

    assert rows.to_pylist() == [{"name": "fig", "weight": 1, "picked": None}]


@pytest.mark.fault("excel-sheet")
def test_a_missing_sheet_is_told_with_those_that_there_are(file: Path) -> None:
    with pytest.raises(ContentError, match="a sheet named Fruits, found Herbs, Trees"):
        read(file, xlsx({"Herbs": TABLE, "Trees": TABLE}))


@pytest.mark.fault("excel-sheet")
def test_an_empty_sheet_has_no_header(file: Path) -> None:
    with pytest.raises(ContentError, match="sheet Fruits: expected a header"):
        read(file, xlsx({"Fruits": []}))


@pytest.mark.fault("excel-password")
def test_a_workbook_with_a_password_is_refused(file: Path) -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"EncryptedPackage" * 100

    assert "expected zip, found an old or encrypted Office file" in refused(file, ole)


@pytest.mark.fault("excel-bomb")
def test_a_bomb_is_refused_before_it_is_read(file: Path) -> None:
    book = changed(SHEET, lambda x: x + b" " * (64 << 20), xlsx({"Fruits": TABLE}))

    assert "bombs: 'xl/worksheets/sheet1.xml'" in refused(file, book)


@pytest.mark.fault("excel-far-cell")
@pytest.mark.parametrize("kind", ["xlsx", "xlsb"])
def test_a_value_far_away_from_the_others_is_refused_before_it_is_read(
    file: Path, kind: Kind
) -> None:
    far_row: Table = [*TABLE, *[[]] * 5000, [*[None] * 16_383, "x"]]

    with pytest.raises(ContentError, match=r"sheet Fruits: .* found 5,004 rows, 16,384 columns"):
        read(file, workbook(kind, {"Fruits": far_row}))


@pytest.mark.fault("excel-far-cell")
def test_a_value_in_a_column_that_excel_does_not_have_is_refused(file: Path) -> None:
    book = workbook("xlsb", {"Fruits": [*TABLE, ["x"]]})
    place = b"\x06\x0e\0\0\0\0\0\0\0\0\x01\0\0\0x"  # a cell of a text, in the first column

    moved = changed(
        SHEET_BIN, lambda part: part.replace(place, b"\x06\x0e\0\0\x93" + place[5:]), book
    )

    with pytest.raises(ContentError, match=r"sheet Fruits: .* found 4 rows, 9,633,793 columns"):
        read(file, moved)


def test_a_wide_sheet_of_few_rows_is_read(file: Path) -> None:
    wide: Table = [[*row, *[None] * 16_380, "x"] for row in TABLE]

    assert texts(read(file, workbook("xlsx", {"Fruits": wide})))["weight"] == ["12", ""]


def test_an_archive_without_a_workbook_is_refused(file: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "x")

    assert "workbook" in refused(file, packed.getvalue())


@pytest.mark.parametrize("kind", ["xlsx", "xlsb"])
def test_a_workbook_on_which_the_library_panics_is_refused(file: Path, kind: Kind) -> None:
    book = workbook(kind, {"Fruits": [*TABLE, ["plum", 1, Serial(-1e12)]]})

    with pytest.raises(ContentError, match="a workbook that can be read, found TimeDelta"):
        read(file, book)


def test_a_damaged_workbook_is_refused(file: Path) -> None:
    with pytest.raises(ContentError, match="a workbook that can be read"):
        read(file, changed("xl/workbook.xml", lambda _: b"<workbook", xlsx({"Fruits": TABLE})))

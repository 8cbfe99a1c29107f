"""Cells that are not just a value: errors, formulas without one, merged areas, dates from 1904."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.table_declarations import column, contract
from support.workbooks import ERROR_CODES, CellValue, Error, Formula, Kind, Serial, Table, workbook

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import ExcelFormat
from etl_assets.model.errors import ContentError, EtlError
from etl_assets.model.records import Reject
from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.readers import registry, spreadsheetml
from etl_assets.tables.readers.batch import Batch
from etl_assets.tables.readers.spreadsheetml import SheetFacts

FORM = ExcelFormat(name="excel", sheet="Fruits")
FRUITS = contract(
    "code",
    "name",
    column("weight", "float64"),
    column("pieces", "int64"),
    column("picked", "date"),
    null_words=[""],
    unknown_fields="evolve",
)
HEADER: list[CellValue] = ["code", "name", "weight", "pieces", "picked", "remark"]
ROW: list[CellValue] = ["f1", "Fig", 1.5, 12, Serial(46082), "ripe"]
DECLARED = HEADER[:5]
SHEET_PART = "xl/worksheets/sheet1.xml"

FILLED = contract(
    "code",
    column("name", merged="fill"),
    column("weight", "float64", merged="fill"),
    column("pieces", "int64"),
    column("picked", "date", merged="fill"),
    null_words=[""],
    unknown_fields="evolve",
)

only_xlsx = pytest.mark.parametrize("kind", ["xlsx"])


def row(code: str, **cells: CellValue) -> list[CellValue]:
    """A row like ROW with its code and some other cells."""
    return [
        code if name == "code" else cells.get(str(name), cell)
        for name, cell in zip(HEADER, ROW, strict=True)
    ]


class Reader:
    """Writes a workbook and reads its sheet as a table is read."""

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path = path
        self.kind = kind

    def batch(self, table: Table, declaration: Contract = FRUITS, **facts: Any) -> Batch:
        self.path.write_bytes(workbook(self.kind, {"Notes": [["x"]], "Fruits": table}, **facts))
        [batch] = registry.read(self.path, FORM, declaration)
        return batch

    def rows(
        self, table: Table, declaration: Contract = FRUITS, **facts: Any
    ) -> tuple[list[dict[str, Any]], list[Reject]]:
        checked = ContractChecker(declaration).check(self.batch(table, declaration, **facts))
        return checked.rows.to_pylist(), checked.rejects


@pytest.fixture(params=["xlsx", "xlsb"])
def kind(request: pytest.FixtureRequest) -> Kind:
    form: Kind = request.param
    return form


@pytest.fixture
def reader(tmp_path: Path, kind: Kind) -> Reader:
    return Reader(tmp_path / "book", kind)


@pytest.mark.fault("excel-error-cell")
@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize(
    "make", [Error, lambda error: Formula(Error(error))], ids=["cell", "formula"]
)
def test_an_error_rejects_its_row_by_sheet_row_column_and_name(
    reader: Reader, make: Callable[[str], CellValue], name: str
) -> None:
    faulty = [
        make("#REF!") if column == name else cell for column, cell in zip(HEADER, ROW, strict=True)
    ]

    rows, rejects = reader.rows([HEADER, row("f0"), faulty, row("f2")])

    assert [r["code"] for r in rows] == ["f0", "f2"]
    assert [(r.where, r.column, r.rule, r.actual) for r in rejects] == [
        ("sheet Fruits, row 3", name, "cell", "#REF!")
    ]
    assert json.loads(rejects[0].row)[name] == "#REF!"


@pytest.mark.fault("excel-error-cell")
def test_every_error_has_its_name(reader: Reader) -> None:
    table = [HEADER, *(row(f"f{n}", weight=Error(name)) for n, name in enumerate(ERROR_CODES))]

    rows, rejects = reader.rows(table)

    assert rows == []
    assert [reject.actual for reject in rejects] == list(ERROR_CODES)


@pytest.mark.fault("excel-error-cell")
def test_a_row_of_errors_alone_is_a_record(reader: Reader) -> None:
    errors = [Error("#N/A")] * len(HEADER)

    rows, rejects = reader.rows([HEADER, row("f0"), [], errors, [], errors])

    assert [r["code"] for r in rows] == ["f0"]
    assert [(r.where, r.column) for r in rejects] == [
        ("sheet Fruits, row 4", "code"),
        ("sheet Fruits, row 6", "code"),
    ]


@pytest.mark.fault("excel-error-cell")
def test_an_error_in_a_column_that_is_not_declared_is_ignored(reader: Reader) -> None:
    table = [HEADER, row("f0", remark=Error("#REF!")), [None] * 5 + [Error("#N/A")], row("f1")]

    rows, rejects = reader.rows(table)

    assert [r["code"] for r in rows] == ["f0", "f1"]
    assert rejects == []


@pytest.mark.fault("excel-error-cell")
@pytest.mark.parametrize("text", ["#REF!", "#N/A"])
@pytest.mark.parametrize("make", [str, Formula], ids=["typed", "of a formula"])
def test_a_text_that_looks_like_an_error_is_a_text(
    reader: Reader, make: Callable[[str], CellValue], text: str
) -> None:
    rows, rejects = reader.rows([HEADER, row("f0", name=make(text)), row("f1", weight=make(text))])

    assert [r["name"] for r in rows] == [text]
    assert [(r.column, r.rule, r.actual) for r in rejects] == [("weight", "type", f'"{text}"')]


@pytest.mark.fault("excel-error-cell")
def test_columns_are_counted_from_the_first_one_of_the_sheet(reader: Reader) -> None:
    table = [HEADER, row("f0", weight=Error("#REF!")), row("f1", name=None), row("f2", name=None)]
    moved = [[], *([None, None, *cells] for cells in table)]

    rows, rejects = reader.rows(moved, FILLED, merged=["D4:D5"])

    assert [(r["code"], r["name"]) for r in rows] == [("f1", None), ("f2", None)]
    assert [(r.where, r.column) for r in rejects] == [("sheet Fruits, row 3", "weight")]


@pytest.mark.fault("excel-error-cell")
@pytest.mark.parametrize("name", ["#SPILL!", "#CALC!", "#ERROR!", "Err:502", "code", ""])
def test_an_error_of_an_unknown_name_costs_no_other_row(tmp_path: Path, name: str) -> None:
    reader = Reader(tmp_path / "book", "xlsx")
    table = [HEADER, row("f0"), row("f1", weight=Error(name)), row("f2", weight=Error("#N/A"))]

    rows, rejects = reader.rows([*table, row("f3")])

    assert [r["code"] for r in rows] == ["f0", "f3"]
    assert [r.actual for r in rejects] == [name or "an error without a name", "#N/A"]


@pytest.mark.fault("excel-error-cell")
def test_an_error_above_the_header_is_shown_only_if_a_column_is_missing(reader: Reader) -> None:
    title: list[CellValue] = [None, Formula(Error("#NAME?"))]

    rows, _ = reader.rows([title, [], HEADER, ROW])

    assert len(rows) == 1
    with pytest.raises(ContentError, match=r"row 3: .*picked once each, .*, and above it #NAME"):
        reader.batch([title, [], HEADER[:4], ROW])


@pytest.mark.fault("excel-error-cell")
def test_a_header_of_errors_alone_is_shown(reader: Reader) -> None:
    with pytest.raises(ContentError, match=r"Fruits, row 2: .*, and above it #REF!, #REF!"):
        reader.batch([[Error("#REF!")] * 5, ROW])


@pytest.mark.fault("excel-error-cell")
def test_an_error_in_the_header_is_shown(reader: Reader) -> None:
    header = ["code", Formula(Error("#NAME?")), "weight", "pieces", "picked"]

    with pytest.raises(ContentError, match=r'Fruits, row 2: .*name once each, found .*"#NAME\?"'):
        reader.batch([[], header, ROW])


def test_an_error_as_the_name_of_a_column_is_an_unknown_field(reader: Reader) -> None:
    batch = reader.batch([[*HEADER, None, Error("#REF!")], ROW])

    assert batch.unknown_fields == {"remark", "#REF!"}
    assert batch.records == 1


@pytest.mark.fault("excel-no-value")
def test_the_empty_text_of_a_formula_is_a_value(reader: Reader) -> None:
    rows, rejects = reader.rows(
        [HEADER, row("f0", name=Formula(""), picked=Formula("")), row("f1")]
    )

    assert [(r["code"], r["name"], r["picked"]) for r in rows[:1]] == [("f0", None, None)]
    assert (len(rows), rejects) == (2, [])


@pytest.mark.fault("excel-formula")
def test_a_formula_has_its_stored_value_in_any_type(reader: Reader) -> None:
    values = row("f0", name=Formula("Fig"), weight=Formula(0.5), pieces=Formula(0), picked=46082)

    rows, rejects = reader.rows([HEADER, values])

    assert rejects == []
    assert [(r["name"], r["weight"], r["pieces"], str(r["picked"])) for r in rows] == [
        ("Fig", 0.5, 0, "2026-03-01")
    ]


@pytest.mark.fault("excel-error-cell", "excel-no-value")
@pytest.mark.parametrize("fault", [Error("#REF!"), Formula(Error("#REF!"))])
def test_a_column_may_discard_the_value_and_keep_the_row(reader: Reader, fault: CellValue) -> None:
    weight = column("weight", "float64", faulty_cells="discard_value")
    declaration = contract("code", "name", weight)
    table = [
        HEADER,
        row("f0"),
        row("f1", weight=fault),
        row("f2", name=Error("#N/A"), weight=fault),
    ]

    checked = ContractChecker(declaration).check(reader.batch(table, declaration))

    assert checked.rows.column("weight").to_pylist() == [1.5, None]
    assert [(r.where, r.column) for r in checked.rejects] == [("sheet Fruits, row 4", "name")]
    assert list(map(str, checked.refused_values)) == [
        "sheet Fruits, row 3, weight: expected a value, found #REF!, which is read as null"
    ]


WITHOUT_VALUE = {
    "no element": Formula(),
    "an empty element": Formula(empty="<v></v>"),
    "a closed element": Formula(empty="<v />"),
    "shared": Formula(attributes=' t="shared" si="0"', text=""),
    "shared, its first cell": Formula(attributes=' t="shared" si="0" ref="C3:C4"'),
    "array": Formula(attributes=' t="array" ref="C3"'),
    "a comment in place of it": Formula(empty="<!-- <v>1</v> -->"),
    "a text that was not computed": Formula(text='IF(A1>0,"<v>1</v>","")'),
}


@only_xlsx
@pytest.mark.fault("excel-no-value")
@pytest.mark.parametrize("formula", WITHOUT_VALUE.values(), ids=WITHOUT_VALUE)
@pytest.mark.parametrize("name", DECLARED)
def test_a_formula_without_a_value_rejects_its_row(
    reader: Reader, formula: Formula, name: str
) -> None:
    faulty = [formula if column == name else cell for column, cell in zip(HEADER, ROW, strict=True)]

    rows, rejects = reader.rows([HEADER, row("f0"), faulty, row("f2")])

    assert [r["code"] for r in rows] == ["f0", "f2"]
    assert [(r.where, r.column, r.rule, r.actual) for r in rejects] == [
        ("sheet Fruits, row 3", name, "cell", "a formula without a stored value")
    ]


@only_xlsx
@pytest.mark.fault("excel-no-value")
def test_each_cell_of_an_array_formula_without_values_is_faulty(reader: Reader) -> None:
    first = Formula(attributes=' t="array" ref="C2:D4"')
    table = [
        HEADER,
        row("f0", weight=first, pieces=None),
        row("f1", weight=None, pieces=None),
        row("f2", weight=2.5, pieces=None),
        row("f3", weight=None, pieces=None),
    ]

    rows, rejects = reader.rows(table)

    assert [r["code"] for r in rows] == ["f3"]
    assert [(r.where[-1], r.column) for r in rejects] == [
        ("2", "weight"),
        ("3", "weight"),
        ("4", "pieces"),
    ]


@only_xlsx
@pytest.mark.fault("excel-no-value")
def test_a_formula_without_a_value_in_the_header_is_shown(reader: Reader) -> None:
    header = ["code", "name", "weight", "pieces", Formula(empty="<v/>")]

    with pytest.raises(ContentError, match=r"picked once each, found .*without a stored value"):
        reader.batch([header, ROW])


@pytest.mark.fault("excel-merged")
def test_a_merged_cell_has_its_value_in_each_row_where_that_is_declared(reader: Reader) -> None:
    empty = {"name": None, "weight": None, "pieces": None, "picked": None}
    table = [HEADER, row("f0"), row("f1", **empty), row("f2", **empty), row("f3", **empty)]

    rows, rejects = reader.rows(table, FILLED, merged=["B2:B4", "C2:C4", "D2:D4", "E2:E3"])

    assert rejects == []
    assert [(r["code"], r["name"], r["weight"], r["pieces"], str(r["picked"])) for r in rows] == [
        ("f0", "Fig", 1.5, 12, "2026-03-01"),
        ("f1", "Fig", 1.5, None, "2026-03-01"),
        ("f2", "Fig", 1.5, None, "None"),
        ("f3", None, None, None, "None"),
    ]


@pytest.mark.fault("excel-merged")
def test_a_cell_that_is_merged_over_columns_too_fills_its_first_column(reader: Reader) -> None:
    table = [HEADER, row("f0", weight=None), row("f1", name=None, weight=None)]

    rows, _ = reader.rows(table, FILLED, merged=["B2:C3"])

    assert [(r["name"], r["weight"]) for r in rows] == [("Fig", None), ("Fig", None)]


@pytest.mark.fault("excel-merged")
def test_a_merged_header_is_no_value_of_the_rows_below_it(reader: Reader) -> None:
    rows, _ = reader.rows([HEADER, row("f0", name=None), row("f1")], FILLED, merged=["B1:B2"])

    assert [r["name"] for r in rows] == [None, "Fig"]


@pytest.mark.fault("excel-merged")
def test_a_merged_cell_makes_no_row_of_an_empty_one(reader: Reader) -> None:
    rows, rejects = reader.rows(
        [HEADER, row("f0"), [], row("f2", name=None)], FILLED, merged=["B2:B4", "A2:A3"]
    )

    assert [(r["code"], r["name"]) for r in rows] == [("f0", "Fig"), ("f2", "Fig")]
    assert rejects == []


@pytest.mark.fault("excel-merged")
def test_an_error_in_a_merged_cell_rejects_each_of_its_rows(reader: Reader) -> None:
    table = [HEADER, row("f0", name=Error("#N/A")), row("f1", name=None), row("f2")]

    rows, rejects = reader.rows(table, FILLED, merged=["B2:B3"])

    assert [r["code"] for r in rows] == ["f2"]
    assert [(r.where[-1], r.column, r.actual) for r in rejects] == [
        ("2", "name", "#N/A"),
        ("3", "name", "#N/A"),
    ]


@pytest.mark.fault("excel-merged")
def test_a_merged_cell_to_the_last_row_of_a_sheet_fills_those_that_there_are(
    reader: Reader,
) -> None:
    rows, _ = reader.rows([HEADER, row("f0"), row("f1", name=None)], FILLED, merged=["B2:B1048576"])

    assert [r["name"] for r in rows] == ["Fig", "Fig"]


def as_sheet(cells: str, *, prefix: str = "", after: str = "") -> bytes:
    """The part of a sheet with these cells in its third column below a header."""
    header = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in ("code", "w"))
    rows = f"<row>{header}</row>{cells}"
    sheet = f'<worksheet xmlns="x"><sheetData>{rows}</sheetData>{after}</worksheet>'
    return re.sub("<(/?)(?!!)", rf"<\1{prefix}", sheet).encode() if prefix else sheet.encode()


def row_of(weight: str) -> str:
    return f'<row><c t="inlineStr"><is><t>f</t></is></c>{weight}</row>'


SPELLINGS = {
    "a number": ("<c><v>1</v></c>", None),
    "a formula with its value": ("<c><f>A1</f><v>1</v></c>", None),
    "another order of attributes": ("<c t='e' r='B3'><v>#N/A</v></c>", "#N/A"),
    "blanks in the tags": ('<c  t = "e" ><v >#N/A</v ></c >', "#N/A"),
    "an error without a value": ('<c t="e"/>', "an error without a name"),
    "an error in CDATA": ('<c t="e"><v><![CDATA[#N/A]]></v></c>', "#N/A"),
    "an error with blanks": ('<c t="e"><v> #N/A </v></c>', "#N/A"),
    "a value before its formula": ("<c><v>1</v><f>A1</f></c>", spreadsheetml.NO_VALUE),
    "a number that is not computed": ('<c t="n"><f>A1</f><v></v></c>', spreadsheetml.NO_VALUE),
    "a truth that is not computed": ('<c t="b"><f>A1</f><v/></c>', spreadsheetml.NO_VALUE),
    "a text that is not computed": ('<c t="str"><f>A1</f></c>', spreadsheetml.NO_VALUE),
    "an empty text": ('<c t="str"><f>A1</f><v/></c>', None),
    "a data table": ('<c><f t="dataTable" ref="B2:B3"/><v>1</v></c>', None),
}


@pytest.mark.fault("excel-error-cell", "excel-no-value")
@pytest.mark.parametrize(("cell", "fault"), SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("prefix", ["", "x:"])
def test_a_cell_is_judged_however_it_is_spelled(
    tmp_path: Path, prefix: str, cell: str, fault: str | None
) -> None:
    declaration = contract("code", column("w", "float64", faulty_cells="discard_value"))
    cells = row_of("<c><v>2</v></c>") + row_of(cell)
    path = tmp_path / "book"
    path.write_bytes(with_sheet(as_sheet(cells, prefix=prefix)))

    [batch] = registry.read(path, FORM, declaration)

    assert batch.faults == ({"w": {1: fault}} if fault else {})
    assert batch.records == 2


def with_sheet(part: bytes) -> bytes:
    """A workbook with this part as its sheet."""
    book = zipfile.ZipFile(io.BytesIO(workbook("xlsx", {"Fruits": [["x"]]})))
    return packed({name: book.read(name) for name in book.namelist()} | {SHEET_PART: part})


def packed(parts: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return data.getvalue()


PIECES = st.sampled_from(
    [
        *("<c>", "</c>", "<v>", "</v>", "<v/>", "<f>", "</f>", "<f/>", "<is>", "</is>", "<row>"),
        *('<c t="e">', "<c t='e'>", '<c t="str">', '<f t="array" ref="A1:B2">', "</row>", "<!--"),
        *("-->", "<![CDATA[", "]]>", "#N/A", "1", " ", "&lt;", 'a="f>"', "<x:f>", "</x:f>", "row>"),
        '<mergeCell ref="A1:A2"/>',
    ]
)


@given(pieces=st.lists(PIECES, max_size=12), block=st.integers(min_value=1, max_value=9))
@settings(max_examples=300)
def test_the_search_misses_no_fault_that_the_parser_finds(pieces: list[str], block: int) -> None:
    part = f"<worksheet><sheetData>{''.join(pieces)}</sheetData></worksheet>".encode()
    try:
        facts = spreadsheetml._SheetParser().parse(io.BytesIO(part))
    except ContentError:
        return

    assert spreadsheetml._has_values_only(io.BytesIO(part), block) <= (facts == SheetFacts())


MIXED: Table = [
    HEADER,
    row("f0", weight=Error("#N/A"), pieces=True),
    row("f1", name=Formula("Fig"), weight=None),
    row("f2", weight=None, picked=Formula(46082)),
]


@given(
    place=st.integers(min_value=0),
    piece=st.binary(max_size=4),
    length=st.integers(0, 8),
    number=st.integers(min_value=0),
)
@settings(max_examples=100)
@pytest.mark.parametrize("kind", ["xlsx", "xlsb"])
def test_a_changed_part_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    kind: Kind,
    place: int,
    piece: bytes,
    length: int,
    number: int,
) -> None:
    book = zipfile.ZipFile(io.BytesIO(workbook(kind, {"Fruits": MIXED}, merged=["B3:B4"])))
    parts = {name: book.read(name) for name in book.namelist()}
    name = sorted(parts)[number % len(parts)]
    start = place % (len(parts[name]) + 1)
    parts[name] = parts[name][:start] + piece + parts[name][start + length :]
    path = tmp_path_factory.mktemp("part") / "book"
    path.write_bytes(packed(parts))

    try:
        for batch in registry.read(path, FORM, FILLED):
            ContractChecker(FILLED).check(batch)
    except EtlError:
        pass


@pytest.mark.fault("excel-error-cell")
@pytest.mark.parametrize("name", DECLARED)
def test_a_number_that_is_shown_as_a_date_but_is_none_rejects_its_row(
    reader: Reader, name: str
) -> None:
    cells = dict(zip(HEADER, ROW, strict=True)) | {name: Serial(4006381333931.0)}

    rows, rejects = reader.rows([[], [None, *HEADER], [None, *row("f0")], [None, *cells.values()]])

    assert [r["code"] for r in rows] == ["f0"]
    assert [(r.where, r.column, r.actual) for r in rejects] == [
        ("sheet Fruits, row 4", name, "the number 4006381333931.0 as a date")
    ]


DAYS_1904 = [
    (Serial(44620), "2026-03-01 00:00:00+00:00"),
    (44620, "2026-03-01 00:00:00+00:00"),
    (Serial(44620.75), "2026-03-01 18:00:00+00:00"),
    (44620.75, "2026-03-01 18:00:00+00:00"),
    (44620.0000115741, "2026-03-01 00:00:01+00:00"),
    (Formula(44620), "2026-03-01 00:00:00+00:00"),
    (0, "1904-01-01 00:00:00+00:00"),
    (7, "1904-01-08 00:00:00+00:00"),
    ("2026-03-01", "2026-03-01 00:00:00+00:00"),
]


@pytest.mark.fault("excel-1904")
@pytest.mark.parametrize(("cell", "time"), DAYS_1904, ids=lambda value: repr(value)[:30])
def test_a_serial_number_counts_from_1904_where_the_workbook_says_so(
    reader: Reader, cell: CellValue, time: str
) -> None:
    declaration = contract("code", column("picked", "timestamp"))

    rows, rejects = reader.rows([["code", "picked"], ["f0", cell]], declaration, is_1904=True)

    assert rejects == []
    assert str(rows[0]["picked"]) == time


@pytest.mark.fault("excel-1904")
def test_a_serial_number_counts_from_1900_otherwise(reader: Reader) -> None:
    rows, rejects = reader.rows([HEADER, row("f0"), row("f1", picked=46082), row("f2", picked=7)])

    assert [str(r["picked"]) for r in rows] == ["2026-03-01", "2026-03-01"]
    assert [r.actual for r in rejects] == ['"7"']

"""Blocks of delimited text give the same rows, rejects and line numbers as its single lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.table_declarations import column, contract

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import CsvFormat
from etl_assets.model.errors import ContentError
from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.readers.batch import Batch
from etl_assets.tables.readers.csv_text import BLOCK_BYTES, read, read_lines

FRUITS = contract(
    column("name", required=True, pattern=r"\w+"),
    column("weight", "int64", **{"from": "grams"}),
    column("price", "float64", minimum=0),
    column("grams_as_text", **{"from": "grams"}),
    unknown_fields="evolve",
)
LENIENT = contract(
    column("name", case="upper"),
    column("price", "float64", minimum=0),
    column("picked", "date", **{"from": "x"}),
    invalid_values="discard_value",
    null_words=["none"],
    unknown_fields="discard_value",
)
HEADER = ["name", "grams", "price", "x"]
PLAIN = ["pear", "fig", "12", "0.1", "-3", "2024-01-02", "1e3", "grün", "none", "x y", "'", "\\"]
BLANK = ["", "", " ", "\t", "\u00a0", "\u2003", "\x1c", "\x85"]
ODD = [
    *('"pear"', '"a,b"', '"a\nb"', '"a ""b"""', '"', '"pear', 'pe"ar', '"pear"x', '""'),
    *("\0", "pe\0ar", "\ufeff", "\udcff", "pe\udce9ar", "\r", "#", "," * 4, "9" * 60),
]


def checked(batches: Iterator[Batch], declaration: Contract) -> list[Any]:
    """What the contract makes of all batches: rows, rejects and counts; or the file's error."""
    checker = ContractChecker(declaration)
    rows, ordinals, rejects, refused, records = [], [], [], [], 0
    unknown: set[str] = set()
    try:
        for batch in batches:
            result = checker.check(batch)
            rows += result.rows.to_pylist()
            ordinals += result.ordinals
            rejects += result.rejects
            refused += result.refused_values
            records += batch.records
            unknown |= batch.unknown_fields
    except ContentError as error:
        return [str(error)]
    # A batch has the rejects of the reader before those of the contract.
    rejects.sort(key=lambda reject: int(reject.where.removeprefix("line ")))
    return [rows, ordinals, rejects, refused, records, unknown]


def assert_equal(
    file: Path, data: bytes, form: CsvFormat, declaration: Contract, block_bytes: int
) -> None:
    file.write_bytes(data)
    by_blocks = checked(read(file, form, declaration, block_bytes), declaration)
    assert by_blocks == checked(read_lines(file, form, declaration), declaration)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blocks") / "file"


def rows_of(cells: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    whole = st.lists(cells, min_size=len(HEADER), max_size=len(HEADER))
    return st.one_of(whole, whole, whole, st.lists(cells, max_size=len(HEADER) + 1))


PLAIN_ROWS = rows_of(st.sampled_from(PLAIN + BLANK[:2]))
ODD_ROWS = rows_of(st.sampled_from(PLAIN + BLANK + ODD))
ROWS = st.lists(st.one_of(PLAIN_ROWS, PLAIN_ROWS, PLAIN_ROWS, ODD_ROWS), max_size=12)
HEADERS = st.sampled_from(
    [HEADER] * 6
    + [HEADER[::-1], [*HEADER, "x"], HEADER[:3], ['"name"', *HEADER[1:]], ['"na\nme"', *HEADER]]
)
FILES = {
    "rows": ROWS,
    "header": HEADERS,
    "start": st.sampled_from(
        ["", "", "", "\ufeff", "#made\n", "\ufeff#a,b\r\n#\n", "#" * 99 + "\n"]
    ),
    "ends": st.sampled_from(["\n", "\n", "\n", "\r\n", "\r", "\n\n", "\n\r\n"]),
    "is_cut": st.booleans(),
    "delimiter": st.sampled_from([",", ",", ",", ";", "\t", " ", "|", "§", '"']),
    "comment": st.sampled_from([None, "#", "#"]),
    "block_bytes": st.integers(1, 120),
    "declaration": st.sampled_from([FRUITS, LENIENT]),
}


def compare_generated_file(
    file: Path,
    rows: list[list[str]],
    header: list[str],
    start: str,
    ends: str,
    *,
    is_cut: bool,
    delimiter: str,
    comment: str | None,
    block_bytes: int,
    declaration: Contract,
) -> None:
    text = start + ends.join(delimiter.join(cells) for cells in [header, *rows])
    data = (text if is_cut else text + ends).encode(errors="surrogateescape")
    form = CsvFormat(name="csv", delimiter=delimiter, comment=comment)

    assert_equal(file, data, form, declaration, block_bytes)


@given(**FILES)
@settings(max_examples=400)
def test_any_file_is_read_alike_by_blocks_and_by_lines(file: Path, **generated: Any) -> None:
    compare_generated_file(file, **generated)


@pytest.mark.long
@given(**FILES)
@settings(max_examples=5_000)
def test_five_thousand_files_are_read_alike_by_blocks_and_by_lines(
    file: Path, **generated: Any
) -> None:
    compare_generated_file(file, **generated)


@given(data=st.lists(st.sampled_from(b'ab1,"\n\r\0 \xff\xc3\xa9\xef\xbb\xbf'), max_size=60))
@settings(max_examples=200)
def test_any_bytes_below_a_header_are_read_alike(file: Path, data: list[int]) -> None:
    declaration = contract("a", "b")

    for block_bytes in (4, 9, 30):
        text = b"a,b\n" + bytes(data)
        assert_equal(file, text, CsvFormat(name="csv"), declaration, block_bytes)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('"pear",1', id="quoted cell"),
        pytest.param('"pe\nar",1', id="cell of two lines"),
        pytest.param("pear", id="short row"),
        pytest.param("pear,1,2", id="long row"),
        pytest.param(" , ", id="row without any value"),
        pytest.param("pe\0ar,1", id="NUL"),
        pytest.param("pe\udcffar,1", id="no UTF-8"),
        pytest.param("pe\rar,1", id="lone carriage return"),
        pytest.param("pear,x", id="broken contract"),
    ],
)
def test_a_block_that_is_not_plain_is_read_by_lines_and_the_others_at_once(
    file: Path, line: str
) -> None:
    declaration = contract("name", column("weight", "int64"))
    plain = "fig,2\n" * 30
    data = f"name,weight\n{plain}{line}\n{plain}".encode(errors="surrogateescape")
    file.write_bytes(data)

    batches = list(read(file, CsvFormat(name="csv"), declaration, 60))

    kinds = [type(batch.columns["name"]) for batch in batches]
    assert kinds.count(list) <= 1
    assert kinds.count(pa.StringArray) > 5
    assert_equal(file, data, CsvFormat(name="csv"), declaration, 60)


@pytest.mark.parametrize("block_bytes", [20, 24, 40])
def test_a_cell_that_goes_on_in_the_next_block_makes_the_rest_be_read_by_lines(
    file: Path, block_bytes: int
) -> None:
    text = "name,x\npear,1\nfig,2\n" + '"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk",3\n' + "plum,4\n" * 9
    file.write_text(text)

    batches = list(read(file, CsvFormat(name="csv"), contract("name", "x"), block_bytes))

    names = [name for batch in batches for name in list(batch.columns["name"])]
    assert [str(name) for name in names][2] == "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk"
    assert batches[-1].where(len(batches[-1].ordinals) - 1) == "line 23"
    assert_equal(file, text.encode(), CsvFormat(name="csv"), contract("name", "x"), block_bytes)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("name,x\n" + "\ufeffpear,1\n" * 9, id="in cells"),
        pytest.param("\ufeffname,x\n" + "\ufeffpear,1\n" * 9, id="of the file and in cells"),
        pytest.param("name,x\npear,1\n" + '\ufeffpear,"1\n2\n3\n4\n5"\n' * 3, id="before a quote"),
    ],
)
@pytest.mark.parametrize("block_bytes", range(12, 40))
def test_a_byte_order_mark_within_the_file_is_part_of_its_cell(
    file: Path, text: str, block_bytes: int
) -> None:
    declaration = contract(column("name", trim=False), "x")

    batches = read(file, CsvFormat(name="csv"), declaration, block_bytes)

    file.write_bytes(text.encode())
    rows, *_ = checked(batches, declaration)
    assert {row["name"] for row in rows} <= {"pear", "\ufeffpear"}
    assert sum(row["name"] == "\ufeffpear" for row in rows) == text.count("\n\ufeff")
    assert_equal(file, text.encode(), CsvFormat(name="csv"), declaration, block_bytes)


@pytest.mark.parametrize("cell", ["null", "NULL", "NA", "N/A", "nan", "none", "#N/A", "-", "'"])
def test_only_an_empty_cell_is_null(file: Path, cell: str) -> None:
    file.write_text(f"name,x\n{cell},{cell}\n{cell},\n")

    (batch,) = read(file, CsvFormat(name="csv"), contract("name", "x"))

    assert batch.columns["x"].to_pylist() == [cell, None]


@pytest.mark.parametrize("head_end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("row_end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("block_bytes", [40, 60, BLOCK_BYTES])
def test_lines_are_counted_whatever_ends_them(
    file: Path, head_end: str, row_end: str, block_bytes: int
) -> None:
    declaration = contract("name", column("weight", "int64"))
    head = "".join(line + head_end for line in ("#made", "#by us", "name,weight"))
    text = head + "pear,1\n" * 9 + f"fig,2{row_end}" * 9 + "fig,3\n" * 9 + "plum,x"
    file.write_bytes(text.encode())

    form = CsvFormat(name="csv", comment="#")
    rows, _, (reject,), *_ = checked(read(file, form, declaration, block_bytes), declaration)

    assert len(rows) == 27
    assert reject.where == "line 31"


@pytest.mark.parametrize("length", [131_071, 131_072, 131_073, 262_144, 1 << 20])
def test_a_cell_of_any_length_is_read_or_rejected_alike(file: Path, length: int) -> None:
    text = f"name,x\npear,1\n{'a' * length},2\nfig,3\n".encode()

    assert_equal(file, text, CsvFormat(name="csv"), contract("name", "x"), BLOCK_BYTES)


def test_arrow_and_python_agree_on_what_is_blank() -> None:
    characters = [chr(n) for n in range(sys.maxunicode + 1) if not 0xD800 <= n <= 0xDFFF]
    trimmed = pc.utf8_trim_whitespace(pa.array(characters))

    by_arrow = {c for c, text in zip(characters, trimmed.to_pylist(), strict=True) if not text}

    assert by_arrow == {c for c in characters if not c.strip()}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda lines: lines, id="all plain"),
        pytest.param(lambda lines: [*lines[:500], "x,y,z", *lines[500:]], id="a bad row"),
        pytest.param(lambda lines: [*lines, '"fig', *lines], id="an open quote"),
    ],
)
def test_a_file_of_many_blocks_is_read_alike(
    file: Path, change: Callable[[list[str]], list[str]]
) -> None:
    lines = [f"fruit{n},{n}" for n in range(30_000)]
    data = "\n".join(["name,weight", *change(lines)]).encode()
    declaration = contract("name", column("weight", "int64"))

    assert len(data) > 2 * BLOCK_BYTES
    assert_equal(file, data, CsvFormat(name="csv"), declaration, BLOCK_BYTES)

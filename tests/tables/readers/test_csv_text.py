"""Rows of delimited text, and the lines that are none."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from support.table_declarations import column, contract

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import CsvFormat
from etl_assets.model.errors import ContentError
from etl_assets.tables.readers.batch import Batch
from etl_assets.tables.readers.csv_text import MAX_LINE_CHARACTERS, read, read_lines

FRUITS = contract("name", "colour")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "text"


def batch_of(file: Path, text: str | bytes, declaration: Contract = FRUITS, **form: str) -> Batch:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    (batch,) = read(file, CsvFormat(name="csv", **form), declaration)
    # Plain lines are read as arrays, and by lines again where one breaks its contract.
    return batch.exact() if batch.exact else batch


def test_cells_stand_under_their_header_and_empty_ones_are_null(file: Path) -> None:
    batch = batch_of(file, "colour,name\ngreen,pear\n,plum\n")

    assert batch.columns == {"name": ["pear", "plum"], "colour": ["green", None]}
    assert batch.lines == [2, 3]


def test_a_column_may_have_another_name_in_the_header(file: Path) -> None:
    declaration = contract(column("name", **{"from": "Fruit name"}))

    batch = batch_of(file, "Fruit name;x\npear;1\n", declaration, delimiter=";")

    assert batch.columns == {"name": ["pear"]}


@pytest.mark.parametrize("quote", ["", '"'], ids=["plain", "quoted"])
def test_an_optional_column_that_the_header_lacks_is_left_out(file: Path, quote: str) -> None:
    declaration = contract("name", column("colour", optional=True), column("size", optional=True))

    batch = batch_of(file, f"name,size\n{quote}pear{quote},\nplum,big\n", declaration)

    assert batch.columns == {"name": ["pear", "plum"], "size": [None, "big"]}
    assert batch.values(declaration.columns[1]) == [None, None]


@pytest.mark.parametrize("header", ["colour", "name,name", "name,colour,colour"])
def test_other_columns_and_repeated_ones_are_needed_once(file: Path, header: str) -> None:
    declaration = contract("name", column("colour", optional=True))

    with pytest.raises(ContentError, match="once each"):
        batch_of(file, f"{header}\n", declaration)


def test_quoted_cells_hold_delimiters_quotes_and_line_breaks(file: Path) -> None:
    batch = batch_of(file, 'name,colour\n"pe,ar","a ""b""\nc"\r\nplum,blue\n')

    assert batch.columns["colour"] == ['a "b"\nc', "blue"]
    assert batch.lines == [2, 4]


@pytest.mark.fault("csv-ragged")
@pytest.mark.parametrize(
    ("line", "actual"),
    [
        pytest.param(b"plum", "1 cells", id="short"),
        pytest.param(b"plum,blue,big", "3 cells", id="long"),
        pytest.param(b"pl\0um,blue", "a NUL character", id="NUL"),
        pytest.param(b'"plum"x,blue', "expected after", id="quote inside"),
    ],
)
def test_a_bad_line_is_rejected_by_its_number(file: Path, line: bytes, actual: str) -> None:
    batch = batch_of(file, b"name,colour\npear,green\n" + line + b"\nfig,brown\n")

    (reject,) = batch.rejects
    assert reject.where == "line 3"
    assert actual in reject.actual
    assert batch.columns["name"] == ["pear", "fig"]
    assert batch.ordinals == [1, 3]


@pytest.mark.fault("csv-ragged")
@pytest.mark.parametrize(
    "after",
    [
        pytest.param("fig,brown\n", id="to the end of the file"),
        pytest.param('"fig",brown\n', id="to the next quoted cell"),
        pytest.param('fig,"brown"\n', id="to a quoted cell further on"),
        pytest.param('fig,brown\n"a\nb"\n', id="to a cell of two lines"),
    ],
)
def test_a_quote_that_never_closes_costs_its_own_line_alone(file: Path, after: str) -> None:
    batch = batch_of(file, f'name,colour\npear,green\n"plum,blue\n{after}')

    assert batch.rejects[0].where == "line 3"
    assert "line 4" not in [reject.where for reject in batch.rejects]
    assert batch.columns["name"][:2] == ["pear", "fig"]
    assert batch.lines[:2] == [2, 4]


def test_blank_lines_are_no_rows(file: Path) -> None:
    batch = batch_of(file, "name,colour\n\npear,green\n\n\n")

    assert batch.records == 1
    assert batch.lines == [3]


@pytest.mark.parametrize("line", [",", ",,,", '"",""', " , ", "\t,\u00a0"])
def test_a_row_without_any_value_is_no_row(file: Path, line: str) -> None:
    batch = batch_of(file, f"name,colour\n{line}\npear,green\n{line}\n")

    assert batch.records == 1
    assert batch.rejects == []
    assert batch.lines == [3]


@pytest.mark.fault("empty-row")
@pytest.mark.parametrize(
    ("above", "header"),
    [
        pytest.param("", " name , colour", id="blanks"),
        pytest.param("", 'name,"\u00a0colour\t"', id="quoted blanks"),
        pytest.param("\n\n", "name,colour", id="empty lines above"),
        pytest.param(",,\n", "name,colour", id="delimiters above"),
        pytest.param("#made by hand\n \n", "name ,colour", id="blank line after a comment"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_header_is_found_without_blanks_and_empty_rows(
    file: Path, above: str, header: str, end: str
) -> None:
    text = f"\ufeff{above}{header}\npear,green\n".replace("\n", end)

    batch = batch_of(file, text, comment="#")

    assert batch.columns == {"name": ["pear"], "colour": ["green"]}
    assert batch.lines == [text.count(end)]


def test_leading_comments_are_left_out_and_counted_as_lines(file: Path) -> None:
    batch = batch_of(file, "#version 1\n#date 2\nname,colour\n#pear,green\n", comment="#")

    assert batch.columns["name"] == ["#pear"]
    assert batch.lines == [4]


@pytest.mark.fault("bom")
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_byte_order_mark_is_accepted(file: Path, *, packed: bool) -> None:
    text = "\ufeffname,colour\npear,grün\n".encode()

    batch = batch_of(file, gzip.compress(text) if packed else text)

    assert batch.columns == {"name": ["pear"], "colour": ["grün"]}


def test_unknown_columns_are_named_where_the_contract_asks(file: Path) -> None:
    declaration = contract("name", unknown_fields="evolve")

    batch = batch_of(file, "name,weight\npear,1\n", declaration)

    assert batch.unknown_fields == {"weight"}


@pytest.mark.fault("missing-column", "csv-delimiter")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"name;colour\npear;green\n", id="wrong delimiter"),
        pytest.param(b"name\npear\n", id="column missing"),
        pytest.param(b"name,name,colour\n1,2,3\n", id="column twice"),
        pytest.param(b"", id="empty"),
        pytest.param(b"<!doctype html>\n<html>", id="page"),
        pytest.param(b'"name"x,colour\n', id="broken header"),
        pytest.param(b"name,colour\n" + b"x" * (MAX_LINE_CHARACTERS + 1), id="endless line"),
        pytest.param(gzip.compress(b"name,colour\npear,green\n")[:-9], id="gzip cut off"),
    ],
)
def test_what_is_not_the_declared_table_is_refused(file: Path, text: bytes) -> None:
    with pytest.raises(ContentError, match="expected"):
        batch_of(file, text)


@pytest.mark.fault("csv-delimiter")
def test_a_wrong_delimiter_is_told_by_the_header_found(file: Path) -> None:
    with pytest.raises(ContentError, match=r'with name, colour once each, found \["name;colour"\]'):
        batch_of(file, "name;colour\n")


def test_many_rows_come_in_batches(file: Path) -> None:
    file.write_text("name,colour\n" + "pear,green\n" * 12_000)

    batches = list(read(file, CsvFormat(name="csv"), FRUITS))

    assert [len(batch.ordinals) for batch in batches] == [11_914, 86]
    assert batches[-1].exact().where(85) == "line 12001"
    assert batches[-1].where(85) == "record 12000"
    by_line = list(read_lines(file, CsvFormat(name="csv"), FRUITS))
    assert [len(batch.ordinals) for batch in by_line] == [5_000, 5_000, 2_000]
    assert by_line[-1].where(1_999) == "line 12001"

"""Stanzas become rows, and what is none is rejected by its line."""

from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.table_declarations import column, contract

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import Deb822Format
from etl_assets.model.errors import ContentError
from etl_assets.model.records import Reject
from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.readers import registry
from etl_assets.tables.readers.batch import Batch

FORMAT = Deb822Format(name="deb822")
PACKAGES = contract(
    column("package", required=True, **{"from": "Package"}),
    column("version", required=True, **{"from": "Version"}),
    column("source", **{"from": "Source.name"}),
    column("source_version", **{"from": "Source.version"}),
    unknown_fields="discard_value",
)
OAK = "Package: oak\nVersion: 1.0-1\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "Packages"


def read(
    file: Path, text: str | bytes, declaration: Contract = PACKAGES, limit: int = 1_000_000
) -> list[Batch]:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [*registry.read(file, FORMAT, declaration, limit)]


def rows_of(batches: list[Batch]) -> list[tuple[str | None, ...]]:
    return [row for batch in batches for row in zip(*batch.columns.values(), strict=True)]


def rejects_of(batches: list[Batch]) -> list[Reject]:
    checker = ContractChecker(PACKAGES)
    return [reject for batch in batches for reject in checker.check(batch).rejects]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("", ("oak-bin", "1.0-1+b1"), id="no source"),
        pytest.param("Source: oak\n", ("oak", "1.0-1+b1"), id="source of the same version"),
        pytest.param("Source: oak (1:1.0-1)\n", ("oak", "1:1.0-1"), id="source and version"),
        pytest.param("Source:oak  (1.0-1) \n", ("oak", "1.0-1"), id="other blanks"),
        pytest.param("Source:\n", ("oak-bin", "1.0-1+b1"), id="empty source"),
    ],
)
def test_a_package_has_its_source_and_the_version_of_that(
    file: Path, source: str, expected: tuple[str, str]
) -> None:
    batches = read(file, f"Package: oak-bin\n{source}Version: 1.0-1+b1\n")

    assert rows_of(batches) == [("oak-bin", "1.0-1+b1", *expected)]


def test_stanzas_are_separated_by_blank_lines_and_have_the_line_of_their_first_field(
    file: Path,
) -> None:
    batches = read(file, f"\n\n{OAK}\n \t\nPackage: fir\r\nVersion: 2\r\n\r\n\n")

    assert [row[0] for row in rows_of(batches)] == ["oak", "fir"]
    assert batches[0].lines == [3, 7]
    assert batches[0].records == 2


@pytest.mark.parametrize("name", ["Package", "package", "PACKAGE", "pAcKaGe"])
def test_the_name_of_a_field_may_be_in_any_case(file: Path, name: str) -> None:
    batches = read(file, f"{name}: oak\nversion:1\n")

    assert rows_of(batches)[0][:2] == ("oak", "1")


def test_a_value_goes_on_in_indented_lines(file: Path) -> None:
    declaration = contract(
        column("description", **{"from": "Description"}), unknown_fields="discard_value"
    )

    batches = read(
        file, "Description: a tree\n Tall:\n\t  very\n .\n The end.\nSize: 1\n", declaration
    )

    assert rows_of(batches) == [("a tree\nTall:\n  very\n\nThe end.",)]


def test_a_field_that_no_column_is_from_is_unknown(file: Path) -> None:
    declaration = contract(
        column("package"),
        column("source", **{"from": "Source.name"}),
        unknown_fields="evolve",
    )

    [batch] = read(file, f"{OAK}Source: oak\nTag: tall\n\n{OAK}Priority: low\n", declaration)

    assert batch.unknown_fields == {"version", "tag", "priority"}


@pytest.mark.fault("deb822-stanza")
@pytest.mark.parametrize(
    ("stanza", "where", "expected", "actual"),
    [
        pytest.param(
            b"Package: fir\nVersion: 1\nversion: 2\n",
            *("line 6", "each field once", "version a second time"),
            id="field twice",
        ),
        pytest.param(
            b"Package: fir\nVersion: 1\nPACKAGE: fir\n",
            *("line 6", "each field once", "PACKAGE a second time"),
            id="field twice in another case",
        ),
        pytest.param(
            b"Package: fir\nVersion 1\n",
            *("line 5", "a field, `Name: value`", "'Version 1'"),
            id="no colon",
        ),
        pytest.param(
            b"# fir\nPackage: fir\nVersion: 1\n",
            *("line 4", "a field, `Name: value`", "'# fir'"),
            id="comment",
        ),
        pytest.param(
            b" fir\nPackage: fir\nVersion: 1\n",
            *("line 4", "a field before its continuation", "' fir'"),
            id="continuation of nothing",
        ),
        pytest.param(
            b"Package: f\xffr\nVersion: 1\n",
            *("line 4", "UTF-8 text", "the byte 0xff at position 11"),
            id="no UTF-8",
        ),
        pytest.param(
            b"Package: fir\nVersion: 1\n Tall \0\n",
            *("line 6", "text", "a NUL character"),
            id="NUL",
        ),
        pytest.param(
            b"Package: fir\nVersion: 1\nSource: fir (1\n",
            *("line 4", "Source as `name` or `name (version)`", "'fir (1'"),
            id="odd source",
        ),
        pytest.param(b"Package: fir\n", "line 4", "a value", "null", id="required field missing"),
        pytest.param(b"Version: 1\nPackage:\n", "line 4", "a value", "null", id="field empty"),
    ],
)
def test_a_stanza_that_is_no_row_is_rejected_and_costs_no_other(
    file: Path, stanza: bytes, where: str, expected: str, actual: str
) -> None:
    batches = read(file, OAK.encode() + b"\n" + stanza + b"\n" + OAK.encode())

    [reject] = rejects_of(batches)
    assert (reject.where, reject.expected, reject.actual) == (where, expected, actual)
    assert [row[0] for row in rows_of(batches) if row[0] and row[1]] == ["oak", "oak"]


@pytest.mark.fault("deb822-stanza")
@pytest.mark.parametrize(
    "large",
    [
        pytest.param("Description: " + "x" * 900_000 + "\n", id="one line"),
        pytest.param(" line\n".join(["Description: x\n", *[""] * 60_000]), id="many lines"),
        pytest.param("Description: " + "x" * 300_001 + "\n" + OAK, id="the rest of a stanza"),
    ],
)
def test_a_stanza_above_the_limit_is_rejected_and_costs_no_other(file: Path, large: str) -> None:
    batches = read(file, f"{OAK}\nPackage: fir\n{large}\n{OAK}", limit=300_000)

    [reject] = rejects_of(batches)
    size = len("Package: fir\n" + large)
    assert (reject.where, reject.actual) == ("line 4", f"{size:,} bytes")
    assert reject.expected == "at most 300,000 bytes (limits.max_record_bytes)"
    assert reject.row.startswith("Package: fir")
    assert [row[0] for row in rows_of(batches)] == ["oak", "oak"]


@pytest.mark.parametrize("size", [1, 2, 7_000, 66_000, 140_000])
def test_a_line_of_any_size_within_the_limit_is_read(file: Path, size: int) -> None:
    declaration = contract(column("tag", **{"from": "Tag"}), unknown_fields="discard_value")

    batches = read(file, f"{OAK}\nTag: {'x' * size}\n\nTag: y", declaration)

    assert [row[0] for row in rows_of(batches)] == [None, "x" * size, "y"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gz", "xz"])
def test_an_index_may_be_packed(file: Path, pack) -> None:
    batches = read(file, pack(b"\xef\xbb\xbf" + OAK.encode() * 1 + b"\n" * 300_000 + OAK.encode()))

    assert [row[0] for row in rows_of(batches)] == ["oak", "oak"]


@pytest.mark.fault("truncated-gzip")
@pytest.mark.parametrize(
    ("pack", "name"), [(gzip.compress, "gzip"), (lzma.compress, "xz")], ids=["gz", "xz"]
)
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.99])
def test_an_index_that_is_cut_off_is_refused_by_name(file: Path, pack, name, kept: float) -> None:
    packed = pack("\n".join(OAK.replace("oak", f"oak{n}") for n in range(5_000)).encode())

    with pytest.raises(ContentError, match=f"expected a whole {name} file"):
        read(file, packed[: int(len(packed) * kept)])


def test_an_empty_file_has_no_rows(file: Path) -> None:
    assert rows_of(read(file, "\n \n")) == []


NAMES = st.text(alphabet="abz019+-.", min_size=2, max_size=9).map(lambda text: f"a{text}")
VERSIONS = st.text(alphabet="0123456789abz.+~", min_size=1, max_size=9).map(lambda t: f"1{t}")


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="needs dpkg-query of Debian")
@settings(max_examples=10, deadline=None)
@given(
    packages=st.dictionaries(
        NAMES, st.tuples(VERSIONS, st.none() | NAMES, st.none() | VERSIONS), min_size=1, max_size=30
    )
)
def test_dpkg_names_the_same_source_and_version(
    tmp_path_factory: pytest.TempPathFactory,
    packages: dict[str, tuple[str, str | None, str | None]],
) -> None:
    folder = tmp_path_factory.mktemp("dpkg")
    stanzas = []
    for name, (version, source, source_version) in packages.items():
        origin = f"Source: {source}" + (f" ({source_version})" if source_version else "")
        fields = [f"Package: {name}", "Status: install ok installed", f"Version: {version}"]
        fields += ["Architecture: all", "Maintainer: x", "Description: x\n More."]
        stanzas.append("\n".join(fields + [origin] * bool(source)) + "\n")
    (folder / "info").mkdir()
    (folder / "info/format").write_text("1\n")
    shown = "${Package}\t${Version}\t${source:Package}\t${source:Version}\n"

    batches = read(folder / "status", "\n".join(stanzas))

    told = subprocess.run(
        ["dpkg-query", f"--admindir={folder}", "--show", f"--showformat={shown}"],
        check=True,
        capture_output=True,
        text=True,
    )
    expected = [tuple(line.split("\t")) for line in told.stdout.splitlines()]
    assert sorted(rows_of(batches)) == sorted(expected)


@pytest.mark.fault("deb822-stanza")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("Package: oak\rVersion: 1\r\r", "a carriage return", id="Mac line ends"),
        pytest.param("Package: oak\rVersion: 1\n", "a carriage return", id="within a line"),
        pytest.param("Package: oak\nVersion: 1\nSource: oak(\n", "'oak('", id="open bracket"),
    ],
)
def test_a_line_in_which_two_fields_could_be_is_rejected(file: Path, text: str, found: str) -> None:
    [reject] = rejects_of(read(file, text))

    assert found in reject.actual


@pytest.mark.parametrize("source", ["oak (2.0)", "oak(2.0)", "oak  (2.0)"])
def test_blanks_before_the_version_of_a_source_do_not_matter(file: Path, source: str) -> None:
    [row] = rows_of(read(file, f"{OAK}Source: {source}\n"))

    assert row[2:] == ("oak", "2.0")

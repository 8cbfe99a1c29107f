"""Whatever the bytes, a reader yields batches or raises one of the project's own errors."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.table_declarations import column, contract

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import (
    CsvFormat,
    CveFormat,
    Deb822Format,
    Format,
    JsonFormat,
    OsvFormat,
)
from etl_assets.model.errors import EtlError
from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.readers import cve_2_0, osv, registry

FRUITS = contract(
    column("name", required=True, pattern=r"\w+"),
    column("weight", "float64", minimum=0, **{"from": "skin.weight"}),
    column("picked_at", "timestamp"),
    column("tags", "list[string]"),
    unknown_fields="evolve",
)
CELLS = contract(
    "name", column("weight", "int64"), column("picked", "date"), unknown_fields="evolve"
)
KINDS = {
    "cvss_score": "float64",
    "versions_count": "int64",
    "affected_number": "int64",
    "range_number": "int64",
    "aliases": "list[string]",
    "upstream": "list[string]",
    "related": "list[string]",
    "versions": "list[string]",
}


def of_standard(offered: tuple[str, ...]) -> Contract:
    declared = [column(name, KINDS.get(name, "string")) for name in offered]
    return contract(*declared, unknown_fields="evolve")


CVES, RECORDS = of_standard(cve_2_0.OFFERED_FIELDS), of_standard(osv.OFFERED_FIELDS)

FRUIT = {"name": "pear", "skin": {"weight": 1.5}, "picked_at": "2024-01-02", "tags": ["a", "b"]}
CVE = {
    "cve": {
        "id": "CVE-2024-0001",
        "descriptions": [{"lang": "en", "value": "x"}],
        "metrics": {"cvssMetricV31": [{"type": "Primary", "cvssData": {"baseScore": 7.5}}]},
    }
}
EVENTS = [{"introduced": "0"}, {"fixed": "1"}]
OSV = {"id": "O-1", "affected": [{"ranges": [{"type": "GIT", "events": EVENTS}]}]}


def zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("1.json"), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def as_bytes(value: object) -> bytes:
    return json.dumps(value).encode()


PACKAGES = contract(
    column("package", **{"from": "Package"}), column("source", **{"from": "Source.version"})
)

FORMATS: dict[str, tuple[Format, Contract, bytes]] = {
    "json map": (JsonFormat(name="json", rows="{name}.{x}"), FRUITS, as_bytes({"a": {"b": FRUIT}})),
    "json list": (
        JsonFormat(name="json", rows="fruits[]"),
        FRUITS,
        as_bytes({"fruits": [FRUIT] * 2}),
    ),
    "csv": (CsvFormat(name="csv"), CELLS, b'name,weight,picked\n"pear",1,2024-01-02\nfig,,\n'),
    "deb822": (
        Deb822Format(name="deb822"),
        PACKAGES,
        b"Package: oak\nSource: tree (1)\nVersion: 1+b1\n More\n .\n\nPackage: fir\nVersion: 2\n",
    ),
    "cve": (CveFormat(name="cve_2_0"), CVES, as_bytes({"vulnerabilities": [CVE, CVE]})),
    "osv": (OsvFormat(name="osv"), RECORDS, zipped(as_bytes(OSV))),
}


@pytest.fixture(params=FORMATS, scope="module")
def sample(request: pytest.FixtureRequest) -> tuple[Format, Contract, bytes]:
    return FORMATS[request.param]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file"


def read(file: Path, data: bytes, form: Format, declaration: Contract) -> int:
    """How many rows hold; none where the project refuses the file."""
    file.write_bytes(data)
    checker = ContractChecker(declaration)
    try:
        return sum(checker.check(b).rows.num_rows for b in registry.read(file, form, declaration))
    except EtlError:
        return 0


def mutated(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """The bytes with some pieces replaced."""
    for place, length, new in edits:
        start = place % (len(data) + 1)
        data = data[:start] + new + data[start + length :]
    return data


def test_the_samples_themselves_are_read(
    file: Path, sample: tuple[Format, Contract, bytes]
) -> None:
    form, declaration, data = sample

    assert read(file, data, form, declaration) > 0


@given(data=st.binary(max_size=200), wrap=st.sampled_from([bytes, gzip.compress, zipped]))
@settings(max_examples=60)
def test_random_bytes(
    file: Path,
    sample: tuple[Format, Contract, bytes],
    data: bytes,
    wrap: Callable[[bytes], bytes],
) -> None:
    form, declaration, _ = sample

    read(file, wrap(data), form, declaration)


TOKENS = st.sampled_from(
    [
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\\",
        b"\0",
        b"\xff",
        b"\n",
        b"null",
        b"1e999",
        b"[]",
    ]
)


@pytest.mark.long
@pytest.mark.ci
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 2_000), st.integers(0, 12), TOKENS | st.binary(max_size=3)),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=120)
def test_mutated_samples(
    file: Path, sample: tuple[Format, Contract, bytes], edits: list[tuple[int, int, bytes]]
) -> None:
    form, declaration, data = sample

    read(file, mutated(data, edits), form, declaration)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JUNK = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        *FRUIT,
        "cve",
        "id",
        "metrics",
        "descriptions",
        "affected",
        "ranges",
        "weight",
        "vulnerabilities",
    ]
)


@pytest.mark.long
@pytest.mark.ci
@given(
    value=st.dictionaries(
        FIELDS, st.dictionaries(FIELDS, JUNK, max_size=4) | st.lists(JUNK, max_size=3), max_size=4
    )
)
@settings(max_examples=120)
def test_structured_junk(
    file: Path, sample: tuple[Format, Contract, bytes], value: dict[str, Any]
) -> None:
    form, declaration, _ = sample
    data = as_bytes(
        {"fruits": [value], "vulnerabilities": [{"cve": value}], "affected": []} | value
    )

    read(file, zipped(data) if form.name == "osv" else data, form, declaration)

"""Rows of one id become one OSV record; equal rows give an equal zip."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import osv

JANUARY, MARCH = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
DOCUMENT = Document.model_validate(
    {
        "file": "osv/all.zip",
        "title": "Records",
        "format": "osv",
        "from": "doc_records",
        "options": {
            "ecosystem": "Echo",
            "prefix": "ECHO-",
            "purl_type": "deb",
            "purl_namespace": "garden",
        },
    }
)


def a_row(**changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(field.name for field in osv.msgspec.structs.fields(osv.Row))
    return row | {
        "vulnerability_id": "CVE-2026-900001",
        "package_name": "oak",
        "published_at": JANUARY,
        "modified_at": MARCH,
        "summary": "s",
        "details": "d",
        "is_affected": True,
        "source": "garden",
        **changes,
    }


def records(directory: Path) -> dict[str, dict[str, Any]]:
    with zipfile.ZipFile(directory / "osv/all.zip") as archive:
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


def test_a_fix_ends_the_affected_range(lay, context) -> None:
    osv.write(lay(a_row(fixed_version="1-2", specific={"state": "fixed"})), DOCUMENT, context)

    assert records(context.directory) == {
        "ECHO-CVE-2026-900001.json": {
            "schema_version": "1.7.5",
            "id": "ECHO-CVE-2026-900001",
            "published": "2026-01-01T00:00:00Z",
            "modified": "2026-03-01T00:00:00Z",
            "upstream": ["CVE-2026-900001"],
            "summary": "s",
            "details": "d",
            "affected": [
                {
                    "package": {
                        "ecosystem": "Echo",
                        "name": "oak",
                        "purl": "pkg:deb/garden/oak",
                    },
                    "ranges": [
                        {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1-2"}]}
                    ],
                    "database_specific": {"state": "fixed"},
                }
            ],
            "database_specific": {"attributions": ["Garden list. Licence: CC0-1.0"]},
        }
    }


def test_all_packages_of_an_id_are_in_one_record(lay, context) -> None:
    rows = lay(
        a_row(package_name="fir", is_affected=False),
        a_row(package_name="oak"),
        a_row(vulnerability_id="CVE-2026-900002"),
    )

    osv.write(rows, DOCUMENT, context)

    first, second = records(context.directory).values()
    assert [a["package"]["name"] for a in first["affected"]] == ["oak"]
    assert first["affected"][0]["ranges"][0]["events"] == [{"introduced": "0"}]
    spared = first["database_specific"]["not_applicable"]
    assert [part["package"]["name"] for part in spared] == ["fir"]
    assert second["id"] == "ECHO-CVE-2026-900002"
    assert osv.count_rows(DOCUMENT, context.directory) == 3


def test_a_withdrawn_record_is_kept_with_its_date(lay, context) -> None:
    osv.write(lay(a_row(withdrawn_at=MARCH)), DOCUMENT, context)

    [record] = records(context.directory).values()
    assert record["withdrawn"] == "2026-03-01T00:00:00Z"


def test_each_page_is_listed_once(lay, context) -> None:
    rows = lay(
        a_row(package_name="fir", page_url="https://a.example", record_url="https://b.example"),
        a_row(package_name="oak", page_url="https://a.example", record_url="https://a.example"),
    )

    osv.write(rows, DOCUMENT, context)

    [record] = records(context.directory).values()
    assert record["references"] == [
        {"type": "ADVISORY", "url": "https://a.example"},
        {"type": "WEB", "url": "https://b.example"},
    ]


def test_the_newest_change_is_first_in_the_list(lay, context) -> None:
    ids = ("CVE-2026-900001", "CVE-2026-900002", "CVE-2026-900003")
    moments = (JANUARY, MARCH, MARCH)
    rows = lay(
        *(a_row(vulnerability_id=i, modified_at=at) for i, at in zip(ids, moments, strict=True))
    )

    written = osv.write(rows, DOCUMENT, context)

    assert (context.directory / "osv/modified_id.csv").read_text() == (
        "2026-03-01T00:00:00Z,ECHO-CVE-2026-900002\n"
        "2026-03-01T00:00:00Z,ECHO-CVE-2026-900003\n"
        "2026-01-01T00:00:00Z,ECHO-CVE-2026-900001\n"
    )
    assert [(w.file, w.rows) for w in written] == [("osv/all.zip", 3), ("osv/modified_id.csv", 0)]


def test_equal_rows_give_equal_bytes(lay, context) -> None:
    rows = lay(a_row())

    assert osv.write(rows, DOCUMENT, context) == osv.write(rows, DOCUMENT, context)


def test_rows_in_another_order_are_refused(lay, context) -> None:
    rows = lay(a_row(vulnerability_id="CVE-2026-900002"), a_row())

    with pytest.raises(BuildError, match="in the order of their ids, found CVE-2026-900001"):
        osv.write(rows, DOCUMENT, context)


def respoil(path: Path, name: str, content: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("a.json", "{}", "missing required field", id="no record"),
        pytest.param("a.json", None, "expected the record a.json", id="another name"),
    ],
)
def test_an_invalid_zip_is_refused(lay, context, name, content, message: str) -> None:
    osv.write(lay(a_row()), DOCUMENT, context)
    [record] = records(context.directory).values()
    respoil(context.directory / "osv/all.zip", name, content or json.dumps(record))

    with pytest.raises(BuildError, match=message):
        osv.count_rows(DOCUMENT, context.directory)


def test_a_file_that_is_not_a_zip_is_refused(lay, context) -> None:
    osv.write(lay(a_row()), DOCUMENT, context)
    (context.directory / "osv/all.zip").write_text("PK")

    with pytest.raises(BuildError, match="expected a zip of OSV records"):
        osv.count_rows(DOCUMENT, context.directory)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        pytest.param("", "expected 1 records, found 0", id="lost"),
        pytest.param("2026-01-01T00:00:00Z,ECHO-CVE-2026-900001\n", "no such entry", id="stale"),
    ],
)
def test_a_list_of_other_records_is_refused(lay, context, listed: str, message: str) -> None:
    osv.write(lay(a_row()), DOCUMENT, context)
    (context.directory / "osv/modified_id.csv").write_text(listed)

    with pytest.raises(BuildError, match=message):
        osv.count_rows(DOCUMENT, context.directory)


def test_a_record_may_have_an_id_of_its_own(lay, context) -> None:
    rows = lay(a_row(osv_id="GARDEN-7"), a_row(vulnerability_id="CVE-2026-900002"))

    osv.write(rows, DOCUMENT, context)

    assert {name: r["upstream"] for name, r in records(context.directory).items()} == {
        "GARDEN-7.json": ["CVE-2026-900001"],
        "ECHO-CVE-2026-900002.json": ["CVE-2026-900002"],
    }
    assert osv.count_rows(DOCUMENT, context.directory) == 2


@pytest.mark.parametrize("osv_id", ["../up", "a/b", ".hidden", "two words", "x" * 201])
def test_an_id_that_is_no_name_of_a_file_is_refused(lay, context, osv_id: str) -> None:
    with pytest.raises(BuildError, match="expected an id of letters, digits"):
        osv.write(lay(a_row(osv_id=osv_id)), DOCUMENT, context)


@pytest.mark.parametrize(
    ("vector", "severity"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "CVSS_V3"),
        ("AV:N/AC:L/Au:N/C:P/I:P/A:P", "CVSS_V2"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "CVSS_V4"),
    ],
)
def test_a_record_has_the_vector_as_its_severity(lay, context, vector: str, severity: str) -> None:
    osv.write(lay(a_row(cvss_vector=vector)), DOCUMENT, context)

    [record] = records(context.directory).values()
    assert record["severity"] == [{"type": severity, "score": vector}]


@pytest.mark.parametrize("vector", ["high", "CVSS:3.1/AV:N", "CVSS:4.0/", "CVSS:9.0/AV:N/AC:L"])
def test_a_text_that_is_no_vector_is_no_severity(lay, context, vector: str) -> None:
    osv.write(lay(a_row(cvss_vector=vector)), DOCUMENT, context)

    [record] = records(context.directory).values()
    assert "severity" not in record


def at_rest() -> Document:
    return DOCUMENT.model_copy(update={"options": DOCUMENT.options | {"layout": "rest"}})


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("X-1", "X-1", "CVE-2026-900001 as X-1; CVE-2026-900002 as X-1"),
        ("X-1", "x-1", "CVE-2026-900001 as X-1; CVE-2026-900002 as x-1"),
        ("all", None, "the list all.json; CVE-2026-900001 as all"),
        (None, "ALL", "the list all.json; CVE-2026-900002 as ALL"),
        ("echo-cve-2026-900002", None, "CVE-2026-900001 as echo-cve-2026-900002; CVE-2026-900002"),
    ],
)
def test_ids_that_would_be_one_file_are_refused(
    lay, context, first: str | None, second: str | None, found: str
) -> None:
    rows = lay(a_row(osv_id=first), a_row(vulnerability_id="CVE-2026-900002", osv_id=second))

    with pytest.raises(BuildError, match=f"differ in more than their case, found {found}"):
        osv.write(rows, DOCUMENT, context)

    assert not (context.directory / "osv" / "all.zip").exists()


def test_the_layout_for_rest_has_a_file_per_record_and_their_list(lay, context) -> None:
    files = osv.write(lay(a_row(), a_row(vulnerability_id="CVE-2026-900002")), at_rest(), context)

    folder = context.directory / "osv"
    assert json.loads((folder / "all.json").read_text()) == [
        {"id": f"ECHO-CVE-2026-90000{n}", "modified": "2026-03-01T00:00:00Z"} for n in (1, 2)
    ]
    assert {path.name for path in folder.iterdir()} == {
        *("all.zip", "modified_id.csv", "all.json"),
        *records(context.directory),
    }
    assert {file.file for file in files} == {f"osv/{path.name}" for path in folder.iterdir()}
    for name, record in records(context.directory).items():
        assert json.loads((folder / name).read_text()) == record
    assert osv.count_rows(at_rest(), context.directory) == 2


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("all.json", "[]", "expected 1 records, found 0"),
        ("all.json", '[{"id":"x","modified":"2026-03-01T00:00:00Z"}]', "no such entry"),
        ("ECHO-CVE-2026-900001.json", "{}", "expected the record of osv/all.zip"),
    ],
)
def test_a_damaged_file_of_the_layout_for_rest_is_refused(
    lay, context, file: str, content: str, message: str
) -> None:
    osv.write(lay(a_row()), at_rest(), context)
    (context.directory / "osv" / file).write_text(content)

    with pytest.raises(BuildError, match=message):
        osv.count_rows(at_rest(), context.directory)

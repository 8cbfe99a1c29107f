"""Rows become vulnerabilities of a CycloneDX VEX, and every reference has its component."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import cyclonedx

DOCUMENT = Document.model_validate(
    {
        "file": "bom.json",
        "title": "Analyses",
        "format": "cyclonedx",
        "from": "doc_analyses",
        "options": {
            "id": "https://garden.example/bom",
            "author": "Garden",
            "purl_type": "deb",
            "purl_namespace": "garden",
        },
    }
)


def a_row(version: str | None = None, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(field.name for field in cyclonedx.msgspec.structs.fields(cyclonedx.Row))
    return row | {
        "products": [{"name": "oak", "version": version, "arch": None}],
        "package_name": "oak",
        "vulnerability_id": "CVE-2026-900001",
        "source_name": "NVD",
        "state": "not_affected",
        "detail": "Not affected.",
        "first_issued_at": datetime(2026, 1, 1, tzinfo=UTC),
        "last_updated_at": datetime(2026, 2, 1, tzinfo=UTC),
        **changes,
    }


def read_document(context) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((context.directory / "bom.json").read_text())
    return content


def test_a_vulnerability_has_its_analysis_and_package(lay, context) -> None:
    row = a_row(justification="code_not_present", version="1-1", response="update")

    cyclonedx.write(lay(row), DOCUMENT, context)

    assert read_document(context)["vulnerabilities"] == [
        {
            "id": "CVE-2026-900001",
            "source": {"name": "NVD"},
            "analysis": {
                "state": "not_affected",
                "justification": "code_not_present",
                "response": ["update"],
                "detail": "Not affected.",
                "firstIssued": "2026-01-01T00:00:00Z",
                "lastUpdated": "2026-02-01T00:00:00Z",
            },
            "affects": [{"ref": "pkg:deb/garden/oak@1-1"}],
        }
    ]


@pytest.mark.parametrize(
    ("vector", "rating"),
    [
        ("AV:N/AC:L/Au:N/C:P/I:P/A:P/E:POC", ("CVSSv2", 7.5, "high", "AV:N/AC:L/Au:N/C:P/I:P/A:P")),
        (
            "CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N",
            ("CVSSv3", 6.1, "medium", "CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N"),
        ),
        (
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            ("CVSSv31", 9.8, "critical", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"),
        ),
        (
            "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N/E:X",
            (
                *("CVSSv4", 8.7, "high"),
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N",
            ),
        ),
    ],
)
def test_a_vulnerability_is_rated_by_its_vector(
    lay, context, vector: str, rating: tuple[Any, ...]
) -> None:
    cyclonedx.write(lay(a_row(cvss_vector=vector)), DOCUMENT, context)

    [found] = read_document(context)["vulnerabilities"][0]["ratings"]
    assert (found["method"], found["score"], found["severity"], found["vector"]) == rating
    assert cyclonedx.count_rows(DOCUMENT, context.directory) == 1


@pytest.mark.parametrize(
    ("year", "version"), [(2026, 820_540_800), (2027, 852_076_800), (2068, 2_145_916_800)]
)
def test_the_version_of_the_document_rises_and_fits_32_bits(
    lay, context, year: int, version: int
) -> None:
    context = replace(context, as_of=datetime(year, 1, 1, tzinfo=UTC))

    cyclonedx.write(lay(a_row()), DOCUMENT, context)

    assert read_document(context)["version"] == version < 2**31


@pytest.mark.parametrize("vector", [None, "9.8", "CVSS:3.1/AV:N"])
def test_what_is_no_vector_is_no_rating(lay, context, vector: str | None) -> None:
    cyclonedx.write(lay(a_row(cvss_vector=vector)), DOCUMENT, context)

    assert "ratings" not in read_document(context)["vulnerabilities"][0]


def test_a_package_is_one_component_however_often_it_is_named(lay, context) -> None:
    ids = ("CVE-2026-900001", "CVE-2026-900002")
    rows = lay(*(a_row(vulnerability_id=i) for i in ids), a_row(version="1-1"))

    cyclonedx.write(rows, DOCUMENT, context)

    refs = [component["bom-ref"] for component in read_document(context)["components"]]
    assert refs == ["pkg:deb/garden/oak", "pkg:deb/garden/oak@1-1"]
    assert cyclonedx.count_rows(DOCUMENT, context.directory) == 3


def test_a_vulnerability_refers_to_each_product(lay, context) -> None:
    products = [{"name": "oak", "version": "1-1"}, {"name": "liboak1", "version": "1-1+b1"}]

    cyclonedx.write(lay(a_row(products=products)), DOCUMENT, context)

    content = read_document(context)
    refs = ["pkg:deb/garden/oak@1-1", "pkg:deb/garden/liboak1@1-1%2Bb1"]
    assert [each["ref"] for each in content["vulnerabilities"][0]["affects"]] == refs
    assert {component["name"] for component in content["components"]} == {"oak", "liboak1"}


def test_a_vulnerability_without_a_product_is_refused(lay, context) -> None:
    with pytest.raises(BuildError, match="affects no component"):
        cyclonedx.write(lay(a_row(), a_row(products=[])), DOCUMENT, context)


def test_the_sources_are_properties_of_the_document(lay, context) -> None:
    cyclonedx.write(lay(a_row()), DOCUMENT, context)

    assert read_document(context)["metadata"]["properties"] == [
        {"name": "attribution", "value": "Garden list. Licence: CC0-1.0"}
    ]


def test_the_serial_number_is_constant_and_the_version_rises(lay, context) -> None:
    rows = lay(a_row())
    cyclonedx.write(rows, DOCUMENT, context)
    first = read_document(context)

    later = context.as_of.replace(second=1)
    cyclonedx.write(rows, DOCUMENT, cyclonedx.DocumentContext(context.directory, later))

    second = read_document(context)
    assert second["serialNumber"] == first["serialNumber"]
    assert second["version"] == first["version"] + 1


def test_a_reference_without_a_component_is_refused(lay, context) -> None:
    cyclonedx.write(lay(a_row()), DOCUMENT, context)
    path: Path = context.directory / "bom.json"
    path.write_text(path.read_text().replace('"bom-ref":"pkg:', '"bom-ref":"url:'))

    with pytest.raises(BuildError, match="expected a component for each reference"):
        cyclonedx.count_rows(DOCUMENT, context.directory)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param('"state":"not_affected"', '"state":"fine"', id="unknown state"),
        pytest.param('"1.6"', '"1.5"', id="another version of the standard"),
        pytest.param('"components"', '"parts"', id="other list"),
        pytest.param('"library"', '"tree"', id="unknown kind of component"),
    ],
)
def test_an_invalid_document_is_refused(lay, context, old: str, new: str) -> None:
    cyclonedx.write(lay(a_row()), DOCUMENT, context)
    path: Path = context.directory / "bom.json"
    path.write_text(path.read_text().replace(old, new))

    with pytest.raises(BuildError, match=r"bom\.json: expected"):
        cyclonedx.count_rows(DOCUMENT, context.directory)

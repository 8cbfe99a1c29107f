"""Rows become vulnerabilities of a CycloneDX VEX, and every reference has its component."""

from __future__ import annotations

import json
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

    later = context.as_of.replace(microsecond=1)
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

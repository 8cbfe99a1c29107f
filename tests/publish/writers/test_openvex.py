"""Rows become OpenVEX statements, and incomplete statements are refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import openvex
from etl_assets.publish.writers.registry import find_problems

DOCUMENT = Document.model_validate(
    {
        "file": "openvex.json",
        "title": "Statements",
        "format": "openvex",
        "from": "doc_statements",
        "options": {
            "id": "https://garden.example/vex",
            "author": "mailto:vex@garden.example",
            "role": "vendor",
            "purl_type": "deb",
            "purl_namespace": "garden",
            "purl_qualifiers": {"distro": "garden-1"},
        },
    }
)


def a_row(**changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(field.name for field in openvex.msgspec.structs.fields(openvex.Row))
    return row | {
        "package_name": "oak",
        "vulnerability_id": "CVE-2026-900001",
        "products": [{"name": "oak", "version": "1:2.0-1", "arch": None}],
        "status": "fixed",
        "stated_at": datetime(2026, 2, 1, tzinfo=UTC),
        **changes,
    }


def test_a_statement_has_package_version_and_time(lay, context) -> None:
    openvex.write(lay(a_row(status_notes="Fixed.")), DOCUMENT, context)

    content = json.loads((context.directory / "openvex.json").read_text())
    assert content == {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://garden.example/vex",
        "author": "mailto:vex@garden.example",
        "role": "vendor",
        "timestamp": "2026-03-01T12:00:00Z",
        "version": 1772366400000000,
        "tooling": "Made of: Garden list. Licence: CC0-1.0",
        "statements": [
            {
                "vulnerability": {"name": "CVE-2026-900001"},
                "timestamp": "2026-02-01T00:00:00Z",
                "products": [{"@id": "pkg:deb/garden/oak@1:2.0-1?distro=garden-1"}],
                "status": "fixed",
                "status_notes": "Fixed.",
            }
        ],
    }


def test_a_statement_names_each_product_in_each_form_of_its_epoch(lay, context) -> None:
    products = [
        {"name": "oak", "version": "1:2.0-1", "arch": "source"},
        {"name": "liboak1", "version": "2.0-1", "arch": None},
    ]
    both = DOCUMENT.model_copy(update={"options": {**DOCUMENT.options, "purl_epoch": "both"}})

    openvex.write(lay(a_row(products=products)), both, context)

    content = json.loads((context.directory / "openvex.json").read_text())
    assert [product["@id"] for product in content["statements"][0]["products"]] == [
        "pkg:deb/garden/oak@1:2.0-1?arch=source&distro=garden-1",
        "pkg:deb/garden/oak@2.0-1?arch=source&distro=garden-1&epoch=1",
        "pkg:deb/garden/liboak1@2.0-1?distro=garden-1",
    ]


@pytest.mark.parametrize(
    ("author", "is_accepted"),
    [
        pytest.param("https://garden.example", True, id="IRI"),
        pytest.param("mailto:vex@garden.example", True, id="mailto"),
        pytest.param("urn:garden:vex", True, id="URN"),
        pytest.param("vex@garden.example", True, id="e-mail address"),
        pytest.param("Garden", False, id="name"),
        pytest.param("Garden <vex@garden.example>", False, id="name and address"),
        pytest.param("https://garden example", False, id="blank"),
        pytest.param("", False, id="empty"),
    ],
)
def test_the_author_is_machine_readable(author: str, is_accepted: bool) -> None:
    document = DOCUMENT.model_copy(update={"options": {**DOCUMENT.options, "author": author}})

    faults = [problem.where for problem in find_problems([document])]

    assert faults == ([] if is_accepted else ["documents: openvex.json: options.author"])


def test_count_rows_returns_the_number_of_statements(lay, context) -> None:
    rows = lay(*(a_row(package_name=name) for name in ("fir", "oak", "yew")))

    [written] = openvex.write(rows, DOCUMENT, context)

    assert written.rows == openvex.count_rows(DOCUMENT, context.directory) == 3


def test_equal_rows_give_equal_bytes(lay, context) -> None:
    rows = lay(a_row())

    assert openvex.write(rows, DOCUMENT, context) == openvex.write(rows, DOCUMENT, context)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"status": "not_affected"}, "not_affected without a reason", id="no reason"),
        pytest.param({"status": "affected"}, "affected without an action", id="no action"),
        pytest.param({"products": []}, "a statement on no product", id="no product"),
        pytest.param({"status": "wont_fix"}, "Invalid enum value 'wont_fix'", id="status"),
        pytest.param({"justification": "because"}, "Invalid enum value", id="justification"),
        pytest.param({"package_name": None}, "Expected `str`, got `null`", id="null"),
        pytest.param({"colour": "red"}, "found colour, which it does not know", id="column more"),
    ],
)
def test_a_structure_that_violates_the_standard_is_not_written(
    lay, context, changes, message: str
) -> None:
    with pytest.raises(BuildError, match=message):
        openvex.write(lay(a_row(**changes)), DOCUMENT, context)

    assert not (context.directory / "openvex.json").exists()


def test_a_document_without_statements_is_refused(lay, context) -> None:
    with pytest.raises(BuildError, match="expected a statement at least"):
        openvex.write(lay(), DOCUMENT, context)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param('"status":"fixed"', '"status":"affected"', id="action missing"),
        pytest.param('"status":"fixed"', '"status":"fixt"', id="unknown status"),
        pytest.param('"author":"mailto:vex@garden.example",', "", id="no author"),
        pytest.param('"products"', '"goods"', id="unknown member"),
        pytest.param('"statements"', '"words"', id="other list"),
    ],
)
def test_an_invalid_document_is_refused(lay, context, old: str, new: str) -> None:
    openvex.write(lay(a_row()), DOCUMENT, context)
    path: Path = context.directory / "openvex.json"
    path.write_text(path.read_text().replace(old, new))

    with pytest.raises(BuildError, match=r"openvex\.json: expected"):
        openvex.count_rows(DOCUMENT, context.directory)

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

DOCUMENT = Document.model_validate(
    {
        "file": "openvex.json",
        "title": "Statements",
        "format": "openvex",
        "from": "doc_statements",
        "options": {
            "id": "https://garden.example/vex",
            "author": "Garden",
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
        "version": "1:2.0-1",
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
        "author": "Garden",
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
        pytest.param('"author":"Garden",', "", id="no author"),
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

"""The rows of a package become its CSAF document; it changes only with them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import csaf

JANUARY, MARCH = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
DOCUMENT = Document.model_validate(
    {
        "file": "csaf",
        "title": "One per package",
        "format": "csaf",
        "from": "doc_packages",
        "options": {
            "id_prefix": "GARDEN-",
            "publisher_name": "Garden",
            "publisher_namespace": "https://garden.example",
            "purl_type": "deb",
            "purl_namespace": "garden",
        },
    }
)
FIX = {"product_status": "fixed", "version": "1-2"}
SPARED = {"product_status": "known_not_affected", "impact": "Not built."}
GIVEN_UP = {
    "product_status": "known_affected",
    "remediation_category": "no_fix_planned",
    "remediation": "Remove it.",
}


def a_row(package_name: str = "oak", version: str | None = None, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(field.name for field in csaf.msgspec.structs.fields(csaf.Row))
    return row | {
        "package_name": package_name,
        "version": version,
        "products": [{"name": package_name, "version": version, "arch": None}],
        "vulnerability_id": "CVE-2026-900001",
        "note": "Decided.",
        "product_status": "under_investigation",
        "stated_at": JANUARY,
        "first_released_at": JANUARY,
        "last_released_at": JANUARY,
        "updates_count": 0,
        **changes,
    }


def read_oak(context) -> dict[str, Any]:
    vulnerability: dict[str, Any] = json.loads((context.directory / "csaf/oak.json").read_text())
    return vulnerability


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            FIX,
            {
                "product_status": {
                    "fixed": ["pkg:deb/garden/oak@1-2"],
                    "first_fixed": ["pkg:deb/garden/oak@1-2"],
                }
            },
            id="fixed",
        ),
        pytest.param(
            SPARED | {"flag": "vulnerable_code_not_present"},
            {
                "product_status": {"known_not_affected": ["pkg:deb/garden/oak"]},
                "flags": [
                    {
                        "label": "vulnerable_code_not_present",
                        "product_ids": ["pkg:deb/garden/oak"],
                        "date": "2026-01-01T00:00:00Z",
                    }
                ],
                "threats": [
                    {
                        "category": "impact",
                        "details": "Not built.",
                        "product_ids": ["pkg:deb/garden/oak"],
                        "date": "2026-01-01T00:00:00Z",
                    }
                ],
            },
            id="not affected",
        ),
        pytest.param(
            GIVEN_UP,
            {
                "product_status": {"known_affected": ["pkg:deb/garden/oak"]},
                "remediations": [
                    {
                        "category": "no_fix_planned",
                        "details": "Remove it.",
                        "product_ids": ["pkg:deb/garden/oak"],
                        "date": "2026-01-01T00:00:00Z",
                    }
                ],
            },
            id="affected",
        ),
        pytest.param(
            {},
            {"product_status": {"under_investigation": ["pkg:deb/garden/oak"]}},
            id="under investigation",
        ),
    ],
)
def test_a_vulnerability_has_the_members_that_its_status_requires(
    lay, context, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    csaf.write(lay(a_row(**changes)), DOCUMENT, context)

    [vulnerability] = read_oak(context)["vulnerabilities"]
    notes = [{"category": "details", "text": "Decided.", "title": "Decision"}]
    assert vulnerability == {"cve": "CVE-2026-900001", "notes": notes} | expected


def test_an_id_other_than_a_cve_names_its_system(lay, context) -> None:
    csaf.write(lay(a_row(vulnerability_id="TEMP-1", id_system="Tracker")), DOCUMENT, context)

    [vulnerability] = read_oak(context)["vulnerabilities"]
    assert vulnerability["ids"] == [{"system_name": "Tracker", "text": "TEMP-1"}]
    assert "cve" not in vulnerability


def test_a_package_is_one_file_with_each_version_once(lay, context) -> None:
    ids = ("CVE-2026-900001", "CVE-2026-900002")
    rows = lay(a_row(package_name="fir"), *(a_row(vulnerability_id=i, **FIX) for i in ids))

    written = csaf.write(rows, DOCUMENT, context)

    assert [(w.file, w.rows) for w in written] == [
        ("csaf/changes.csv", 0), ("csaf/index.txt", 0), ("csaf/fir.json", 1), ("csaf/oak.json", 2),
    ]  # fmt: skip
    assert [p["name"] for p in read_oak(context)["product_tree"]["full_product_names"]] == [
        "oak 1-2"
    ]
    assert csaf.count_rows(DOCUMENT, context.directory) == 3


def test_the_number_counts_updates_and_the_digest_differs_with_the_text(lay, context) -> None:
    dates = {"last_released_at": MARCH, "updates_count": 4}
    csaf.write(lay(a_row(**dates)), DOCUMENT, context)
    tracking = read_oak(context)["document"]["tracking"]
    other = csaf.DocumentContext(context.directory / "other", context.as_of)

    csaf.write(lay(a_row(**dates, record_url="https://garden.example")), DOCUMENT, other)

    reworded = read_oak(other)["document"]["tracking"]
    assert [entry["number"] for entry in tracking["revision_history"]] == ["1.0.0", "1.4.0"]
    assert tracking["current_release_date"] == "2026-03-01T00:00:00Z"
    assert tracking["version"].startswith("1.4.0+")
    assert tracking["version"] != reworded["version"]
    assert tracking["revision_history"] == reworded["revision_history"]


def test_another_as_of_changes_no_document(lay, context) -> None:
    rows = lay(a_row())
    later = csaf.DocumentContext(
        context.directory / "later", context.as_of.replace(year=2027), context.attributions
    )

    first, second = (csaf.write(rows, DOCUMENT, each) for each in (context, later))

    assert first == second


def test_the_newest_document_is_first_in_the_changes(lay, context) -> None:
    rows = lay(a_row(package_name="fir"), a_row(last_released_at=MARCH, updates_count=1))

    csaf.write(rows, DOCUMENT, context)

    folder: Path = context.directory / "csaf"
    assert (folder / "index.txt").read_text() == "fir.json\noak.json\n"
    assert (folder / "changes.csv").read_text() == (
        '"oak.json","2026-03-01T00:00:00Z"\n"fir.json","2026-01-01T00:00:00Z"\n'
    )


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("libstdc++", "libstdc++.json"),
        ("a/b", "a%2Fb.json"),
        ("..", "%2E..json"),
        ("50% più", "50%25%20pi%C3%B9.json"),
        ("\x1b[31m\n", "%1B%5B31m%0A.json"),
        ("x=1~2", "x%3D1~2.json"),
    ],
)
def test_unsafe_characters_of_a_name_are_escaped(package: str, file: str) -> None:
    assert csaf.file_name(package) == file


@pytest.mark.fault("long-name")
@pytest.mark.parametrize(
    "names",
    [
        ["a" * 1_000, "a" * 1_001, "a" * 300],
        ["ü" * 400, "ü" * 401, "ü" * 399 + "ö"],
        ["/" * 90, "/" * 91, "%2F" * 90],
        ["Oak", "oak", "OAK", "oAk"],
        ["A" * 500, "a" * 500],
        [".a" * 200, ".A" * 200],
    ],
    ids=["long", "not ASCII", "escaped", "case", "long and case", "hidden"],
)
def test_every_package_has_a_file_of_its_own_of_at_most_200_bytes(names: list[str]) -> None:
    files = [csaf.file_name(name) for name in names]

    assert len({file.lower() for file in files}) == len(names)
    assert max(len(file.encode()) for file in files) <= 200
    assert all(re.fullmatch(r"(?:[\w.~+=-]|%[0-9A-F]{2})+\.json", file, re.ASCII) for file in files)


def test_the_file_of_a_long_name_cannot_be_the_name_of_another_package() -> None:
    file = csaf.file_name("a" * 1_000)

    assert csaf.file_name(file.removesuffix(".json")) != file


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(SPARED | {"impact": None}, "known_not_affected without a reason", id="reason"),
        pytest.param(GIVEN_UP | {"remediation": None}, "without a remediation", id="remediation"),
        pytest.param({"product_status": "fine"}, "Invalid enum value", id="status"),
        pytest.param({"flag": "because"}, "Invalid enum value", id="flag"),
    ],
)
def test_a_vulnerability_that_violates_the_profile_is_not_written(
    lay, context, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BuildError, match=message):
        csaf.write(lay(a_row(**changes)), DOCUMENT, context)

    assert list(context.directory.iterdir()) == []


def test_rows_in_another_order_are_refused(lay, context) -> None:
    with pytest.raises(BuildError, match="in the order of packages, found fir"):
        csaf.write(lay(a_row(), a_row(package_name="fir")), DOCUMENT, context)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param('"csaf_vex"', '"csaf_base"', "expected a CSAF document", id="profile"),
        pytest.param('"fixed":["pkg:', '"fixed":["url:', "expected the product", id="product"),
    ],
)
def test_an_invalid_document_is_refused(lay, context, old: str, new: str, message: str) -> None:
    csaf.write(lay(a_row(**FIX)), DOCUMENT, context)
    path: Path = context.directory / "csaf/oak.json"
    path.write_text(path.read_text().replace(old, new))

    with pytest.raises(BuildError, match=message):
        csaf.count_rows(DOCUMENT, context.directory)


def test_a_missing_document_is_refused(lay, context) -> None:
    csaf.write(lay(a_row()), DOCUMENT, context)
    (context.directory / "csaf/oak.json").unlink()

    with pytest.raises(BuildError, match="expected every document once"):
        csaf.count_rows(DOCUMENT, context.directory)

"""The rows of a package become its CSAF document; it changes only with them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import csaf, csaf_provider
from etl_assets.storage.hashing import hash_file

JANUARY, FEBRUARY, MARCH = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3))
DOCUMENT = Document.model_validate(
    {
        "file": "csaf",
        "title": "One per package",
        "format": "csaf",
        "from": "doc_packages",
        "options": {
            "base_url": "https://garden.example/vex",
            "id_prefix": "GARDEN-",
            "publisher_name": "Garden",
            "publisher_namespace": "https://garden.example",
            "purl_type": "deb",
            "purl_namespace": "garden",
        },
    }
)
OAK = "csaf/2026/garden-oak.json"
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
        "revisions": [{"released_at": JANUARY, "summary": "First publication."}],
        **changes,
    }


def read_oak(context) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((context.directory / OAK).read_text())
    return content


def a_history(*dates: datetime) -> dict[str, Any]:
    """The columns of a package whose document was released on these dates."""
    revisions = [{"released_at": date, "summary": f"Of {date:%B}."} for date in dates]
    return {
        "first_released_at": dates[0],
        "last_released_at": dates[-1],
        "revisions": revisions,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            FIX,
            {
                "product_status": {
                    "fixed": ["pkg:deb/garden/oak@1-2", "pkg:deb/garden/oak vers:deb/>=1-2"],
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

    documents = [(file.file, file.rows) for file in written if file.rows]
    assert documents == [("csaf/2026/garden-fir.json", 1), (OAK, 2)]
    assert csaf.signed_files(written) == [name for name, _ in documents]
    assert [p["name"] for p in read_oak(context)["product_tree"]["full_product_names"]] == [
        "oak 1-2"
    ]
    assert csaf.count_rows(DOCUMENT, context.directory) == 3


def test_every_file_is_recorded_as_it_is(lay, context) -> None:
    written = csaf.write(lay(a_row()), DOCUMENT, context)

    files = {p.relative_to(context.directory).as_posix() for p in context.directory.rglob("*.*")}
    assert {file.file for file in written} == files
    assert all(
        hash_file(context.directory / file.file) == file.sha256
        and (context.directory / file.file).stat().st_size == file.size_bytes
        for file in written
    )


def test_every_release_is_an_entry_of_the_history(lay, context) -> None:
    csaf.write(lay(a_row(**a_history(JANUARY, FEBRUARY, MARCH))), DOCUMENT, context)

    tracking = read_oak(context)["document"]["tracking"]
    assert tracking["revision_history"] == [
        {"date": "2026-01-01T00:00:00Z", "number": "1.0.0", "summary": "Of January."},
        {"date": "2026-02-01T00:00:00Z", "number": "1.1.0", "summary": "Of February."},
        {"date": "2026-03-01T00:00:00Z", "number": "1.2.0", "summary": "Of March."},
    ]
    assert tracking["initial_release_date"] == "2026-01-01T00:00:00Z"
    assert tracking["current_release_date"] == "2026-03-01T00:00:00Z"
    assert tracking["version"].startswith("1.2.0+")


@pytest.mark.parametrize(
    "revisions",
    [
        pytest.param(None, id="none"),
        pytest.param([{"released_at": MARCH, "summary": ""}], id="without the first"),
        pytest.param([{"released_at": JANUARY, "summary": ""}], id="without the last"),
    ],
)
def test_an_incomplete_history_is_refused(lay, context, revisions: Any) -> None:
    row = a_row(**a_history(JANUARY, MARCH)) | {"revisions": revisions}

    with pytest.raises(BuildError, match="oak: expected releases from 2026-01-01"):
        csaf.write(lay(row), DOCUMENT, context)


def test_the_digest_in_the_version_differs_with_the_text(lay, context) -> None:
    csaf.write(lay(a_row()), DOCUMENT, context)
    other = csaf.DocumentContext(context.directory / "other", context.as_of)

    csaf.write(lay(a_row(record_url="https://garden.example")), DOCUMENT, other)

    tracking, reworded = (read_oak(each)["document"]["tracking"] for each in (context, other))
    assert tracking["version"] != reworded["version"]
    assert tracking["revision_history"] == reworded["revision_history"]


def test_a_revision_in_a_later_year_stays_in_the_folder_of_the_first(lay, context) -> None:
    history = a_history(JANUARY, JANUARY.replace(year=2027), JANUARY.replace(year=2028))

    csaf.write(lay(a_row(**history)), DOCUMENT, context)

    assert (context.directory / OAK).exists()
    assert (context.directory / "csaf/index.txt").read_text() == "2026/garden-oak.json\n"


def test_another_as_of_changes_no_document(lay, context) -> None:
    rows = lay(a_row())
    later = csaf.DocumentContext(
        context.directory / "later", context.as_of.replace(year=2027), context.attributions
    )

    first, second = (csaf.write(rows, DOCUMENT, each) for each in (context, later))

    different = {old.file for old, new in zip(first, second, strict=True) if old != new}
    assert different == {"csaf/provider-metadata.json"}


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        pytest.param(
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            {
                "cvss_v3": {
                    "version": "3.1",
                    "vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
                    "baseScore": 9.8,
                    "baseSeverity": "CRITICAL",
                }
            },
            id="3.1",
        ),
        pytest.param(
            "CVSS:3.0/AV:L/AC:H/PR:L/UI:R/S:C/C:L/I:L/A:N/E:P/RL:O",
            {
                "cvss_v3": {
                    "version": "3.0",
                    "vectorString": "CVSS:3.0/AV:L/AC:H/PR:L/UI:R/S:C/C:L/I:L/A:N",
                    "baseScore": 3.9,
                    "baseSeverity": "LOW",
                }
            },
            id="with a temporal metric",
        ),
        pytest.param(
            "AV:N/AC:L/Au:N/C:P/I:P/A:P",
            {
                "cvss_v2": {
                    "version": "2.0",
                    "vectorString": "AV:N/AC:L/Au:N/C:P/I:P/A:P",
                    "baseScore": 7.5,
                }
            },
            id="2.0",
        ),
    ],
)
def test_a_vector_becomes_a_score(lay, context, vector: str, expected: dict[str, Any]) -> None:
    csaf.write(lay(a_row(cvss_vector=vector)), DOCUMENT, context)

    [vulnerability] = read_oak(context)["vulnerabilities"]
    assert vulnerability["scores"] == [{"products": ["pkg:deb/garden/oak"], **expected}]
    assert csaf.count_rows(DOCUMENT, context.directory) == 1


@pytest.mark.parametrize(
    "vector",
    [
        "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
        "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H",
        "high",
        "",
    ],
)
def test_another_vector_is_left_out(lay, context, vector: str) -> None:
    csaf.write(lay(a_row(cvss_vector=vector)), DOCUMENT, context)

    [vulnerability] = read_oak(context)["vulnerabilities"]
    assert "scores" not in vulnerability


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
        pytest.param('"GARDEN-oak"', '"GARDEN-elm"', "expected the name of GARDEN-elm", id="id"),
        pytest.param(
            'initial_release_date":"2026', 'initial_release_date":"2025', "2025/garden", id="year"
        ),
        pytest.param('"csaf_vex"', '"csaf_base"', "expected a CSAF document", id="profile"),
        pytest.param('"fixed":["pkg:', '"fixed":["url:', "expected the product", id="product"),
    ],
)
def test_an_invalid_document_is_refused(lay, context, old: str, new: str, message: str) -> None:
    csaf.write(lay(a_row(**FIX)), DOCUMENT, context)
    path: Path = context.directory / OAK
    text = path.read_text().replace(old, new)
    path.write_text(text)
    for suffix, line in csaf_provider.hash_lines(text.encode(), path.name).items():
        path.with_name(path.name + suffix).write_bytes(line)

    with pytest.raises(BuildError, match=message):
        csaf.count_rows(DOCUMENT, context.directory)


@pytest.mark.parametrize("suffix", ["", ".sha256", ".sha512"])
def test_a_missing_file_is_refused(lay, context, suffix: str) -> None:
    csaf.write(lay(a_row()), DOCUMENT, context)
    (context.directory / (OAK + suffix)).unlink()

    with pytest.raises(BuildError, match="expected every document once"):
        csaf.count_rows(DOCUMENT, context.directory)


@pytest.mark.parametrize("name", ["2026/other.json", "2026/garden-oak.json.md5", "2025/a.json"])
def test_a_file_that_is_not_listed_is_refused(lay, context, name: str) -> None:
    csaf.write(lay(a_row()), DOCUMENT, context)
    extra = context.directory / "csaf" / name
    extra.parent.mkdir(exist_ok=True)
    extra.write_text("{}")

    with pytest.raises(BuildError, match=f"not listed: {name}, 1 in all"):
        csaf.count_rows(DOCUMENT, context.directory)


@pytest.mark.parametrize("suffix", [".sha256", ".sha512"])
def test_a_hash_of_other_bytes_is_refused(lay, context, suffix: str) -> None:
    csaf.write(lay(a_row()), DOCUMENT, context)
    (context.directory / (OAK + suffix)).write_text("00\n")

    with pytest.raises(BuildError, match="expected the hash of the document"):
        csaf.count_rows(DOCUMENT, context.directory)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(FIX | {"page_url": "https://garden.example"}, id="fixed"),
        pytest.param(SPARED | {"flag": "vulnerable_code_not_present"}, id="not affected"),
        pytest.param(GIVEN_UP | {"cvss_vector": "AV:N/AC:L/Au:N/C:P/I:P/A:P"}, id="affected"),
        pytest.param(
            {"id_system": "Tracker", "cvss_vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},
            id="under investigation",
        ),
    ],
)
def test_the_members_of_each_object_are_in_alphabetical_order(
    lay, context, changes: dict[str, Any]
) -> None:
    unsorted: list[list[str]] = []

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if names != sorted(names):
            unsorted.append(names)
        return dict(pairs)

    csaf.write(lay(a_row(**changes)), DOCUMENT, context)

    json.loads((context.directory / OAK).read_bytes(), object_pairs_hook=check)
    assert unsorted == []


def test_a_fix_is_a_range_of_versions_that_no_scanner_takes_for_all_versions(lay, context) -> None:
    products = [
        {"name": "oak", "version": "1:2~rc1-1", "arch": None},
        {"name": "oak", "version": "1:2-1", "arch": None},
        {"name": "liboak1", "version": "2-1", "arch": None},
    ]
    rows = lay(
        a_row(**FIX | {"version": "1:2~rc1-1", "products": products}),
        a_row(vulnerability_id="CVE-2026-900002"),
    )

    csaf.write(rows, DOCUMENT, context)

    content = read_oak(context)
    [vendor] = content["product_tree"]["branches"]
    [package] = vendor["branches"]
    assert (vendor["name"], package["name"]) == ("Garden", "oak")
    identifier = "pkg:deb/garden/oak vers:deb/>=1%3A2~rc1-1"
    assert package["branches"] == [
        {
            "category": "product_version_range",
            "name": "vers:deb/>=1%3A2~rc1-1",
            "product": {"name": "oak, 1:2~rc1-1 or later", "product_id": identifier},
        }
    ]
    assert content["vulnerabilities"][0]["product_status"] == {
        "fixed": [
            *("pkg:deb/garden/oak@1:2~rc1-1", "pkg:deb/garden/oak@1:2-1"),
            *("pkg:deb/garden/liboak1@2-1", identifier),
        ],
        "first_fixed": ["pkg:deb/garden/oak@1:2~rc1-1"],
    }
    assert csaf.count_rows(DOCUMENT, context.directory) == 2


def test_a_document_without_a_fix_has_no_range(lay, context) -> None:
    csaf.write(lay(a_row()), DOCUMENT, context)

    assert list(read_oak(context)["product_tree"]) == ["full_product_names"]


def test_a_range_that_is_not_in_the_tree_is_refused(lay, context) -> None:
    csaf.write(lay(a_row(**FIX)), DOCUMENT, context)
    path: Path = context.directory / OAK
    path.write_text(
        path.read_text().replace('"product_id":"pkg:deb/garden/oak vers', '"product_id":"x')
    )
    for suffix, line in csaf_provider.hash_lines(path.read_bytes(), path.name).items():
        path.with_name(path.name + suffix).write_bytes(line)

    with pytest.raises(BuildError, match="expected the product pkg:deb/garden/oak vers"):
        csaf.count_rows(DOCUMENT, context.directory)

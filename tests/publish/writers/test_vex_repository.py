"""Rows become a VEX repository, in which a client finds the document of each package."""

from __future__ import annotations

import json
import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import vex_repository
from etl_assets.publish.writers.registry import find_problems

JANUARY, FEBRUARY, MARCH = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3))
OPTIONS = {
    "name": "Garden",
    "description": "States of trees",
    "url": "https://garden.example/vex.zip",
    "id": "https://garden.example/vex",
    "author": "https://garden.example",
    "purl_type": "deb",
    "purl_namespace": "garden",
}
DOCUMENT = Document.model_validate(
    {
        "file": "vex.zip",
        "title": "Repository",
        "format": "vex_repository",
        "from": "doc_statements",
        "options": OPTIONS,
    }
)
# What the specification's index.schema.json asks of an entry.
LOCATION = re.compile(r"[a-zA-Z0-9_/.-]+\.json")


def a_row(name: str = "oak", number: int = 1, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(
        field.name for field in vex_repository.msgspec.structs.fields(vex_repository.Row)
    )
    return row | {
        "package_name": name,
        "vulnerability_id": f"CVE-2026-{number}",
        "products": products(name),
        "status": "under_investigation",
        "stated_at": JANUARY,
        "first_released_at": JANUARY,
        "last_released_at": FEBRUARY,
        "updates_count": 2,
        **changes,
    }


def products(*names: str, arch: str | None = None) -> list[dict[str, str | None]]:
    return [{"name": name, "version": None, "arch": arch} for name in names]


def read_index(directory: Path) -> dict[str, Any]:
    """The document of each package, by its URL, as a client finds it."""
    with zipfile.ZipFile(directory / "vex.zip") as archive:
        entries = json.loads(archive.read("index.json"))["packages"]
        assert all(LOCATION.fullmatch(entry["location"]) for entry in entries)
        return {entry["id"]: json.loads(archive.read(entry["location"])) for entry in entries}


def statements_of(content: dict[str, Any]) -> list[str]:
    return [statement["vulnerability"]["name"] for statement in content["statements"]]


def test_the_manifest_names_the_archive(lay, context) -> None:
    vex_repository.write(lay(a_row()), DOCUMENT, context)

    path = context.directory / ".well-known/vex-repository.json"
    assert json.loads(path.read_text()) == {
        "name": "Garden",
        "description": "States of trees",
        "versions": [
            {
                "spec_version": "0.1",
                "locations": [{"url": "https://garden.example/vex.zip"}],
                "update_interval": "24h",
            }
        ],
    }


def test_the_manifest_lies_beside_the_archive(lay, context) -> None:
    below = DOCUMENT.model_copy(update={"file": "vex/trees.zip"})

    written = vex_repository.write(lay(a_row()), below, context)

    names = [file.file for file in written]
    assert names == ["vex/trees.zip", "vex/.well-known/vex-repository.json"]
    assert vex_repository.count_rows(below, context.directory) == 1


def test_a_document_has_the_dates_of_its_package(lay, context) -> None:
    vex_repository.write(lay(a_row()), DOCUMENT, context)

    content = read_index(context.directory)["pkg:deb/garden/oak"]
    del content["statements"]
    assert content == {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://garden.example/vex/pkg/deb/garden/oak/vex.json",
        "author": "https://garden.example",
        "timestamp": "2026-01-01T00:00:00Z",
        "last_updated": "2026-02-01T00:00:00Z",
        "version": 3,
        "tooling": "Made of: Garden list. Licence: CC0-1.0",
    }


def test_each_package_that_a_statement_names_leads_to_it(lay, context) -> None:
    rows = lay(
        a_row("fir", 1, products=products("fir", "libfir1")),
        a_row("fir", 2, products=products("fir", "fir-tools")),
        a_row("oak", 3, products=products("oak", arch="source") + products("liboak1")),
    )

    vex_repository.write(rows, DOCUMENT, context)

    found = {url: statements_of(each) for url, each in read_index(context.directory).items()}
    assert found == {
        "pkg:deb/garden/fir": ["CVE-2026-1", "CVE-2026-2"],
        "pkg:deb/garden/fir-tools": ["CVE-2026-1", "CVE-2026-2"],
        "pkg:deb/garden/libfir1": ["CVE-2026-1", "CVE-2026-2"],
        "pkg:deb/garden/liboak1": ["CVE-2026-3"],
    }


def test_a_package_of_two_sources_has_the_statements_of_both(lay, context) -> None:
    rows = lay(
        a_row("fir", 1, products=products("fir", "libtree1")),
        a_row("fir", 2, products=products("fir")),
        a_row("oak", 1, products=products("oak", "libtree1"), last_released_at=MARCH),
    )

    written = vex_repository.write(rows, DOCUMENT, context)

    content = read_index(context.directory)["pkg:deb/garden/libtree1"]
    urls = [[product["@id"] for product in each["products"]] for each in content["statements"]]
    assert urls == [
        ["pkg:deb/garden/fir", "pkg:deb/garden/libtree1"],
        ["pkg:deb/garden/oak", "pkg:deb/garden/libtree1"],
    ]
    assert (content["version"], content["last_updated"]) == (5, "2026-03-01T00:00:00Z")
    assert written[0].rows == vex_repository.count_rows(DOCUMENT, context.directory) == 3


@pytest.mark.parametrize(
    "name",
    ["libstdc++", "GraphiteMagick", "a b/../c", "..", "x" * 300, "é", "_", "-", "<script>"],
)
def test_a_package_of_any_name_has_a_location_that_the_schema_allows(
    lay, context, name: str
) -> None:
    names = sorted({name, "oak", "libstdc--", "_/oak"})

    vex_repository.write(lay(*(a_row(each) for each in names)), DOCUMENT, context)

    found = read_index(context.directory)
    assert len({content["@id"] for content in found.values()}) == len(names)
    assert vex_repository.count_rows(DOCUMENT, context.directory) == len(names)


def test_each_document_matches_the_schema_of_openvex(lay, context, repo_root: Path) -> None:
    schema = repo_root.parent / "shared" / "schemas" / "openvex-0.2.0.schema.json"
    if not schema.exists():
        pytest.skip(f"needs the published schema {schema.name}")
    check = jsonschema_rs.validator_for(json.loads(schema.read_bytes()), offline=True)

    vex_repository.write(lay(a_row("fir"), a_row("oak")), DOCUMENT, context)

    assert all(check.is_valid(content) for content in read_index(context.directory).values())


def test_equal_rows_give_equal_bytes(lay, context) -> None:
    rows = lay(a_row("fir"), a_row("oak"))

    first = vex_repository.write(rows, DOCUMENT, context)

    assert vex_repository.write(rows, DOCUMENT, context) == first


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(["oak", "fir"], "found fir", id="order"),
        pytest.param(["fir", "oak", "fir"], "found fir", id="package again"),
        pytest.param(["Oak", "oak"], "found oak", id="two spellings"),
    ],
)
def test_packages_in_another_order_are_refused(lay, context, names, message: str) -> None:
    with pytest.raises(BuildError, match=f"expected each package once and in order, {message}"):
        vex_repository.write(lay(*(a_row(name) for name in names)), DOCUMENT, context)


def test_a_repository_without_statements_is_refused(lay, context) -> None:
    with pytest.raises(BuildError, match="expected a statement at least"):
        vex_repository.write(lay(), DOCUMENT, context)


@pytest.mark.parametrize(
    ("member", "old", "new"),
    [
        pytest.param("index.json", "oak/vex", "elm/vex", id="no such document"),
        pytest.param("index.json", '"packages"', '"trees"', id="other index"),
        pytest.param("index.json", "garden/oak", "garden/fir", id="package twice"),
        pytest.param("pkg/deb/garden/oak/vex.json", '"version"', '"vers"', id="no version"),
        pytest.param("pkg/deb/garden/oak/vex.json", "under_inv", "inv", id="unknown status"),
    ],
)
def test_an_invalid_archive_is_refused(lay, context, member: str, old: str, new: str) -> None:
    vex_repository.write(lay(a_row("fir"), a_row("oak")), DOCUMENT, context)
    path = context.directory / "vex.zip"
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name).decode() for name in archive.namelist()}
    assert old in content[member]
    content[member] = content[member].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)

    with pytest.raises(BuildError, match=r"vex\.zip: expected"):
        vex_repository.count_rows(DOCUMENT, context.directory)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"name": "Garden"}'])
def test_an_invalid_manifest_is_refused(lay, context, content: bytes) -> None:
    vex_repository.write(lay(a_row()), DOCUMENT, context)
    (context.directory / ".well-known/vex-repository.json").write_bytes(content)

    with pytest.raises(BuildError, match="expected a VEX repository's manifest"):
        vex_repository.count_rows(DOCUMENT, context.directory)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("url", "http://garden.example/vex.zip"),
        ("url", "https://garden.example/vex.tar"),
        ("update_interval", "daily"),
        ("update_interval", ""),
        ("name", ""),
        ("id", "garden"),
    ],
)
def test_an_option_outside_of_the_specification_is_refused(option: str, value: str) -> None:
    document = DOCUMENT.model_copy(update={"options": OPTIONS | {option: value}})

    assert [problem.where for problem in find_problems([document])] == [
        f"documents: vex.zip: options.{option}"
    ]

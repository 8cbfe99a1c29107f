"""A document that takes over parts of the published one has the bytes of one written whole."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.mart_tables import table_of
from support.site_rows import an_entry, lay_entries

from etl_assets.declarations.domain import Attribution, Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import csaf, cyclonedx, osv
from etl_assets.publish.writers.output import DocumentContext, PublishedDocument
from etl_assets.publish.writers.registry import count_rows, find_writer
from etl_assets.publish.writers.rows import Rows

JANUARY, FEBRUARY, MARCH = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3))
GARDEN = Attribution("garden", "Garden list. Licence: CC0-1.0")
PACKAGE = {"purl_type": "deb", "purl_namespace": "garden"}
VEX = {"id": "https://garden.example/vex", "author": "https://garden.example"}
OPTIONS: dict[str, dict[str, str]] = {
    "csaf": PACKAGE
    | {
        "base_url": "https://garden.example",
        "id_prefix": "GARDEN-",
        "publisher_name": "Garden",
        "publisher_namespace": "https://garden.example",
    },
    "cyclonedx": PACKAGE | VEX,
    "json_envelope": {"rows": "trees"},
    "openvex": PACKAGE | VEX,
    "vex_repository": PACKAGE
    | VEX
    | {"name": "Garden", "description": "Trees", "url": "https://garden.example/vex.zip"},
    "osv": PACKAGE | {"ecosystem": "Garden", "prefix": "GARDEN-", "layout": "rest"},
    "site": {"title": "Garden"}
    | {"page": "tree", "pages": "trees", "entry": "pest", "entries": "pests"},
}
FORMATS = sorted(OPTIONS)
KEYS = {"osv": ("vulnerability_id", "package_name"), "site": ("page", "entry")}


def a_row(  # noqa: PLR0911 - one for each format
    document_format: str, package: str, number: int, text: str
) -> dict[str, Any]:
    """A row of the format for a package and an id; `text` is what a change changes."""
    pair = {"package_name": package, "vulnerability_id": f"CVE-2026-{number}"}
    if document_format == "site":
        return an_entry(package, f"CVE-202{number}-{number}", sentence=text)
    # Two sources build a library, so that its document in a repository is shared.
    library = "libash" if package in {"ash", "oak"} else f"lib{package}"
    names = (package, library)
    products = [{"name": name, "version": "1:2-3", "arch": None} for name in names]
    if document_format == "csaf":
        row = dict.fromkeys(field.name for field in csaf.msgspec.structs.fields(csaf.Row))
        dates = dict.fromkeys(("stated_at", "first_released_at", "last_released_at"), JANUARY)
        revisions = [{"released_at": JANUARY, "summary": "First publication."}]
        stated = {"note": text, "product_status": "fixed", "revisions": revisions}
        return row | pair | dates | stated | {"products": products, "version": "1:2-3"}
    if document_format == "osv":
        row = dict.fromkeys(field.name for field in osv.msgspec.structs.fields(osv.Row))
        times = {"published_at": JANUARY, "modified_at": FEBRUARY}
        return row | pair | times | {"summary": text, "details": "", "is_affected": True}
    if document_format == "cyclonedx":
        row = dict.fromkeys(field.name for field in cyclonedx.msgspec.structs.fields(cyclonedx.Row))
        dates = dict.fromkeys(("first_issued_at", "last_updated_at"), JANUARY)
        return row | pair | dates | {"state": "resolved", "detail": text, "products": products}
    if document_format in {"openvex", "vex_repository"}:
        columns = ("vulnerability_url", "justification", "impact_statement", "action_statement")
        stated = {"status": "fixed", "status_notes": text, "stated_at": JANUARY}
        row = dict.fromkeys(columns) | pair | stated | {"products": products}
        if document_format == "openvex":
            return row
        dates = dict.fromkeys(("first_released_at", "last_released_at"), JANUARY)
        return row | dates | {"updates_count": 0}
    return pair | {"text": text, "nested": {"list": [text, None]}, "at": JANUARY}


OLD = [("ash", 1, "a"), ("ash", 2, "b"), ("fir", 1, "c"), ("oak", 3, "d"), ("yew", 3, "e")]
CHANGES = {
    "nothing": OLD,
    "the first row": [("ash", 1, "new"), *OLD[1:]],
    "the last row": [*OLD[:-1], ("yew", 3, "new")],
    "every row": [(name, number, "new") for name, number, _ in OLD],
    "a new first group": [("asp", 0, "new"), *OLD],
    "a new row of a group": [*OLD[:3], ("fir", 2, "new"), *OLD[3:]],
    "a new last group": [*OLD, ("zelkova", 9, "new")],
    "a group that is gone": [*OLD[:2], *OLD[3:]],
    "the first group gone": OLD[3:],
    "other groups alone": [("box", 7, "x"), ("elm", 8, "y")],
    "a text with a line break": [("ash", 1, "one\ntwo,\n]}"), *OLD[1:]],
}


def lay(folder: Path, name: str, document_format: str, rows: list[tuple[str, int, str]]) -> Rows:
    """A mart of the rows, in the order of the format's key."""
    records = [a_row(document_format, *row) for row in rows]
    key = KEYS.get(document_format, ("package_name", "vulnerability_id"))
    records.sort(key=lambda record: [record[column] for column in key])
    file = folder / f"{name}.parquet"
    if document_format == "site":
        return lay_entries(file, records)
    pq.write_table(table_of(records), file)
    return Rows(file)


def a_document(document_format: str) -> Document:
    files = {"csaf": "csaf", "site": "site", "osv": "osv/all.zip", "vex_repository": "vex.zip"}
    file = files.get(document_format, "document.json")
    return Document.model_validate(
        {
            "file": file,
            "title": "Trees",
            "format": document_format,
            "from": "doc_trees",
            "options": OPTIONS[document_format],
        }
    )


def publish(folder: Path, document: Document, rows: Rows) -> PublishedDocument:
    """Write the document whole, as the published one."""
    context = DocumentContext(folder / "published", FEBRUARY, (GARDEN,))
    files = find_writer(document).write(rows, document, context)
    key = KEYS.get(document.format, ("package_name", "vulnerability_id"))
    by_name = {file.file: file for file in files}
    return PublishedDocument(context.directory, by_name, rows.path, key)


def read_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("document_format", FORMATS)
def test_the_bytes_are_those_of_a_document_written_whole(
    tmp_path: Path, document_format: str, change: str
) -> None:
    document = a_document(document_format)
    published = publish(tmp_path, document, lay(tmp_path, "old", document_format, OLD))
    rows = lay(tmp_path, "new", document_format, CHANGES[change])
    write = find_writer(document).write

    written = write(
        rows, document, DocumentContext(tmp_path / "parts", MARCH, (GARDEN,), published)
    )
    whole = write(rows, document, DocumentContext(tmp_path / "whole", MARCH, (GARDEN,)))

    assert read_files(tmp_path / "parts") == read_files(tmp_path / "whole")
    assert written == whole
    assert count_rows(document, tmp_path / "parts", published) == len(CHANGES[change])


def test_the_file_of_an_unchanged_package_is_a_link(tmp_path: Path) -> None:
    document = a_document("csaf")
    published = publish(tmp_path, document, lay(tmp_path, "old", "csaf", OLD))
    rows = lay(tmp_path, "new", "csaf", CHANGES["the last row"])

    csaf.write(rows, document, DocumentContext(tmp_path / "parts", MARCH, (GARDEN,), published))

    links = {
        path.name.removeprefix("garden-"): path.samefile(
            tmp_path / "published/csaf/2026" / path.name
        )
        for path in (tmp_path / "parts/csaf/2026").iterdir()
    }
    assert links == {
        f"{name}.json{suffix}": name != "yew"
        for name in ("ash", "fir", "oak", "yew")
        for suffix in ("", ".sha256", ".sha512")
    }


@pytest.mark.parametrize("document_format", FORMATS)
def test_nothing_is_taken_over_from_a_mart_with_other_columns(
    tmp_path: Path, document_format: str
) -> None:
    document = a_document(document_format)
    old = lay(tmp_path, "old", document_format, OLD)
    published = publish(tmp_path, document, old)
    table = pq.read_table(old.path)
    pq.write_table(table.append_column("added", pa.nulls(len(table))), old.path)
    rows = lay(tmp_path, "new", document_format, OLD)
    write = find_writer(document).write

    write(rows, document, DocumentContext(tmp_path / "parts", MARCH, (GARDEN,), published))
    write(rows, document, DocumentContext(tmp_path / "whole", MARCH, (GARDEN,)))

    assert read_files(tmp_path / "parts") == read_files(tmp_path / "whole")


@pytest.mark.parametrize("document_format", ["cyclonedx", "json_envelope", "openvex"])
def test_a_published_list_with_another_number_of_elements_is_refused(
    tmp_path: Path, document_format: str
) -> None:
    document = a_document(document_format)
    published = publish(tmp_path, document, lay(tmp_path, "old", document_format, OLD))
    lines = (tmp_path / "published/document.json").read_bytes().splitlines(keepends=True)
    (tmp_path / "published/document.json").write_bytes(b"".join(lines[:2] + lines[3:]))
    rows = lay(tmp_path, "new", document_format, CHANGES["the last row"])
    context = DocumentContext(tmp_path / "parts", MARCH, (GARDEN,), published)

    with pytest.raises(BuildError, match="expected a part for each of 5 groups"):
        find_writer(document).write(rows, document, context)


@pytest.mark.parametrize(
    "document_format", ["csaf", "cyclonedx", "json_envelope", "openvex", "osv"]
)
def test_a_part_that_is_not_the_published_one_is_read_back(
    tmp_path: Path, document_format: str
) -> None:
    document = a_document(document_format)
    published = publish(tmp_path, document, lay(tmp_path, "old", document_format, OLD))
    rows = lay(tmp_path, "new", document_format, CHANGES["the first row"])
    context = DocumentContext(tmp_path / "parts", MARCH, (GARDEN,), published)
    find_writer(document).write(rows, document, context)
    damage(tmp_path / "parts", document_format)

    with pytest.raises(BuildError):
        count_rows(document, context.directory, published)


def damage(folder: Path, document_format: str) -> None:
    """Spoil the part of the first row, which is not the published one."""
    if document_format == "csaf":
        (folder / "csaf/2026/garden-ash.json").write_bytes(b'{"vulnerabilities":1}')
        return
    file = folder / ("osv/all.zip" if document_format == "osv" else "document.json")
    content = bytearray(file.read_bytes())
    start = content.index(b"GARDEN-CVE-2026-1.json") + 22 if document_format == "osv" else None
    place = start + 3 if start else content.index(b'{"', content.index(b"[\n"))
    content[place] ^= 0xFF
    file.write_bytes(content)

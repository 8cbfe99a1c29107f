"""CSAF 2.0 in the profile VEX, one document per package (https://docs.oasis-open.org/csaf/csaf/v2.0/).

Beside them stand `index.txt` and `changes.csv`, as section 7.1 asks of a provider. The structures
are `etl_assets.publish.writers.csaf_structure`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

import msgspec
from pydantic import Field

from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.csaf_structure import (
    About,
    Body,
    Csaf,
    Distribution,
    Flag,
    FlagLabel,
    Helper,
    Note,
    OtherId,
    Product,
    ProductStatus,
    Publisher,
    PublisherCategory,
    Reference,
    Remediation,
    RemediationCategory,
    Revision,
    Status,
    Threat,
    Tlp,
    Tracking,
    Tree,
    Vulnerability,
)
from etl_assets.publish.writers.products import Products
from etl_assets.publish.writers.registry import Candidate
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.sink import told, written_file
from etl_assets.storage.atomic_write import atomic_directory

INDEX_FILE = "index.txt"
CHANGES_FILE = "changes.csv"
DIGEST_LETTERS = 12


class Options(Products):
    """Who publishes, and what begins each document's id."""

    publisher_name: str = Field(min_length=1)
    publisher_namespace: str = Field(min_length=1)
    publisher_category: PublisherCategory = "vendor"
    id_prefix: str = Field(min_length=1)


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """What the writer takes: one vulnerability of a package, and the dates of its document."""

    package_name: str
    vulnerability_id: str
    id_system: str | None
    page_url: str | None
    record_url: str | None
    version: str | None
    product_status: ProductStatus
    flag: FlagLabel | None
    note: str
    impact: str | None
    remediation_category: RemediationCategory | None
    remediation: str | None
    stated_at: datetime
    first_released_at: datetime
    last_released_at: datetime
    updates_count: int


def write(rows: Rows, document: Document, candidate: Candidate) -> list[PublishedFile]:
    """A file per package below the directory `document.file`, and the two lists of them."""
    options = Options.model_validate(document.options)
    notes = _attribution(attribution_texts(candidate.attributions))
    target = candidate.directory / document.file
    written: list[PublishedFile] = []
    moments: list[tuple[datetime, str]] = []
    with atomic_directory(target) as temporary:
        for name, vulnerabilities in _packages(rows):
            file = file_name(name)
            data = _document(vulnerabilities, options, notes)
            (temporary / file).write_bytes(data)
            written.append(
                told(data, document.file, f"{document.file}/{file}", len(vulnerabilities))
            )
            moments.append((vulnerabilities[0].last_released_at, file))
        _write_lists(temporary, moments)
    lists = [
        written_file(target / file, document.file, f"{document.file}/{file}", 0)
        for file in (CHANGES_FILE, INDEX_FILE)
    ]
    return [*lists, *written]


def held(document: Document, directory: Path) -> int:
    """The number of vulnerabilities over all documents; raises BuildError where one has a fault."""
    folder = directory / document.file
    decoder = msgspec.json.Decoder(Csaf)
    listed = (folder / INDEX_FILE).read_text(encoding="utf-8").splitlines()
    if listed != sorted(path.name for path in folder.glob("*.json")):
        raise BuildError(f"{folder / INDEX_FILE}: expected every document once, in order")
    return sum(_held(folder / name, decoder) for name in listed)


def file_name(package: str) -> str:
    """The package's name, with every character escaped that a file's name should not have."""
    escaped = quote(package, safe="+")
    return ("%2E" + escaped[1:] if escaped.startswith(".") else escaped) + ".json"


def _held(path: Path, decoder: msgspec.json.Decoder[Csaf]) -> int:
    try:
        found = decoder.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise BuildError(f"{path}: expected a CSAF document, found: {error}") from error
    known = {product.product_id for product in found.product_tree.full_product_names}
    for vulnerability in found.vulnerabilities:
        if lost := set(vulnerability.product_status.products) - known:
            raise BuildError(f"{path}: expected the product {min(lost)} in the tree, found none")
    return len(found.vulnerabilities)


def _packages(rows: Rows) -> Iterator[tuple[str, list[Row]]]:
    """The rows of each package; raises BuildError where they do not stand together."""
    last = ""
    for name, group in groupby(rows.typed(Row), key=lambda row: row.package_name):
        if name <= last:
            raise BuildError(f"{rows.path}: expected rows in the order of packages, found {name}")
        last = name
        yield name, list(group)


def _document(rows: list[Row], options: Options, notes: list[Note]) -> bytes:
    """The document's bytes, a function of the package's rows alone.

    Its number counts changes of state. The digest behind it tells apart two texts of one number, as
    a wording may change without any state.
    """
    versions = dict.fromkeys(row.version for row in rows)
    body = msgspec.json.encode(
        Body(
            product_tree=Tree([_product(rows[0], version, options) for version in versions]),
            vulnerabilities=[_vulnerability(row, options) for row in rows],
        )
    )
    build = hashlib.sha256(body).hexdigest()[:DIGEST_LETTERS]
    about = msgspec.json.encode(_about(rows[0], options, notes, build))
    return b'{"document":' + about + b"," + body.removeprefix(b"{") + b"\n"


def _product(row: Row, version: str | None, options: Options) -> Product:
    url = options.url(row.package_name, version)
    name = f"{row.package_name} {version}" if version else row.package_name
    return Product(name, url, Helper(url))


def _about(row: Row, options: Options, notes: list[Note], build: str) -> About:
    history = [Revision(row.first_released_at, "1.0.0", "First publication.")]
    if row.updates_count:
        summary = f"Update {row.updates_count}: states of the package changed."
        history.append(Revision(row.last_released_at, f"1.{row.updates_count}.0", summary))
    return About(
        category="csaf_vex",
        csaf_version="2.0",
        title=f"Vulnerabilities and their states in {row.package_name}",
        publisher=Publisher(
            options.publisher_category, options.publisher_name, options.publisher_namespace
        ),
        tracking=Tracking(
            id=options.id_prefix + row.package_name,
            status="final",
            version=f"{history[-1].number}+{build}",
            initial_release_date=row.first_released_at,
            current_release_date=row.last_released_at,
            revision_history=history,
        ),
        lang="en",
        distribution=Distribution(Tlp("WHITE")),
        notes=notes,
    )


def _vulnerability(row: Row, options: Options) -> Vulnerability:
    product = [options.url(row.package_name, row.version)]
    return Vulnerability(
        cve=None if row.id_system else row.vulnerability_id,
        ids=[OtherId(row.id_system, row.vulnerability_id)] if row.id_system else [],
        notes=[Note("details", row.note, "Decision")],
        product_status=_status(row.product_status, product),
        flags=[Flag(row.flag, product, row.stated_at)] if row.flag else [],
        threats=[Threat("impact", row.impact, product, row.stated_at)] if row.impact else [],
        remediations=_remediations(row, product),
        references=_references(row),
    )


def _status(status: ProductStatus, product: list[str]) -> Status:
    if status == "fixed":
        return Status(fixed=product, first_fixed=product)
    return msgspec.convert({status: product}, Status)


def _remediations(row: Row, product: list[str]) -> list[Remediation]:
    if row.remediation_category is None or row.remediation is None:
        return []
    return [Remediation(row.remediation_category, row.remediation, product, row.stated_at)]


def _references(row: Row) -> list[Reference]:
    pages = {row.page_url: row.vulnerability_id}
    pages.setdefault(row.record_url, "The record that decided")
    return [Reference("external", text, url) for url, text in pages.items() if url]


def _attribution(lines: list[str]) -> list[Note]:
    return [Note("legal_disclaimer", "\n".join(lines), "Made of")] if lines else []


def _write_lists(folder: Path, moments: list[tuple[datetime, str]]) -> None:
    names = sorted(name for _, name in moments)
    (folder / INDEX_FILE).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    newest = sorted(moments, key=lambda moment: (-moment[0].timestamp(), moment[1]))
    (folder / CHANGES_FILE).write_text(
        "".join(
            f'"{name}",{msgspec.json.encode(released_at).decode()}\n'
            for released_at, name in newest
        ),
        encoding="utf-8",
    )

"""CSAF 2.0 in the VEX profile, one document per package.

`index.txt` and `changes.csv` list the documents, as section 7.1 requires of a provider.
https://docs.oasis-open.org/csaf/csaf/v2.0/
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec
from pydantic import Field

from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.errors import BuildError
from etl_assets.model.file_names import limit_name
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.run_directory import link_file
from etl_assets.publish.writers.output import (
    ConformanceError,
    DocumentContext,
    DocumentStruct,
    PublishedDocument,
    describe_file,
)
from etl_assets.publish.writers.purl import PackageOptions, PackageVersion
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.unchanged import RowGroups
from etl_assets.storage.atomic_write import atomic_directory

INDEX_FILE = "index.txt"
CHANGES_FILE = "changes.csv"
BUILD_DIGITS = 12

Status = Literal["fixed", "known_affected", "known_not_affected", "under_investigation"]
RemediationCategory = Literal[
    "mitigation", "no_fix_planned", "none_available", "vendor_fix", "workaround"
]
FlagLabel = Literal[
    "component_not_present",
    "inline_mitigations_already_exist",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_not_present",
]
PublisherCategory = Literal["coordinator", "discoverer", "other", "translator", "user", "vendor"]


class Options(PackageOptions):
    """The publisher, and the prefix of each document's id."""

    publisher_name: str = Field(min_length=1)
    publisher_namespace: str = Field(min_length=1)
    publisher_category: PublisherCategory = "vendor"
    id_prefix: str = Field(min_length=1)


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """Input of the writer: one vulnerability of a package, and the dates of its document.

    `version` is the first fixed one, `products` are what scanners find of the package.
    """

    package_name: str
    vulnerability_id: str
    id_system: str | None
    page_url: str | None
    record_url: str | None
    version: str | None
    products: list[PackageVersion]
    product_status: Status
    flag: FlagLabel | None
    note: str
    impact: str | None
    remediation_category: RemediationCategory | None
    remediation: str | None
    stated_at: datetime
    first_released_at: datetime
    last_released_at: datetime
    updates_count: int


class Tlp(DocumentStruct):
    """The Traffic Light Protocol: who may receive the document."""

    label: Literal["WHITE"]


class Distribution(DocumentStruct):
    """How the document may be distributed."""

    tlp: Tlp


class Note(DocumentStruct):
    """A text and its purpose."""

    category: Literal["details", "legal_disclaimer"]
    text: str
    title: str


class Publisher(DocumentStruct):
    """Who publishes the document."""

    category: PublisherCategory
    name: str
    namespace: str


class Revision(DocumentStruct):
    """One entry of the document's history."""

    date: datetime
    number: str
    summary: str


class Tracking(DocumentStruct):
    """Id, version and history of the document."""

    id: str
    status: Literal["final"]
    version: str
    initial_release_date: datetime
    current_release_date: datetime
    revision_history: list[Revision]


class Metadata(DocumentStruct):
    """The member `document`: metadata of the whole document."""

    category: Literal["csaf_vex"]
    csaf_version: Literal["2.0"]
    title: str
    publisher: Publisher
    tracking: Tracking
    lang: Literal["en"]
    distribution: Distribution
    notes: list[Note] = []


class IdentificationHelper(DocumentStruct):
    """How a scanner identifies the product."""

    purl: str


class Product(DocumentStruct):
    """The package, in one version or in all versions."""

    name: str
    product_id: str
    product_identification_helper: IdentificationHelper


class ProductTree(DocumentStruct):
    """All products that the document refers to."""

    full_product_names: list[Product]


class ProductStatus(DocumentStruct):
    """Ids of products by status; in our documents exactly one status has products."""

    fixed: list[str] = []
    first_fixed: list[str] = []
    known_affected: list[str] = []
    known_not_affected: list[str] = []
    under_investigation: list[str] = []

    @property
    def products(self) -> list[str]:
        """The ids of all statuses but `first_fixed`, whose products are fixed ones too."""
        return self.fixed + self.known_affected + self.known_not_affected + self.under_investigation

    @property
    def statuses_count(self) -> int:
        """How many statuses but `first_fixed` have products."""
        statuses = (
            self.fixed, self.known_affected, self.known_not_affected, self.under_investigation,
        )  # fmt: skip
        return sum(1 for products in statuses if products)


class Flag(DocumentStruct):
    """The standard's label for the reason why a product is not affected."""

    label: FlagLabel
    product_ids: list[str]
    date: datetime


class Threat(DocumentStruct):
    """The reason why a product is not affected, as text."""

    category: Literal["impact"]
    details: str
    product_ids: list[str]
    date: datetime


class Remediation(DocumentStruct):
    """What a user of the product can do."""

    category: RemediationCategory
    details: str
    product_ids: list[str]
    date: datetime


class OtherId(DocumentStruct):
    """An id that is not a CVE."""

    system_name: str
    text: str


class Reference(DocumentStruct):
    """A web page about the vulnerability."""

    category: Literal["external"]
    summary: str
    url: str


class Vulnerability(DocumentStruct, kw_only=True):
    """One vulnerability; the profile requires a reason or an action for some statuses.

    Sections 4.5 and 6.1.27.8 to 6.1.27.10 of the standard.
    """

    cve: str | None = None
    ids: list[OtherId] = []
    notes: list[Note]
    product_status: ProductStatus
    flags: list[Flag] = []
    threats: list[Threat] = []
    remediations: list[Remediation] = []
    references: list[Reference] = []

    def __post_init__(self) -> None:
        name = self.cve or (self.ids[0].text if self.ids else "")
        if not name:
            raise ConformanceError("a vulnerability without an id")
        if self.product_status.statuses_count != 1:
            raise ConformanceError(f"{name}: expected products with one status")
        if self.product_status.known_not_affected and not (self.flags or self.threats):
            raise ConformanceError(f"{name}: known_not_affected without a reason")
        if self.product_status.known_affected and not self.remediations:
            raise ConformanceError(f"{name}: known_affected without a remediation")


class Body(DocumentStruct):
    """The document without its metadata."""

    product_tree: ProductTree
    vulnerabilities: list[Vulnerability]


class CsafDocument(Body, kw_only=True):
    """A whole document."""

    document: Metadata


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Write a file per package into the directory `document.file`, and the two lists of them.

    Raises BuildError if the rows are not in the order of packages.
    """
    options = Options.model_validate(document.options)
    attributions = attribution_texts(context.attributions)
    notes = [Note("legal_disclaimer", "\n".join(attributions), "Made of")] if attributions else []
    target = context.directory / document.file
    groups = RowGroups(rows, ("package_name", "last_released_at"), context.published)
    packages = groupby(groups.changed_rows().convert(Row), key=lambda row: row.package_name)
    written: list[PublishedFile] = []
    releases: list[tuple[datetime, str]] = []
    last_name = ""
    with atomic_directory(target) as temporary:
        for group, count in groups.groups:
            name, released_at = group
            # A second group of a package would overwrite the first's file.
            if name <= last_name:
                raise BuildError(
                    f"{rows.path}: expected rows in the order of packages, found {name}"
                )
            last_name, file = name, file_name(name)
            releases.append((released_at, file))
            path = f"{document.file}/{file}"
            if context.published and group in groups.unchanged:
                link_file(context.published.directory / path, temporary / file)
                written.append(context.published.files[path])
                continue
            _, package_rows = next(packages)
            data = _encode_document([*package_rows], options, notes)
            (temporary / file).write_bytes(data)
            written.append(_describe(data, document.file, path, count))
        _write_lists(temporary, releases)
    lists = [
        describe_file(target / file, document.file, f"{document.file}/{file}", 0)
        for file in (CHANGES_FILE, INDEX_FILE)
    ]
    return [*lists, *written]


def _describe(data: bytes, document: str, path: str, rows: int) -> PublishedFile:
    return PublishedFile(
        document=document,
        file=path,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        rows=rows,
    )


def count_rows(document: Document, directory: Path) -> int:
    """The number of vulnerabilities of all documents; raises BuildError if one is invalid."""
    return _count_vulnerabilities(directory / document.file, {})


def count_rows_beside(document: Document, directory: Path, published: PublishedDocument) -> int:
    """As `count_rows`; links to published documents are not decoded again."""
    linked = {}
    for name, file in published.files.items():
        path = directory / name
        if file.rows and path.exists() and path.samefile(published.directory / name):
            linked[path.name] = file.rows
    return _count_vulnerabilities(directory / document.file, linked)


def _count_vulnerabilities(folder: Path, linked: Mapping[str, int]) -> int:
    """`linked` has the numbers of vulnerabilities of files that were counted before, by name."""
    decoder = msgspec.json.Decoder(CsafDocument)
    names = (folder / INDEX_FILE).read_text(encoding="utf-8").splitlines()
    if names != sorted(path.name for path in folder.glob("*.json")):
        raise BuildError(f"{folder / INDEX_FILE}: expected every document once, in order")
    count = 0
    for name in names:
        if name in linked:
            count += linked[name]
            continue
        path = folder / name
        try:
            content = decoder.decode(path.read_bytes())
        except msgspec.DecodeError as error:
            raise BuildError(f"{path}: expected a CSAF document, found: {error}") from error
        product_ids = {product.product_id for product in content.product_tree.full_product_names}
        for vulnerability in content.vulnerabilities:
            stated = vulnerability.product_status
            if missing := {*stated.products, *stated.first_fixed} - product_ids:
                raise BuildError(
                    f"{path}: expected the product {min(missing)} in the tree, found none"
                )
        count += len(content.vulnerabilities)
    return count


def file_name(package: str) -> str:
    """The package's name with every character escaped that is unsafe in a file name.

    It has at most 200 bytes, and no two packages have one file, also where names fold case.
    """
    escaped = quote(package, safe="+")
    if escaped.startswith("."):
        # `quote` leaves dots, but a leading one hides the file, and `..` is a folder.
        escaped = "%2E" + escaped[1:]
    return limit_name(escaped, ".json", folds_case=True)


def _encode_document(rows: list[Row], options: Options, notes: list[Note]) -> bytes:
    """The bytes of one package's document, which depend on its rows and options only."""
    first = rows[0]
    products = _make_products(rows, options)
    vulnerabilities = [_make_vulnerability(row, options) for row in rows]
    body = msgspec.json.encode(Body(ProductTree(products), vulnerabilities))
    history = [Revision(first.first_released_at, "1.0.0", "First publication.")]
    if first.updates_count:
        summary = f"Update {first.updates_count}: states of the package changed."
        history.append(Revision(first.last_released_at, f"1.{first.updates_count}.0", summary))
    # The number counts changes of state. A wording may change without one, so a digest of the body
    # as build metadata (semver.org, item 10) distinguishes two texts of one number.
    build = hashlib.sha256(body).hexdigest()[:BUILD_DIGITS]
    metadata = Metadata(
        category="csaf_vex",
        csaf_version="2.0",
        title=f"Vulnerabilities and their states in {first.package_name}",
        publisher=Publisher(
            options.publisher_category, options.publisher_name, options.publisher_namespace
        ),
        tracking=Tracking(
            id=options.id_prefix + first.package_name,
            status="final",
            version=f"{history[-1].number}+{build}",
            initial_release_date=first.first_released_at,
            current_release_date=first.last_released_at,
            revision_history=history,
        ),
        lang="en",
        distribution=Distribution(Tlp("WHITE")),  # may be passed on to anyone
        notes=notes,
    )
    # The body is encoded already; its members follow those of the metadata in the same object.
    encoded_metadata = msgspec.json.encode(metadata)
    return b'{"document":' + encoded_metadata + b"," + body.removeprefix(b"{") + b"\n"


def _make_products(rows: list[Row], options: Options) -> list[Product]:
    """Each product of the rows once, with its package URL as its id."""
    products: dict[str, Product] = {}
    for row in rows:
        for each in row.products:
            name = f"{each.name} {each.version}" if each.version else each.name
            for url in options.product_urls(each):
                products.setdefault(url, Product(name, url, IdentificationHelper(url)))
    return list(products.values())


def _make_vulnerability(row: Row, options: Options) -> Vulnerability:
    products = [url for product in row.products for url in options.product_urls(product)]
    if row.product_status == "fixed":
        first_fixed = [
            url
            for product in row.products
            if product.version == row.version and product.name == row.package_name
            for url in options.product_urls(product)
        ]
        status = ProductStatus(fixed=products, first_fixed=first_fixed)
    else:
        status = msgspec.convert({row.product_status: products}, ProductStatus)
    remediations = []
    if row.remediation_category is not None and row.remediation is not None:
        remediations = [
            Remediation(row.remediation_category, row.remediation, products, row.stated_at)
        ]
    pages = {row.page_url: row.vulnerability_id}
    pages.setdefault(row.record_url, "The record that decided")
    return Vulnerability(
        cve=None if row.id_system else row.vulnerability_id,
        ids=[OtherId(row.id_system, row.vulnerability_id)] if row.id_system else [],
        notes=[Note("details", row.note, "Decision")],
        product_status=status,
        flags=[Flag(row.flag, products, row.stated_at)] if row.flag else [],
        threats=[Threat("impact", row.impact, products, row.stated_at)] if row.impact else [],
        remediations=remediations,
        references=[Reference("external", text, url) for url, text in pages.items() if url],
    )


def _write_lists(folder: Path, releases: list[tuple[datetime, str]]) -> None:
    """Write the names in order, and the names with their dates, the newest first."""
    names = sorted(name for _, name in releases)
    (folder / INDEX_FILE).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    lines = [
        f'"{name}",{msgspec.json.encode(released_at).decode()}\n'
        for released_at, name in sorted(releases, key=lambda r: (-r[0].timestamp(), r[1]))
    ]
    (folder / CHANGES_FILE).write_text("".join(lines), encoding="utf-8")

"""CSAF 2.0 in the VEX profile, one document per package, as a provider publishes them.

The structures of the standard are in `csaf_document`, what a provider publishes beside the
documents in `csaf_provider`.
https://docs.oasis-open.org/csaf/csaf/v2.0/
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby, pairwise
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import msgspec

from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.run_directory import link_file
from etl_assets.publish.writers import csaf_provider, cvss
from etl_assets.publish.writers.csaf_document import (
    Body,
    CsafDocument,
    CvssV2,
    CvssV3,
    Distribution,
    Flag,
    FlagLabel,
    IdentificationHelper,
    Metadata,
    NameBranch,
    Note,
    OtherId,
    Product,
    ProductStatus,
    ProductTree,
    RangeBranch,
    RangeProduct,
    Reference,
    Remediation,
    RemediationCategory,
    Revision,
    Score,
    Status,
    Threat,
    Tlp,
    Tracking,
    VendorBranch,
    Vulnerability,
)
from etl_assets.publish.writers.csaf_provider import (
    HASHES,
    INDEX_FILE,
    ProviderOptions,
    Release,
)
from etl_assets.publish.writers.output import (
    ConformanceError,
    DocumentContext,
    PublishedDocument,
    describe_file,
)
from etl_assets.publish.writers.purl import PackageOptions, PackageVersion
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.unchanged import Group, RowGroups
from etl_assets.storage.atomic_write import atomic_directory

BUILD_DIGITS = 12
MAX_NAMES = 5  # files that an error names; the rest are counted
SUFFIXES = ("", *(f".{algorithm}" for algorithm in HASHES))
RELEASE_COLUMNS = ("first_released_at", "last_released_at")


class Options(PackageOptions, ProviderOptions):
    """The provider and the packages of its documents."""


class RowRevision(msgspec.Struct, forbid_unknown_fields=True):
    """One release of a document."""

    released_at: datetime
    summary: str


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
    cvss_vector: str | None
    stated_at: datetime
    first_released_at: datetime
    last_released_at: datetime
    revisions: list[RowRevision] | None
    """All releases of the document, oldest first; on one of its rows alone."""


DECODER = msgspec.json.Decoder(CsafDocument)


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Write a file per package below the directory `document.file`, and what lists them.

    Raises BuildError if the rows are not in the order of packages.
    """
    options = Options.model_validate(document.options)
    groups = RowGroups(rows, ("package_name", *RELEASE_COLUMNS), context.published)
    releases = _find_releases(groups, options)
    attributions = attribution_texts(context.attributions)
    notes = [Note("legal_disclaimer", "\n".join(attributions), "Made of")] if attributions else []
    published = context.published.files if context.published else {}
    linked = {
        group
        for group in groups.unchanged
        # Another package may have changed the document's name.
        if group in releases and f"{document.file}/{releases[group].file}" in published
    }
    changed_rows = groups.rows_outside(linked).convert(Row)
    packages = groupby(changed_rows, key=lambda row: row.package_name)
    written: list[PublishedFile] = []
    with atomic_directory(context.directory / document.file) as temporary:
        for group, count in groups.groups:
            path = f"{document.file}/{releases[group].file}"
            target = temporary / releases[group].file
            if context.published and group in linked:
                for name in (path, *(f"{path}.{algorithm}" for algorithm in HASHES)):
                    link_file(context.published.directory / name, target.with_name(Path(name).name))
                    written.append(published[name])
                continue
            _, package_rows = next(packages)
            self_url = options.url(document.file, releases[group].file)
            data = _encode_document([*package_rows], releases[group], options, notes, self_url)
            written += _write_with_hashes(target, data, document.file, path, count)
        names = csaf_provider.write_lists(
            temporary, document.file, document.title, releases.values(), options, context
        )
    lists = [f"{document.file}/{name}" for name in names]
    return [
        *(describe_file(context.directory / file, document.file, file, 0) for file in lists),
        *written,
    ]


def signed_files(files: Iterable[PublishedFile]) -> list[str]:
    """The files beside which a signature is published: section 7.1.19 requires one per document."""
    return [file.file for file in files if file.rows]


def group_files(
    document: Document, files: Iterable[PublishedFile], groups: Sequence[str]
) -> dict[str, str]:
    """The document of each package; `groups` are all packages."""
    ids = csaf_provider.tracking_ids(groups, Options.model_validate(document.options).id_prefix)
    by_name = {PurePosixPath(file.file).name: file.file for file in files if file.rows}
    names = {group: csaf_provider.file_name(ids[group]) for group in groups}
    return {group: by_name[name] for group, name in names.items() if name in by_name}


def _find_releases(groups: RowGroups, options: Options) -> dict[Group, Release]:
    """The release of each document; raises BuildError if a package is not in order."""
    names = [name for (name, *_), _ in groups.groups]
    for last, name in pairwise(names):
        # A second group of a package would overwrite the first's file.
        if name <= last:
            raise BuildError(
                f"{groups.rows.path}: expected rows in the order of packages, found {name}"
            )
    ids = csaf_provider.tracking_ids(names, options.id_prefix)
    releases = {
        group: Release(ids[group[0]], _title_of(group[0]), *group[1:]) for group, _ in groups.groups
    }
    files = Counter(release.file for release in releases.values())
    if twins := [file for file, count in files.items() if count > 1]:
        raise BuildError(
            f"{groups.rows.path}: expected one package per file, found several for {min(twins)}"
        )
    return releases


def _title_of(package: str) -> str:
    return f"Vulnerabilities and their states in {package}"


def _write_with_hashes(
    target: Path, data: bytes, document: str, path: str, rows: int
) -> Iterator[PublishedFile]:
    """Write a document and a file for each of its hashes; yields the record of each file."""
    target.parent.mkdir(exist_ok=True)
    contents = {"": data, **csaf_provider.hash_lines(data, target.name)}
    for suffix, content in contents.items():
        target.with_name(target.name + suffix).write_bytes(content)
        yield PublishedFile(
            document=document,
            file=path + suffix,
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            rows=0 if suffix else rows,
        )


def count_rows(document: Document, directory: Path) -> int:
    """The number of vulnerabilities of all documents; raises BuildError if one is invalid."""
    return _count_vulnerabilities(directory / document.file, {})


def count_rows_beside(document: Document, directory: Path, published: PublishedDocument) -> int:
    """As `count_rows`; links to published documents are not decoded again."""
    folder = directory / document.file
    linked = {}
    for name, file in published.files.items():
        path = directory / name
        if file.rows and path.exists() and path.samefile(published.directory / name):
            linked[path.relative_to(folder).as_posix()] = file.rows
    return _count_vulnerabilities(folder, linked)


def _count_vulnerabilities(folder: Path, linked: Mapping[str, int]) -> int:
    """`linked` has the numbers of vulnerabilities of files that were counted before, by name."""
    names = (folder / INDEX_FILE).read_text(encoding="utf-8").splitlines()
    expected = sorted(name + suffix for name in names for suffix in SUFFIXES)
    present = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
    if names != sorted(names) or present != expected:
        others = sorted(set(present).symmetric_difference(expected))
        raise BuildError(
            f"{folder / INDEX_FILE}: expected every document once, in order, with its hashes;"
            f" missing, or not listed: {', '.join(others[:MAX_NAMES])}, {len(others)} in all"
        )
    return sum(
        linked[name] if name in linked else _read_document(folder / name, name) for name in names
    )


def _read_document(path: Path, name: str) -> int:
    """The number of vulnerabilities of one document; raises BuildError if it is invalid."""
    data = path.read_bytes()
    try:
        content = DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise BuildError(f"{path}: expected a CSAF document, found: {error}") from error
    for suffix, line in csaf_provider.hash_lines(data, path.name).items():
        if path.with_name(path.name + suffix).read_bytes() != line:
            raise BuildError(f"{path}{suffix}: expected the hash of the document, found another")
    tracking = content.document.tracking
    own_name = csaf_provider.document_path(tracking.id, tracking.initial_release_date)
    if name != own_name:
        raise BuildError(f"{path}: expected the name of {tracking.id}, {own_name}")
    product_ids = content.product_tree.product_ids
    for vulnerability in content.vulnerabilities:
        status = vulnerability.product_status
        if missing := {*status.products, *status.first_fixed} - product_ids:
            raise BuildError(f"{path}: expected the product {min(missing)} in the tree, found none")
    return len(content.vulnerabilities)


def _encode_document(
    rows: list[Row], release: Release, options: Options, notes: list[Note], self_url: str
) -> bytes:
    """The bytes of one package's document, which depend on its rows and options only."""
    tree = _make_product_tree(rows, options)
    vulnerabilities = [_make_vulnerability(row, options) for row in rows]
    body = msgspec.json.encode(Body(tree, vulnerabilities))
    history = _make_history(rows, release)
    # The number counts changes of state. A wording may change without one, so a digest of the body
    # as build metadata (semver.org, item 10) distinguishes two texts of one number.
    build = hashlib.sha256(body).hexdigest()[:BUILD_DIGITS]
    metadata = Metadata(
        category="csaf_vex",
        csaf_version="2.0",
        title=release.title,
        publisher=options.publisher,
        tracking=Tracking(
            id=release.tracking_id,
            status="final",
            version=f"{history[-1].number}+{build}",
            initial_release_date=release.first_released_at,
            current_release_date=release.last_released_at,
            revision_history=history,
        ),
        lang="en",
        distribution=Distribution(Tlp(options.tlp)),
        references=[Reference("self", "The canonical URL of this document", self_url)],
        notes=notes,
    )
    # The body is encoded already; its members follow those of the metadata in the same object.
    encoded_metadata = msgspec.json.encode(metadata)
    return b'{"document":' + encoded_metadata + b"," + body.removeprefix(b"{") + b"\n"


def _make_history(rows: list[Row], release: Release) -> list[Revision]:
    """An entry for each release; raises ConformanceError if the first or the last is missing."""
    revisions = next((row.revisions for row in rows if row.revisions), [])
    dates = [revision.released_at for revision in revisions]
    if dates[:1] + dates[-1:] != [release.first_released_at, release.last_released_at]:
        raise ConformanceError(
            f"{rows[0].package_name}: expected releases from {release.first_released_at} to"
            f" {release.last_released_at}, found {dates}"
        )
    return [
        Revision(revision.released_at, f"1.{number}.0", revision.summary)
        for number, revision in enumerate(revisions)
    ]


def _make_product_tree(rows: list[Row], options: Options) -> ProductTree:
    """Each product of the rows once, with its package URL as its id, and each range of fixes."""
    products: dict[str, Product] = {}
    ranges: dict[str, RangeBranch] = {}
    for row in rows:
        for each in row.products:
            name = f"{each.name} {each.version}" if each.version else each.name
            for url in options.product_urls(each):
                products.setdefault(url, Product(name, url, IdentificationHelper(url)))
        if row.product_status == "fixed" and row.version:
            branch = _make_range(row.package_name, row.version, options)
            ranges.setdefault(branch.product.product_id, branch)
    if not ranges:
        return ProductTree(full_product_names=[*products.values()])
    package = NameBranch([*ranges.values()], "product_name", rows[0].package_name)
    vendor = VendorBranch([package], "vendor", options.publisher_name)
    return ProductTree(branches=[vendor], full_product_names=[*products.values()])


def _make_range(package: str, version: str, options: Options) -> RangeBranch:
    """The versions of the source package from the first fixed one on."""
    versions = f"vers:{options.purl_type}/>={quote(version, safe='')}"
    identifier = f"{options.package_url(package)} {versions}"
    product = RangeProduct(f"{package}, {version} or later", identifier)
    return RangeBranch("product_version_range", versions, product)


def _make_vulnerability(row: Row, options: Options) -> Vulnerability:
    products = [url for product in row.products for url in options.product_urls(product)]
    if row.product_status == "fixed":
        first_fixed = [
            url
            for product in row.products
            if product.version == row.version and product.name == row.package_name
            for url in options.product_urls(product)
        ]
        if row.version:
            fixed_range = _make_range(row.package_name, row.version, options)
            products.append(fixed_range.product.product_id)
        status = ProductStatus(fixed=products, first_fixed=first_fixed)
    else:
        status = msgspec.convert({row.product_status: products}, ProductStatus)
    remediations = []
    if row.remediation_category is not None and row.remediation is not None:
        remediations = [
            Remediation(row.remediation_category, row.stated_at, row.remediation, products)
        ]
    pages = {row.page_url: row.vulnerability_id}
    pages.setdefault(row.record_url, "The record that decided")
    return Vulnerability(
        cve=None if row.id_system else row.vulnerability_id,
        ids=[OtherId(row.id_system, row.vulnerability_id)] if row.id_system else [],
        notes=[Note("details", row.note, "Decision")],
        product_status=status,
        flags=[Flag(row.stated_at, row.flag, products)] if row.flag else [],
        threats=[Threat("impact", row.stated_at, row.impact, products)] if row.impact else [],
        remediations=remediations,
        scores=_make_scores(row, products),
        references=[Reference("external", text, url) for url, text in pages.items() if url],
    )


def _make_scores(row: Row, products: list[str]) -> list[Score]:
    """The score of a vector; none for a vector of a version that CSAF 2.0 does not know."""
    base = cvss.parse_vector(row.cvss_vector) if row.cvss_vector else None
    if base is None or base.version == "4.0":
        return []
    if base.version == "2.0":
        score_2 = CvssV2(base.score, base.vector, base.version)
        return [Score(products=products, cvss_v2=score_2)]
    score_3 = CvssV3(base.score, base.severity, base.vector, base.version)
    return [Score(products=products, cvss_v3=score_3)]

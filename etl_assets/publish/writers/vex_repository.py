"""A VEX repository: an archive with an OpenVEX document per package, and its manifest.

VEX Repository Specification 0.1 (https://github.com/aquasecurity/vex-repo-spec). The archive has an
`index.json`, in which clients look up the package URL of a package; the manifest, which they fetch
first, is `.well-known/vex-repository.json` beside the archive.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec
from pydantic import Field

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers import openvex
from etl_assets.publish.writers.output import (
    DocumentContext,
    DocumentStruct,
    PublishedDocument,
    describe_file,
    open_output,
)
from etl_assets.publish.writers.purl import package_url
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.unchanged import RowGroups
from etl_assets.publish.writers.zip_members import (
    READ_ERRORS,
    add_member,
    archive_error,
    find_differing,
    open_archive,
    open_published,
    read_checksums,
)
from etl_assets.storage.archives import copy_member
from etl_assets.storage.atomic_write import atomic_file
from etl_assets.storage.duckdb_connection import connect
from etl_assets.storage.sql_quoting import quote_text

SPEC_VERSION: Literal["0.1"] = "0.1"
MANIFEST_FILE = ".well-known/vex-repository.json"
INDEX_FILE = "index.json"
DOCUMENT_FILE = "vex.json"
PACKAGES_FOLDER, SHARED_FOLDER = "pkg", "shared"
SOURCE_ARCH = "source"
CONTENT = "VEX documents"
# What the schema of the index allows in a location.
UNSAFE_CHARACTERS = re.compile(r"[^a-z0-9_.-]")
MAX_NAME_CHARACTERS = 100
DIGEST_CHARACTERS = 16


class Options(openvex.AuthorOptions):
    """The author and the manifest of the repository; `id` is the IRI of the folder of documents."""

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    url: str = Field(
        pattern=r"^https://\S+\.zip$", description="where clients download the archive from"
    )
    update_interval: str = Field(
        default="24h",
        min_length=2,
        pattern=r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
        description="how long clients wait before they look for a newer archive",
    )


class Row(openvex.Row, forbid_unknown_fields=True):
    """Input of the writer: a statement on a package, and the dates of the package's document."""

    first_released_at: datetime
    last_released_at: datetime
    updates_count: int


class Location(DocumentStruct):
    """Where the archive is."""

    url: str


class Version(DocumentStruct):
    """The archive for one version of the specification."""

    spec_version: Literal["0.1"]
    locations: list[Location]
    update_interval: str


class Manifest(DocumentStruct):
    """The first file that a client reads."""

    name: str
    description: str
    versions: list[Version]


class Entry(DocumentStruct):
    """A package of the archive, by its URL without version and qualifiers."""

    id: str
    location: str


class Index(DocumentStruct):
    """The packages of the archive."""

    updated_at: datetime
    packages: list[Entry]


class PackageDocument(openvex.Header, kw_only=True):
    """An OpenVEX document with its statements."""

    statements: list[openvex.Statement]


class _Packages:
    """The packages that statements name, by the URL without version, and where each is stated."""

    def __init__(self, rows: Rows, options: Options) -> None:
        self._options = options
        self.sources: dict[str, set[str]] = {}
        """Of each package, in the order of their URLs, the packages whose rows name it."""
        path = quote_text(str(rows.path))
        with connect() as connection:
            # No scanner finds a source package, which an architecture of its own tells apart.
            packages = connection.execute(
                "select distinct package_name, product.name"  # noqa: S608 - quoted
                f" from (select package_name, unnest(products) as product from {path})"
                f" where product.arch::varchar is distinct from '{SOURCE_ARCH}'"
            ).fetchall()
        for source, name in sorted(packages, key=lambda pair: self._url(pair[1])):
            self.sources.setdefault(self._url(name), set()).add(source)

    @property
    def shared(self) -> dict[str, set[str]]:
        """The packages that rows of several packages name: each needs a document of its own."""
        return {url: names for url, names in self.sources.items() if len(names) > 1}

    def entries(self) -> list[Entry]:
        entries = []
        for url, names in self.sources.items():
            location = shared_location(url) if len(names) > 1 else self.location(min(names))
            entries.append(Entry(url, location))
        return entries

    def location(self, source: str) -> str:
        return f"{document_folder(self._url(source))}/{DOCUMENT_FILE}"

    def names(self, row: Row, url: str) -> bool:
        """True if the statement of the row names the package."""
        return any(self._url(product.name) == url for product in row.products)

    def _url(self, name: str) -> str:
        return package_url(self._options.purl_type, self._options.purl_namespace, name)


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Write the archive and the manifest; raises BuildError if rows are not in order of packages.

    A document of the archive depends on the rows of its package alone.
    """
    options = Options.model_validate(document.options)
    if not len(rows):
        raise BuildError(f"{rows.path}: expected a statement at least, found none")
    target = context.directory / document.file
    groups = RowGroups(rows, ("package_name", "last_released_at"), context.published)
    changed = groupby(groups.changed_rows().convert(Row), key=lambda row: row.package_name)
    packages = _Packages(rows, options)
    encoder = msgspec.json.Encoder()
    last_name = ""
    with (
        atomic_file(target) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
        open_published(document, context) as published,
    ):
        add_member(archive, INDEX_FILE, encoder.encode(Index(context.as_of, packages.entries())))
        for group, _ in groups.groups:
            name = group[0]
            # A second group of a package would be a second document.
            if name <= last_name or packages.location(name) in archive.NameToInfo:
                raise BuildError(
                    f"{rows.path}: expected each package once and in order, found {name}"
                )
            last_name, location = name, packages.location(name)
            if published and group in groups.unchanged:
                copy_member(published, location, archive)
                continue
            _, package_rows = next(changed)
            content = _make_document([*package_rows], location, options, context)
            add_member(archive, location, encoder.encode(content))
        for url, names in packages.shared.items():
            numbers = _row_numbers(groups, names)
            selected = rows.select(numbers).convert(Row)
            statements = [row for row in selected if packages.names(row, url)]
            content = _make_document(statements, shared_location(url), options, context)
            add_member(archive, shared_location(url), encoder.encode(content))
    manifest_file = _manifest_path(document)
    with open_output(context.directory / manifest_file) as file:
        file.write(encoder.encode(_make_manifest(options)) + b"\n")
    return [
        describe_file(target, document.file, document.file, len(rows)),
        file.describe(document.file, manifest_file, 0),
    ]


def document_folder(url: str) -> str:
    """The folder of a package's document: its URL, or where that has other characters, a digest."""
    folder, _, name = url.removeprefix("pkg:").rpartition("/")
    if UNSAFE_CHARACTERS.search(name) or name[0] == "." or len(name) > MAX_NAME_CHARACTERS:
        digest = hashlib.sha256(name.encode()).hexdigest()[:DIGEST_CHARACTERS]
        start = UNSAFE_CHARACTERS.sub("_", name)[:MAX_NAME_CHARACTERS]
        # No package is in a folder of this name, so no other one has the path.
        name = f"_/{start}-{digest}"
    return f"{PACKAGES_FOLDER}/{folder}/{name}"


def shared_location(url: str) -> str:
    """Where the document of a package is that rows of several packages name."""
    return f"{document_folder(url).replace(PACKAGES_FOLDER, SHARED_FOLDER, 1)}/{DOCUMENT_FILE}"


def _row_numbers(groups: RowGroups, names: Collection[str]) -> list[int]:
    numbers, start = list[int](), 0
    for group, count in groups.groups:
        if group[0] in names:
            numbers += range(start, start + count)
        start += count
    return numbers


def _make_document(
    rows: Sequence[Row], location: str, options: Options, context: DocumentContext
) -> PackageDocument:
    """Number and dates of the document are those of the rows' packages in the history."""
    updates = {row.package_name: row.updates_count for row in rows}
    first = min(row.first_released_at for row in rows)
    last = max(row.last_released_at for row in rows)
    return PackageDocument(
        context=openvex.CONTEXT,
        id=f"{options.id.rstrip('/')}/{location}",
        author=options.author,
        role=options.role or None,
        timestamp=first,
        last_updated=last if last > first else None,
        version=1 + sum(updates.values()),
        tooling=openvex.describe_sources(context),
        statements=[openvex.make_statement(row, options) for row in rows],
    )


def _make_manifest(options: Options) -> Manifest:
    version = Version(SPEC_VERSION, [Location(options.url)], options.update_interval)
    return Manifest(options.name, options.description, [version])


def _manifest_path(document: Document) -> str:
    return (PurePosixPath(document.file).parent / MANIFEST_FILE).as_posix()


def count_rows(document: Document, directory: Path) -> int:
    """The number of statements; raises BuildError if a document, index or manifest is invalid."""
    _read_manifest(directory / _manifest_path(document))
    with open_archive(directory / document.file, CONTENT) as archive:
        _require_index(archive)
        return _count_statements(archive, archive.namelist())


def count_rows_beside(document: Document, directory: Path, published: PublishedDocument) -> int:
    """As `count_rows`; documents that the published archive has too are not decoded again."""
    path, old_path = directory / document.file, published.directory / document.file
    _read_manifest(directory / _manifest_path(document))
    with open_archive(path, CONTENT) as archive, open_archive(old_path, CONTENT) as old_archive:
        _require_index(archive)
        members, old_members = read_checksums(archive), read_checksums(old_archive)
        written = _count_statements(archive, find_differing(members, old_members))
        replaced = _count_statements(old_archive, find_differing(old_members, members))
    return published.files[document.file].rows + written - replaced


def _read_manifest(path: Path) -> None:
    try:
        msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise BuildError(f"{path}: expected a VEX repository's manifest, found: {error}") from error


def _require_index(archive: zipfile.ZipFile) -> None:
    """Raise BuildError unless the index has each package once, with a document of the archive."""
    try:
        index = msgspec.json.decode(archive.read(INDEX_FILE), type=Index)
    except (KeyError, msgspec.DecodeError, *READ_ERRORS) as error:
        raise archive_error(archive.filename, CONTENT, error) from error
    listed = {entry.location for entry in index.packages}
    if missing := listed - {*archive.namelist()}:
        raise BuildError(f"{archive.filename}: expected the document {min(missing)}, found none")
    if len(index.packages) != len({entry.id for entry in index.packages}):
        raise BuildError(
            f"{archive.filename}: expected each package once in {INDEX_FILE}, found one twice"
        )


def _count_statements(archive: zipfile.ZipFile, names: Iterable[str]) -> int:
    """The statements of these members; a document that repeats those of others has none."""
    decoder = msgspec.json.Decoder(PackageDocument)
    count = 0
    for name in names:
        if name == INDEX_FILE:
            continue
        try:
            content = decoder.decode(archive.read(name))
        except (msgspec.DecodeError, *READ_ERRORS) as error:
            raise archive_error(archive.filename, CONTENT, error) from error
        count += 0 if name.startswith(SHARED_FOLDER) else len(content.statements)
    return count

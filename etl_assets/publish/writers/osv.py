"""OSV records in a zip, and the list of their changes (https://ossf.github.io/osv-schema/).

One record per vulnerability id, with all its packages. The schema cannot say that a package is not
affected, so those packages are in the record's `database_specific.not_applicable`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Set
from datetime import datetime
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec
from pydantic import Field

from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.output import (
    DocumentContext,
    DocumentStruct,
    PublishedDocument,
    describe_file,
    open_output,
)
from etl_assets.publish.writers.purl import PackageOptions
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

SCHEMA_VERSION: Literal["1.7.5"] = "1.7.5"
CHANGES_FILE = "modified_id.csv"
BEFORE_ALL_VERSIONS = "0"  # the schema's own value; it sorts before every version
CONTENT = "OSV records"
MAX_ZIP_COMMENT_BYTES = 65_535  # the length field has 16 bits


class Options(PackageOptions):
    """The ecosystem as the schema lists it, and the prefix of each record's id."""

    ecosystem: str = Field(min_length=1)
    prefix: str = Field(min_length=1)


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """Input of the writer: one package of a record; columns of the record are equal in all rows."""

    vulnerability_id: str
    package_name: str
    published_at: datetime
    modified_at: datetime
    withdrawn_at: datetime | None
    summary: str
    details: str
    is_affected: bool
    fixed_version: str | None
    specific: dict[str, Any] | None
    source: str | None
    page_url: str | None
    record_url: str | None


class Package(DocumentStruct):
    """A package of the ecosystem."""

    ecosystem: str
    name: str
    purl: str


class Event(DocumentStruct):
    """Where a range of versions begins or ends."""

    introduced: str | None = None
    fixed: str | None = None


class Range(DocumentStruct):
    """The affected versions, in the order that the ecosystem defines."""

    type: Literal["ECOSYSTEM"]
    events: list[Event]


class Affected(DocumentStruct):
    """A package that is affected in at least one version."""

    package: Package
    ranges: list[Range]
    database_specific: dict[str, Any] | None = None


class NotApplicable(DocumentStruct):
    """A package that is not affected in any version."""

    package: Package
    database_specific: dict[str, Any] | None = None


class DatabaseSpecific(DocumentStruct):
    """The parts of a record that the schema has no member for."""

    not_applicable: list[NotApplicable] = []
    attributions: list[str] = []


class Reference(DocumentStruct):
    """A web page about the vulnerability."""

    type: Literal["ADVISORY", "WEB"]
    url: str


class Record(DocumentStruct):
    """One OSV record."""

    id: str
    modified: datetime
    published: datetime
    schema_version: Literal["1.7.5"]
    summary: str
    details: str
    upstream: list[str]
    withdrawn: datetime | None = None
    affected: list[Affected] = []
    references: list[Reference] = []
    database_specific: DatabaseSpecific | None = None

    @property
    def packages_count(self) -> int:
        """How many packages the record has, affected or not."""
        specific = self.database_specific
        return len(self.affected) + (len(specific.not_applicable) if specific else 0)

    @property
    def changes_line(self) -> bytes:
        """The record's line in the list of changes."""
        return _changes_line(self.id, self.modified)


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Stream the records into `document.file`, and write the list of their changes next to it."""
    options = Options.model_validate(document.options)
    attributions = {each.source: each.text for each in context.attributions}
    encoder = msgspec.json.Encoder()
    changes: list[tuple[float, str, bytes]] = []
    target = context.directory / document.file
    groups = RowGroups(rows, ("vulnerability_id", "modified_at"), context.published)
    records = _make_records(groups.changed_rows(), options, attributions)
    with (
        atomic_file(target) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
        open_published(document, context) as published,
    ):
        last_id = ""
        for group, _ in groups.groups:
            vulnerability_id, modified = group
            # A second group of rows would be a second record of the id.
            if vulnerability_id <= last_id:
                raise BuildError(
                    f"{rows.path}: expected rows in the order of their ids, found"
                    f" {vulnerability_id}"
                )
            last_id, record_id = vulnerability_id, options.prefix + vulnerability_id
            if published and group in groups.unchanged:
                copy_member(published, f"{record_id}.json", archive)
            else:
                add_member(archive, f"{record_id}.json", encoder.encode(next(records)))
            changes.append((-modified.timestamp(), record_id, _changes_line(record_id, modified)))
        comment = "\n".join(attribution_texts(context.attributions)).encode()
        archive.comment = comment[:MAX_ZIP_COMMENT_BYTES]
    changes_file = PurePosixPath(document.file).with_name(CHANGES_FILE).as_posix()
    with open_output(context.directory / changes_file) as file:
        for _, _, line in sorted(changes):
            file.write(line + b"\n")
    return [
        describe_file(target, document.file, document.file, len(rows)),
        file.describe(document.file, changes_file, 0),
    ]


def count_rows(document: Document, directory: Path) -> int:
    """The number of packages of all records; raises BuildError if a file is invalid."""
    path = directory / document.file
    count, lines = 0, set[bytes]()
    with open_archive(path, CONTENT) as archive:
        for record in _read_records(archive, archive.namelist()):
            count += record.packages_count
            lines.add(record.changes_line)
    _require_changes(path.with_name(CHANGES_FILE), lines)
    return count


def count_rows_beside(document: Document, directory: Path, published: PublishedDocument) -> int:
    """As `count_rows`; records that the published archive has too are not decoded again."""
    path, old_path = directory / document.file, published.directory / document.file
    # The directory of an archive of 38,000 members takes 0.3 s to parse: each is opened once.
    with open_archive(path, CONTENT) as archive, open_archive(old_path, CONTENT) as old_archive:
        members, old_members = read_checksums(archive), read_checksums(old_archive)
        written = [*_read_records(archive, find_differing(members, old_members))]
        replaced = [*_read_records(old_archive, find_differing(old_members, members))]
    lines = set(old_path.with_name(CHANGES_FILE).read_bytes().splitlines())
    lines -= {record.changes_line for record in replaced}
    lines |= {record.changes_line for record in written}
    _require_changes(path.with_name(CHANGES_FILE), lines)
    difference = [record.packages_count for record in written]
    difference += [-record.packages_count for record in replaced]
    return published.files[document.file].rows + sum(difference)


def _read_records(archive: zipfile.ZipFile, names: Iterable[str]) -> Iterator[Record]:
    """The records of these members; raises BuildError if one is invalid."""
    decoder = msgspec.json.Decoder(Record)
    for name in names:
        try:
            record = decoder.decode(archive.read(name))
        except (msgspec.DecodeError, *READ_ERRORS) as error:
            raise archive_error(archive.filename, CONTENT, error) from error
        if name != f"{record.id}.json":
            raise BuildError(f"{archive.filename}: expected the record {name}, found {record.id}")
        yield record


def _require_changes(changes_file: Path, lines: Set[bytes]) -> None:
    """Raise BuildError unless the list of changes has exactly these lines."""
    listed = changes_file.read_bytes().splitlines()
    if len(listed) != len(lines):
        raise BuildError(f"{changes_file}: expected {len(lines)} records, found {len(listed)}")
    if missing := lines - set(listed):
        raise BuildError(f"{changes_file}: expected {min(missing).decode()}, found no such line")


def _make_records(rows: Rows, options: Options, attributions: dict[str, str]) -> Iterator[Record]:
    """A record per id, of which the rows are consecutive."""
    for _, group in groupby(rows.convert(Row), key=lambda row: row.vulnerability_id):
        yield _make_record(list(group), options, attributions)


def _changes_line(record_id: str, modified: datetime) -> bytes:
    return b"%s,%s" % (msgspec.json.encode(modified).strip(b'"'), record_id.encode())


def _make_record(rows: list[Row], options: Options, attributions: dict[str, str]) -> Record:
    first = rows[0]
    affected: list[Affected] = []
    not_applicable: list[NotApplicable] = []
    for row in rows:
        package = Package(
            options.ecosystem, row.package_name, options.package_url(row.package_name)
        )
        if row.is_affected:
            events = [Event(introduced=BEFORE_ALL_VERSIONS)]
            if row.fixed_version:
                events.append(Event(fixed=row.fixed_version))
            affected.append(Affected(package, [Range("ECOSYSTEM", events)], row.specific))
        else:
            not_applicable.append(NotApplicable(package, row.specific))
    row_attributions = dict.fromkeys(attributions.get(row.source or "", "") for row in rows)
    return Record(
        id=options.prefix + first.vulnerability_id,
        modified=first.modified_at,
        published=first.published_at,
        withdrawn=first.withdrawn_at,
        schema_version=SCHEMA_VERSION,
        upstream=[first.vulnerability_id],
        summary=first.summary,
        details=first.details,
        affected=affected,
        references=_make_references(rows),
        database_specific=DatabaseSpecific(
            not_applicable=not_applicable,
            attributions=[text for text in row_attributions if text],
        ),
    )


def _make_references(rows: list[Row]) -> list[Reference]:
    """The page of the id first, then those of the records that decided; each once."""
    pages = {row.page_url: Reference("ADVISORY", row.page_url) for row in rows if row.page_url}
    for row in rows:
        if row.record_url and row.record_url not in pages:
            pages[row.record_url] = Reference("WEB", row.record_url)
    return list(pages.values())

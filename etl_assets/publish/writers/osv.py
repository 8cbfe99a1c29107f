"""OSV records in a zip, and the list of their changes (https://ossf.github.io/osv-schema/).

One record per vulnerability id, with all its packages. The schema cannot say that a package is not
affected, so those packages are in the record's `database_specific.not_applicable`.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import datetime
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec
from pydantic import Field

from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.run_directory import link_file
from etl_assets.publish.writers import cvss
from etl_assets.publish.writers.output import (
    DocumentContext,
    DocumentStruct,
    PublishedDocument,
    describe_file,
    open_output,
)
from etl_assets.publish.writers.purl import PackageOptions
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.unchanged import Group, RowGroups
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
LIST_FILE = "all.json"
GROUP_COLUMNS = ("vulnerability_id", "osv_id", "modified_at")
LIST_ID = LIST_FILE.removesuffix(".json").lower()
RECORD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")  # it is the name of a file
SeverityType = Literal["CVSS_V2", "CVSS_V3", "CVSS_V4"]
SEVERITY_TYPES: Mapping[cvss.Version, SeverityType] = {
    "2.0": "CVSS_V2", "3.0": "CVSS_V3", "3.1": "CVSS_V3", "4.0": "CVSS_V4",
}  # fmt: skip
BEFORE_ALL_VERSIONS = "0"  # the schema's own value; it sorts before every version
CONTENT = "OSV records"
MAX_NAMED = 5  # collisions in an error; the rest are counted
MAX_ZIP_COMMENT_BYTES = 65_535  # the length field has 16 bits


class Options(PackageOptions):
    """The ecosystem as the schema lists it, and how records are named and laid out."""

    ecosystem: str = Field(min_length=1)
    prefix: str = Field(min_length=1, description="of the ids of records without another id")
    layout: Literal["archive", "rest"] = Field(
        default="archive",
        description="rest: also a file per record, and their list, as osv.dev reads a REST source",
    )


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """Input of the writer: one package of a record; columns of the record are equal in all rows."""

    vulnerability_id: str
    package_name: str
    osv_id: str | None
    published_at: datetime
    modified_at: datetime
    withdrawn_at: datetime | None
    summary: str
    details: str
    is_affected: bool
    fixed_version: str | None
    cvss_vector: str | None
    specific: dict[str, Any] | None
    source: str | None
    page_url: str | None
    record_url: str | None


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record in the lists of records."""

    id: str
    modified: datetime

    @property
    def member(self) -> str:
        """The record's name in the archive."""
        return f"{self.id}.json"

    @property
    def changes_line(self) -> bytes:
        """The record's line in the list of changes."""
        return b"%s,%s" % (msgspec.json.encode(self.modified).strip(b'"'), self.id.encode())


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


class Severity(DocumentStruct):
    """A score as its vector."""

    type: SeverityType
    score: str


class DatabaseSpecific(DocumentStruct):
    """The parts of a record that the schema has no member for."""

    not_applicable: list[NotApplicable] = []
    attributions: list[str] = []


class Reference(DocumentStruct):
    """A web page about the vulnerability."""

    type: Literal["ADVISORY", "WEB"]
    url: str


class Record(DocumentStruct, kw_only=True):
    """One OSV record."""

    id: str
    modified: datetime
    published: datetime
    schema_version: Literal["1.7.5"]
    summary: str
    details: str
    upstream: list[str]
    withdrawn: datetime | None = None
    severity: list[Severity] = []
    affected: list[Affected]
    references: list[Reference] = []
    database_specific: DatabaseSpecific | None = None

    @property
    def packages_count(self) -> int:
        """How many packages the record has, affected or not."""
        specific = self.database_specific
        return len(self.affected) + (len(specific.not_applicable) if specific else 0)

    @property
    def entry(self) -> Entry:
        """The record in the lists of records."""
        return Entry(self.id, self.modified)


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Stream the records into `document.file`, and write the list of their changes next to it."""
    options = Options.model_validate(document.options)
    attributions = {each.source: each.text for each in context.attributions}
    encoder = msgspec.json.Encoder()
    target = context.directory / document.file
    groups = RowGroups(rows, GROUP_COLUMNS, context.published)
    records = _make_records(groups.changed_rows(), options, attributions)
    entries: list[Entry] = []
    files: list[PublishedFile] = []
    with (
        atomic_file(target) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
        open_published(document, context) as published,
    ):
        entries += _make_entries(groups, options)
        for group, entry in zip(_require_order(groups), entries, strict=True):
            data = None if group in groups.unchanged else encoder.encode(next(records))
            if published and data is None:
                copy_member(published, entry.member, archive)
            elif data is not None:
                add_member(archive, entry.member, data)
            if options.layout == "rest":
                files.append(_write_beside(entry.member, data, document, context))
        comment = "\n".join(attribution_texts(context.attributions)).encode()
        archive.comment = comment[:MAX_ZIP_COMMENT_BYTES]
    newest_first = sorted(entries, key=lambda entry: (-entry.modified.timestamp(), entry.id))
    changes = b"".join(entry.changes_line + b"\n" for entry in newest_first)
    lists = [_write_beside(CHANGES_FILE, changes, document, context)]
    if options.layout == "rest":
        listed = msgspec.json.encode(sorted(entries, key=lambda entry: entry.id)) + b"\n"
        lists.append(_write_beside(LIST_FILE, listed, document, context))
    return [describe_file(target, document.file, document.file, len(rows)), *lists, *files]


def _require_order(groups: RowGroups) -> Iterator[Group]:
    """Yield the groups; raises BuildError for a second group of an id: it would be a record."""
    last_id = ""
    for group, _ in groups.groups:
        if group[0] <= last_id:
            raise BuildError(
                f"{groups.rows.path}: expected rows in the order of their ids, found {group[0]}"
            )
        last_id = group[0]
        yield group


def _make_entries(groups: RowGroups, options: Options) -> list[Entry]:
    """The entry of each record; raises BuildError if two would be one file, in any case.

    Where case does not count, `A-1.json` and `a-1.json` are one file; `all.json` is the list.
    """
    vulnerabilities: dict[str, list[str]] = {LIST_ID: [f"the list {LIST_FILE}"]}
    entries = []
    for group in _require_order(groups):
        entry = _make_entry(group, options)
        entries.append(entry)
        vulnerabilities.setdefault(entry.id.lower(), []).append(f"{group[0]} as {entry.id}")
    collisions = ["; ".join(names) for names in vulnerabilities.values() if len(names) > 1]
    if collisions:
        more = f" and {len(collisions) - MAX_NAMED} more" if len(collisions) > MAX_NAMED else ""
        raise BuildError(
            f"{groups.rows.path}: expected ids that differ in more than their case, found"
            f" {', '.join(collisions[:MAX_NAMED])}{more}; correct the ids of these records"
        )
    return entries


def _make_entry(group: Group, options: Options) -> Entry:
    vulnerability_id, osv_id, modified = group
    entry = Entry(osv_id or options.prefix + vulnerability_id, modified)
    if not RECORD_ID.fullmatch(entry.id):
        raise BuildError(
            f"{vulnerability_id}: expected an id of letters, digits, '.', '_' and '-' for its OSV"
            f" record, found {entry.id!r}"
        )
    return entry


def _write_beside(
    name: str, data: bytes | None, document: Document, context: DocumentContext
) -> PublishedFile:
    """Write a file in the archive's folder; without data, link the published one."""
    file = PurePosixPath(document.file).with_name(name).as_posix()
    if data is None and context.published:
        link_file(context.published.directory / file, context.directory / file)
        return context.published.files[file]
    with open_output(context.directory / file) as output:
        output.write(data or b"")
    return output.describe(document.file, file, 0)


def count_rows(document: Document, directory: Path) -> int:
    """The number of packages of all records; raises BuildError if a file is invalid."""
    path = directory / document.file
    count, entries = 0, set[Entry]()
    with open_archive(path, CONTENT) as archive:
        for record in _read_records(archive, archive.namelist()):
            count += record.packages_count
            entries.add(record.entry)
        _require_lists(document, directory, entries)
        _require_files(document, directory, archive, archive.namelist())
    return count


def count_rows_beside(document: Document, directory: Path, published: PublishedDocument) -> int:
    """As `count_rows`; records that the published archive has too are not decoded again."""
    path, old_path = directory / document.file, published.directory / document.file
    # The directory of an archive of 38,000 members takes 0.3 s to parse: each is opened once.
    with open_archive(path, CONTENT) as archive, open_archive(old_path, CONTENT) as old_archive:
        members, old_members = read_checksums(archive), read_checksums(old_archive)
        differing = find_differing(members, old_members)
        written = [*_read_records(archive, differing)]
        replaced = [*_read_records(old_archive, find_differing(old_members, members))]
        _require_files(document, directory, archive, differing)
    entries = set(_read_changes(old_path.with_name(CHANGES_FILE)))
    entries -= {record.entry for record in replaced}
    entries |= {record.entry for record in written}
    _require_lists(document, directory, entries)
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


def _read_changes(file: Path) -> Iterator[Entry]:
    for line in file.read_text(encoding="utf-8").splitlines():
        modified, _, record_id = line.partition(",")
        try:
            yield Entry(record_id, datetime.fromisoformat(modified))
        except ValueError as error:
            raise BuildError(f"{file}: expected a time and an id, found {line!r}") from error


def _require_lists(document: Document, directory: Path, entries: Set[Entry]) -> None:
    """Raise BuildError unless each list of records has exactly these entries, each once."""
    folder = (directory / document.file).parent
    lists = {folder / CHANGES_FILE: [*_read_changes(folder / CHANGES_FILE)]}
    if Options.model_validate(document.options).layout == "rest":
        content = (folder / LIST_FILE).read_bytes()
        lists[folder / LIST_FILE] = msgspec.json.decode(content, type=list[Entry])
    for file, listed in lists.items():
        if len(listed) != len(entries):
            raise BuildError(f"{file}: expected {len(entries)} records, found {len(listed)}")
        if missing := entries - set(listed):
            first = min(missing, key=lambda entry: entry.id)
            raise BuildError(f"{file}: expected {first.id}, {first.modified}, found no such entry")


def _require_files(
    document: Document, directory: Path, archive: zipfile.ZipFile, names: Iterable[str]
) -> None:
    """Raise BuildError unless the layout's file of each member has the member's content."""
    if Options.model_validate(document.options).layout != "rest":
        return
    folder = (directory / document.file).parent
    for name in names:
        if (folder / name).read_bytes() != archive.read(name):
            raise BuildError(f"{folder / name}: expected the record of {document.file}")


def _make_records(rows: Rows, options: Options, attributions: dict[str, str]) -> Iterator[Record]:
    """A record per id, of which the rows are consecutive."""
    for _, group in groupby(rows.convert(Row), key=lambda row: row.vulnerability_id):
        yield _make_record(list(group), options, attributions)


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
        id=first.osv_id or options.prefix + first.vulnerability_id,
        modified=first.modified_at,
        published=first.published_at,
        withdrawn=first.withdrawn_at,
        schema_version=SCHEMA_VERSION,
        upstream=[first.vulnerability_id],
        summary=first.summary,
        details=first.details,
        severity=_make_severity(first.cvss_vector),
        affected=affected,
        references=_make_references(rows),
        database_specific=DatabaseSpecific(
            not_applicable=not_applicable,
            attributions=[text for text in row_attributions if text],
        ),
    )


def _make_severity(vector: str | None) -> list[Severity]:
    """The vector, if it is one; of CVSS 2 and 3 the base metrics alone."""
    score = cvss.parse_vector(vector) if vector else None
    return [Severity(SEVERITY_TYPES[score.version], score.vector)] if score else []


def _make_references(rows: list[Row]) -> list[Reference]:
    """The page of the id first, then those of the records that decided; each once."""
    pages = {row.page_url: Reference("ADVISORY", row.page_url) for row in rows if row.page_url}
    for row in rows:
        if row.record_url and row.record_url not in pages:
            pages[row.record_url] = Reference("WEB", row.record_url)
    return list(pages.values())

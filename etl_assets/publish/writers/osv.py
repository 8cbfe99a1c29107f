"""OSV records in a zip, and the list of their changes (https://ossf.github.io/osv-schema/).

One record per vulnerability id, with all its packages. The schema cannot say that a package is not
affected, so those packages are in the record's `database_specific.not_applicable`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
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
    describe_file,
    open_output,
)
from etl_assets.publish.writers.purl import PackageOptions
from etl_assets.publish.writers.rows import Rows
from etl_assets.storage.atomic_write import atomic_file

SCHEMA_VERSION: Literal["1.7.5"] = "1.7.5"
CHANGES_FILE = "modified_id.csv"
BEFORE_ALL_VERSIONS = "0"  # the schema's own value; it sorts before every version
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip; a clock would change the bytes
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
        modified = msgspec.json.encode(self.modified).strip(b'"')
        return b"%s,%s" % (modified, self.id.encode())


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Stream the records into `document.file`, and write the list of their changes next to it."""
    options = Options.model_validate(document.options)
    attributions = {each.source: each.text for each in context.attributions}
    encoder = msgspec.json.Encoder()
    changes: list[tuple[float, str, bytes]] = []
    count = 0
    target = context.directory / document.file
    with atomic_file(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for record in _make_records(rows, options, attributions):
            member = zipfile.ZipInfo(f"{record.id}.json", ZIP_EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16  # the default would extract as 0600
            archive.writestr(member, encoder.encode(record))
            changes.append((-record.modified.timestamp(), record.id, record.changes_line))
            count += record.packages_count
        comment = "\n".join(attribution_texts(context.attributions)).encode()
        archive.comment = comment[:MAX_ZIP_COMMENT_BYTES]
    changes_file = PurePosixPath(document.file).with_name(CHANGES_FILE).as_posix()
    with open_output(context.directory / changes_file) as file:
        for _, _, line in sorted(changes):
            file.write(line + b"\n")
    return [
        describe_file(target, document.file, document.file, count),
        file.describe(document.file, changes_file, 0),
    ]


def count_rows(document: Document, directory: Path) -> int:
    """The number of packages of all records; raises BuildError if a file is invalid."""
    path = directory / document.file
    decoder = msgspec.json.Decoder(Record)
    count, lines = 0, set[bytes]()
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                record = decoder.decode(archive.read(name))
                if name != f"{record.id}.json":
                    raise BuildError(f"{path}: expected the record {name}, found {record.id}")
                count += record.packages_count
                lines.add(record.changes_line)
    except (msgspec.DecodeError, zipfile.BadZipFile) as error:
        raise BuildError(f"{path}: expected a zip of OSV records, found: {error}") from error
    changes_file = path.with_name(CHANGES_FILE)
    listed = changes_file.read_bytes().splitlines()
    if len(listed) != len(lines):
        raise BuildError(f"{changes_file}: expected {len(lines)} records, found {len(listed)}")
    if missing := lines - set(listed):
        raise BuildError(f"{changes_file}: expected {min(missing).decode()}, found no such line")
    return count


def _make_records(rows: Rows, options: Options, attributions: dict[str, str]) -> Iterator[Record]:
    """A record per id; raises BuildError if the rows are not in the order of their ids."""
    last_id = ""
    for vulnerability_id, group in groupby(rows.convert(Row), key=lambda r: r.vulnerability_id):
        # `groupby` groups consecutive rows: a second group would be a second record of the id.
        if vulnerability_id <= last_id:
            raise BuildError(
                f"{rows.path}: expected rows in the order of their ids, found {vulnerability_id}"
            )
        last_id = vulnerability_id
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

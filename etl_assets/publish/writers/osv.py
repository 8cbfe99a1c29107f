"""OSV records in a zip, and the list of their changes (https://ossf.github.io/osv-schema/).

One record per vulnerability id, with all its packages. The schema has no word for a package that is
not affected: those stand in the record's `database_specific.not_applicable`.
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
from etl_assets.publish.writers.products import Products
from etl_assets.publish.writers.registry import Candidate
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.sink import sink, written_file
from etl_assets.storage.atomic_write import atomic_file

SCHEMA_VERSION: Literal["1.7.5"] = "1.7.5"
INDEX_FILE = "modified_id.csv"
BEGINNING = "0"
FIRST_MOMENT = (1980, 1, 1, 0, 0, 0)  # of a zip: equal records give equal bytes
MOST_COMMENT_BYTES = 65_535


class Options(Products):
    """The ecosystem as the schema lists it, and what begins each record's id."""

    ecosystem: str = Field(min_length=1)
    prefix: str = Field(min_length=1)


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """What the writer takes: one package of a record; the record's own columns are alike in all."""

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


class Strict(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What is null is left out; what we do not write is refused."""


class Package(Strict):
    """A package of the ecosystem."""

    ecosystem: str
    name: str
    purl: str


class Event(Strict):
    """Where a range begins or ends."""

    introduced: str | None = None
    fixed: str | None = None


class Range(Strict):
    """The affected versions, in the ecosystem's own order."""

    type: Literal["ECOSYSTEM"]
    events: list[Event]


class Affected(Strict):
    """A package that is affected in some version at least."""

    package: Package
    ranges: list[Range]
    database_specific: dict[str, Any] | None = None


class NotApplicable(Strict):
    """A package that is affected in no version."""

    package: Package
    database_specific: dict[str, Any] | None = None


class Specific(Strict):
    """What of the record the schema has no member for."""

    not_applicable: list[NotApplicable] = []
    attributions: list[str] = []


class Reference(Strict):
    """A page on the vulnerability."""

    type: Literal["ADVISORY", "WEB"]
    url: str


class Record(Strict):
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
    database_specific: Specific | None = None

    @property
    def packages(self) -> int:
        """How many packages the record speaks of."""
        specific = self.database_specific
        return len(self.affected) + (len(specific.not_applicable) if specific else 0)


def write(rows: Rows, document: Document, candidate: Candidate) -> list[PublishedFile]:
    """Stream the records into `document.file`, and beside it the list of their changes."""
    options = Options.model_validate(document.options)
    named = {attribution.source: attribution.text for attribution in candidate.attributions}
    encoder = msgspec.json.Encoder()
    moments: list[tuple[datetime, str]] = []
    carried = 0
    target = candidate.directory / document.file
    with atomic_file(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for record in _records(rows, options, named):
            archive.writestr(_member(f"{record.id}.json"), encoder.encode(record))
            moments.append((record.modified, record.id))
            carried += record.packages
        comment = "\n".join(attribution_texts(candidate.attributions)).encode()
        archive.comment = comment[:MOST_COMMENT_BYTES]
    index = PurePosixPath(document.file).with_name(INDEX_FILE).as_posix()
    moments.sort(key=lambda moment: (-moment[0].timestamp(), moment[1]))
    with sink(candidate.directory / index) as file:
        for modified, record_id in moments:
            file.write(b"%s,%s\n" % (_instant(modified), record_id.encode()))
    return [
        written_file(target, document.file, document.file, carried),
        file.written(document.file, index, 0),
    ]


def held(document: Document, directory: Path) -> int:
    """The number of packages over all records; raises BuildError where a file has a fault."""
    path = directory / document.file
    decoder = msgspec.json.Decoder(Record)
    count, found = 0, set[bytes]()
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                record = decoder.decode(archive.read(name))
                if name != f"{record.id}.json":
                    raise BuildError(f"{path}: expected the record {name}, found {record.id}")
                count += record.packages
                found.add(b"%s,%s" % (_instant(record.modified), record.id.encode()))
    except (msgspec.DecodeError, zipfile.BadZipFile) as error:
        raise BuildError(f"{path}: expected a zip of OSV records, found: {error}") from error
    index = path.with_name(INDEX_FILE)
    listed = index.read_bytes().splitlines()
    if len(listed) != len(found):
        raise BuildError(f"{index}: expected {len(found)} records, found {len(listed)}")
    if unlisted := found - set(listed):
        raise BuildError(f"{index}: expected {min(unlisted).decode()}, found no such line")
    return count


def _records(rows: Rows, options: Options, named: dict[str, str]) -> Iterator[Record]:
    """A record per id; raises BuildError where the rows of one do not stand together."""
    last = ""
    for key, group in groupby(rows.typed(Row), key=lambda row: row.vulnerability_id):
        if key <= last:
            raise BuildError(f"{rows.path}: expected rows in the order of their ids, found {key}")
        last = key
        yield _record(list(group), options, named)


def _record(packages: list[Row], options: Options, named: dict[str, str]) -> Record:
    row = packages[0]
    sources = dict.fromkeys(named.get(package.source or "", "") for package in packages)
    return Record(
        id=options.prefix + row.vulnerability_id,
        modified=row.modified_at,
        published=row.published_at,
        withdrawn=row.withdrawn_at,
        schema_version=SCHEMA_VERSION,
        upstream=[row.vulnerability_id],
        summary=row.summary,
        details=row.details,
        affected=[_affected(package, options) for package in packages if package.is_affected],
        references=_references(packages),
        database_specific=Specific(
            not_applicable=[
                NotApplicable(_package(package, options), package.specific)
                for package in packages
                if not package.is_affected
            ],
            attributions=[source for source in sources if source],
        ),
    )


def _affected(row: Row, options: Options) -> Affected:
    events = [Event(introduced=BEGINNING)]
    if row.fixed_version:
        events.append(Event(fixed=row.fixed_version))
    return Affected(_package(row, options), [Range("ECOSYSTEM", events)], row.specific)


def _package(row: Row, options: Options) -> Package:
    return Package(options.ecosystem, row.package_name, options.url(row.package_name))


def _references(packages: list[Row]) -> list[Reference]:
    """The page of the id, then those of the records that decided; each once."""
    pages = {row.page_url: Reference("ADVISORY", row.page_url) for row in packages if row.page_url}
    for row in packages:
        if row.record_url and row.record_url not in pages:
            pages[row.record_url] = Reference("WEB", row.record_url)
    return list(pages.values())


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, FIRST_MOMENT)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    return member


def _instant(moment: datetime) -> bytes:
    """As it stands in the record."""
    return msgspec.json.encode(moment).strip(b'"')

"""A zip of OSV records (https://ossf.github.io/osv-schema/), one row per affected interval.

A record that affects nothing is one row without an interval. Nothing is ever extracted to disk;
enumerated versions are counted, and severities, references and credits are not read.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import OsvFormat
from etl_assets.model.errors import ContentError, HomeError
from etl_assets.tables.readers.batch import (
    DECODE_ERRORS,
    Batch,
    BatchBuilder,
    field_positions,
    row_text,
)

MAX_RECORD_BYTES = 64 << 20
ENCRYPTED = 0x1  # bit of a zip member's flags
UNPACKED_HERE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# what zipfile lets through for a damaged, a foreign or an unsupported archive
UNZIPPABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
)

OFFERED = (
    "osv_id",
    "aliases",
    "upstream",
    "related",
    "published_at",
    "modified_at",
    "withdrawn_at",
    "summary",
    "ecosystem",
    "package_name",
    "versions_count",
    "urgency",
    "range_type",
    "introduced",
    "fixed",
    "last_affected",
)
STANDARD_FIELDS = frozenset(
    [
        *("schema_version", "id", "modified", "published", "withdrawn"),
        *("aliases", "related", "upstream", "summary", "details", "severity"),
        *("affected", "references", "credits", "database_specific"),
    ]
)


class Package(msgspec.Struct, gc=False):
    """What is affected, and where it comes from."""

    ecosystem: str | None = None
    name: str | None = None


class Event(msgspec.Struct, gc=False):
    """One end of an interval."""

    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None


class Range(msgspec.Struct, gc=False):
    """Intervals of one kind of version."""

    type: str | None = None
    events: list[Event] | None = None


class Specific(msgspec.Struct, gc=False):
    """What a database or an ecosystem adds of its own."""

    urgency: str | None = None


class Affected(msgspec.Struct, gc=False):
    """One package and the versions of it."""

    package: Package | None = None
    ranges: list[Range] | Range | None = None
    versions: list[msgspec.Raw] | None = None
    ecosystem_specific: Specific | None = None
    database_specific: Specific | None = None

    @property
    def spans(self) -> list[Range]:
        """The ranges; real records of 2025 have a single one where the schema has a list."""
        return [self.ranges] if isinstance(self.ranges, Range) else self.ranges or []


class Osv(msgspec.Struct, gc=False):
    """What is read of a record."""

    id: str
    modified: str | None = None
    published: str | None = None
    withdrawn: str | None = None
    aliases: list[str] | None = None
    upstream: list[str] | None = None
    related: list[str] | None = None
    summary: str | None = None
    affected: list[Affected] | None = None


Interval = tuple[str | None, str | None, str | None]
WITHOUT_INTERVAL = (None, None, None, None)
WITHOUT_AFFECTED = (None, None, None, None, *WITHOUT_INTERVAL)


def read(path: Path, form: OsvFormat, contract: Contract) -> Iterator[Batch]:
    """One row per record, affected package and interval, in the order of the archive."""
    rows = BatchBuilder(field_positions(contract, OFFERED, form.name))
    decode = msgspec.json.Decoder(Osv).decode
    notes_unknown = contract.unknown_fields != "discard_value"
    for name, data in _members(path):
        rows.records += 1
        try:
            for row in _rows(decode(data)):
                rows.add(row)
            if notes_unknown:
                fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
                rows.unknown |= fields.keys() - STANDARD_FIELDS
        except DECODE_ERRORS as error:
            rows.refuse(name or "(no name)", "an OSV record", str(error), row_text(data))
        if rows.full():
            yield rows.take()
    yield rows.take()


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.filename.endswith("/"):  # is_dir() fails on an empty name
                    yield member.filename, _member(archive, member)
    except UNZIPPABLE as error:
        raise ContentError.of("", "a sound zip", str(error)) from error
    except OSError as error:
        raise HomeError(f"{path}: expected a stored file, found: {error}") from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The bytes of one record. No more are unpacked than its entry declares."""
    if member.flag_bits & ENCRYPTED or member.compress_type not in UNPACKED_HERE:
        raise ContentError.of(member.filename, "plain deflate", "another packing or a password")
    if member.file_size > MAX_RECORD_BYTES:
        found = f"{member.file_size:,}"
        raise ContentError.of(member.filename, f"at most {MAX_RECORD_BYTES:,} bytes", found)
    with archive.open(member) as file:
        return file.read(member.file_size)


def _rows(record: Osv) -> Iterator[tuple[Any, ...]]:
    ids = (record.id, record.aliases, record.upstream, record.related)
    head = (*ids, record.published, record.modified, record.withdrawn, record.summary)
    for affected in record.affected or ():
        package = affected.package or Package()
        versions = len(affected.versions or ())
        described = (*head, package.ecosystem, package.name, versions, _urgency(affected))
        if not affected.spans:
            yield (*described, *WITHOUT_INTERVAL)
        for span in affected.spans:
            for interval in _intervals(span.events or []):
                yield (*described, span.type, *interval)
    if not record.affected:
        yield (*head, *WITHOUT_AFFECTED)


def _urgency(affected: Affected) -> str | None:
    for specific in (affected.ecosystem_specific, affected.database_specific):
        if specific and specific.urgency:
            return specific.urgency
    return None


def _intervals(events: list[Event]) -> list[Interval]:
    """Introduced to fixed or last affected, as given; an end may stand without a start."""
    intervals: list[Interval] = []
    introduced = None
    for event in events:
        if event.introduced is not None:
            if introduced is not None:
                intervals.append((introduced, None, None))
            introduced = event.introduced
        if event.fixed is not None or event.last_affected is not None:
            intervals.append((introduced, event.fixed, event.last_affected))
            introduced = None
    if introduced is not None or not intervals:
        intervals.append((introduced, None, None))
    return intervals

"""A zip of OSV records (https://ossf.github.io/osv-schema/), one row per affected interval.

The rows of one range carry all its events, in pairs as far as their order allows: events need not
be sorted, and comparing versions belongs to the models. An entry without ranges, and a record
that affects nothing, are one row without an interval. Severities, references and credits are not
read.
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
ENCRYPTED_FLAG = 0x1  # of a zip member
PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# zipfile raises these too for a damaged or unsupported archive.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
)

OFFERED_FIELDS = (
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
    "affected_number",
    "versions",
    "versions_count",
    "urgency",
    "range_number",
    "range_type",
    "introduced",
    "fixed",
    "last_affected",
    "limit",
)
STANDARD_FIELDS = frozenset(
    [
        *("schema_version", "id", "modified", "published", "withdrawn"),
        *("aliases", "related", "upstream", "summary", "details", "severity"),
        *("affected", "references", "credits", "database_specific"),
    ]
)


class Package(msgspec.Struct, gc=False):
    """A package of an ecosystem."""

    ecosystem: str | None = None
    name: str | None = None


class Event(msgspec.Struct, gc=False):
    """The start or an end of an interval; one of the fields is set."""

    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None
    limit: str | None = None


class Range(msgspec.Struct, gc=False):
    """The events of one version scheme."""

    type: str | None = None
    events: list[Event] | None = None


class SpecificFields(msgspec.Struct, gc=False):
    """The fields of a database or an ecosystem that the schema leaves open."""

    urgency: str | None = None


class Affected(msgspec.Struct, gc=False):
    """A package and its affected versions."""

    package: Package | None = None
    ranges: list[Range] | Range | None = None
    versions: list[str] | None = None
    ecosystem_specific: SpecificFields | None = None
    database_specific: SpecificFields | None = None

    @property
    def range_list(self) -> list[Range]:
        """The ranges as a list: some records of 2025 have one range without a list around it."""
        return [self.ranges] if isinstance(self.ranges, Range) else self.ranges or []


class Osv(msgspec.Struct, gc=False):
    """The fields of a record that are read."""

    id: str
    modified: str | None = None
    published: str | None = None
    withdrawn: str | None = None
    aliases: list[str] | None = None
    upstream: list[str] | None = None
    related: list[str] | None = None
    summary: str | None = None
    affected: list[Affected] | None = None


Interval = tuple[str | None, str | None, str | None, str | None]
NO_EVENT: Interval = (None, None, None, None)
WITHOUT_RANGE = (None, None, *NO_EVENT)
WITHOUT_AFFECTED = (None, None, None, None, None, None, *WITHOUT_RANGE)


def read(path: Path, form: OsvFormat, contract: Contract) -> Iterator[Batch]:
    """One row per record, affected package and interval, in the order of the archive."""
    builder = BatchBuilder(field_positions(contract, OFFERED_FIELDS, form.name))
    decode = msgspec.json.Decoder(Osv).decode
    reports_unknown = contract.unknown_fields != "discard_value"
    for name, data in _members(path):
        builder.records += 1
        try:
            for row in _rows(decode(data)):
                builder.add(row)
            if reports_unknown:
                fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
                builder.unknown_fields |= fields.keys() - STANDARD_FIELDS
        except DECODE_ERRORS as error:
            builder.reject(name or "(no name)", "an OSV record", str(error), row_text(data))
        if builder.is_full():
            yield builder.build()
    yield builder.build()


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.filename.endswith("/"):  # is_dir() fails on an empty name
                    yield member.filename, _read_member(archive, member)
    except ZIP_ERRORS as error:
        raise ContentError.of("", "a sound zip", str(error)) from error
    except OSError as error:
        raise HomeError(f"{path}: expected a stored file, found: {error}") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The bytes of one record, and no more than the directory of the archive declares."""
    if member.flag_bits & ENCRYPTED_FLAG or member.compress_type not in PLAIN_METHODS:
        raise ContentError.of(member.filename, "plain deflate", "another packing or a password")
    if member.file_size > MAX_RECORD_BYTES:
        limit = f"at most {MAX_RECORD_BYTES:,} bytes"
        raise ContentError.of(member.filename, limit, f"{member.file_size:,}")
    with archive.open(member) as file:
        return file.read(member.file_size)


def _rows(record: Osv) -> Iterator[tuple[Any, ...]]:
    record_fields = (
        record.id,
        record.aliases,
        record.upstream,
        record.related,
        record.published,
        record.modified,
        record.withdrawn,
        record.summary,
    )
    for affected_number, affected in enumerate(record.affected or (), 1):
        package = affected.package or Package()
        package_fields = (
            *record_fields,
            package.ecosystem,
            package.name,
            affected_number,
            affected.versions,
            len(affected.versions or ()),
            _urgency(affected),
        )
        if not affected.range_list:
            yield (*package_fields, *WITHOUT_RANGE)
        for range_number, version_range in enumerate(affected.range_list, 1):
            for interval in _intervals(version_range.events or []):
                yield (*package_fields, range_number, version_range.type, *interval)
    if not record.affected:
        yield (*record_fields, *WITHOUT_AFFECTED)


def _urgency(affected: Affected) -> str | None:
    for specific in (affected.ecosystem_specific, affected.database_specific):
        if specific and specific.urgency:
            return specific.urgency
    return None


def _intervals(events: list[Event]) -> list[Interval]:
    """Pairs each start with the end after it, in the order of the events. Either may be missing."""
    intervals: list[Interval] = []
    introduced = None
    for event in events:
        if event.introduced is not None:
            if introduced is not None:
                intervals.append((introduced, None, None, None))
            introduced = event.introduced
        if event.fixed is not None or event.last_affected is not None or event.limit is not None:
            intervals.append((introduced, event.fixed, event.last_affected, event.limit))
            introduced = None
    if introduced is not None or not intervals:
        intervals.append((introduced, None, None, None))
    return intervals

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
from typing import Any, NamedTuple

import msgspec

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import OsvFormat
from etl_assets.declarations.source import MAX_RECORD_BYTES
from etl_assets.model.errors import ContentError, HomeError
from etl_assets.model.records import Reject
from etl_assets.tables.readers import json_keys
from etl_assets.tables.readers.batch import (
    BLANKS,
    DECODE_ERRORS,
    Batch,
    BatchBuilder,
    field_positions,
    oversize_reject,
    record_reject,
    row_text,
    value_json,
)
from etl_assets.tables.readers.json_structs import StructDecoder
from etl_assets.tables.readers.raw_bytes import BYTE_ORDER_MARK

GROUP_BYTES = 1 << 16  # of records that are decoded at once
ENCRYPTED_FLAG = 0x1  # of a zip member
GIT = "GIT"  # the type of a range of commits
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
    "lacks_name",
    "range_number",
    "range_type",
    "introduced",
    "fixed",
    "last_affected",
    "limit",
    "unknown_event",
)
# A record without one of them in its type says something else, or nothing, about versions.
DECIDING_FIELDS = frozenset({"affected", "package", "ranges", "events", "versions"})
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


ABSENT: Any = None  # of a field that a record may leave out, but not have as null


class Event(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The start or an end of an interval; one of the fields is set.

    It has no other fields, as an unknown event is part of what a range says.
    """

    introduced: str = ABSENT
    fixed: str = ABSENT
    last_affected: str = ABSENT
    limit: str = ABSENT


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


# The four known events, and the JSON of an unknown one.
Interval = tuple[str | None, str | None, str | None, str | None, str | None]
NO_EVENT: Interval = (None, None, None, None, None)
NO_END = (None, None, None)
WITHOUT_RANGE = (None, None, *NO_EVENT)
WITHOUT_AFFECTED = (None, None, None, None, None, None, None, *WITHOUT_RANGE)


def read(
    path: Path, form: OsvFormat, contract: Contract, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Batch]:
    """One row per record, affected package and interval, in the order of the archive."""
    decoder = StructDecoder(Osv, learns_texts=True)
    fields = field_positions(contract, OFFERED_FIELDS, form.name)
    builder = BatchBuilder(fields)
    reports_unknown = contract.unknown_fields != "discard_value"
    for group in _groups(_members(path, max_record_bytes)):
        for member, record in zip(group, _decode(group, decoder), strict=True):
            builder.records += 1
            if isinstance(record, Reject):
                builder.add_reject(record)
                continue
            for row in _rows(record):
                builder.add(row)
            if reports_unknown:
                names = msgspec.json.decode(member.data, type=dict[str, msgspec.Raw]).keys()
                builder.unknown_fields |= names - STANDARD_FIELDS
            if builder.is_full():
                yield builder.build()
    yield builder.build()


class _Member(NamedTuple):
    """A record's name in the archive and its bytes, or the reject of one that is too large."""

    where: str
    data: bytes = b""
    reject: Reject | None = None


def _groups(members: Iterator[_Member]) -> Iterator[list[_Member]]:
    group, size = list[_Member](), 0
    for member in members:
        group.append(member)
        size += len(member.data)
        if size >= GROUP_BYTES or member.reject:
            yield group
            group, size = [], 0
    yield group


def _decode(group: list[_Member], decoder: StructDecoder) -> Iterator[Any]:
    """Each record of a group: as Osv, a struct with its attributes, or a reject."""
    texts = [member.data for member in group]
    records = decoder.decode_texts(texts)
    if records is None and decoder.learn(b"[" + b",".join(texts) + b"]"):
        records = decoder.decode_texts(texts)
    if records is not None:
        yield from records
        return
    for member in group:
        if member.reject:
            yield member.reject
            continue
        try:
            # A value of another type is no fault where it decides nothing. Events are reported.
            converter = json_keys.LooseConverter(DECIDING_FIELDS, kept={"events"})
            yield converter.decode(member.data, Osv)
        except DECODE_ERRORS as error:
            yield record_reject(member.where, "an OSV record", str(error), row_text(member.data))


def _members(path: Path, max_record_bytes: int) -> Iterator[_Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith("/"):  # is_dir() fails on an empty name
                    continue
                where = member.filename or "(no name)"
                if member.file_size > max_record_bytes:
                    reject = oversize_reject(where, member.file_size, max_record_bytes)
                    yield _Member(where, reject=reject)
                else:
                    yield _Member(where, _read_member(archive, member))
    except ZIP_ERRORS as error:
        raise ContentError.of("", "a sound zip", str(error)) from error
    except OSError as error:
        raise HomeError(f"{path}: expected a stored file, found: {error}") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The bytes of one record, and no more than the directory of the archive declares."""
    if member.flag_bits & ENCRYPTED_FLAG or member.compress_type not in PLAIN_METHODS:
        raise ContentError.of(member.filename, "plain deflate", "another packing or a password")
    with archive.open(member) as file:
        return file.read(member.file_size).removeprefix(BYTE_ORDER_MARK)


def _lacks_name(affected: Affected) -> bool | None:
    """True for an entry about a package without a name; null for every other one.

    The schema has entries without a package: those with commits alone.
    """
    name = affected.package and affected.package.name
    if name is not None and not (isinstance(name, str) and not name.strip(BLANKS)):
        return None
    if affected.package or affected.versions:
        return True
    return any(version_range.type != GIT for version_range in _ranges(affected)) or None


def _ranges(affected: Affected) -> list[Range]:
    # Some records of 2025 have one range without a list around it.
    ranges = affected.ranges or []
    return ranges if isinstance(ranges, list) else [ranges]


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
            package.name or None,
            affected_number,
            affected.versions,
            len(affected.versions or ()),
            _urgency(affected),
            _lacks_name(affected),
        )
        if not affected.ranges:
            yield (*package_fields, *WITHOUT_RANGE)
        for range_number, version_range in enumerate(_ranges(affected), 1):
            for interval in _intervals(version_range.events or []):
                yield (*package_fields, range_number, version_range.type, *interval)
    if not record.affected:
        yield (*record_fields, *WITHOUT_AFFECTED)


def _urgency(affected: Affected) -> str | None:
    for specific in (affected.ecosystem_specific, affected.database_specific):
        if specific and specific.urgency:
            return specific.urgency
    return None


def _intervals(events: list[Any]) -> list[Interval]:
    """Pairs each start with the end after it, in the order of the events. Either may be missing.

    An event that the schema does not have is an item of its own.
    """
    intervals: list[Interval] = []
    introduced = None
    for item in events:
        event: Any = item if isinstance(item, msgspec.Struct) else _event(item)
        end = event.fixed, event.last_affected, event.limit
        if event.introduced is not None:
            if introduced is not None:
                intervals.append((introduced, None, None, None, None))
            introduced = event.introduced
        if end != NO_END:
            intervals.append((introduced, *end, None))
            introduced = None
        elif event.introduced is None:
            intervals.append((None, None, None, None, _event_json(item)))
    if introduced is not None or not intervals:
        intervals.append((introduced, None, None, None, None))
    return intervals


def _event(value: object) -> Event:
    """A decoded event without its nulls; without all fields if one is unknown or has no text."""
    if not isinstance(value, dict):
        return Event()
    fields = {name: field for name, field in value.items() if field is not None}
    try:
        return msgspec.convert(fields, Event)
    except msgspec.ValidationError:
        return Event()


def _event_json(item: object) -> str:
    return "{}" if isinstance(item, msgspec.Struct) else value_json(item)

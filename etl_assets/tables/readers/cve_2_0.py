"""CVE records of the CVE API 2.0 (https://nvd.nist.gov/developers/vulnerabilities), one row each.

A document is decoded as it streams in, so its size does not matter. Configurations, weaknesses and
references are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import CveFormat
from etl_assets.declarations.source import MAX_RECORD_BYTES
from etl_assets.model.errors import ContentError
from etl_assets.model.records import Reject
from etl_assets.tables.readers import json_keys
from etl_assets.tables.readers.batch import (
    DECODE_ERRORS,
    Batch,
    BatchBuilder,
    field_positions,
    record_reject,
    row_text,
)
from etl_assets.tables.readers.json_elements import decode_raw_list
from etl_assets.tables.readers.json_stream import JsonStream
from etl_assets.tables.readers.json_structs import StructDecoder
from etl_assets.tables.readers.raw_bytes import BYTE_ORDER_MARK, read_chunks

# The document is cut where this matches: a JSON string cannot contain it, as its quotes would be
# escaped. ijson finds records without such a trick, in more than twice the time (docs/adr/0014).
RECORD_START = re.compile(rb'\{\s*"cve"\s*:\s*\{')
RECORD_ID = re.compile(r'"id"\s*:\s*"([A-Za-z0-9-]{1,40})"')
PLACEHOLDER = b"null"
MAX_BLANKS = 256  # looked through between a bracket and the first key

OFFERED_FIELDS = (
    "cve_id",
    "vuln_status",
    "published_at",
    "last_modified_at",
    "description",
    "cvss_version",
    "cvss_score",
    "cvss_severity",
    "cvss_vector",
    "cvss_source",
)
DESCRIPTION_POSITION = OFFERED_FIELDS.index("description")
SCORE_POSITION = OFFERED_FIELDS.index("cvss_score")
NUMBERS = (float, int)  # and not bool, which is an int to isinstance
MAX_SCORE = 10  # of any CVSS version: https://www.first.org/cvss/specification-document
STANDARD_FIELDS = frozenset(
    [
        *("id", "sourceIdentifier", "vulnStatus", "published", "lastModified"),
        *("evaluatorComment", "evaluatorSolution", "evaluatorImpact"),
        *("cisaExploitAdd", "cisaActionDue", "cisaRequiredAction", "cisaVulnerabilityName"),
        *("cveTags", "descriptions", "references", "metrics", "weaknesses"),
        *("configurations", "vendorComments"),
    ]
)


class Text(msgspec.Struct, gc=False):
    """A text in one language."""

    lang: str | None = None
    value: str | None = None


class Score(msgspec.Struct, gc=False, rename="camel"):
    """The vector, its score and, from CVSS 3.0 on, its severity."""

    version: str | None = None
    base_score: float | None = None
    base_severity: str | None = None
    vector_string: str | None = None


class Metric(msgspec.Struct, gc=False, rename="camel"):
    """The score of one organization. CVSS 2.0 has its severity here and not in the score."""

    source: str | None = None
    type: str | None = None
    cvss_data: Score | None = None
    base_severity: str | None = None


NO_METRIC = (Metric(), None)


class Metrics(msgspec.Struct, gc=False, rename="camel"):
    """The scores by CVSS version."""

    cvss_metric_v40: list[Metric] | None = None
    cvss_metric_v31: list[Metric] | None = None
    cvss_metric_v30: list[Metric] | None = None
    cvss_metric_v2: list[Metric] | None = None


class Cve(msgspec.Struct, gc=False, rename="camel"):
    """The fields of a record that are read."""

    id: str | None = None
    vuln_status: str | None = None
    published: str | None = None
    last_modified: str | None = None
    descriptions: list[Text] | None = None
    metrics: Metrics | None = None


class Item(msgspec.Struct, gc=False):
    """An entry of the list."""

    cve: Cve


class LooseCve(NamedTuple):
    """A record with values of other types, and what was left out of it, by field."""

    cve: Cve
    dropped: Sequence[tuple[str, Any]]


class ItemFields(msgspec.Struct):
    """An entry of the list with the names of all its fields."""

    cve: dict[str, msgspec.Raw]


class Envelope(msgspec.Struct, rename="camel"):
    """The document around the list."""

    vulnerabilities: list[msgspec.Raw]
    results_per_page: int | None = None


def read(
    path: Path, form: CveFormat, contract: Contract, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Batch]:
    """One row per CVE record, with its English description and its best score."""
    decoder = StructDecoder(Item)
    fields = field_positions(contract, OFFERED_FIELDS, form.name)
    builder = BatchBuilder(fields)
    reports_unknown = contract.unknown_fields != "discard_value"
    document = _Document(read_chunks(path), max_record_bytes)
    for group in document.groups():
        for item in [group] if isinstance(group, Reject) else _decode(group, decoder):
            builder.records += 1
            if isinstance(item, Reject):
                where = f"record {builder.records}{item.where}"
                builder.add_reject(item.model_copy(update={"where": where}))
            else:
                _add_row(builder, item)
            if builder.is_full():
                yield builder.build()
        if reports_unknown and not isinstance(group, Reject):
            builder.unknown_fields |= _unknown_fields(group)
    document.check_envelope(builder.records)
    yield builder.build()


def _decode(group: bytes, decoder: StructDecoder) -> Iterator[Any]:
    """Each record of the text of a list: as Cve, a struct with its attributes, or a reject."""
    items = decoder.decode_list(group)
    if items is None and decoder.learn(group):
        items = decoder.decode_list(group)
    if items is not None:
        yield from (item.cve for item in items)
        return
    yield from map(_decode_loosely, _split(group))


def _decode_loosely(text: bytes) -> LooseCve | Reject:
    """A record that may have a value of another type than declared."""
    converter = json_keys.LooseConverter(needed={"cve"})
    try:
        item = converter.decode(text, Item)
    except DECODE_ERRORS as error:
        return record_reject("", "a CVE record of the API 2.0", str(error), row_text(text))
    return LooseCve(item.cve, converter.dropped)


def _unknown_fields(group: bytes) -> set[str]:
    """The fields of the valid records in the text of a list that the standard does not have."""
    names = set[str]()
    for text in _split(group):
        with suppress(*DECODE_ERRORS):
            names |= msgspec.json.decode(text, type=ItemFields).cve.keys()
    return names - STANDARD_FIELDS


def _add_row(builder: BatchBuilder, record: Cve | LooseCve) -> None:
    cve, dropped = record if isinstance(record, LooseCve) else (record, ())
    invalid_scores: list[Any] = []
    builder.add(_row(cve, invalid_scores))
    for value in invalid_scores:
        builder.refuse(SCORE_POSITION, f"a score from 0 to {MAX_SCORE}", value)
    for name, value in dropped:
        position = DESCRIPTION_POSITION if name == "descriptions" else SCORE_POSITION
        builder.refuse(position, f"{name} as in the API 2.0", value)


def _row(cve: Cve, invalid_scores: list[Any]) -> tuple[Any, ...]:
    english = None
    for text in cve.descriptions or ():
        if text.lang == "en":
            english = text.value
            break
    metric, base_score = NO_METRIC
    if cve.metrics:
        metric, base_score = _best_metric(cve.metrics, invalid_scores)
    score = metric.cvss_data or Score()
    return (
        cve.id,
        cve.vuln_status,
        cve.published,
        cve.last_modified,
        english,
        score.version,
        base_score,
        score.base_severity or metric.base_severity,
        score.vector_string,
        metric.source,
    )


def _best_metric(metrics: Metrics, invalid_scores: list[Any]) -> tuple[Metric, float | None]:
    """The first metric with a score: newest version of CVSS first, in it a primary one first.

    If no metric has a score, the first of all, for its severity. The values on the way that are no
    scores are added to `invalid_scores`.
    """
    first = None
    for version in (
        metrics.cvss_metric_v40,
        metrics.cvss_metric_v31,
        metrics.cvss_metric_v30,
        metrics.cvss_metric_v2,
    ):
        secondary = None
        for metric in version or ():
            first = first or metric
            score = metric.cvss_data.base_score if metric.cvss_data else None
            if score is None:
                continue
            if type(score) not in NUMBERS or not 0 <= score <= MAX_SCORE:  # not for NaN either
                invalid_scores.append(score)
                continue
            if metric.type == "Primary":
                return metric, score
            secondary = secondary or (metric, score)
        if secondary is not None:
            return secondary
    return first or Metric(), None


class _Document:
    """The entries of a document in groups, and the envelope that is around them.

    Raises ContentError for a broken document, if the envelope is too large, and after the last
    record if a part of it is missing.
    """

    def __init__(self, chunks: Iterator[bytes], max_record_bytes: int) -> None:
        self._chunks = chunks
        self._max_record_bytes = max_record_bytes
        self._buffer = bytearray()
        self._envelope = b""

    def groups(self) -> Iterator[bytes | Reject]:
        """The texts of lists of entries, and rejects of records that are too large.

        An entry that is no record, or one with its fields in another order, is in a list too.
        """
        entries_before = 0
        while (before := self._read_to_record()) is not None:
            if not self._envelope:
                # The list has an entry in place of all its records, so that it can be decoded.
                self._envelope = before + PLACEHOLDER
                entries = _decode_envelope(self._envelope + b"]}").vulnerabilities
                entries_before = len(entries)
                yield _join(entries[:-1])
            else:
                yield _join(_split_between(before))
            yield from self._cut_groups()
            # What is left is the last record of the file, or a record that is too large.
            stream = JsonStream(self._chunks, self._max_record_bytes, start=self._buffer)
            text = stream.read()
            yield _reject_oversize(stream) if text is None else b"[" + text + b"]"
            self._buffer = stream.rest()
        self._envelope += self._buffer
        yield _join(_decode_envelope(self._envelope).vulnerabilities[entries_before:])

    def check_envelope(self, records: int) -> None:
        """Raises ContentError unless the document without its records is valid.

        A file that was cut off is refused.
        """
        promised = _decode_envelope(self._envelope).results_per_page
        if promised not in {None, records}:
            raise ContentError.of(
                "resultsPerPage", f"{promised:,} records as it says", f"{records:,}"
            )

    def _read_to_record(self) -> bytes | None:
        """Cut off and return what is before the next record; None if no record follows."""
        while (start := RECORD_START.search(self._buffer)) is None:
            if len(self._buffer) > self._max_record_bytes:
                actual = f"{self._max_record_bytes:,} bytes without one"
                raise ContentError.of("", "CVE records", actual)
            if not self._read_on():
                return None
        before = bytes(self._buffer[: start.start()])
        del self._buffer[: start.start()]
        return before

    def _cut_groups(self) -> Iterator[bytes]:
        """All complete records in the buffer and the chunks, up to one that is too large."""
        is_complete = False
        while not is_complete and len(self._buffer) <= self._max_record_bytes:
            if end := _last_start(self._buffer):
                yield _list_text(memoryview(self._buffer)[:end])
                del self._buffer[:end]
            is_complete = not self._read_on()

    def _read_on(self) -> bool:
        chunk = next(self._chunks, b"")
        self._buffer += chunk
        return bool(chunk)


def _join(entries: Sequence[msgspec.Raw | bytes]) -> bytes:
    """The text of a list of entries."""
    return b"[" + b",".join(map(bytes, entries)) + b"]"


def _split_between(text: bytes) -> list[bytes]:
    """The texts of the entries that are between two records."""
    try:
        entries = decode_raw_list(b"[" + PLACEHOLDER + text + PLACEHOLDER + b"]")
    except DECODE_ERRORS as error:
        raise ContentError.of("", "a comma between records", row_text(text)[:80]) from error
    return list(map(bytes, entries[1:-1]))


def _reject_oversize(stream: JsonStream) -> Reject:
    """The reject of a record that is too large, with its id as the place."""
    reject = stream.reject_oversize("")
    match = RECORD_ID.search(reject.row)
    return reject.model_copy(update={"where": f" ({match[1]})"}) if match else reject


def _last_start(buffer: bytearray) -> int:
    """The position of the last record that starts in the buffer."""
    position = len(buffer)
    while (position := buffer.rfind(b'"cve"', 0, position)) > 0:
        before = bytes(buffer[max(0, position - MAX_BLANKS) : position]).rstrip()
        start = position - 1 - (min(position, MAX_BLANKS) - len(before))
        if RECORD_START.match(buffer, start):
            return start
    return 0


def _list_text(records: memoryview) -> bytes:
    """The text of a list of records, which are followed by a comma."""
    tail = bytes(records[-MAX_BLANKS:])
    comma_bytes = len(tail) - len(_without_comma(tail))
    return b"".join((b"[", records[: len(records) - comma_bytes], b"]"))


def _split(group: bytes) -> list[bytes]:
    """The texts of the records of a group, which may be broken."""
    try:
        return list(map(bytes, decode_raw_list(group)))
    except DECODE_ERRORS:
        starts = [1, *(match.start() for match in RECORD_START.finditer(group, 2))]
        ends = [*starts[1:], len(group) - 1]
        parts = [_without_comma(group[s:e]) for s, e in zip(starts, ends, strict=True)]
        return [text for part in parts for text in _split_part(part)]


def _split_part(text: bytes) -> list[bytes]:
    """A record, and the entries after it that are no records; as one text if one is broken."""
    try:
        return list(map(bytes, decode_raw_list(b"[" + text + b"]")))
    except DECODE_ERRORS:
        return [text]


def _without_comma(text: bytes) -> bytes:
    """A record without the comma after it; if that is missing, the record will not decode."""
    return text.rstrip().removesuffix(b",")


def _decode_envelope(text: bytes) -> Envelope:
    text = text.removeprefix(BYTE_ORDER_MARK)
    try:
        if isinstance(repeated := json_keys.decode(text), json_keys.RepeatedKeys):
            raise msgspec.ValidationError(f"expected each field once, found {repeated}")
        return msgspec.json.decode(text, type=Envelope)
    except DECODE_ERRORS as error:
        actual = f"{row_text(text)[:80]!r} ({error})"
        raise ContentError.of("", "an object with a list 'vulnerabilities'", actual) from error

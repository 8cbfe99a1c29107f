"""CVE records of the CVE API 2.0 (https://nvd.nist.gov/developers/vulnerabilities), one row each.

A document is decoded as it streams in, so its size does not matter. Configurations, weaknesses and
references are not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import CveFormat
from etl_assets.model.errors import ContentError
from etl_assets.tables.readers.batch import (
    DECODE_ERRORS,
    Batch,
    BatchBuilder,
    field_positions,
    row_text,
)
from etl_assets.tables.readers.raw_bytes import BYTE_ORDER_MARK, read_chunks

# The document is cut where this matches: a JSON string cannot contain it, as its quotes would be
# escaped. ijson finds records without such a trick, in more than twice the time (docs/adr/0014).
RECORD_START = re.compile(rb'\{\s*"cve"\s*:\s*\{')
MAX_RECORD_BYTES = 16 << 20  # the largest records so far are below 2 MiB

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


class ItemFields(msgspec.Struct):
    """An entry of the list with the names of all its fields."""

    cve: dict[str, msgspec.Raw]


class Envelope(msgspec.Struct, rename="camel"):
    """The document around the list."""

    vulnerabilities: list[msgspec.Raw]
    results_per_page: int | None = None


def read(path: Path, form: CveFormat, contract: Contract) -> Iterator[Batch]:
    """One row per CVE record, with its English description and its best score."""
    builder = BatchBuilder(field_positions(contract, OFFERED_FIELDS, form.name))
    decode = msgspec.json.Decoder(Item).decode
    reports_unknown = contract.unknown_fields != "discard_value"
    for fragment in _records(read_chunks(path)):
        builder.records += 1
        try:
            builder.add(_row(decode(fragment).cve))
            if reports_unknown:
                fields = msgspec.json.decode(fragment, type=ItemFields).cve
                builder.unknown_fields |= fields.keys() - STANDARD_FIELDS
        except DECODE_ERRORS as error:
            where = f"record {builder.records}"
            row = row_text(bytes(fragment))
            builder.reject(where, "a CVE record of the API 2.0", str(error), row)
        if builder.is_full():
            yield builder.build()
    yield builder.build()


def _row(cve: Cve) -> tuple[Any, ...]:
    english = next((text.value for text in cve.descriptions or () if text.lang == "en"), None)
    metric = _best_metric(cve.metrics or Metrics())
    score = metric.cvss_data or Score()
    return (
        cve.id,
        cve.vuln_status,
        cve.published,
        cve.last_modified,
        english,
        score.version,
        score.base_score,
        score.base_severity or metric.base_severity,
        score.vector_string,
        metric.source,
    )


def _best_metric(metrics: Metrics) -> Metric:
    """The first metric with a score: newest version of CVSS first, in it a primary one first.

    If no metric has a score, the first of all, for its severity.
    """
    first = None
    for scores in (
        metrics.cvss_metric_v40,
        metrics.cvss_metric_v31,
        metrics.cvss_metric_v30,
        metrics.cvss_metric_v2,
    ):
        secondary = None
        for metric in scores or ():
            first = first or metric
            if metric.cvss_data is None or metric.cvss_data.base_score is None:
                continue
            if metric.type == "Primary":
                return metric
            secondary = secondary or metric
        if secondary is not None:
            return secondary
    return first or Metric()


def _records(chunks: Iterator[bytes]) -> Iterator[bytes | memoryview | msgspec.Raw]:
    """The bytes of each record; raises ContentError after the last one for a broken document."""
    head, buffer, count = None, b"", 0
    for chunk in chunks:
        buffer += chunk
        starts = [match.start() for match in RECORD_START.finditer(buffer)]
        if starts and head is None:
            head = buffer[: starts[0]].removeprefix(BYTE_ORDER_MARK)
        for start, end in pairwise(starts):
            yield _without_comma(buffer[start:end])
        if starts:
            buffer = buffer[starts[-1] :]
            count += len(starts) - 1
        if len(buffer) > MAX_RECORD_BYTES:
            raise ContentError.of("", "CVE records", f"{MAX_RECORD_BYTES:,} bytes without one")
    if head is None:
        yield from _decode_envelope(buffer.removeprefix(BYTE_ORDER_MARK)).vulnerabilities
        return
    last, tail = _split_last(buffer)
    yield last
    # Without its records the document must still be valid: a file that was cut off is refused.
    envelope = _decode_envelope(head + tail)
    count += 1
    if envelope.results_per_page not in {None, count}:
        expected = f"{envelope.results_per_page:,} records as it says"
        raise ContentError.of("resultsPerPage", expected, f"{count:,}")


def _without_comma(fragment: bytes) -> memoryview:
    """A record without the comma after it; if that is missing, the record will not decode."""
    stripped = fragment.rstrip()
    return memoryview(stripped)[: -1 if stripped.endswith(b",") else None]


def _split_last(buffer: bytes) -> tuple[bytes, bytes]:
    """The last record, and the end of the document after it."""
    text = buffer.decode("utf-8", "surrogateescape")
    try:
        # msgspec cannot decode a value that is followed by others.
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise ContentError.of("last record", "a whole one", str(error)) from error
    size = len(text[:end].encode("utf-8", "surrogateescape"))
    return buffer[:size], buffer[size:]


def _decode_envelope(text: bytes) -> Envelope:
    try:
        return msgspec.json.decode(text, type=Envelope)
    except DECODE_ERRORS as error:
        actual = f"{row_text(text)[:80]!r} ({error})"
        raise ContentError.of("", "an object with a list 'vulnerabilities'", actual) from error

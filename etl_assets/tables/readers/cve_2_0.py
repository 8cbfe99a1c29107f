"""CVE records of the CVE API 2.0 (https://nvd.nist.gov/developers/vulnerabilities), one row each.

The document is decoded as it streams in, cut where a record starts, so that memory does not grow
with it and a bad record costs one reject. Configurations, weaknesses and references are not read.
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
from etl_assets.tables.readers.raw_bytes import read_chunks

# The quotes are unescaped, so this text cannot stand inside a JSON string.
RECORD_START = re.compile(rb'\{\s*"cve"\s*:\s*\{')
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_RECORD_BYTES = 16 << 20  # the largest records known are below 2 MiB

OFFERED = (
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
    """The vector, its number and, from CVSS 3.0 on, its rating."""

    version: str | None = None
    base_score: float | None = None
    base_severity: str | None = None
    vector_string: str | None = None


class Metric(msgspec.Struct, gc=False, rename="camel"):
    """One party's score. The rating of CVSS 2.0 stands beside the vector, not in it."""

    source: str | None = None
    type: str | None = None
    cvss_data: Score | None = None
    base_severity: str | None = None


class Metrics(msgspec.Struct, gc=False, rename="camel"):
    """The scores by version of CVSS."""

    cvss_metric_v40: list[Metric] | None = None
    cvss_metric_v31: list[Metric] | None = None
    cvss_metric_v30: list[Metric] | None = None
    cvss_metric_v2: list[Metric] | None = None


class Cve(msgspec.Struct, gc=False, rename="camel"):
    """What is read of a record."""

    id: str | None = None
    vuln_status: str | None = None
    published: str | None = None
    last_modified: str | None = None
    descriptions: list[Text] | None = None
    metrics: Metrics | None = None


class Item(msgspec.Struct, gc=False):
    """How a record stands in the list."""

    cve: Cve


class Fields(msgspec.Struct):
    """The same, with every field that it has."""

    cve: dict[str, msgspec.Raw]


class Envelope(msgspec.Struct, rename="camel"):
    """The document around the list."""

    vulnerabilities: list[msgspec.Raw]
    results_per_page: int | None = None


def read(path: Path, form: CveFormat, contract: Contract) -> Iterator[Batch]:
    """One row per CVE record, with its English description and its best score."""
    rows = BatchBuilder(field_positions(contract, OFFERED, form.name))
    decode = msgspec.json.Decoder(Item).decode
    notes_unknown = contract.unknown_fields != "discard_value"
    for fragment in _records(read_chunks(path)):
        rows.records += 1
        try:
            rows.add(_row(decode(fragment).cve))
            if notes_unknown:
                rows.unknown |= (
                    msgspec.json.decode(fragment, type=Fields).cve.keys() - STANDARD_FIELDS
                )
        except DECODE_ERRORS as error:
            where = f"record {rows.records}"
            rows.refuse(where, "a CVE record of the API 2.0", str(error), row_text(bytes(fragment)))
        if rows.full():
            yield rows.take()
    yield rows.take()


def _row(cve: Cve) -> tuple[Any, ...]:
    english = next((text.value for text in cve.descriptions or () if text.lang == "en"), None)
    metric = _best(cve.metrics) if cve.metrics else None
    score = (metric.cvss_data if metric else None) or Score()
    severity = score.base_severity or (metric.base_severity if metric else None)
    source = metric.source if metric else None
    head = (cve.id, cve.vuln_status, cve.published, cve.last_modified, english)
    return (*head, score.version, score.base_score, severity, score.vector_string, source)


def _best(metrics: Metrics) -> Metric | None:
    """CVSS 4.0 before 3.1, 3.0 and 2.0; of one version the primary score before a secondary one."""
    for scores in (
        metrics.cvss_metric_v40,
        metrics.cvss_metric_v31,
        metrics.cvss_metric_v30,
        metrics.cvss_metric_v2,
    ):
        if scores:
            return next((score for score in scores if score.type == "Primary"), scores[0])
    return None


def _records(pieces: Iterator[bytes]) -> Iterator[bytes | memoryview | msgspec.Raw]:
    """Each record's bytes; the text around the records is checked when the last one has passed."""
    head, held, count = None, b"", 0
    for piece in pieces:
        held += piece
        starts = [match.start() for match in RECORD_START.finditer(held)]
        if starts and head is None:
            head = held[: starts[0]].removeprefix(BYTE_ORDER_MARK)
        for start, end in pairwise(starts):
            yield _without_comma(held[start:end])
        if starts:
            held = held[starts[-1] :]
            count += len(starts) - 1
        if len(held) > MAX_RECORD_BYTES:
            raise ContentError.of("", "CVE records", f"{MAX_RECORD_BYTES:,} bytes without one")
    if head is None:
        yield from _envelope(held.removeprefix(BYTE_ORDER_MARK)).vulnerabilities
        return
    last, tail = _split_last(held)
    yield last
    _check_envelope(head + tail, count + 1)


def _without_comma(fragment: bytes) -> memoryview:
    """A record from what lies between two starts. Where no comma ends it, it will not decode."""
    stripped = fragment.rstrip()
    return memoryview(stripped)[: -1 if stripped.endswith(b",") else None]


def _split_last(held: bytes) -> tuple[bytes, bytes]:
    """The last record and what follows it, which need not end at once."""
    text = held.decode("utf-8", "surrogateescape")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise ContentError.of("last record", "a whole one", str(error)) from error
    size = len(text[:end].encode("utf-8", "surrogateescape"))
    return held[:size], held[size:]


def _check_envelope(text: bytes, count: int) -> None:
    """The document without its records must be one, and hold as many as it says."""
    envelope = _envelope(text)
    promised = envelope.results_per_page
    if promised is not None and promised != count:
        raise ContentError.of("resultsPerPage", f"{promised:,} records as it says", f"{count:,}")


def _envelope(text: bytes) -> Envelope:
    try:
        return msgspec.json.decode(text, type=Envelope)
    except DECODE_ERRORS as error:
        found = f"{row_text(text)[:80]!r} ({error})"
        raise ContentError.of("", "an object with a list 'vulnerabilities'", found) from error

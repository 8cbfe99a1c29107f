"""The simplest loop for three feeds: unpack, decode, write the same columns as parquet.

Ours is compared with it. It checks nothing: no contract, no rejects, no keys, no bounds. Two feeds
fit into memory and are decoded as typed structs; a dump that does not is read by ijson.
"""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import ijson
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from bench.galaxy import PLACE as SYSTEMS

TIME = pa.timestamp("us", "UTC")
LINEAGE = [("source_sha256", pa.string()), ("source_row", pa.int64())]
SHA256 = "0" * 64
CVE_SCHEMA = pa.schema(
    [
        ("cve_id", pa.string()),
        ("vuln_status", pa.string()),
        ("published_at", TIME),
        ("last_modified_at", TIME),
        ("description", pa.string()),
        ("cvss_version", pa.string()),
        ("cvss_score", pa.float64()),
        ("cvss_severity", pa.string()),
        ("cvss_vector", pa.string()),
        ("cvss_source", pa.string()),
        *LINEAGE,
    ]
)
IDS = pa.list_(pa.string())
OSV_SCHEMA = pa.schema(
    [
        ("osv_id", pa.string()),
        ("aliases", IDS),
        ("upstream", IDS),
        ("related", IDS),
        ("published_at", TIME),
        ("modified_at", TIME),
        ("withdrawn_at", TIME),
        ("summary", pa.string()),
        ("ecosystem", pa.string()),
        ("package_name", pa.string()),
        ("affected_number", pa.int64()),
        ("versions", IDS),
        ("range_number", pa.int64()),
        ("range_type", pa.string()),
        ("introduced", pa.string()),
        ("fixed", pa.string()),
        ("last_affected", pa.string()),
        ("range_limit", pa.string()),
        ("versions_count", pa.int64()),
        ("urgency", pa.string()),
        *LINEAGE,
    ]
)

SYSTEM_SCHEMA = pa.schema(
    [
        ("id64", pa.uint64()),
        ("name", pa.string()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("z", pa.float64()),
        ("main_star", pa.string()),
        ("needs_permit", pa.bool_()),
        ("updated_at", TIME),
        *LINEAGE,
    ]
)
SYSTEMS_AT_ONCE = 20_000


class Struct(msgspec.Struct, gc=False, rename="camel"):
    """Base of the records below: only the fields that are written."""


class Text(Struct):
    """A description."""

    lang: str
    value: str


class Score(Struct):
    """A CVSS vector."""

    version: str | None = None
    base_score: float | None = None
    base_severity: str | None = None
    vector_string: str | None = None


class Metric(Struct):
    """The score of one organization."""

    cvss_data: Score
    source: str | None = None
    type: str | None = None
    base_severity: str | None = None


class Metrics(Struct):
    """Scores by version."""

    cvss_metric_v40: list[Metric] = []
    cvss_metric_v31: list[Metric] = []
    cvss_metric_v30: list[Metric] = []
    cvss_metric_v2: list[Metric] = []


class Cve(Struct):
    """A CVE record."""

    id: str
    vuln_status: str
    last_modified: datetime
    published: datetime | None = None
    descriptions: list[Text] = []
    metrics: Metrics | None = None


class Item(Struct):
    """An entry of the list."""

    cve: Cve


class Feed(Struct):
    """A year's file."""

    vulnerabilities: list[Item]


class Event(msgspec.Struct, gc=False):
    """One end of an interval."""

    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None
    limit: str | None = None


class Range(msgspec.Struct, gc=False):
    """A range."""

    type: str | None = None
    events: list[Event] = []


class Package(msgspec.Struct, gc=False):
    """The affected package."""

    ecosystem: str | None = None
    name: str | None = None


class Specific(msgspec.Struct, gc=False):
    """Fields of the ecosystem."""

    urgency: str | None = None


class Affected(msgspec.Struct, gc=False):
    """One package."""

    package: Package | None = None
    ranges: list[Range] = []
    versions: list[str] = []
    ecosystem_specific: Specific | None = None


class Osv(msgspec.Struct, gc=False):
    """An OSV record."""

    id: str
    modified: datetime
    published: datetime | None = None
    withdrawn: datetime | None = None
    aliases: list[str] = []
    upstream: list[str] = []
    related: list[str] = []
    summary: str | None = None
    affected: list[Affected] = []


def nvd(mirror: Path, target: Path) -> int:
    """Every yearly feed, one parquet file each; returns the number of rows."""
    decode = msgspec.json.Decoder(Feed).decode
    count = 0
    for path in sorted(mirror.glob("nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-2*.json.gz")):
        feed = decode(gzip.decompress(path.read_bytes()))
        rows = [_cve_row(item.cve) for item in feed.vulnerabilities]
        _write(target / f"{path.name}.parquet", rows, CVE_SCHEMA)
        count += len(rows)
    return count


def osv(mirror: Path, target: Path) -> int:
    """The zip as one parquet file, a row per interval; returns the number of rows."""
    path = mirror / "osv-vulnerabilities.storage.googleapis.com/Debian/all.zip"
    decode = msgspec.json.Decoder(Osv).decode
    rows: list[tuple[Any, ...]] = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            try:
                rows += _osv_rows(decode(archive.read(name)))
            except msgspec.ValidationError:
                continue  # one real record has a range of strings
    _write(target / "osv.parquet", rows, OSV_SCHEMA)
    return len(rows)


def systems(mirror: Path, target: Path) -> int:
    """A dump of any size, element by element with ijson, batch by batch to parquet.

    Keeps the fields that our declaration keeps; returns the number of systems.
    """
    count = 0
    with (
        gzip.open(mirror / SYSTEMS) as dump,
        pq.ParquetWriter(target / "systems.parquet", SYSTEM_SCHEMA, compression="zstd") as parquet,
    ):
        elements = ijson.items(dump, "item", use_float=True)
        while rows := [_system_row(system) for system in islice(elements, SYSTEMS_AT_ONCE)]:
            ordinals = range(count + 1, count + len(rows) + 1)
            parquet.write_table(_table(rows, SYSTEM_SCHEMA, ordinals))
            count += len(rows)
    return count


def _system_row(system: dict[str, Any]) -> tuple[Any, ...]:
    at = system["coords"]
    return (
        system["id64"],
        system["name"],
        at["x"],
        at["y"],
        at["z"],
        system.get("mainStar"),
        system.get("needsPermit"),
        datetime.fromisoformat(system["updateTime"]),
    )


def _cve_row(cve: Cve) -> tuple[Any, ...]:
    english = next((text.value for text in cve.descriptions if text.lang == "en"), None)
    metric = _best(cve.metrics) if cve.metrics else None
    head = (cve.id, cve.vuln_status, _utc(cve.published), _utc(cve.last_modified), english)
    if metric is None:
        return (*head, None, None, None, None, None)
    score = metric.cvss_data
    severity = score.base_severity or metric.base_severity
    return (*head, score.version, score.base_score, severity, score.vector_string, metric.source)


def _best(metrics: Metrics) -> Metric | None:
    for scores in (
        metrics.cvss_metric_v40,
        metrics.cvss_metric_v31,
        metrics.cvss_metric_v30,
        metrics.cvss_metric_v2,
    ):
        if scores:
            return next((score for score in scores if score.type == "Primary"), scores[0])
    return None


def _osv_rows(record: Osv) -> Iterator[tuple[Any, ...]]:
    ids = (record.id, record.aliases, record.upstream, record.related)
    times = (_utc(record.published), _utc(record.modified), _utc(record.withdrawn))
    for number, affected in enumerate(record.affected, 1):
        package = affected.package or Package()
        urgency = affected.ecosystem_specific.urgency if affected.ecosystem_specific else None
        named = (*ids, *times, record.summary, package.ecosystem, package.name)
        head = (*named, number, affected.versions)
        for range_number, span in enumerate(affected.ranges, 1):
            for interval in _intervals(span.events):
                yield (
                    *(*head, range_number, span.type),
                    *(*interval, len(affected.versions), urgency),
                )
    if not record.affected:
        yield (*ids, *times, record.summary, *[None] * 12)


def _intervals(events: list[Event]) -> Iterator[tuple[str | None, ...]]:
    introduced = None
    for event in events:
        introduced = event.introduced or introduced
        if event.fixed or event.last_affected or event.limit:
            yield introduced, event.fixed, event.last_affected, event.limit
            introduced = None
    if introduced:
        yield introduced, None, None, None


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time


def _write(target: Path, rows: list[tuple[Any, ...]], schema: pa.Schema) -> None:
    table = _table(rows, schema, range(1, len(rows) + 1))
    pq.write_table(table, target, compression="zstd")


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema, ordinals: range) -> pa.Table:
    columns = [*map(list, zip(*rows, strict=True)), [SHA256] * len(rows), list(ordinals)]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)

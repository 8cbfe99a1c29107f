"""Reads the raw files of a mirror in plain Python, for the rules in reference_rules.py.

It shares no code with the project.
"""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from domains.advisories.debian_versions import is_newer, rank

VENDOR = "advisory.echohq.com/data.json"
RULINGS = "analyst/advisory-not-applicable.csv"
TRACKER = "security-tracker.debian.org/tracker/data/json"
OSV = "osv-vulnerabilities.storage.googleapis.com/Debian/all.zip"
NVD = "nvd.nist.gov/feeds/json/cve/2.0"
KEV = "www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
EPSS = "epss.empiricalsecurity.com/epss_scores-current.csv.gz"
FILES = (VENDOR, RULINGS, TRACKER, OSV, NVD, KEV, EPSS)
"""The files and folders that the domain fetches."""

RULING_STATUSES = frozenset({"fixed", "not_applicable", "wont_fix"})
SENTINELS = frozenset({"0", "0:0", "1"})
ZERO_VERSIONS = frozenset({"0", "0:0", "0-0", "0:0-0"})
RELEASE_NAMES = {
    "3.0": "woody",
    "3.1": "sarge",
    "4.0": "etch",
    "5.0": "lenny",
    "6.0": "squeeze",
    "7": "wheezy",
    "8": "jessie",
    "9": "stretch",
    "10": "buster",
    "11": "bullseye",
    "12": "bookworm",
    "13": "trixie",
    "14": "forky",
    "15": "duke",
}

Pair = tuple[str, str]
"""A source package in lower case and a vulnerability id."""
Object = dict[str, Any]
Events = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Statement:
    """What one source states about a pair in one release."""

    kind: str
    """fixed, open, not_affected or undetermined"""
    version: str = ""
    is_wont_fix: bool = False


Statements = Mapping[Pair, Mapping[str, list[Statement]]]
"""Statements by pair and release; a release may have several."""


@dataclass(frozen=True, slots=True)
class CveRecord:
    """The parts of an NVD record that the rules use."""

    id: str
    changed_at: datetime
    is_rejected: bool
    is_scored: bool


class _Cve(msgspec.Struct, rename="camel"):
    id: str
    vuln_status: str | None = None
    last_modified: str | None = None
    metrics: dict[str, list[msgspec.Raw]] | None = None


class _Item(msgspec.Struct):
    cve: _Cve


class _CveFile(msgspec.Struct):
    vulnerabilities: list[_Item]


@dataclass(frozen=True)
class Feeds:
    """All input of the rules."""

    vendor: Mapping[Pair, Object]
    rulings: Mapping[Pair, dict[str, str]]
    nvd: Mapping[str, CveRecord]
    exploited: frozenset[str]
    upstreams: Mapping[str, Statements]
    newest: Mapping[str, str]
    """The newest version that the vendor names, by package."""

    @property
    def pairs(self) -> set[Pair]:
        return set(self.vendor) | {pair for pair in self.rulings if pair[0]}

    def vendor_version(self, pair: Pair) -> str | None:
        return version_in(self.vendor.get(pair, {}))

    def is_sentinel(self, pair: Pair) -> bool:
        return self.vendor.get(pair, {}).get("fixed_version") in SENTINELS

    def ruling(self, pair: Pair) -> dict[str, str] | None:
        """Returns the ruling on the pair; one that names the package takes precedence."""
        return self.rulings.get(pair) or self.rulings.get(("", pair[1]))


def read_feeds(mirror: Path) -> Feeds:
    vendor = read_vendor(mirror)
    return Feeds(
        vendor=vendor,
        rulings=read_rulings(mirror),
        nvd=read_nvd(mirror),
        exploited=frozenset(read_exploited(mirror)),
        upstreams={"debian": read_tracker(mirror), "osv": read_osv(mirror)},
        newest=_newest(vendor),
    )


def version_in(entry: Mapping[str, Any]) -> str | None:
    """Returns the version in an entry of the vendor's feed; "0" and "1" are no versions.

    One real version ends with the hyphen of an empty revision.
    """
    version = entry.get("fixed_version")
    return str(version).removesuffix("-") if version and version not in SENTINELS else None


def read_vendor(mirror: Path) -> dict[Pair, Object]:
    return {
        (package.lower(), vulnerability_id): entry
        for package, entries in _json(mirror / VENDOR).items()
        for vulnerability_id, entry in entries.items()
    }


def _newest(vendor: Mapping[Pair, Object]) -> dict[str, str]:
    newest: dict[str, str] = {}
    for (package, _), entry in vendor.items():
        version = version_in(entry)
        if version and (package not in newest or is_newer(version, newest[package])):
            newest[package] = version
    return newest


def read_rulings(mirror: Path) -> dict[Pair, dict[str, str]]:
    """Returns the last row of each key, without rows of unknown status or without a version."""
    with (mirror / RULINGS).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] in RULING_STATUSES]
    return {
        (row["package"].lower(), row["cve_id"]): row
        for row in rows
        if row["status"] != "fixed" or row["fixed_version"]
    }


def nvd_files(mirror: Path) -> list[Path]:
    """Returns the yearly files in order, then the file of recent changes."""
    return sorted((mirror / NVD).glob("nvdcve-2.0-*.json.gz"))


def read_nvd(mirror: Path) -> dict[str, CveRecord]:
    """Returns the newest record of each CVE; of two equally new ones, the recent change."""
    records: dict[str, CveRecord] = {}
    for path in nvd_files(mirror):
        for record in cve_records(path):
            other = records.get(record.id)
            if other is None or other.changed_at <= record.changed_at:
                records[record.id] = record
    return records


def cve_records(file: Path) -> Iterator[CveRecord]:
    """Yields the records of one file that have a time of change and a status."""
    content = msgspec.json.decode(gzip.decompress(file.read_bytes()), type=_CveFile)
    for item in content.vulnerabilities:
        if item.cve.last_modified and item.cve.vuln_status:
            yield CveRecord(
                id=item.cve.id,
                changed_at=_parse_time(item.cve.last_modified),
                is_rejected=item.cve.vuln_status == "Rejected",
                is_scored=any((item.cve.metrics or {}).values()),
            )


def _parse_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def read_exploited(mirror: Path) -> dict[str, Object]:
    return {entry["cveID"]: entry for entry in _json(mirror / KEV)["vulnerabilities"]}


def tracker_entries(mirror: Path) -> Iterator[tuple[Pair, Object]]:
    for package, entries in _json(mirror / TRACKER).items():
        for vulnerability_id, entry in entries.items():
            yield (package.lower(), vulnerability_id), entry


def read_tracker(mirror: Path) -> Statements:
    statements: dict[Pair, dict[str, list[Statement]]] = defaultdict(lambda: defaultdict(list))
    for pair, entry in tracker_entries(mirror):
        releases = entry["releases"]
        for release, row in releases.items() if isinstance(releases, dict) else ():
            if statement := _tracker_statement(row):
                statements[pair][release].append(statement)
    return statements


def _tracker_statement(row: Mapping[str, Any]) -> Statement | None:
    version = row.get("fixed_version")
    if row["status"] == "open":
        is_ignored = row.get("nodsa_reason") == "ignored"
        return Statement("open", is_wont_fix=is_ignored or row.get("urgency") == "end-of-life")
    if row["status"] == "resolved" and version:
        is_zero = version in ZERO_VERSIONS
        return Statement("not_affected") if is_zero else Statement("fixed", version)
    return Statement("undetermined") if row["status"] == "undetermined" else None


def osv_records(mirror: Path) -> Iterator[Object]:
    with zipfile.ZipFile(mirror / OSV) as archive:
        for name in archive.namelist():
            yield json.loads(archive.read(name))


def read_osv(mirror: Path) -> Statements:
    """Returns the statements of all records that are not withdrawn and well formed.

    One real record has text in place of its ranges.
    """
    statements: dict[Pair, dict[str, list[Statement]]] = defaultdict(lambda: defaultdict(list))
    for record in osv_records(mirror):
        if record.get("withdrawn") or not is_well_formed(record):
            continue
        for (package, release), entries in _osv_entries(record).items():
            if statement := _osv_statement(entries):
                for vulnerability_id in osv_ids(record):
                    statements[package, vulnerability_id][release].append(statement)
    return statements


def is_well_formed(record: Mapping[str, Any]) -> bool:
    return all(
        isinstance(span, dict)
        for affected in record.get("affected") or ()
        for span in osv_spans(affected)
    )


def osv_spans(affected: Mapping[str, Any]) -> list[Any]:
    """Returns the ranges of an entry; old records have one range in place of a list."""
    ranges = affected.get("ranges") or []
    return [ranges] if isinstance(ranges, dict) else ranges


def osv_ids(record: Mapping[str, Any]) -> set[str]:
    """Returns the ids of the record's vulnerability; the ids in `related` are other ones."""
    own = record["id"].removeprefix("DEBIAN-")
    return {own, *(record.get("aliases") or ()), *(record.get("upstream") or ())}


def osv_ranges(record: Mapping[str, Any]) -> dict[tuple[str, str], list[Events]]:
    """Returns the events of the distribution's own ranges, by package and release."""
    events: dict[tuple[str, str], list[Events]] = defaultdict(list)
    for affected in record.get("affected") or ():
        package = affected.get("package") or {}
        ecosystem, _, number = package.get("ecosystem", "").partition(":")
        for span in osv_spans(affected):
            if ecosystem == "Debian" and span["type"] == "ECOSYSTEM":
                release = RELEASE_NAMES.get(number, number) if number else "sid"
                events[package["name"].lower(), release].append(span["events"])
    return events


def _osv_entries(record: Mapping[str, Any]) -> dict[tuple[str, str], list[Object]]:
    """Returns the entries of the distribution by package and release.

    A package with a range of another type than ECOSYSTEM is left out whole.
    """
    entries: dict[tuple[str, str], list[Object]] = defaultdict(list)
    unread = set()
    for affected in record.get("affected") or ():
        package = affected.get("package") or {}
        ecosystem, _, number = package.get("ecosystem", "").partition(":")
        if ecosystem != "Debian":
            continue
        name = package["name"].lower()
        if any(span["type"] != "ECOSYSTEM" for span in osv_spans(affected)):
            unread.add(name)
        entries[name, RELEASE_NAMES.get(number, number) if number else "sid"].append(affected)
    return {key: value for key, value in entries.items() if key[0] not in unread}


def _osv_statement(entries: Sequence[Object]) -> Statement | None:
    """Returns what the entries state on the newest versions.

    The schema's algorithm is asked of the version after all others (None) and of each named one.
    """
    events = [event for entry in entries for span in osv_spans(entry) for event in span["events"]]
    versions = {version for event in events for version in event.values() if version != "*"}
    versions |= {version for entry in entries for version in entry.get("versions") or ()}
    fixes = {event["fixed"] for event in events if "fixed" in event}
    affected_versions = [version for version in versions if _is_affected(version, entries)]
    if _is_affected(None, entries):
        return Statement("open")
    highest = max(fixes - ZERO_VERSIONS, key=rank, default=None)
    if highest is None:
        if affected_versions or not fixes:
            return Statement("open") if versions else None
        return Statement("not_affected")
    is_reopened = any(rank(version) >= rank(highest) for version in affected_versions)
    return Statement("open") if is_reopened else Statement("fixed", highest)


def _is_affected(version: str | None, entries: Iterable[Object]) -> bool:
    """The evaluation algorithm of the OSV schema; None is a version after all others."""
    for entry in entries:
        if version is not None and version in (entry.get("versions") or ()):
            return True
        for span in osv_spans(entry):
            if _is_below_limits(version, span["events"]) and _is_in_range(version, span["events"]):
                return True
    return False


def _is_below_limits(version: str | None, events: Events) -> bool:
    limits = [event["limit"] for event in events if "limit" in event]
    if not limits or "*" in limits:
        return True
    return version is not None and any(rank(version) < rank(limit) for limit in limits)


def _is_in_range(version: str | None, events: Events) -> bool:
    is_affected = False
    for event in sorted(events, key=_event_rank):
        ((kind, bound),) = event.items()
        is_at_or_above = version is None or bound == "0" or rank(version) >= rank(bound)
        if kind == "introduced" and is_at_or_above:
            is_affected = True
        if kind == "fixed" and is_at_or_above:
            is_affected = False
        if kind == "last_affected" and (version is None or rank(version) > rank(bound)):
            is_affected = False
    return is_affected


def _event_rank(event: dict[str, str]) -> Any:
    ((kind, version),) = event.items()
    return rank("0" if version == "*" else version), kind != "introduced"


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())

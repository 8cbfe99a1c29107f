"""The raw files of a mirror as the rules need them, read in plain Python.

What files say belongs here; what follows from it is reading.py. It shares no code with the project.
"""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from domains.advisories.versions import is_newer, rank

VENDOR = "advisory.echohq.com/data.json"
RULINGS = "analyst/advisory-not-applicable.csv"
TRACKER = "security-tracker.debian.org/tracker/data/json"
OSV = "osv-vulnerabilities.storage.googleapis.com/Debian/all.zip"
NVD = "nvd.nist.gov/feeds/json/cve/2.0"
KEV = "www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
EPSS = "epss.empiricalsecurity.com/epss_scores-current.csv.gz"
FILES = (VENDOR, RULINGS, TRACKER, OSV, NVD, KEV, EPSS)
"""All that the domain fetches; each a file, or a folder of files."""

RULING_STATUSES = frozenset({"fixed", "not_applicable", "wont_fix"})
SENTINELS = frozenset({"0", "1"})
NUMBERED = {
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
class Says:
    """What one source says of a pair in one release."""

    what: str
    """fixed, open or not_affected"""
    version: str = ""
    is_given_up: bool = False


Statements = Mapping[Pair, Mapping[str, list[Says]]]
"""By pair and release; a release may be spoken of more than once."""


@dataclass(frozen=True, slots=True)
class CveRecord:
    """What counts of a record of NVD."""

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
    """Everything that the rules look at."""

    vendor: Mapping[Pair, Object]
    rulings: Mapping[Pair, dict[str, str]]
    nvd: Mapping[str, CveRecord]
    exploited: frozenset[str]
    upstreams: Mapping[str, Statements]
    newest: Mapping[str, str]
    """the newest version that the vendor names, by package"""

    @property
    def pairs(self) -> set[Pair]:
        return set(self.vendor) | {pair for pair in self.rulings if pair[0]}

    def vendor_version(self, pair: Pair) -> str | None:
        return named_version(self.vendor.get(pair, {}))

    def is_sentinel(self, pair: Pair) -> bool:
        return self.vendor.get(pair, {}).get("fixed_version") in SENTINELS

    def ruling(self, pair: Pair) -> dict[str, str] | None:
        """The ruling on the pair; one that names the package goes first."""
        return self.rulings.get(pair) or self.rulings.get(("", pair[1]))


def read(mirror: Path) -> Feeds:
    vendor = read_vendor(mirror)
    return Feeds(
        vendor=vendor,
        rulings=read_rulings(mirror),
        nvd=read_nvd(mirror),
        exploited=frozenset(read_exploited(mirror)),
        upstreams={"debian": read_tracker(mirror), "osv": read_osv(mirror)},
        newest=_newest(vendor),
    )


def named_version(entry: Mapping[str, Any]) -> str | None:
    """The version in an entry of the vendor's feed; "0" and "1" are none."""
    version = entry.get("fixed_version")
    return str(version) if version and version not in SENTINELS else None


def read_vendor(mirror: Path) -> dict[Pair, Object]:
    return {
        (package.lower(), vulnerability_id): entry
        for package, entries in _json(mirror / VENDOR).items()
        for vulnerability_id, entry in entries.items()
    }


def _newest(vendor: Mapping[Pair, Object]) -> dict[str, str]:
    newest: dict[str, str] = {}
    for (package, _), entry in vendor.items():
        version = named_version(entry)
        if version and (package not in newest or is_newer(version, newest[package])):
            newest[package] = version
    return newest


def read_rulings(mirror: Path) -> dict[Pair, dict[str, str]]:
    """The last row of each key; an unknown status, or a fix without a version, is no ruling."""
    with (mirror / RULINGS).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] in RULING_STATUSES]
    return {
        (row["package"].lower(), row["cve_id"]): row
        for row in rows
        if row["status"] != "fixed" or row["fixed_version"]
    }


def nvd_files(mirror: Path) -> list[Path]:
    """The years in their order, then the late changes."""
    return sorted((mirror / NVD).glob("nvdcve-2.0-*.json.gz"))


def read_nvd(mirror: Path) -> dict[str, CveRecord]:
    """The newest record of each CVE; of two of one moment, that of the late changes."""
    records: dict[str, CveRecord] = {}
    for path in nvd_files(mirror):
        for record in cve_records(path):
            known = records.get(record.id)
            if known is None or known.changed_at <= record.changed_at:
                records[record.id] = record
    return records


def cve_records(file: Path) -> Iterator[CveRecord]:
    """The records of one file that say when they changed and where they stand."""
    content = msgspec.json.decode(gzip.decompress(file.read_bytes()), type=_CveFile)
    for item in content.vulnerabilities:
        if item.cve.last_modified and item.cve.vuln_status:
            yield CveRecord(
                id=item.cve.id,
                changed_at=_moment(item.cve.last_modified),
                is_rejected=item.cve.vuln_status == "Rejected",
                is_scored=any((item.cve.metrics or {}).values()),
            )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_exploited(mirror: Path) -> dict[str, Object]:
    return {entry["cveID"]: entry for entry in _json(mirror / KEV)["vulnerabilities"]}


def tracker_entries(mirror: Path) -> Iterator[tuple[Pair, Object]]:
    for package, entries in _json(mirror / TRACKER).items():
        for vulnerability_id, entry in entries.items():
            yield (package.lower(), vulnerability_id), entry


def read_tracker(mirror: Path) -> Statements:
    found: dict[Pair, dict[str, list[Says]]] = defaultdict(lambda: defaultdict(list))
    for pair, entry in tracker_entries(mirror):
        releases = entry["releases"]
        for release, row in releases.items() if isinstance(releases, dict) else ():
            if says := _tracker_says(row):
                found[pair][release].append(says)
    return found


def _tracker_says(row: Mapping[str, Any]) -> Says | None:
    version = row.get("fixed_version")
    if row["status"] == "open":
        is_ignored = row.get("nodsa_reason") == "ignored"
        return Says("open", is_given_up=is_ignored or row.get("urgency") == "end-of-life")
    if row["status"] == "resolved" and version:
        return Says("not_affected") if version == "0" else Says("fixed", version)
    return None


def osv_records(mirror: Path) -> Iterator[Object]:
    with zipfile.ZipFile(mirror / OSV) as archive:
        for name in archive.namelist():
            yield json.loads(archive.read(name))


def read_osv(mirror: Path) -> Statements:
    """What standing records say; one real record has texts where ranges belong and says nothing."""
    found: dict[Pair, dict[str, list[Says]]] = defaultdict(lambda: defaultdict(list))
    for record in osv_records(mirror):
        if record.get("withdrawn") or not is_well_formed(record):
            continue
        for (package, release), ranges in osv_ranges(record).items():
            if says := _osv_says(ranges):
                for vulnerability_id in osv_ids(record):
                    found[package, vulnerability_id][release].append(says)
    return found


def is_well_formed(record: Mapping[str, Any]) -> bool:
    return all(
        isinstance(span, dict)
        for affected in record.get("affected") or ()
        for span in osv_spans(affected)
    )


def osv_spans(affected: Mapping[str, Any]) -> list[Any]:
    """The ranges; records of former days have a single one where a list of them belongs."""
    ranges = affected.get("ranges") or []
    return [ranges] if isinstance(ranges, dict) else ranges


def osv_ids(record: Mapping[str, Any]) -> set[str]:
    """The ids of what the record is about; `related` is no identity."""
    own = record["id"].removeprefix("DEBIAN-")
    return {own, *(record.get("aliases") or ()), *(record.get("upstream") or ())}


def osv_ranges(record: Mapping[str, Any]) -> dict[tuple[str, str], list[Events]]:
    """The events of the distribution's own ranges, by package and release."""
    found: dict[tuple[str, str], list[Events]] = defaultdict(list)
    for affected in record.get("affected") or ():
        package = affected.get("package") or {}
        ecosystem, _, number = package.get("ecosystem", "").partition(":")
        for span in osv_spans(affected):
            if ecosystem == "Debian" and span["type"] == "ECOSYSTEM":
                release = NUMBERED.get(number, number) if number else "sid"
                found[package["name"].lower(), release].append(span["events"])
    return found


def _osv_says(ranges: Iterable[Events]) -> Says | None:
    """Fixed by the highest fix, unless a version from there on is affected and stays so."""
    fixes = [event["fixed"] for events in ranges for event in events if "fixed" in event]
    openings = [opened for events in ranges if (opened := _left_open(events)) is not None]
    highest = max(fixes, key=rank, default=None)
    if highest is None:
        return Says("open") if openings else None
    is_reopened = any(rank(opened) >= rank(highest) for opened in openings)
    return Says("open") if is_reopened else Says("fixed", highest)


def _left_open(events: Events) -> str | None:
    opened = None
    for event in events:
        opened = event.get("introduced", opened)
        if "fixed" in event or "last_affected" in event:
            opened = None
    return opened


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())

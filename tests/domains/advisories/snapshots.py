"""Two mirrors of the feeds, years apart, made of real files and real versions of records.

The newer one is the current feeds. The older one has former files of the tracker, the OSV archive,
the catalogue of exploited CVEs and two NVD feeds, and the first version of each record with a
collected history. The vendor's feed of both lists the ids of these records.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domains.advisories import mirrors
from domains.advisories.raw_feeds import KEV, OSV, TRACKER, Object, Pair, osv_ids

OSV_HOST = "osv-vulnerabilities.storage.googleapis.com"
NVD_HOST = "nvd.nist.gov"
CVE_HISTORIES = f"{NVD_HOST}/_record_histories.jsonl.gz"
OSV_HISTORIES = f"{OSV_HOST}/_record_histories.jsonl.gz"
FORMER_EPSS = "epss.empiricalsecurity.com/epss_scores-2026-08-16.csv.gz"
FORMER_TRACKER = "security-tracker.debian.org/tracker/data/2025-02-13.json.gz"
FORMER_OSV = f"{OSV_HOST}/Debian/2025-02-13.zip"
FORMER_KEV = f"{KEV}/2025-01-17.json"
FORMER_NVD = {"2017": "2023-08-09", "modified": "2023-12-17"}

LISTED = "history-listed"
FIXED = "history-fixed"


@dataclass(frozen=True)
class Histories:
    """All collected versions of real records, by id, the first one first."""

    cves: dict[str, list[Object]]
    osv: dict[str, list[Object]]

    @property
    def rejected(self) -> set[str]:
        """Ids whose last version, but not the first, is rejected."""
        names = set()
        for name, versions in self.cves.items():
            first, last = versions[0]["vulnStatus"], versions[-1]["vulnStatus"]
            if first != "Rejected" and last == "Rejected":
                names.add(name)
        return names

    @property
    def withdrawn(self) -> set[str]:
        """Ids of OSV records whose last version, but not the first, is withdrawn."""
        names = set()
        for name, versions in self.osv.items():
            if not versions[0].get("withdrawn") and versions[-1].get("withdrawn"):
                names.add(name)
        return names

    def osv_versions(self, index: int) -> list[Object]:
        """Returns the first (0) or last (-1) version of each record.

        No record of the distribution itself was ever withdrawn, so the withdrawn records of others
        are added once more as records of the distribution.
        """
        versions = [versions[index] for versions in self.osv.values()]
        versions += [_as_distribution(self.osv[name][index]) for name in sorted(self.withdrawn)]
        return versions

    def pairs(self) -> dict[Pair, str | None]:
        """Returns all pairs for the vendor's feed, with the fixed version or None."""
        versions: dict[Pair, str | None] = {(LISTED, name): None for name in self.cves}
        versions |= {(FIXED, name): "1.0-1" for name in self.cves}
        for record in [*self.osv_versions(0), *self.osv_versions(-1)]:
            versions |= dict.fromkeys(affected_pairs(record))
        return versions


def affected_pairs(record: Object) -> Iterator[Pair]:
    for affected in record.get("affected") or ():
        for name in osv_ids(record) if "package" in affected else ():
            if name.startswith("CVE-"):
                yield affected["package"]["name"].lower(), name


def _as_distribution(record: Object) -> Object:
    """Returns the record as if its packages were those of the distribution."""
    affected = [
        entry
        | {"package": entry["package"] | {"ecosystem": "Debian"}}
        | {"ranges": [span | {"type": "ECOSYSTEM"} for span in entry.get("ranges", ())]}
        for entry in record.get("affected", ())
    ]
    return record | {"id": distribution_id(record["id"]), "affected": affected}


def distribution_id(name: str) -> str:
    return f"DEBIAN-{name}"


def read_histories(versions: Path) -> Histories:
    osv: dict[str, list[Object]] = defaultdict(list)
    for record in _lines(versions / OSV_HISTORIES):
        osv[record["id"]].append(record)
    cves = {line["id"]: line["versions"] for line in _lines(versions / CVE_HISTORIES)}
    return Histories(cves=cves, osv=dict(osv))


def _lines(file: Path) -> Iterator[Any]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines)


def make_newer(upstream: Path, histories: Histories, to: Path) -> Path:
    mirrors.copy_feeds(upstream, to)
    mirrors.add_osv(to, histories.osv_versions(-1))
    mirrors.list_pairs(to, histories.pairs())
    return to


def make_older(upstream: Path, versions: Path, histories: Histories, to: Path) -> Path:
    mirrors.copy_feeds(upstream, to)
    mirrors.put(versions / FORMER_TRACKER, to / TRACKER)
    mirrors.put(versions / FORMER_KEV, to / KEV)
    mirrors.put(versions / FORMER_OSV, to / OSV)
    mirrors.add_osv(to, histories.osv_versions(0))
    for which, day in FORMER_NVD.items():
        folder = versions / NVD_HOST / "feeds/json/cve/2.0" / day
        mirrors.put_nvd(folder / f"nvdcve-2.0-{which}.json.gz", to, which)
    mirrors.replace_cves(to, {name: cves[0] for name, cves in histories.cves.items()})
    mirrors.list_pairs(to, histories.pairs())
    return to

"""Two snapshots of the feeds, years apart: mirrors made of the real feeds and their real versions.

The newer one is the feeds as they are. The older one has the tracker, the archive of OSV records,
the catalogue of exploited CVEs and two NVD feeds of former days, and of each record whose history
is known the first version. The ids of those histories are listed in the vendor's feed of both.
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
    """First and last versions of real records, by id."""

    cves: dict[str, list[Object]]
    osv: dict[str, list[Object]]

    @property
    def rejected(self) -> set[str]:
        """Ids that were published first and rejected last."""
        status = {name: [v["vulnStatus"] for v in found] for name, found in self.cves.items()}
        return {n for n, s in status.items() if s[0] != "Rejected" and s[-1] == "Rejected"}

    @property
    def withdrawn(self) -> set[str]:
        """Ids of OSV records that stood first and were withdrawn last."""
        found = {name: [bool(v.get("withdrawn")) for v in vs] for name, vs in self.osv.items()}
        return {name for name, was in found.items() if not was[0] and was[-1]}

    def osv_versions(self, place: int) -> list[Object]:
        """The first (0) or last (-1) versions as they are, and the withdrawn ones once more.

        No record of the distribution's own was withdrawn: what became of others is told of it.
        """
        retold = [_as_distribution(self.osv[name][place]) for name in sorted(self.withdrawn)]
        return [*(versions[place] for versions in self.osv.values()), *retold]

    def pairs(self) -> dict[Pair, str | None]:
        """Every id of the histories in a package of the vendor's, and the version it names."""
        found: dict[Pair, str | None] = {(LISTED, name): None for name in self.cves}
        found |= {(FIXED, name): "1.0-1" for name in self.cves}
        for record in [version for place in (0, -1) for version in self.osv_versions(place)]:
            found |= dict.fromkeys(affected_pairs(record))
        return found


def affected_pairs(record: Object) -> Iterator[Pair]:
    for affected in record.get("affected") or ():
        for name in osv_ids(record) if "package" in affected else ():
            if name.startswith("CVE-"):
                yield affected["package"]["name"].lower(), name


def _as_distribution(record: Object) -> Object:
    """The record as if its packages were the distribution's."""
    affected = [
        entry
        | {"package": entry["package"] | {"ecosystem": "Debian"}}
        | {"ranges": [span | {"type": "ECOSYSTEM"} for span in entry.get("ranges", ())]}
        for entry in record.get("affected", ())
    ]
    return record | {"id": retold_id(record["id"]), "affected": affected}


def retold_id(name: str) -> str:
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
    mirrors.replace_cves(to, {name: found[0] for name, found in histories.cves.items()})
    mirrors.list_pairs(to, histories.pairs())
    return to

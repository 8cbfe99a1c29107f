"""Small changes of the real feeds, as a day brings them, in a copy of the mirror.

A file is replaced and never written in place, as the copy may share it with the mirror.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

RULINGS = "analyst/advisory-not-applicable.csv"
TRACKER = "security-tracker.debian.org/tracker/data/json"
NVD = "nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-2024.json.gz"
SCORES = "epss.empiricalsecurity.com/epss_scores-current.csv.gz"
MOVED_SCORES = 0.3  # of the scores move on a day


def one_ruling(mirror: Path) -> None:
    """Another status for a package of few advisories."""
    _change_ruling(mirror, lambda package: package != "linux")


def one_ruling_of_linux(mirror: Path) -> None:
    """Another status for the package with most advisories."""
    _change_ruling(mirror, lambda package: package == "linux")


def one_fix(mirror: Path) -> None:
    """A fix of one vulnerability in one release of the distribution."""
    tracker = json.loads((mirror / TRACKER).read_bytes())
    releases = next(
        release
        for records in tracker.values()
        for record in records.values()
        for release in record.get("releases", {}).values()
        if release["status"] == "open"
    )
    releases |= {"status": "resolved", "fixed_version": "99.0-1"}
    _replace(mirror / TRACKER, json.dumps(tracker).encode())


def one_nvd_record(mirror: Path) -> None:
    """One record of a year is rejected."""
    year = json.loads(gzip.decompress((mirror / NVD).read_bytes()))
    record: dict[str, Any] = year["vulnerabilities"][0]["cve"]
    record |= {"vulnStatus": "Rejected", "lastModified": "2026-11-30T01:00:00.000"}
    content = json.dumps(year).encode()
    packed = gzip.compress(content, 1)
    _replace(mirror / NVD, packed)
    meta = [
        "lastModifiedDate:2026-11-30T02:00:00-00:00",
        f"size:{len(content)}",
        f"gzSize:{len(packed)}",
        f"sha256:{hashlib.sha256(content).hexdigest().upper()}",
    ]
    name = NVD.replace(".json.gz", ".meta")
    _replace(mirror / name, "".join(f"{line}\r\n" for line in meta).encode())


def scores_of_a_day(mirror: Path) -> None:
    """Some of the scores of EPSS move."""
    chance = random.Random(1)
    comment, header, *rows = gzip.decompress((mirror / SCORES).read_bytes()).decode().splitlines()
    moved = []
    for row in rows:
        cve_id, score, percentile = row.split(",")
        if chance.random() < MOVED_SCORES:
            score = f"{min(1.0, float(score) * 1.1 + 0.00001):.5f}"
        moved.append(f"{cve_id},{score},{percentile}")
    text = "\n".join([comment, header, *moved]) + "\n"
    _replace(mirror / SCORES, gzip.compress(text.encode(), 1))


CHANGES: dict[str, Callable[[Path], None]] = {
    "one ruling": one_ruling,
    "one ruling of the largest package": one_ruling_of_linux,
    "one fix in the tracker": one_fix,
    "one record of the NVD": one_nvd_record,
    "the scores of a day": scores_of_a_day,
}


def _change_ruling(mirror: Path, fits: Callable[[str], bool]) -> None:
    header, *lines = (mirror / RULINGS).read_text("utf-8").splitlines()
    number = next(
        number
        for number, line in enumerate(lines)
        if fits(line.split(",")[1]) and ",not_applicable," in line
    )
    cve_id, package, *_ = lines[number].split(",")
    lines[number] = f"{cve_id},{package},wont_fix,,"
    _replace(mirror / RULINGS, "\n".join([header, *lines, ""]).encode())


def _replace(file: Path, content: bytes) -> None:
    temporary = file.with_name(f".{file.name}.new")
    temporary.write_bytes(content)
    temporary.replace(file)

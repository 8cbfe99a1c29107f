"""A copy of the real feeds with ten times as many packages: `python -m bench.tenfold MIRROR COPY`.

Each package of the vendor, of the rulings, of the tracker and of OSV comes again under further
names. Feeds that name no package are the same.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.changes import RULINGS, TRACKER

COPIES = 10
FEED = "advisory.echohq.com/data.json"
OSV = "osv-vulnerabilities.storage.googleapis.com/Debian/all.zip"


def main(mirror: Path, target: Path) -> None:
    """Write the copy; what has no package is linked."""
    shutil.copytree(mirror, target, copy_function=lambda a, b: Path(b).symlink_to(a))
    for name in (FEED, TRACKER):
        packages = json.loads((mirror / name).read_bytes())
        multiplied = {name: records for each, records in packages.items() for name in _names(each)}
        _replace(target / name).write_text(json.dumps(multiplied), encoding="utf-8")
    _multiply_rulings(mirror / RULINGS, _replace(target / RULINGS))
    _multiply_osv(mirror / OSV, _replace(target / OSV))


def _names(package: str) -> Iterator[str]:
    yield package
    for copy in range(1, COPIES):
        yield f"{package}-{copy}"


def _multiply_rulings(source: Path, target: Path) -> None:
    with source.open(encoding="utf-8", newline="") as rulings, target.open("w", newline="") as file:
        rows = csv.DictReader(rulings)
        writer = csv.DictWriter(file, rows.fieldnames or ())
        writer.writeheader()
        for row in rows:
            writer.writerows({**row, "package": name} for name in _names(row["package"]))


def _multiply_osv(source: Path, target: Path) -> None:
    with (
        zipfile.ZipFile(source) as records,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as multiplied,
    ):
        for name in records.namelist():
            record = json.loads(records.read(name))
            affected = record.get("affected", [])
            record["affected"] = [again for each in affected for again in _affected_again(each)]
            multiplied.writestr(name, json.dumps(record))


def _affected_again(affected: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in _names(affected["package"]["name"]):
        yield {**affected, "package": {**affected["package"], "name": name}}


def _replace(link: Path) -> Path:
    link.unlink()
    return link


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

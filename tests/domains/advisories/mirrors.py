"""Copies of the mirror of the real feeds, in which tests replace files and records.

The files are read in raw_feeds.py.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from domains.advisories.raw_feeds import FILES, NVD, OSV, VENDOR, Object

# The quotes are unescaped, so this cannot stand inside a text.
LAST_MODIFIED = re.compile(rb'"lastModified":"([^"]+)"')
Records = dict[str, bytes]
"""CVE records as the bytes in a feed, by id."""


class _Item(msgspec.Struct):
    cve: msgspec.Raw


class _Feed(msgspec.Struct):
    vulnerabilities: list[_Item]


class _Id(msgspec.Struct):
    id: str


def copy_feeds(mirror: Path, to: Path) -> Path:
    """Copies the files that the domain fetches; returns the new mirror."""
    for name in FILES:
        path = mirror / name
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            put(file, to / file.relative_to(mirror))
    return to


def put(file: Path, at: Path) -> None:
    """Copies a file with its time, and decompresses it unless the copy's name ends in .gz."""
    at.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".gz" and at.suffix != ".gz":
        at.write_bytes(gzip.decompress(file.read_bytes()))
    else:
        shutil.copyfile(file, at)
    times = file.stat()
    os.utime(at, ns=(times.st_atime_ns, times.st_mtime_ns))


def nvd_file(mirror: Path, which: str) -> Path:
    return mirror / NVD / f"nvdcve-2.0-{which}.json.gz"


def read_cves(file: Path) -> Records:
    feed = msgspec.json.decode(gzip.decompress(file.read_bytes()), type=_Feed)
    return {
        msgspec.json.decode(item.cve, type=_Id).id: bytes(item.cve) for item in feed.vulnerabilities
    }


def write_cves(file: Path, records: Mapping[str, bytes]) -> None:
    """Writes a feed and its digest file, which has five lines."""
    total = len(records)
    head = f'{{"resultsPerPage":{total},"startIndex":0,"totalResults":{total},"vulnerabilities":['
    items = b",".join(b'{"cve":%s}' % record for record in records.values())
    write_feed(file, head.encode() + items + b"]}")


def write_feed(file: Path, content: bytes) -> None:
    packed = gzip.compress(content, compresslevel=1, mtime=0)
    file.write_bytes(packed)
    write_digest(file, content, len(packed))


def write_digest(file: Path, content: bytes, packed_bytes: int) -> None:
    lines = {
        "lastModifiedDate": "2026-01-01T00:00:00-00:00",
        "size": len(content),
        "zipSize": packed_bytes,
        "gzSize": packed_bytes,
        "sha256": hashlib.sha256(content).hexdigest().upper(),
    }
    text = "".join(f"{name}:{value}\r\n" for name, value in lines.items())
    digest = file.with_name(file.name.replace(".json.gz", ".meta"))
    digest.write_text(text, encoding="utf-8", newline="")


def put_nvd(file: Path, mirror: Path, which: str) -> None:
    """Replaces a feed of the mirror by one of another day, with its digest file."""
    at = nvd_file(mirror, which)
    put(file, at)
    packed = file.read_bytes()
    write_digest(at, gzip.decompress(packed), len(packed))


def replace_cves(mirror: Path, records: Mapping[str, Object]) -> None:
    """Replaces the records with these ids in the files of all years."""
    for file in sorted((mirror / NVD).glob("nvdcve-2.0-*.json.gz")):
        old_records = read_cves(file)
        if ids := sorted(records.keys() & old_records.keys()):
            write_cves(file, old_records | {name: _encode(records[name]) for name in ids})


def touch_cves(mirror: Path) -> None:
    """Moves the time of the last change of every record by a day, and changes nothing else."""
    for file in sorted((mirror / NVD).glob("nvdcve-2.0-*.json.gz")):
        write_feed(file, LAST_MODIFIED.sub(_a_day_later, gzip.decompress(file.read_bytes())))


def _a_day_later(match: re.Match[bytes]) -> bytes:
    time = datetime.fromisoformat(match[1].decode()) + timedelta(days=1)
    return b'"lastModified":"%s"' % time.isoformat(timespec="milliseconds").encode()


def add_osv(mirror: Path, records: Iterable[Object]) -> None:
    """Adds the records that are not in the archive."""
    with zipfile.ZipFile(mirror / OSV, "a", zipfile.ZIP_DEFLATED) as archive:
        names = set(archive.namelist())
        for record in records:
            if (name := f"{record['id']}.json") not in names:
                archive.writestr(name, _encode(record))


def list_pairs(mirror: Path, pairs: Mapping[tuple[str, str], str | None]) -> None:
    """Adds pairs and their versions to the vendor's feed; pairs in the feed stay the same."""
    path = mirror / VENDOR
    feed = json.loads(path.read_bytes())
    for (package, vulnerability_id), version in sorted(pairs.items()):
        entry = {"fixed_version": version} if version else {}
        feed.setdefault(package, {}).setdefault(vulnerability_id, entry)
    path.write_bytes(_encode(feed))


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value)

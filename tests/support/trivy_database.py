"""A database of Trivy with the advisories of one distribution, without a download.

The file is a bbolt database (https://github.com/etcd-io/bbolt), of which this writes the part that
readers need: meta pages, an empty list of free pages, and a leaf page per bucket.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

Bucket: TypeAlias = Mapping[str, "bytes | Bucket"]

PAGE_BYTES = 4096
PAGE_HEADER = struct.Struct("<QHHI")  # number, kind, elements, further pages
ELEMENT = struct.Struct("<IIII")  # kind, position from the element on, sizes of key and value
BUCKET_HEADER = struct.Struct("<QQ")  # root page, sequence
META = struct.Struct("<IIIIQQQQQ")
LEAF, META_PAGE, FREE_LIST = 0x02, 0x04, 0x10
BUCKET_ELEMENT = 0x01
MAGIC, VERSION = 0xED0CDAED, 2
FREE_LIST_PAGE, FIRST_PAGE = 2, 3
FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3

SCHEMA_VERSION = 2
SEVERITIES = ("unknown", "low", "medium", "high", "critical")


class _Pages:
    """The leaf pages of all buckets. A page with many elements goes on in the pages after it."""

    def __init__(self) -> None:
        self.content = bytearray()

    @property
    def next_page(self) -> int:
        return FIRST_PAGE + len(self.content) // PAGE_BYTES

    def add(self, bucket: Bucket) -> int:
        """Returns the number of the bucket's page."""
        elements = [self._element(*item) for item in sorted(bucket.items(), key=_key_of)]
        headers, data = bytearray(), bytearray()
        start = PAGE_HEADER.size + ELEMENT.size * len(elements)
        for index, (kind, key, value) in enumerate(elements):
            position = start + len(data) - (PAGE_HEADER.size + ELEMENT.size * index)
            headers += ELEMENT.pack(kind, position, len(key), len(value))
            data += key + value
        number = self.next_page
        further = (start + len(data) - 1) // PAGE_BYTES
        page = PAGE_HEADER.pack(number, LEAF, len(elements), further) + headers + data
        self.content += page.ljust((further + 1) * PAGE_BYTES, b"\0")
        return number

    def _element(self, key: str, value: bytes | Bucket) -> tuple[int, bytes, bytes]:
        if isinstance(value, bytes):
            return 0, key.encode(), value
        return BUCKET_ELEMENT, key.encode(), BUCKET_HEADER.pack(self.add(value), 0)


def encode_bolt(root: Bucket) -> bytes:
    """Returns the bytes of a database; a bucket has values, or buckets."""
    pages = _Pages()
    root_page = pages.add(root)
    metas = b"".join(_meta_page(number, root_page, pages.next_page) for number in (0, 1))
    free_list = PAGE_HEADER.pack(FREE_LIST_PAGE, FREE_LIST, 0, 0).ljust(PAGE_BYTES, b"\0")
    return metas + free_list + bytes(pages.content)


def write_trivy_database(
    cache: Path, distribution: str, feed: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> None:
    """Write the database of the advisories `{package: {id: {fixed_version, severity}}}`."""
    advisories = {
        package: {identifier: _advisory(entry) for identifier, entry in entries.items()}
        for package, entries in feed.items()
        if entries
    }
    identifiers = {identifier for entries in feed.values() for identifier in entries}
    source = {"ID": distribution, "Name": distribution.title(), "URL": "https://feed.example"}
    root: Bucket = {
        distribution: advisories,
        "data-source": {distribution: json.dumps(source).encode()},
        "vulnerability": dict.fromkeys(identifiers, b"{}"),
    }
    folder = cache / "db"
    folder.mkdir(parents=True)
    (folder / "trivy.db").write_bytes(encode_bolt(root))
    times = dict.fromkeys(("UpdatedAt", "DownloadedAt"), "2026-01-01T00:00:00Z")
    metadata = {"Version": SCHEMA_VERSION, "NextUpdate": "2100-01-01T00:00:00Z", **times}
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")


def _advisory(entry: Mapping[str, Any]) -> bytes:
    advisory: dict[str, Any] = {}
    if entry.get("fixed_version"):
        advisory["FixedVersion"] = entry["fixed_version"]
    severity = (entry.get("severity") or "").lower()
    if severity in SEVERITIES:
        advisory["Severity"] = SEVERITIES.index(severity)
    return json.dumps(advisory).encode()


def _key_of(item: tuple[str, object]) -> bytes:
    return item[0].encode()


def _meta_page(number: int, root_page: int, next_page: int) -> bytes:
    meta = META.pack(
        *(MAGIC, VERSION, PAGE_BYTES, 0), *(root_page, 0), FREE_LIST_PAGE, next_page, number
    )
    checksum = FNV_OFFSET
    for byte in meta:
        checksum = (checksum ^ byte) * FNV_PRIME % 2**64
    header = PAGE_HEADER.pack(number, META_PAGE, 0, 0)
    return (header + meta + struct.pack("<Q", checksum)).ljust(PAGE_BYTES, b"\0")

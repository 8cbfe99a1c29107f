"""The kind of a file, from its first bytes.

About ten rules of our own: libraries for this disagree on spreadsheets and do not know parquet.
Comparing the kind with the declared one is `etl_assets.validate.validate`.
"""

from __future__ import annotations

import re

HEAD_BYTES = 4096
SIGNATURES = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),  # an archive without members
    (b"PAR1", "parquet"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"SQLite format 3\x00", "SQLite"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or encrypted Office file"),
    (b"%PDF-", "PDF"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
BOM = b"\xef\xbb\xbf"
HTML = re.compile(rb"<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
TITLE = re.compile(rb"<title[^>]*>(.{0,200}?)</title", re.IGNORECASE | re.DOTALL)
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def sniff(head: bytes) -> str:
    """Returns the name of a signature, or html, xml, json, text, binary, blank or empty."""
    if not head:
        return "empty"
    for signature, name in SIGNATURES:
        if head.startswith(signature):
            return name
    text = head.removeprefix(BOM).lstrip()
    if not text:
        return "blank"
    if text.startswith(b"<"):
        return "html" if HTML.search(text) else "xml"
    if text.startswith((b"{", b"[")):
        return "json"
    return "binary" if CONTROL.search(head) else "text"


def describe(head: bytes) -> str:
    """Returns the kind for a message; an HTML page, most often an error, with its title."""
    kind = sniff(head)
    if kind != "html":
        return kind
    title = TITLE.search(head)
    if title is None:
        return "an HTML page"
    text = " ".join(title.group(1).decode("utf-8", "replace").split())
    return f"an HTML page titled {text!r}"

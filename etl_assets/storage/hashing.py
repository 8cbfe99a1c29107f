"""The SHA-256 of files on disk.

Bytes that are hashed while they are written are `etl_assets.fetch.transfer`'s and the writers'.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal, reading it in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_sha256(path: Path, sha256: str) -> bool:
    """True if a file can be read and has this SHA-256."""
    try:
        return hash_file(path) == sha256
    except OSError:
        return False

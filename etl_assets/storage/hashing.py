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

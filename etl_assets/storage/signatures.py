"""The digests of files that did not change since they were hashed, so that they are not read again.

A file is recognized by its signature: inode, size and time of modification. The signatures are a
cache: if they are lost, garbled or in doubt, files are hashed again. What a digest has to be is
known elsewhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Self

import msgspec

from etl_assets.storage.atomic_write import atomic_file
from etl_assets.storage.hashing import hash_file

# A file that is written twice within the resolution of the file system's clock keeps its time.
RESOLUTION_NS = 2_000_000_000


class Signature(msgspec.Struct, frozen=True, array_like=True):
    """How a file looked when it was hashed."""

    size_bytes: int
    modified_ns: int
    sha256: str
    hashed_ns: int
    path: str
    """One of its names: hard links share a signature."""

    def matches(self, status: os.stat_result) -> bool:
        """True if a file that looks like this still has the digest."""
        return (
            self.size_bytes == status.st_size
            and self.modified_ns == status.st_mtime_ns
            and self.modified_ns < self.hashed_ns - RESOLUTION_NS
        )


class Signatures:
    """The signatures of the files of one domain, by device and inode.

    Without a file they last as long as this object.
    """

    def __init__(
        self, file: Path | None = None, entries: dict[str, Signature] | None = None
    ) -> None:
        self._file = file
        self._entries = entries or {}
        self._is_changed = False

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read the cache; one that is missing or cannot be read is empty."""
        try:
            entries = msgspec.json.decode(file.read_bytes(), type=dict[str, Signature])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            entries = {}
        return cls(file, entries)

    def digest(self, path: Path) -> str:
        """Returns the SHA-256 of a file, reading it only if it may have changed.

        Raises OSError if it cannot be read.
        """
        status = path.stat()
        key = f"{status.st_dev}:{status.st_ino}"
        entry = self._entries.get(key)
        if entry is None or not entry.matches(status):
            entry = self._hash(key, path)
        elif entry.path != str(path):
            self._entries[key] = msgspec.structs.replace(entry, path=str(path))
            self._is_changed = True
        return entry.sha256

    def is_known(self, path: Path) -> bool:
        """True if the file was hashed before, whether it has changed since or not."""
        status = path.stat()
        return f"{status.st_dev}:{status.st_ino}" in self._entries

    def has_digest(self, path: Path, sha256: str | None) -> bool:
        """True if the file exists and has this SHA-256."""
        try:
            return self.digest(path) == sha256
        except OSError:
            return False

    def hash_oldest(self, max_bytes: int) -> int:
        """Hash again what was hashed longest ago, and return the bytes read.

        A file whose bytes changed although it looks the same has its real digest afterwards.
        """
        count_bytes = 0
        for key, entry in sorted(self._entries.items(), key=lambda item: item[1].hashed_ns):
            try:
                status = Path(entry.path).stat()
                if key != f"{status.st_dev}:{status.st_ino}":
                    raise FileNotFoundError(entry.path)  # its name belongs to another file now
                if count_bytes + status.st_size > max_bytes:
                    continue
                self._hash(key, Path(entry.path))
            except OSError:
                del self._entries[key]
                self._is_changed = True
                continue
            count_bytes += status.st_size
        return count_bytes

    def clear(self) -> None:
        """Forget all digests, so that every file is read again."""
        self._entries.clear()
        self._is_changed = True

    def list_hashed_before(self, moment: datetime) -> list[Path]:
        """Returns the existing files that were not hashed since."""
        limit_ns = moment.timestamp() * 1e9
        entries = [entry for entry in self._entries.values() if entry.hashed_ns < limit_ns]
        paths = sorted(Path(entry.path) for entry in entries)
        return [path for path in paths if path.exists()]

    def save(self) -> None:
        """Write the cache if it changed."""
        if self._file is not None and self._is_changed:
            with atomic_file(self._file) as temporary:
                temporary.write_bytes(msgspec.json.encode(self._entries))
            self._is_changed = False

    def _hash(self, key: str, path: Path) -> Signature:
        hashed_ns = time.time_ns()
        sha256 = hash_file(path)
        status = path.stat()
        entry = Signature(status.st_size, status.st_mtime_ns, sha256, hashed_ns, str(path))
        self._entries[key] = entry
        self._is_changed = True
        return entry


@contextmanager
def open_signatures(file: Path) -> Iterator[Signatures]:
    """Give the block the signatures of a cache, which is written after it."""
    signatures = Signatures.load(file)
    try:
        yield signatures
    finally:
        signatures.save()

"""The raw store: read-only files named by their SHA-256, one for equal bytes of any source.

Which file is a source's current one is in the event log; refused files are
`etl_assets.validate.quarantine`.
"""

from __future__ import annotations

import glob
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from etl_assets.model.errors import HomeError
from etl_assets.model.file_names import limit_name
from etl_assets.model.home import Home
from etl_assets.model.records import Part, RawFile, StoredState
from etl_assets.storage.atomic_write import (
    atomic_file,
    commit_file,
    flush_to_disk,
    translate_os_errors,
)
from etl_assets.storage.hashing import hash_file
from etl_assets.storage.signatures import Signatures

READ_ONLY = 0o444
TOKEN_CHARACTERS = 8
MAX_HASHED_BYTES = 256 << 20  # takes about 0.2 s of CPU


@contextmanager
def partial_file(home: Home, part: Part) -> Iterator[tuple[Path, BinaryIO]]:
    """Yields an open file for a download; it is removed after the block, unless it was stored.

    Other partial files of the part are removed first: a domain has one writer, so they are of a run
    that was killed.
    """
    partition = "" if part.partition is None else f"[{quote(part.partition, safe='')}]"
    stem = limit_name(f"{part.source}{partition}", "")
    with translate_os_errors(home.partial):
        home.partial.mkdir(parents=True, exist_ok=True)
        for leftover in home.partial.glob(f"{glob.escape(stem)}.{'?' * TOKEN_CHARACTERS}.part"):
            leftover.unlink(missing_ok=True)
        path = home.partial / f"{stem}.{secrets.token_hex(TOKEN_CHARACTERS // 2)}.part"
        try:
            # Without a buffer, so that a full disk fails the write and not the close.
            with path.open("x+b", buffering=0) as file:
                yield path, file
        finally:
            path.unlink(missing_ok=True)


def discard_partials(home: Home, domain: str) -> None:
    """Remove the partial files of a domain; only while no run of it downloads."""
    for path in partial_files(home, domain):
        path.unlink(missing_ok=True)


def partial_files(home: Home, domain: str) -> list[Path]:
    """Returns the files of downloads of a domain that are running or were killed."""
    return sorted(home.partial.glob(f"{glob.escape(domain)}.*.part"))


def store_file(home: Home, partial: Path, sha256: str) -> Path:
    """Move a complete file into the store, unless an intact one is there; returns its path."""
    target = home.raw_file(sha256)
    if verify(home, sha256) is StoredState.PRESENT:
        partial.unlink()
        return target
    with translate_os_errors(target):
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            flush_to_disk(target.parent.parent)
        commit_file(partial, target, mode=READ_ONLY)
    return target


def store_copy(home: Home, path: Path) -> Path:
    """Copy a file into the store, unless an intact one is there; returns the copy's path."""
    sha256 = hash_file(path)
    target = home.raw_file(sha256)
    if verify(home, sha256) is not StoredState.PRESENT:
        with atomic_file(target) as temporary:
            shutil.copyfile(path, temporary)
        target.chmod(READ_ONLY)
    return target


def stored_path(home: Home, file: RawFile, signatures: Signatures) -> Path:
    """Returns the path of a record's file; raises HomeError if it is missing or altered."""
    path = home.root / file.path
    if signatures.has_digest(path, file.sha256):
        return path
    found = "another content" if path.exists() else "none"
    raise HomeError(
        f"{path}: expected the stored file of {file.part}, found {found}, and its remote did not "
        f"serve it again; run again once {file.url} answers, put the file back from a copy, or use "
        f"another version: `etl rollback '{file.part}' --why TEXT`, or `etl unpin` if it is pinned"
    )


def stored_files(home: Home) -> Iterator[Path]:
    """Yields every file below the store in order, including files that do not belong there."""
    yield from sorted(path for path in home.raw.glob("**/*") if path.is_file())


def delete_file(home: Home, path: Path) -> None:
    """Delete a stored file, and its folder if that is empty then."""
    with translate_os_errors(path):
        path.unlink(missing_ok=True)
        if path.parent != home.raw and not any(path.parent.iterdir()):
            path.parent.rmdir()


def stored_state(home: Home, file: RawFile, signatures: Signatures) -> StoredState:
    """Returns whether a record's file is present and intact; cheap enough for every decision.

    Of a file above `MAX_HASHED_BYTES` that was never hashed only the size is compared; `verify`
    reads all of them.
    """
    path = home.root / file.path
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return StoredState.MISSING
    if size != file.size_bytes:
        return StoredState.DAMAGED
    if size > MAX_HASHED_BYTES and not signatures.is_known(path):
        return StoredState.PRESENT
    is_intact = signatures.has_digest(path, file.sha256)
    return StoredState.PRESENT if is_intact else StoredState.DAMAGED


def verify(home: Home, sha256: str) -> StoredState:
    """Returns whether a stored file is present and has the content of its name, by hashing it."""
    try:
        actual = hash_file(home.raw_file(sha256))
    except FileNotFoundError:
        return StoredState.MISSING
    except OSError:  # such as a folder in its place
        return StoredState.DAMAGED
    return StoredState.PRESENT if actual == sha256 else StoredState.DAMAGED


def is_intact(home: Home, sha256: str) -> bool:
    """True if a file with this digest is stored, by hashing it; no file has an empty digest."""
    return bool(sha256) and verify(home, sha256) is StoredState.PRESENT

"""The raw store: immutable files named by their SHA-256, one for equal bytes of any source.

Keeping, finding and checking files belongs here. Which file is a source's current one, the event
log knows; bad files are `etl_assets.validate.quarantine`.
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
from etl_assets.model.home import Home
from etl_assets.model.records import Part, RawFile, StoredState
from etl_assets.storage.atomic_write import (
    atomic_file,
    commit_file,
    flush_to_disk,
    translate_os_errors,
)
from etl_assets.storage.hashing import hash_file

READ_ONLY = 0o444
TOKEN_CHARACTERS = 8
HASHED_UP_TO_BYTES = 256 << 20  # some 0.2 s of CPU


@contextmanager
def partial_file(home: Home, part: Part) -> Iterator[tuple[Path, BinaryIO]]:
    """A file for a download under way; what is still there when the block ends is removed.

    Leftovers of the part go first: one writer holds a domain, so they are of a run that was killed.
    """
    partition = "" if part.partition is None else f"[{quote(part.partition, safe='')}]"
    stem = f"{part.source}{partition}"
    with translate_os_errors(home.partial):
        home.partial.mkdir(parents=True, exist_ok=True)
        for leftover in home.partial.glob(f"{glob.escape(stem)}.{'?' * TOKEN_CHARACTERS}.part"):
            leftover.unlink(missing_ok=True)
        path = home.partial / f"{stem}.{secrets.token_hex(TOKEN_CHARACTERS // 2)}.part"
        try:
            with path.open("x+b", buffering=0) as file:
                yield path, file
        finally:
            path.unlink(missing_ok=True)


def discard_partials(home: Home, domain: str) -> None:
    """Remove the downloads that a killed run of the domain has left; for its one writer only."""
    for leftover in partial_files(home, domain):
        leftover.unlink(missing_ok=True)


def partial_files(home: Home, domain: str) -> list[Path]:
    """Downloads of the domain that are under way, or were cut off."""
    return sorted(home.partial.glob(f"{glob.escape(domain)}.*.part"))


def store_file(home: Home, partial: Path, sha256: str) -> Path:
    """Move a complete file into the store; a whole one that is there already stays as it is."""
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


def stored_path(home: Home, file: RawFile) -> Path:
    """Where a record's file lies, to be read now; raises HomeError where it is gone."""
    path = home.root / file.path
    if not path.exists():
        raise HomeError(
            f"{path}: expected the stored file of {file.part}, found none; "
            "put it back, or take away a pin with `etl unpin`, then run again"
        )
    return path


def stored_files(home: Home) -> Iterator[Path]:
    """Every file below the raw store, in order; one that bears no digest as name is astray."""
    yield from sorted(path for path in home.raw.glob("**/*") if path.is_file())


def delete_file(home: Home, path: Path) -> None:
    """Remove a stored file and, where it was the last one there, its folder."""
    with translate_os_errors(path):
        path.unlink(missing_ok=True)
        if path.parent != home.raw and not any(path.parent.iterdir()):
            path.parent.rmdir()


def store_copy(home: Home, path: Path) -> Path:
    """Keep a copy of a file that lies elsewhere, under its digest."""
    sha256 = hash_file(path)
    target = home.raw_file(sha256)
    if verify(home, sha256) is not StoredState.PRESENT:
        with atomic_file(target) as temporary:
            shutil.copyfile(path, temporary)
        target.chmod(READ_ONLY)
    return target


def stored_state(home: Home, file: RawFile) -> StoredState:
    """Whether the record's file is there and is the recorded one; asked for every decision.

    Beyond `HASHED_UP_TO_BYTES` the size stands for the content, and `verify` is for the thorough.
    """
    try:
        size = (home.root / file.path).stat().st_size
    except FileNotFoundError:
        return StoredState.MISSING
    if size != file.size_bytes:
        return StoredState.DAMAGED
    return verify(home, file.sha256) if size <= HASHED_UP_TO_BYTES else StoredState.PRESENT


def verify(home: Home, sha256: str) -> StoredState:
    """Whether the file is there and has its content: reads all of it."""
    try:
        found = hash_file(home.raw_file(sha256))
    except FileNotFoundError:
        return StoredState.MISSING
    return StoredState.PRESENT if found == sha256 else StoredState.DAMAGED

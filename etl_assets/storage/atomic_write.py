"""Files and directories that appear under their name complete or not at all.

Every write of the project goes through this module; what is written is the caller's.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from etl_assets.model.errors import HomeError

# What the operator can do about an error of the machine. Any other OSError inside a block concerns
# some other file and is not translated.
ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "raise the quota or free some space",
    errno.EFBIG: "raise the limit on file sizes",
    errno.EROFS: "make it writable or set ETL_HOME to another directory",
    errno.EACCES: "make it writable or set ETL_HOME to another directory",
    errno.EPERM: "make it writable or set ETL_HOME to another directory",
    errno.ENOTDIR: "move the file that is in the way",
    errno.EEXIST: "move the file that is in the way",
    errno.EISDIR: "move the folder that is in the way",
    errno.ENOTEMPTY: "move the folder that is in the way",
    errno.ENAMETOOLONG: "set ETL_HOME to a directory with a shorter path",
    errno.ELOOP: "replace the symbolic link that leads to itself",
    errno.EMFILE: "raise the limit on open files",
    errno.ENFILE: "raise the limit on open files",
    errno.EIO: "check the disk",
}


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yields a temporary path that is renamed to `target` when the block succeeds.

    The bytes are flushed before the rename; after an error the temporary file is removed. Raises
    HomeError if the disk is full or the directory not writable.
    """
    with translate_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            commit_file(temporary, target, mode=0o644)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yields a temporary directory that is renamed to `target` when the block succeeds.

    For files that are only useful together. Each file is flushed once, so it is slower than one
    `atomic_file` with the same bytes.
    """
    with translate_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        )
        try:
            yield temporary
            for path in temporary.rglob("*"):
                # A file with a second name is a link to one that was flushed when it was written.
                if path.stat().st_nlink == 1 or path.is_dir():
                    flush_to_disk(path)
            commit_file(temporary, target, mode=0o755)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def commit_file(temporary: Path, target: Path, *, mode: int) -> None:
    """Rename a complete file to its target, durable across a crash."""
    temporary.chmod(mode)
    if target.is_dir() and not temporary.is_dir():
        set_aside(target)
    # In this order: after a crash a name must never point at bytes that were not yet on the disk.
    flush_to_disk(temporary)
    os.replace(temporary, target)
    flush_to_disk(target.parent)


def set_aside(path: Path) -> Path:
    """Rename what is in the way of a file, and return its new path; nothing is deleted."""
    for number in count(1):
        target = path.with_name(f"{path.name}.aside{number}")
        if not target.exists():
            break
    return path.rename(target)


def remove_temporary_files(folder: Path, *, name: str = "*") -> None:
    """Remove the temporary files of `name` that a killed process has left in a folder."""
    for path in folder.glob(f".{name}.*.tmp"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Flush a file to the disk, or the names in a directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def advice_on(text: str) -> str:
    """What the operator can do about an error of the machine that another library reports as text.

    Empty if the text names no such error.
    """
    named = (advice for number, advice in ADVICE.items() if os.strerror(number) in text)
    return next(named, "")


@contextmanager
def translate_os_errors(target: Path) -> Iterator[None]:
    """Raise a HomeError with advice for a full disk, a limit or a missing permission."""
    try:
        yield
    except OSError as error:
        advice = ADVICE.get(error.errno or 0)
        if advice is None:
            raise
        raise HomeError(
            f"{error.filename or target}: expected to write it, found: {error.strerror}; "
            f"{advice}, then run again"
        ) from error

"""How a file appears: whole or not at all.

Every write of the project goes through here. What is written is the caller's.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etl_assets.model.errors import HomeError

# The machine's refusals. Any other OSError inside a block is about some other file, and stays.
REFUSALS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "raise the quota or free some space",
    errno.EFBIG: "raise the limit on file sizes",
    errno.EROFS: "make it writable or set ETL_HOME to another directory",
    errno.EACCES: "make it writable or set ETL_HOME to another directory",
    errno.EPERM: "make it writable or set ETL_HOME to another directory",
    errno.ENOTDIR: "move the file that is in the way",
    errno.EEXIST: "move the file that is in the way",
}


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that becomes `target` when the block ends well.

    The bytes are on the disk before the name is; after an error nothing is left behind. Raises
    HomeError where the machine refuses.
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
    """A temporary directory beside `target` that becomes `target` with all files in it.

    For many files that make sense together only: one rename, and the disk is asked once for each.
    """
    with translate_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        )
        try:
            yield temporary
            for path in temporary.rglob("*"):
                _flush(path)
            commit_file(temporary, target, mode=0o755)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def is_writable(directory: Path) -> bool:
    """Whether something can be made there; it is tried, for permissions do not tell all."""
    try:
        Path(tempfile.mkdtemp(suffix=".tmp", dir=directory)).rmdir()
    except OSError:
        return False
    return True


def write_text(target: Path, text: str) -> None:
    """Let a text file appear at `target`."""
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def commit_file(temporary: Path, target: Path, *, mode: int) -> None:
    """Give a complete file its name: bytes to the disk, then the name, then the directory."""
    temporary.chmod(mode)
    _flush(temporary)
    os.replace(temporary, target)
    flush_directory(target.parent)


def remove_temporary_files(folder: Path, *, name: str = "*") -> None:
    """Remove what a killed process has left in a folder on its way to be files of that name."""
    for left in folder.glob(f".{name}.*.tmp"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def flush_directory(directory: Path) -> None:
    """Make the names in a directory survive a crash."""
    _flush(directory)


@contextmanager
def translate_os_errors(target: Path) -> Iterator[None]:
    """Turn a full disk, a limit or a missing permission into a HomeError that says what to do."""
    try:
        yield
    except OSError as error:
        advice = REFUSALS.get(error.errno or 0)
        if advice is None:
            raise
        raise HomeError(
            f"{error.filename or target}: expected to write it, found: {error.strerror}; "
            f"{advice}, then run again"
        ) from error


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

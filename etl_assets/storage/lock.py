"""A file lock that names the process that has it, and that the system releases with that process.

What is locked is the caller's: a domain for one writer.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from etl_assets.model.errors import HomeError


@contextmanager
def lock(path: Path, *, on_wait: Callable[[str], None], wait: bool = True) -> Iterator[None]:
    """Lock a file for the block.

    While another process has the lock, calls `on_wait` with a message and waits. Raises HomeError
    instead if `wait` is false, or if the file cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise HomeError(f"{path}: expected a file that can be written: {error.strerror}") from error
    # flock and not a file's existence: the system releases it when a process is killed.
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = f"{path.name} is held by {_read_holder(handle)}"
            if not wait:
                raise HomeError(f"{holder}; wait for it to end, or stop it") from None
            on_wait(f"{holder}; waiting for it to end")
            fcntl.flock(handle, fcntl.LOCK_EX)
        _write_holder(handle)
        yield
    finally:
        os.close(handle)


def is_lock_free(path: Path) -> bool:
    """True if no process has the lock."""
    return find_lock_holder(path) is None


def find_lock_holder(path: Path) -> str | None:
    """Returns a description of the process that has the lock, or None."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(handle)
    finally:
        os.close(handle)
    return None


def _write_holder(handle: int) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(holder).encode(), 0)


def _read_holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, 1000, 0))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it has the lock and has not written its name yet
        return "another process"

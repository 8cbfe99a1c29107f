"""One writer per domain: a file lock that a crash releases and that names its holder.

What is protected is the caller's.
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
    """Hold the lock for the block; waits for another holder, or raises HomeError with `wait` false.

    The operating system releases it with its process, so that a killed run leaves none behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise HomeError(f"{path}: expected a file that can be written: {error.strerror}") from error
    try:
        _acquire(handle, path, on_wait=on_wait, wait=wait)
        _sign(handle)
        yield
    finally:
        os.close(handle)


def is_lock_free(path: Path) -> bool:
    """Whether nobody holds the lock at this moment."""
    return find_lock_holder(path) is None


def find_lock_holder(path: Path) -> str | None:
    """Who holds the lock at this moment; None where nobody does."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(handle)
    finally:
        os.close(handle)
    return None


def _acquire(handle: int, path: Path, *, on_wait: Callable[[str], None], wait: bool) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = f"{path.name} is held by {_holder(handle)}"
        if not wait:
            raise HomeError(f"{holder}; wait for it to end, or stop it") from None
        on_wait(f"{holder}; waiting for it to end")
        fcntl.flock(handle, fcntl.LOCK_EX)


def _sign(handle: int) -> None:
    signature = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(signature).encode(), 0)


def _holder(handle: int) -> str:
    try:
        signature = json.loads(os.pread(handle, 1000, 0))
        return f"process {signature['pid']} on {signature['host']} since {signature['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"

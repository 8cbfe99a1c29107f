"""The lock of a domain, which one process has at a time: on a file, or in a database.

What writes under the lock is the caller's. `etl_assets.storage.postgres_lock` has the locks of
homes that several hosts share.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.storage.user import current_user

if TYPE_CHECKING:
    from etl_assets.model.records import PublishedLink
    from etl_assets.storage.postgres import Database


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that has a lock."""

    pid: int
    host: str
    operator: str
    """Empty if an older version took the lock."""
    since: str

    @classmethod
    def current(cls) -> Self:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(os.getpid(), socket.gethostname(), current_user(), since)

    def __str__(self) -> str:
        operator = f" by {self.operator}" if self.operator else ""
        return f"process {self.pid} on {self.host}{operator} since {self.since}"


class Locks(Protocol):
    """The locks of the domains of a home, and what was published under them."""

    def take(
        self, domain: str, *, on_wait: Callable[[str], None], wait: bool = True
    ) -> AbstractContextManager[None]:
        """Lock a domain for the block.

        While another process has the lock, calls `on_wait` with a message and waits. Raises
        HomeError instead if `wait` is false, or if the lock cannot be used.
        """

    def find_holder(self, domain: str) -> str | None:
        """Return a description of the process that has the lock, or None; takes no lock."""

    def require(self, domain: str) -> None:
        """Raise LockLostError if this process had the lock and may have lost it."""

    def move_head(self, domain: str, link: PublishedLink) -> bool:
        """Record the newest published set, before readers see it; False if nothing records it.

        Raises LockLostError if another process has taken the lock: then nothing is recorded. Any
        other HomeError leaves open whether it is recorded.
        """

    def read_head(self, domain: str, *, fresh: bool = False) -> PublishedLink | None:
        """Return what `move_head` recorded last; None if it never did, or records nothing.

        A process that has the lock knows the answer, as no other one can record another head. With
        `fresh` it does not rely on having it.
        """


def run_lock_name(run_id: str) -> str:
    """Return the name of the lock that the worker of a run has, in place of a domain's."""
    return f"run/{run_id}"


def domain_locks(home: Home, database: Database | None) -> Locks:
    """Return the locks of a home: in the database of its event log, if it has one."""
    if database is None:
        return FileLocks(home)
    from etl_assets.storage.postgres_lock import PostgresLocks  # it needs an extra

    return PostgresLocks(database)


@dataclass(frozen=True, slots=True)
class FileLocks:
    """Locks of one machine, as `flock` on local disk.

    The system releases them with the process, and no other process can get one before. So nothing
    has to be compared, and the head is recorded in `manifests/` alone.
    """

    home: Home

    def take(
        self, domain: str, *, on_wait: Callable[[str], None], wait: bool = True
    ) -> AbstractContextManager[None]:
        return lock(self.home.lock(domain), on_wait=on_wait, wait=wait)

    def find_holder(self, domain: str) -> str | None:
        return find_lock_holder(self.home.lock(domain))

    def require(self, domain: str) -> None:
        pass

    def move_head(self, domain: str, link: PublishedLink) -> bool:  # noqa: ARG002
        return False

    def read_head(
        self,
        domain: str,  # noqa: ARG002 - of the protocol
        *,
        fresh: bool = False,  # noqa: ARG002
    ) -> PublishedLink | None:
        return None


@contextmanager
def lock(path: Path, *, on_wait: Callable[[str], None], wait: bool = True) -> Iterator[None]:
    """Lock a file for the block.

    While another process has the lock, calls `on_wait` with a message and waits. Raises HomeError
    instead if `wait` is false, or if the file cannot be opened.
    """
    with _open_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
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


def find_lock_holder(path: Path) -> str | None:
    """Return a description of the process that has the lock, or None.

    Raises HomeError if the file cannot be opened.
    """
    with _open_errors(path):
        if not path.exists():
            return None
        handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(handle)
    finally:
        os.close(handle)
    return None


@contextmanager
def _open_errors(path: Path) -> Iterator[None]:
    """Raise a HomeError with what to do for a lock file that cannot be opened."""
    try:
        yield
    except IsADirectoryError as error:
        command = shlex.join(["mv", str(path), f"{path}.folder"])
        raise HomeError(
            f"{path}: expected the file of a lock, found a folder; move it away: `{command}`"
        ) from error
    except OSError as error:
        raise HomeError(
            f"{path}: expected a file that can be written, found: {error.strerror}; let "
            f"{current_user()} write it, in a folder"
        ) from error


def _write_holder(handle: int) -> None:
    holder = Holder.current()
    values = {name: getattr(holder, name) for name in ("pid", "host", "operator", "since")}
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(values).encode(), 0)


def _read_holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, 1000, 0))
        operator = holder.get("operator", "")
        return str(Holder(holder["pid"], holder["host"], operator, holder["since"]))
    except (ValueError, KeyError, TypeError, AttributeError):  # it has not written its name yet
        return "another process"

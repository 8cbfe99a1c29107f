"""Local files, of a directory mirror or a declared path: their validators and their bytes.

Remote files are `etl_assets.fetch.transfer`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from etl_assets.declarations.source import Limits
from etl_assets.fetch.locations import Target
from etl_assets.fetch.transfer import HashingWriter, ReceivedFile
from etl_assets.model.errors import NotPublishedError, TransferRefusedError, UnreachableError
from etl_assets.model.records import Validators, credible_date

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
READ_BYTES = 1 << 20


def local_validators(target: Target, path: Path, now: datetime) -> Validators:
    """Returns the size of a file, and its modification time as Last-Modified."""
    with translate_read_errors(target):
        status = path.stat()
    if not path.is_file():
        raise UnreachableError(f"{target}: expected a file, found a directory", is_final=True)
    return _validators(status, now)


def receive_local(
    target: Target, path: Path, limits: Limits, writer: HashingWriter, now: datetime
) -> ReceivedFile:
    """Copy a file to `writer`; raises UnreachableError if the file changes meanwhile."""
    with translate_read_errors(target):
        file = path.open("rb")
    with file:
        before = os.fstat(file.fileno())
        if before.st_size > limits.max_bytes:
            raise TransferRefusedError(
                f"{target}: expected at most {limits.max_bytes:,} bytes, found {before.st_size:,};"
                " see limits.max_bytes"
            )
        # The first condition ends the loop on a file that grows as fast as it is read.
        while writer.size_bytes <= before.st_size and (piece := _read_piece(target, file)):
            writer.write(piece)
        after = os.fstat(file.fileno())
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, writer.size_bytes):
        raise UnreachableError(f"{target}: it was written to while it was read; run again")
    return replace(writer.finish(None), last_modified=_validators(before, now).last_modified)


def _read_piece(target: Target, file: BinaryIO) -> bytes:
    # Apart from the write, whose OSError is a full disk and not a fault of the source.
    with translate_read_errors(target):
        return file.read(READ_BYTES)


def _validators(status: os.stat_result, now: datetime) -> Validators:
    # Not datetime.fromtimestamp: a float of seconds loses the last microseconds.
    changed = EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
    return Validators(last_modified=credible_date(changed, now), size_bytes=status.st_size)


@contextmanager
def translate_read_errors(target: Target) -> Iterator[None]:
    """Raise a SourceError for a local file that cannot be read, as for a remote one."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotPublishedError(f"{target}: no such file") from error
    except OSError as error:
        raise UnreachableError(f"{target}: {error.strerror}", is_final=True) from error

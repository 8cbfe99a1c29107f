"""Local files, as a mirror or a declared path gives them: their validators and their bytes.

Remote files are `etl_assets.fetch.transfer`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from etl_assets.declarations.source import Limits
from etl_assets.fetch.locations import Target
from etl_assets.fetch.transfer import HashingWriter, ReceivedFile
from etl_assets.model.errors import NotPublishedError, TransferRefusedError, UnreachableError
from etl_assets.model.records import Validators

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
READ_BYTES = 1 << 20


def local_validators(target: Target, path: Path) -> Validators:
    """Size, and the time of the last change as Last-Modified."""
    with _faults_told(target):
        found = path.stat()
    if not path.is_file():
        raise UnreachableError(f"{target}: expected a file, found a directory", is_final=True)
    return _validators(found)


def receive_local(target: Target, path: Path, limits: Limits, sink: HashingWriter) -> ReceivedFile:
    """The file's bytes in `sink`; raises UnreachableError where it changes while it is read."""
    with _faults_told(target):
        file = path.open("rb")
    with file:
        before = os.fstat(file.fileno())
        if before.st_size > limits.max_bytes:
            raise TransferRefusedError(
                f"{target}: expected at most {limits.max_bytes:,} bytes, found {before.st_size:,};"
                " see limits.max_bytes"
            )
        while sink.size_bytes <= before.st_size and (piece := file.read(READ_BYTES)):
            sink.add(piece)
        after = os.fstat(file.fileno())
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, sink.size_bytes):
        raise UnreachableError(f"{target}: it was written to while it was read; run again")
    return replace(sink.received(None), last_modified=_validators(before).last_modified)


def _validators(found: os.stat_result) -> Validators:
    changed = EPOCH + timedelta(microseconds=found.st_mtime_ns // 1000)
    return Validators(last_modified=changed, size_bytes=found.st_size)


@contextmanager
def _faults_told(target: Target) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotPublishedError(f"{target}: no such file") from error
    except OSError as error:
        raise UnreachableError(f"{target}: {error.strerror}", is_final=True) from error

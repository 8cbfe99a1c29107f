"""Zip archives with one JSON record per member: the same bytes for the same records.

Members of unchanged records are copied as they are packed. What a record is belongs to the format.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers.output import DocumentContext

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip; a clock would change the bytes
READ_ERRORS = (zipfile.BadZipFile, zlib.error)

Checksums = Mapping[str, tuple[int, int, int]]
"""By the name of a member: what tells its content from another one."""


def add_member(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Append a member that is packed now."""
    member = zipfile.ZipInfo(name, ZIP_EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16  # the default would extract as 0600
    archive.writestr(member, data)


@contextmanager
def open_published(
    document: Document, context: DocumentContext
) -> Iterator[zipfile.ZipFile | None]:
    """The published archive, or None if nothing is taken over from one."""
    if context.published is None:
        yield None
        return
    with zipfile.ZipFile(context.published.directory / document.file) as archive:
        yield archive


@contextmanager
def open_archive(path: Path, content: str) -> Iterator[zipfile.ZipFile]:
    """The archive; raises BuildError, which names the expected content, if it is none."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise archive_error(path, content, error) from error
    with archive:
        yield archive


def archive_error(path: Path | str | None, content: str, error: Exception) -> BuildError:
    return BuildError(f"{path}: expected a zip of {content}, found: {error}")


def read_checksums(archive: zipfile.ZipFile) -> Checksums:
    return {
        member.filename: (member.CRC, member.file_size, member.compress_size)
        for member in archive.infolist()
    }


def find_differing(members: Checksums, others: Checksums) -> list[str]:
    """The names of the members that `others` does not have, or has with other content."""
    return sorted(name for name, _ in members.items() - others.items())

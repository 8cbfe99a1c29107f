"""What writers share to write a file: an output that is hashed as it is written, and structures.

Formats are the modules of their names; how a file appears is in `storage.atomic_write`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import msgspec
from pydantic import Field

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Attribution, Document, Tone, attribution_texts
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.storage.atomic_write import atomic_file
from etl_assets.storage.hashing import hash_file

BUFFER_BYTES = 1 << 20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LICENSE_SUFFIX = ".license"


@dataclass(frozen=True, slots=True)
class PublishedDocument:
    """A document's published files, of which a writer may take over what did not change.

    They are verified, and were written by the same code under the same declarations.
    """

    directory: Path
    files: Mapping[str, PublishedFile]
    """By the path in the directory."""
    mart: Path
    """The mart that they were written from."""
    key: Sequence[str]
    """The columns that name a row of the mart."""


@dataclass(frozen=True, slots=True)
class DocumentContext:
    """What a document depends on besides its rows, and the run directory that it is written to."""

    directory: Path
    as_of: datetime
    attributions: tuple[Attribution, ...] = ()
    published: PublishedDocument | None = None
    signing_key: str | None = None
    """Fingerprint of the key with which the set is signed; None if it is not signed."""
    marts: Mapping[str, Path] = field(default_factory=dict)
    """The further marts that it declares, by the name in `also_from`."""
    files_before: Sequence[tuple[Document, Sequence[PublishedFile]]] = ()
    """The files of the documents of the set that are declared before it."""
    tones: Mapping[str, Tone] = field(default_factory=dict)
    """Which tone of colour a value has."""


class DocumentStruct(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Base of the structures of a standard, as far as we write them.

    Members that are null or empty are left out. Members that we do not write are refused when a
    document is read back.
    """


class FormatVersion(Declaration):
    """Options of a format whose members a domain chooses."""

    format_version: int | None = Field(
        default=None,
        ge=1,
        description="written as the member of this name; raise it when a member is removed or"
        " changes its meaning",
    )

    @property
    def member(self) -> dict[str, int]:
        """The first member of the document."""
        return {} if self.format_version is None else {"format_version": self.format_version}


class ConformanceError(BuildError, ValueError):
    """A structure that its standard does not allow.

    It is a ValueError too, so that msgspec's decoder reports it with its position.
    """


class OutputFile:
    """A file that is written in pieces, and hashed and counted meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._size_bytes += len(data)
        self._file.write(data)

    def describe(self, document: str, file: str, rows: int) -> PublishedFile:
        """The record of the file, once all of it is written."""
        return PublishedFile(
            document=document,
            file=file,
            sha256=self._digest.hexdigest(),
            size_bytes=self._size_bytes,
            rows=rows,
        )


@contextmanager
def open_output(target: Path) -> Iterator[OutputFile]:
    """An output file that appears at `target` when the block ends without an error."""
    with atomic_file(target) as temporary, temporary.open("wb", buffering=BUFFER_BYTES) as file:
        yield OutputFile(file)


def describe_file(path: Path, document: str, file: str, rows: int) -> PublishedFile:
    """The record of a file that was not written through an output file."""
    return PublishedFile(
        document=document,
        file=file,
        sha256=hash_file(path),
        size_bytes=path.stat().st_size,
        rows=rows,
    )


def write_license(document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Name the sources in `<file>.license`, for a format that has no member for them.

    The name follows https://reuse.software. Returns no file if no source has to be named.
    """
    if not context.attributions:
        return []
    name = document.file + LICENSE_SUFFIX
    lines = [f"{document.title}, made of:", *attribution_texts(context.attributions)]
    with open_output(context.directory / name) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return [file.describe(document.file, name, 0)]


def revision_number(as_of: datetime) -> int:
    """Microseconds since 1970, for a standard that numbers the versions of a document.

    It rises with every publication, and is the same in a replay, which a counter would not be. It
    is exact in a double (below 2**53) until the year 2255.
    """
    return (as_of - EPOCH) // timedelta(microseconds=1)


def short_revision_number(as_of: datetime) -> int:
    """Seconds since 2000, for readers of a number of 32 bits with a sign; it fits until 2068.

    Two publications within a second have one number.
    """
    return (as_of - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)

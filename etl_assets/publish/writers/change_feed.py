"""A feed of changes in a folder: pages of JSON lines, an index of them, and an Atom feed.

A page has the changes of one publication and never changes. `feed-0.ndjson` is a snapshot instead:
all rows after the publication that it ends with. A reader that applies the snapshot and the later
pages has the current rows. Reading from a sequence number on is `read_since`.

A sequence number has two parts, as an id of a Redis stream has: the publication, which is its
logical time in microseconds since 1970, and the number of the change in it, 0 for the snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import msgspec
from pydantic import Field

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.errors import BuildError, HomeError, UsageError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.run_directory import link_file
from etl_assets.publish.writers.output import (
    EPOCH,
    DocumentContext,
    PublishedDocument,
    open_output,
    revision_number,
)
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.unchanged import RowGroups
from etl_assets.storage.atomic_write import atomic_directory

FORMAT_VERSION = 1
INDEX, ATOM, SNAPSHOT = "index.json", "changes.atom", "feed-0.ndjson"
PUBLISHED_AT, CHANGE_NUMBER, IS_REMOVED = "published_at", "change_number", "is_removed"
SEQUENCE = "sequence"
LINES_PER_WRITE = 500

ATOM_NAMESPACE = "http://www.w3.org/2005/Atom"
ATOM_ENTRIES = 50  # the newest publications
ATOM_LINES = 100  # changes that an entry names; it links all
# Characters that XML 1.0 cannot contain, escaped or not (section 2.2).
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Options(Declaration):
    """Of the Atom feed."""

    base_url: str = Field(
        pattern=r"^https://[^?#]+[^/?#]$", description="where the set is published"
    )
    author: str = Field(min_length=1)


class Sequence(NamedTuple):
    """The number of a change; they ascend, whatever was restored in between."""

    publication: int
    change: int

    def __str__(self) -> str:
        return f"{self.publication}-{self.change}"

    @classmethod
    def parse(cls, text: str) -> Sequence:
        """Raises UsageError if the text is no sequence number; `0` is the one before all."""
        if not re.fullmatch("[0-9]{1,18}(-[0-9]{1,18})?", text):
            raise UsageError(
                "--since: expected the sequence number of a change, as 1772366400000000-17, or 0 "
                f"for all, found {text!r}"
            )
        publication, _, change = text.partition("-")
        return cls(int(publication), int(change or 0))


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """One page, as the index lists it."""

    file: str
    published_at: datetime
    first: str
    last: str
    changes: int


class Index(msgspec.Struct, forbid_unknown_fields=True):
    """The pages in order; the first is the snapshot."""

    format_version: int
    newest: str
    pages: list[Page]
    attributions: list[str] = []


class ChangesSince(msgspec.Struct, frozen=True):
    """What a reader has to apply to be current."""

    newest: str
    is_complete: bool
    """True if these are all rows: what the reader has is to be dropped first."""
    changes: list[dict[str, Any]]


class FeedFolder:
    """The folder of the feed while its files are written or linked."""

    def __init__(self, folder: Path, document: Document, context: DocumentContext) -> None:
        self._folder, self._document, self._published = folder, document, context.published
        self.files: list[PublishedFile] = []

    def write(self, name: str, chunks: Iterable[bytes], rows: int = 0) -> None:
        """Write a file; `rows` is the number of rows in it."""
        with open_output(self._folder / name) as file:
            for chunk in chunks:
                file.write(chunk)
        self.files.append(file.describe(self._document.file, self._path(name), rows))

    def link(self, name: str) -> bool:
        """Link the published file; False if there is none."""
        file = self._published and self._published.files.get(self._path(name))
        if self._published is None or not file:
            return False
        link_file(self._published.directory / file.file, self._folder / name)
        self.files.append(file)
        return True

    def _path(self, name: str) -> str:
        return f"{self._document.file}/{name}"


class PageRows:
    """The rows of one page."""

    def __init__(self, rows: Rows, published_at: datetime, start: int, count: int) -> None:
        self._rows, self._start, self.count = rows, start, count
        self.published_at = published_at

    def first_rows(self, limit: int | None = None) -> Iterator[dict[str, Any]]:
        end = self._start + (self.count if limit is None else min(limit, self.count))
        return iter(self._rows.select(range(self._start, end)))

    @cached_property
    def page(self) -> Page:
        first = next(self.first_rows(1))[CHANGE_NUMBER]
        publication = revision_number(self.published_at)
        return Page(
            file=f"feed-{publication}.ndjson" if first else SNAPSHOT,
            published_at=self.published_at,
            first=str(Sequence(publication, first)),
            last=str(Sequence(publication, self.count if first else 0)),
            changes=self.count,
        )

    def lines(self) -> Iterator[bytes]:
        """The encoded rows, each with its sequence number, in chunks."""
        encoder = msgspec.json.Encoder(decimal_format="number")
        rows = self.first_rows()
        while chunk := [*islice(rows, LINES_PER_WRITE)]:
            yield b"".join(encoder.encode(_change_of(row)) + b"\n" for row in chunk)


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Write the feed into the directory `document.file`; unchanged pages are links."""
    groups = RowGroups(rows, (PUBLISHED_AT,), context.published)
    with atomic_directory(context.directory / document.file) as temporary:
        folder = FeedFolder(temporary, document, context)
        pages, start = list[PageRows](), 0
        for group, count in groups.groups:
            rows_of_page = PageRows(rows, group[0], start, count)
            page = rows_of_page.page
            if group not in groups.unchanged or not folder.link(page.file):
                folder.write(page.file, rows_of_page.lines(), count)
            pages.append(rows_of_page)
            start += count
        folder.write(INDEX, [_encode_index([each.page for each in pages], context)])
        folder.write(ATOM, [_encode_atom(pages, document, context)])
    return folder.files


def count_rows(document: Document, directory: Path) -> int:
    """The number of changes; raises BuildError if a page lacks one, or is not in the index."""
    return _count_rows(document, directory, frozenset())


def count_rows_beside(document: Document, directory: Path, published: PublishedDocument) -> int:
    """As `count_rows`; pages that are published ones are not read again."""
    linked = {
        name
        for name in published.files
        if (path := directory / name).exists() and path.samefile(published.directory / name)
    }
    return _count_rows(document, directory, linked)


def read_index(folder: Path) -> Index:
    """Returns the pages of a feed; raises BuildError if its index is not one."""
    try:
        return msgspec.json.decode((folder / INDEX).read_bytes(), type=Index)
    except msgspec.DecodeError as error:
        raise BuildError(f"{folder / INDEX}: expected a list of pages, found: {error}") from error


def read_since(folder: Path, since: Sequence) -> ChangesSince:
    """Returns the changes after a sequence number, in order.

    Of a publication that has no page, because it was folded into the snapshot or belongs to a set
    that was replaced by an earlier one, nothing can be said: the snapshot and all pages follow.
    """
    try:
        index = read_index(folder)
        publications = [Sequence.parse(page.first).publication for page in index.pages]
        is_known = since.publication in publications
        if is_known and since.publication == publications[0]:
            # The snapshot has one number, and no first half.
            is_known = index.pages[0].file != SNAPSHOT or since.change == 0
        after = since if is_known else Sequence(0, -1)
        changes = []
        for page in index.pages:
            if Sequence.parse(page.last) > after:
                changes += [
                    change
                    for change in _read_page(folder / page.file)
                    if Sequence.parse(change[SEQUENCE]) > after
                ]
    except OSError as error:
        raise HomeError(f"{folder}: expected a feed of changes, found: {error}") from error
    return ChangesSince(newest=index.newest, is_complete=not is_known, changes=changes)


def _change_of(row: Mapping[str, Any]) -> dict[str, Any]:
    sequence = Sequence(revision_number(row[PUBLISHED_AT]), row[CHANGE_NUMBER])
    members = {k: v for k, v in row.items() if k not in {PUBLISHED_AT, CHANGE_NUMBER}}
    return {SEQUENCE: str(sequence), **members}


def _encode_index(pages: list[Page], context: DocumentContext) -> bytes:
    index = Index(
        format_version=FORMAT_VERSION,
        newest=pages[-1].last if pages else str(Sequence(0, 0)),
        pages=pages,
        attributions=attribution_texts(context.attributions),
    )
    return msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n"


def _encode_atom(pages: list[PageRows], document: Document, context: DocumentContext) -> bytes:
    """The newest publications as an Atom feed (RFC 4287), each with its first changes as text."""
    options = Options.model_validate(document.options)
    url = f"{options.base_url}/{document.file}"
    feed = ET.Element("feed", xmlns=ATOM_NAMESPACE)
    _add(feed, "id", f"{url}/{ATOM}")
    _add(feed, "title", document.title)
    _add(feed, "updated", _format_time(pages[-1].published_at if pages else EPOCH))
    ET.SubElement(feed, "link", rel="self", href=f"{url}/{ATOM}")
    _add(ET.SubElement(feed, "author"), "name", options.author)
    if context.attributions:
        _add(feed, "rights", "\n".join(attribution_texts(context.attributions)))
    # The snapshot is no change.
    changed = [each for each in pages if each.page.file != SNAPSHOT]
    for each in reversed(changed[-ATOM_ENTRIES:]):
        entry = ET.SubElement(feed, "entry")
        _add(entry, "id", f"{url}/{each.page.file}")
        _add(entry, "title", "1 change" if each.count == 1 else f"{each.count:,} changes")
        _add(entry, "updated", _format_time(each.published_at))
        ET.SubElement(
            entry, "link", rel="alternate", href=f"{url}/{each.page.file}", type="application/jsonl"
        )
        lines = [describe_change(_change_of(row)) for row in each.first_rows(ATOM_LINES)]
        if each.count > ATOM_LINES:
            lines.append(f"and {each.count - ATOM_LINES:,} more")
        _add(entry, "content", "\n".join(lines))
    ET.indent(feed)
    text: bytes = ET.tostring(feed, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def describe_change(change: Mapping[str, Any]) -> str:
    """One line with the values of a change, its key first."""
    values = [
        str(value)
        for name, value in change.items()
        if name not in {SEQUENCE, IS_REMOVED} and value is not None
    ]
    return " ".join([*values, *(["removed"] if change[IS_REMOVED] else [])])


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = NOT_IN_XML.sub("\ufffd", text)


def _format_time(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _read_page(path: Path) -> list[dict[str, Any]]:
    try:
        return msgspec.json.Decoder(dict[str, Any]).decode_lines(path.read_bytes())
    except msgspec.DecodeError as error:
        raise BuildError(f"{path}: expected an object in each line, found: {error}") from error


def _count_rows(document: Document, directory: Path, linked: Iterable[str]) -> int:
    folder = directory / document.file
    index, linked_files = read_index(folder), frozenset(linked)
    listed = {page.file for page in index.pages}
    if unpaired := {path.name for path in folder.glob("*.ndjson")} ^ listed:
        names = ", ".join(sorted(unpaired))
        raise BuildError(f"{folder / INDEX}: expected the pages of the folder, not so: {names}")
    total, before = 0, Sequence(0, -1)
    for page in index.pages:
        first, last = Sequence.parse(page.first), Sequence.parse(page.last)
        if f"{document.file}/{page.file}" not in linked_files:
            numbers = [Sequence.parse(each[SEQUENCE]) for each in _read_page(folder / page.file)]
            expected = [
                Sequence(first.publication, number if first.change else 0)
                for number in range(1, page.changes + 1)
            ]
            if numbers != expected:
                raise BuildError(
                    f"{folder / page.file}: expected the changes {first} to {last}, found others"
                )
        if first <= before:
            raise BuildError(f"{folder / INDEX}: expected ascending pages, found {first}")
        total, before = total + page.changes, last
    return total

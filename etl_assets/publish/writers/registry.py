"""Which formats can be written, and the interface of a writer.

A new format is a module of its name in this package, and its name in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from pydantic import ValidationError

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Document
from etl_assets.declarations.rules import RuleViolation
from etl_assets.model.errors import DeclarationError, Problem
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.output import DocumentContext, PublishedDocument
from etl_assets.publish.writers.rows import Rows

FORMATS = (
    "change_feed",
    "csaf",
    "csv_table",
    "cyclonedx",
    "json_envelope",
    "json_map",
    "json_record",
    "openvex",
    "osv",
    "parquet",
    "plain_text",
    "site",
    "vex_repository",
)


class Writer(Protocol):
    """What the module of a format offers."""

    Options: type[Declaration]

    def write(
        self, rows: Rows, document: Document, context: DocumentContext
    ) -> list[PublishedFile]:
        """Write the document's files below `context.directory`; returns a record of each file."""

    def count_rows(self, document: Document, directory: Path) -> int:
        """Read the files back and validate their structure; returns the rows that they contain.

        Raises BuildError if a file is not what its format says.
        """


@runtime_checkable
class ManyMartsWriter(Protocol):
    """What the module of a format offers that reads further marts."""

    MARTS: Mapping[str, type]
    """The type of the rows of each, by the name that `also_from` uses."""


@runtime_checkable
class GroupFilesWriter(Protocol):
    """What the module of a format offers that writes a file for each group of rows."""

    def group_files(
        self, document: Document, files: Iterable[PublishedFile], groups: Sequence[str]
    ) -> dict[str, str]:
        """The file of each group that has one; the names may depend on all groups."""


@runtime_checkable
class LinkingWriter(Protocol):
    """What the module of a format offers whose files link those of documents declared before."""

    LINKS_FILES: bool


@runtime_checkable
class PartsWriter(Protocol):
    """What the module of a format offers that takes over parts of a published document."""

    def count_rows_beside(
        self, document: Document, directory: Path, published: PublishedDocument
    ) -> int:
        """As `count_rows`; the parts that are the published ones are counted and not decoded."""


@runtime_checkable
class SigningWriter(Protocol):
    """What the module of a format offers whose standard asks for signatures, and names the key."""

    def signed_files(self, files: Iterable[PublishedFile]) -> list[str]:
        """The names of those of the document's files that have a signature beside them."""


def find_writer(document: Document) -> Writer:
    """The writer of the document's format; raises DeclarationError if format or options are bad."""
    if problems := find_problems([document]):
        raise DeclarationError(problems)
    return _import_writer(document.format)


def find_group_files(
    document: Document, files: Iterable[PublishedFile], groups: Sequence[str]
) -> dict[str, str]:
    """Those of the document's files that are about one group, by group."""
    writer = find_writer(document)
    if isinstance(writer, GroupFilesWriter):
        return writer.group_files(document, files, groups)
    return {}


def links_files(document: Document) -> bool:
    """True if the document's files link those of documents that are declared before it."""
    writer = find_writer(document)
    return isinstance(writer, LinkingWriter) and writer.LINKS_FILES


def count_rows(document: Document, directory: Path, published: PublishedDocument | None) -> int:
    """Count the rows in the document's files, see `Writer.count_rows`.

    Parts that a published document has too were read back when they were written.
    """
    writer = find_writer(document)
    if published is not None and isinstance(writer, PartsWriter):
        return writer.count_rows_beside(document, directory, published)
    return writer.count_rows(document, directory)


def names_signing_key(document: Document) -> bool:
    """True if the document's files name the key that signs them."""
    return isinstance(find_writer(document), SigningWriter)


def list_signed_files(documents: Iterable[Document], files: Sequence[PublishedFile]) -> list[str]:
    """The files of all documents that have a signature beside them."""
    names = []
    for document in documents:
        writer = find_writer(document)
        if isinstance(writer, SigningWriter):
            names += writer.signed_files(f for f in files if f.document == document.file)
    return names


def find_problems(documents: Iterable[Document]) -> list[Problem]:
    """Every wrong format and option that the documents declare."""
    return [
        Problem(
            f"documents: {document.file}: {'.'.join(map(str, each.path))}",
            each.expected,
            each.actual,
        )
        for document in documents
        for each in _violations(document)
    ]


def document_violations(domain: Mapping[str, Any]) -> Iterator[RuleViolation]:
    """Every wrong format and option of a domain as it is written in YAML."""
    documents = domain.get("documents")
    for index, data in enumerate(documents if isinstance(documents, list) else []):
        try:
            document = Document.model_validate(data, strict=True)
        except ValidationError:  # reported with the other fields of the file
            continue
        for each in _violations(document):
            yield replace(each, path=("documents", index, *each.path))


def _violations(document: Document) -> Iterator[RuleViolation]:
    """What is wrong with one document, by the path in it."""
    if document.format not in FORMATS:
        expected = f"one of the formats {', '.join(FORMATS)}"
        yield RuleViolation(("format",), expected, document.format)
        return
    writer = _import_writer(document.format)
    known = writer.MARTS if isinstance(writer, ManyMartsWriter) else {}
    for name in document.also_from.keys() - known.keys():
        expected = f"one of {', '.join(known)}" if known else "no further model"
        yield RuleViolation(("also_from", name), expected, document.also_from[name])
    try:
        writer.Options.model_validate(document.options, strict=True)
    except ValidationError as error:
        for fault in error.errors():
            yield RuleViolation(("options", *fault["loc"]), fault["msg"], repr(fault["input"]))


def _import_writer(name: str) -> Writer:
    # Only when it is needed: a domain uses few formats.
    return cast(Writer, import_module(f"etl_assets.publish.writers.{name}"))

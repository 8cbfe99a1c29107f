"""OpenVEX 0.2.0, one document with one statement per line (https://github.com/openvex/spec)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import Field

from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.json_stream import (
    HEADER,
    decode_part,
    read_list,
    read_object,
    write_object,
)
from etl_assets.publish.writers.output import (
    ConformanceError,
    DocumentContext,
    DocumentStruct,
    PublishedDocument,
    open_output,
    revision_number,
)
from etl_assets.publish.writers.purl import PackageOptions, PackageVersion
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.unchanged import merge_elements

CONTEXT: Literal["https://openvex.dev/ns/v0.2.0"] = "https://openvex.dev/ns/v0.2.0"
STATEMENTS = "statements"

Status = Literal["not_affected", "affected", "fixed", "under_investigation"]
Justification = Literal[
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
]


# An IRI (RFC 3987), also `mailto:`, or an e-mail address.
IRI = r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+$"
IRI_OR_EMAIL = IRI[:-1] + r"$|^[^\s@:]+@[^\s@]+$"


class AuthorOptions(PackageOptions):
    """The author of OpenVEX documents, which the standard wants to be machine-readable."""

    id: str = Field(pattern=IRI, description="IRI of the document, or of the folder of several")
    author: str = Field(pattern=IRI_OR_EMAIL, description="IRI or e-mail address of the author")
    role: str = Field(default="", description="the role of the author, as `vendor`")


class Options(AuthorOptions):
    """The author and the IRI of the document; its version follows from the run's `as_of`."""


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """Input of the writer: a statement on a package; `products` are what scanners find of it."""

    package_name: str
    vulnerability_id: str
    vulnerability_url: str | None
    products: list[PackageVersion]
    status: Status
    justification: Justification | None
    impact_statement: str | None
    action_statement: str | None
    status_notes: str | None
    stated_at: datetime


class Vulnerability(DocumentStruct):
    """The vulnerability that a statement is about."""

    name: str
    id: str | None = msgspec.field(default=None, name="@id")


class Product(DocumentStruct):
    """A product, identified by its package URL."""

    id: str = msgspec.field(name="@id")


class Statement(DocumentStruct):
    """One statement; the standard requires a reason or an action for some statuses."""

    vulnerability: Vulnerability
    timestamp: datetime
    products: list[Product]
    status: Status
    status_notes: str | None = None
    justification: Justification | None = None
    impact_statement: str | None = None
    action_statement: str | None = None

    def __post_init__(self) -> None:
        if self.status == "not_affected" and not (self.justification or self.impact_statement):
            raise ConformanceError(f"{self.vulnerability.name}: not_affected without a reason")
        if not self.products:
            raise ConformanceError(f"{self.vulnerability.name}: a statement on no product")
        if self.status == "affected" and not self.action_statement:
            raise ConformanceError(f"{self.vulnerability.name}: affected without an action")


class Header(DocumentStruct):
    """The document without its statements."""

    context: Literal["https://openvex.dev/ns/v0.2.0"] = msgspec.field(name="@context")
    id: str = msgspec.field(name="@id")
    author: str
    timestamp: datetime
    version: int
    role: str | None = None
    last_updated: datetime | None = None
    tooling: str | None = None


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Stream a statement per row; raises BuildError without rows, as the standard requires one."""
    options = Options.model_validate(document.options)
    if not len(rows):
        raise BuildError(f"{rows.path}: expected a statement at least, found none")
    header = Header(
        context=CONTEXT,
        id=options.id,
        author=options.author,
        timestamp=context.as_of,
        version=revision_number(context.as_of),
        role=options.role or None,
        tooling=describe_sources(context),
    )
    encoder = msgspec.json.Encoder()
    statements = merge_elements(
        rows,
        document,
        context,
        STATEMENTS,
        lambda changed: map(encoder.encode, _make_statements(changed, options)),
    )
    with open_output(context.directory / document.file) as file:
        count = write_object(file, encoder.encode(header), [(STATEMENTS, statements)])
    return [file.describe(document.file, document.file, count)]


def describe_sources(context: DocumentContext) -> str | None:
    """The member `tooling`, which says how a document was made: there is none for its sources."""
    if not context.attributions:
        return None
    return "Made of: " + "; ".join(attribution_texts(context.attributions))


def count_rows(document: Document, directory: Path) -> int:
    """The number of statements; raises BuildError if one, or the document, is invalid."""
    return _count_statements(directory / document.file, frozenset())


def count_rows_beside(document: Document, directory: Path, published: PublishedDocument) -> int:
    """As `count_rows`; statements of the published document are not decoded again."""
    known = frozenset(read_list(published.directory / document.file, STATEMENTS))
    return _count_statements(directory / document.file, known)


def _count_statements(path: Path, known: Collection[bytes]) -> int:
    headers, statements = msgspec.json.Decoder(Header), msgspec.json.Decoder(Statement)
    count = 0
    for name, data in read_object(path):
        if name == HEADER:
            decode_part(path, data, headers, "an OpenVEX document")
        elif name == STATEMENTS:
            if data not in known:
                decode_part(path, data, statements, "an OpenVEX statement")
            count += 1
        else:
            raise BuildError(f"{path}: expected {STATEMENTS}, found {name}")
    return count


def _make_statements(rows: Rows, options: Options) -> Iterator[Statement]:
    for row in rows.convert(Row):
        yield make_statement(row, options)


def make_statement(row: Row, options: PackageOptions) -> Statement:
    """The statement of a row; raises ConformanceError if it lacks a reason, action or product."""
    urls = [url for product in row.products for url in options.product_urls(product)]
    return Statement(
        vulnerability=Vulnerability(name=row.vulnerability_id, id=row.vulnerability_url),
        timestamp=row.stated_at,
        products=[Product(id=url) for url in urls],
        status=row.status,
        status_notes=row.status_notes,
        justification=row.justification,
        impact_statement=row.impact_statement,
        action_statement=row.action_statement,
    )

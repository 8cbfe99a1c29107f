"""OpenVEX 0.2.0, one document with one statement per line (https://github.com/openvex/spec)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import Field

from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.lines import HEAD, decoded, read_lines, write_lines
from etl_assets.publish.writers.products import Products
from etl_assets.publish.writers.registry import Candidate, NotOfTheStandard
from etl_assets.publish.writers.revision import revision_of
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.sink import sink

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


class Options(Products):
    """Who speaks, and under which IRI; the document's version is the moment of its content."""

    id: str = Field(min_length=1)
    author: str = Field(min_length=1)


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """What the writer takes: a statement on one package, in one version or in every version."""

    package_name: str
    vulnerability_id: str
    vulnerability_url: str | None
    version: str | None
    status: Status
    justification: Justification | None
    impact_statement: str | None
    action_statement: str | None
    status_notes: str | None
    stated_at: datetime


class Vulnerability(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The vulnerability that a statement is about."""

    name: str
    id: str | None = msgspec.field(default=None, name="@id")


class Product(msgspec.Struct, forbid_unknown_fields=True):
    """A product, identified by its package URL."""

    id: str = msgspec.field(name="@id")


class Statement(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One statement; the standard asks some statuses for a reason or an action."""

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
            raise NotOfTheStandard(f"{self.vulnerability.name}: not_affected without a reason")
        if self.status == "affected" and not self.action_statement:
            raise NotOfTheStandard(f"{self.vulnerability.name}: affected without an action")


class Head(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The document without its statements."""

    context: Literal["https://openvex.dev/ns/v0.2.0"] = msgspec.field(name="@context")
    id: str = msgspec.field(name="@id")
    author: str
    timestamp: datetime
    version: int
    tooling: str | None = None


def write(rows: Rows, document: Document, candidate: Candidate) -> list[PublishedFile]:
    """Stream a statement per row; raises BuildError where there is none, as the standard asks."""
    options = Options.model_validate(document.options)
    if not len(rows):
        raise BuildError(f"{rows.path}: expected a statement at least, found none")
    head = Head(
        context=CONTEXT,
        id=options.id,
        author=options.author,
        timestamp=candidate.as_of,
        version=revision_of(candidate.as_of),
        tooling="Made of: " + "; ".join(attribution_texts(candidate.attributions))
        if candidate.attributions
        else None,
    )
    encoder = msgspec.json.Encoder()
    statements = (encoder.encode(statement) for statement in _statements(rows, options))
    with sink(candidate.directory / document.file) as file:
        carried = write_lines(file, encoder.encode(head), [(STATEMENTS, statements)])
    return [file.written(document.file, document.file, carried)]


def held(document: Document, directory: Path) -> int:
    """The number of statements; raises BuildError where one, or the document, has a fault."""
    path = directory / document.file
    heads, statements = msgspec.json.Decoder(Head), msgspec.json.Decoder(Statement)
    count = 0
    for name, data in read_lines(path):
        if name == HEAD:
            decoded(path, data, heads, "an OpenVEX document")
        elif name == STATEMENTS:
            decoded(path, data, statements, "an OpenVEX statement")
            count += 1
        else:
            raise BuildError(f"{path}: expected {STATEMENTS}, found {name}")
    return count


def _statements(rows: Rows, options: Options) -> Iterator[Statement]:
    for row in rows.typed(Row):
        yield Statement(
            vulnerability=Vulnerability(name=row.vulnerability_id, id=row.vulnerability_url),
            timestamp=row.stated_at,
            products=[Product(id=options.url(row.package_name, row.version))],
            status=row.status,
            status_notes=row.status_notes,
            justification=row.justification,
            impact_statement=row.impact_statement,
            action_statement=row.action_statement,
        )

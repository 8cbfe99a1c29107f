"""CycloneDX 1.6 as a VEX, one vulnerability per line (https://cyclonedx.org/docs/1.6/json/).

Every package that is spoken of stands among the components, so that each reference has its target.
"""

from __future__ import annotations

import uuid
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
from etl_assets.publish.writers.registry import Candidate
from etl_assets.publish.writers.revision import revision_of
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.sink import sink

VULNERABILITIES = "vulnerabilities"
COMPONENTS = "components"

State = Literal[
    "resolved", "resolved_with_pedigree", "exploitable", "in_triage", "false_positive",
    "not_affected",
]  # fmt: skip
Justification = Literal[
    "code_not_present", "code_not_reachable", "requires_configuration", "requires_dependency",
    "requires_environment", "protected_by_compiler", "protected_at_runtime",
    "protected_at_perimeter", "protected_by_mitigating_control",
]  # fmt: skip
Response = Literal["can_not_fix", "will_not_fix", "update", "rollback", "workaround_available"]


class Options(Products):
    """Who speaks, and the IRI from which the document's serial number follows."""

    id: str = Field(min_length=1)
    author: str = Field(min_length=1)


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """What the writer takes: an analysis of one package, in one version or in every version."""

    package_name: str
    vulnerability_id: str
    source_name: str | None
    source_url: str | None
    version: str | None
    state: State
    justification: Justification | None
    response: Response | None
    detail: str
    first_issued_at: datetime
    last_updated_at: datetime


class Strict(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What is null is left out; what the standard does not know is refused."""


class Origin(Strict):
    """Who gave out the id."""

    name: str | None = None
    url: str | None = None


class Analysis(Strict):
    """What was found of the package."""

    state: State
    detail: str
    justification: Justification | None = None
    response: list[Response] | None = None
    first_issued: datetime | None = msgspec.field(default=None, name="firstIssued")
    last_updated: datetime | None = msgspec.field(default=None, name="lastUpdated")


class Affects(Strict):
    """A component of the document."""

    ref: str


class Vulnerability(Strict):
    """One vulnerability of one package."""

    id: str
    analysis: Analysis
    affects: list[Affects]
    source: Origin | None = None


class Component(Strict):
    """A package, in one version or in every version."""

    ref: str = msgspec.field(name="bom-ref")
    type: Literal["library"]
    name: str
    purl: str
    version: str | None = None


class Property(Strict):
    """A name and a value that the standard does not know."""

    name: str
    value: str


class Supplier(Strict):
    """Who speaks."""

    name: str


class Metadata(Strict):
    """When and by whom the document was made, and of whose data."""

    timestamp: datetime
    supplier: Supplier
    properties: list[Property] | None = None


class Head(Strict):
    """The document without its lists."""

    format: Literal["CycloneDX"] = msgspec.field(name="bomFormat")
    spec_version: Literal["1.6"] = msgspec.field(name="specVersion")
    serial_number: str = msgspec.field(name="serialNumber")
    version: int
    metadata: Metadata


def write(rows: Rows, document: Document, candidate: Candidate) -> list[PublishedFile]:
    """Stream a vulnerability per row, then the components that they name."""
    options = Options.model_validate(document.options)
    encoder = msgspec.json.Encoder()
    components: dict[str, Component] = {}
    vulnerabilities = _vulnerabilities(rows, options, components)
    lists = [
        (VULNERABILITIES, map(encoder.encode, vulnerabilities)),
        (COMPONENTS, map(encoder.encode, _in_order(components))),
    ]
    with sink(candidate.directory / document.file) as file:
        write_lines(file, encoder.encode(_head(options, candidate)), lists)
    return [file.written(document.file, document.file, len(rows))]


def held(document: Document, directory: Path) -> int:
    """The number of vulnerabilities; raises BuildError where a structure or reference is wrong."""
    path = directory / document.file
    heads = msgspec.json.Decoder(Head)
    vulnerabilities = msgspec.json.Decoder(Vulnerability)
    components = msgspec.json.Decoder(Component)
    count, named, standing = 0, set[str](), set[str]()
    for name, data in read_lines(path):
        if name == HEAD:
            decoded(path, data, heads, "a CycloneDX document")
        elif name == VULNERABILITIES:
            found = decoded(path, data, vulnerabilities, "a CycloneDX vulnerability")
            named.update(affected.ref for affected in found.affects)
            count += 1
        elif name == COMPONENTS:
            standing.add(decoded(path, data, components, "a CycloneDX component").ref)
        else:
            raise BuildError(f"{path}: expected {VULNERABILITIES} or {COMPONENTS}, found {name}")
    if lost := named - standing:
        raise BuildError(f"{path}: expected a component for each reference, none for {min(lost)}")
    return count


def _head(options: Options, candidate: Candidate) -> Head:
    properties = [
        Property("attribution", text) for text in attribution_texts(candidate.attributions)
    ]
    return Head(
        format="CycloneDX",
        spec_version="1.6",
        serial_number=f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, options.id)}",
        version=revision_of(candidate.as_of),
        metadata=Metadata(candidate.as_of, Supplier(options.author), properties or None),
    )


def _in_order(components: dict[str, Component]) -> Iterator[Component]:
    """They are looked at when the first is asked for: by then all have gathered."""
    yield from (components[ref] for ref in sorted(components))


def _vulnerabilities(
    rows: Rows, options: Options, components: dict[str, Component]
) -> Iterator[Vulnerability]:
    """A vulnerability per row; the components that they name gather in `components`."""
    for row in rows.typed(Row):
        ref = options.url(row.package_name, row.version)
        if ref not in components:
            components[ref] = Component(ref, "library", row.package_name, ref, row.version)
        yield Vulnerability(
            id=row.vulnerability_id,
            source=Origin(row.source_name, row.source_url) if row.source_name else None,
            analysis=Analysis(
                state=row.state,
                detail=row.detail,
                justification=row.justification,
                response=[row.response] if row.response else None,
                first_issued=row.first_issued_at,
                last_updated=row.last_updated_at,
            ),
            affects=[Affects(ref)],
        )

"""CycloneDX 1.6 as a VEX, one vulnerability per line (https://cyclonedx.org/docs/1.6/json/).

Every package of a vulnerability is listed as a component, so that each reference has its target.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import Field

from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers import cvss
from etl_assets.publish.writers.json_stream import HEADER, decode_part, read_object, write_object
from etl_assets.publish.writers.output import (
    ConformanceError,
    DocumentContext,
    DocumentStruct,
    open_output,
    short_revision_number,
)
from etl_assets.publish.writers.purl import PackageOptions, PackageVersion
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.unchanged import merge_elements

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
Severity = Literal["none", "low", "medium", "high", "critical"]
Method = Literal["CVSSv2", "CVSSv3", "CVSSv31", "CVSSv4"]
METHODS: Mapping[cvss.Version, Method] = {
    "2.0": "CVSSv2", "3.0": "CVSSv3", "3.1": "CVSSv31", "4.0": "CVSSv4",
}  # fmt: skip
Response = Literal["can_not_fix", "will_not_fix", "update", "rollback", "workaround_available"]


class Options(PackageOptions):
    """The author, and the IRI from which the document's serial number is derived."""

    id: str = Field(min_length=1)
    author: str = Field(min_length=1)


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """Input of the writer: an analysis of a package; `products` are what scanners find of it."""

    package_name: str
    vulnerability_id: str
    source_name: str | None
    source_url: str | None
    products: list[PackageVersion]
    state: State
    justification: Justification | None
    response: Response | None
    cvss_vector: str | None
    detail: str
    first_issued_at: datetime
    last_updated_at: datetime


class Source(DocumentStruct):
    """Who issued the id of a vulnerability."""

    name: str | None = None
    url: str | None = None


class Analysis(DocumentStruct):
    """The result of the analysis of one package."""

    state: State
    detail: str
    justification: Justification | None = None
    response: list[Response] | None = None
    first_issued: datetime | None = msgspec.field(default=None, name="firstIssued")
    last_updated: datetime | None = msgspec.field(default=None, name="lastUpdated")


class Rating(DocumentStruct):
    """The score of a vector, and its severity."""

    score: float
    severity: Severity
    method: Method
    vector: str


class Affects(DocumentStruct):
    """A reference to a component of the document."""

    ref: str


class Vulnerability(DocumentStruct):
    """One vulnerability of one package."""

    id: str
    analysis: Analysis
    affects: list[Affects]
    source: Source | None = None
    ratings: list[Rating] | None = None

    def __post_init__(self) -> None:
        if not self.affects:
            raise ConformanceError(f"{self.id}: a vulnerability that affects no component")


class Component(DocumentStruct):
    """A package, in one version or in all versions."""

    ref: str = msgspec.field(name="bom-ref")
    type: Literal["library"]
    name: str
    purl: str
    version: str | None = None


class Property(DocumentStruct):
    """A name and a value outside the standard."""

    name: str
    value: str


class Supplier(DocumentStruct):
    """The author of the document."""

    name: str


class Metadata(DocumentStruct):
    """When and by whom the document was made, and from whose data."""

    timestamp: datetime
    supplier: Supplier
    properties: list[Property] | None = None


class Header(DocumentStruct):
    """The document without its lists."""

    format: Literal["CycloneDX"] = msgspec.field(name="bomFormat")
    spec_version: Literal["1.6"] = msgspec.field(name="specVersion")
    serial_number: str = msgspec.field(name="serialNumber")
    version: int
    metadata: Metadata


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Stream a vulnerability per row, then the components that they refer to."""
    options = Options.model_validate(document.options)
    properties = [Property("attribution", text) for text in attribution_texts(context.attributions)]
    header = Header(
        format="CycloneDX",
        spec_version="1.6",
        # One serial number for all versions of the document, as the standard defines it.
        serial_number=f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, options.id)}",
        # Dependency-Track reads 32 bits, and refuses the document if it is larger.
        version=short_revision_number(context.as_of),
        metadata=Metadata(context.as_of, Supplier(options.author), properties or None),
    )
    encoder = msgspec.json.Encoder()
    vulnerabilities = merge_elements(
        rows,
        document,
        context,
        VULNERABILITIES,
        lambda changed: map(encoder.encode, _make_vulnerabilities(changed, options)),
    )
    components = map(encoder.encode, _make_components(rows, options))
    lists = [(VULNERABILITIES, vulnerabilities), (COMPONENTS, components)]
    with open_output(context.directory / document.file) as file:
        write_object(file, encoder.encode(header), lists)
    return [file.describe(document.file, document.file, len(rows))]


def count_rows(document: Document, directory: Path) -> int:
    """The number of vulnerabilities; raises BuildError if a structure or reference is invalid."""
    path = directory / document.file
    headers = msgspec.json.Decoder(Header)
    vulnerabilities = msgspec.json.Decoder(Vulnerability)
    components = msgspec.json.Decoder(Component)
    count, referenced, listed = 0, set[str](), set[str]()
    for name, data in read_object(path):
        if name == HEADER:
            decode_part(path, data, headers, "a CycloneDX document")
        elif name == VULNERABILITIES:
            vulnerability = decode_part(path, data, vulnerabilities, "a CycloneDX vulnerability")
            referenced.update(affected.ref for affected in vulnerability.affects)
            count += 1
        elif name == COMPONENTS:
            listed.add(decode_part(path, data, components, "a CycloneDX component").ref)
        else:
            raise BuildError(f"{path}: expected {VULNERABILITIES} or {COMPONENTS}, found {name}")
    if missing := referenced - listed:
        raise BuildError(
            f"{path}: expected a component for each reference, none for {min(missing)}"
        )
    return count


def _make_vulnerabilities(rows: Rows, options: Options) -> Iterator[Vulnerability]:
    for row in rows.convert(Row):
        # The package URL is the `bom-ref`, so that equal packages have equal references.
        refs = chain.from_iterable(map(options.product_urls, row.products))
        yield _make_vulnerability(row, list(refs))


def _make_components(rows: Rows, options: Options) -> Iterator[Component]:
    """One component per reference, in their order."""
    products = {tuple(product.items()) for (each,) in rows.values(["products"]) for product in each}
    components: dict[str, Component] = {}
    for values in products:
        product = PackageVersion(**dict(values))
        for ref in options.product_urls(product):
            component = Component(ref, "library", product.name, ref, product.version)
            components.setdefault(ref, component)
    yield from (components[ref] for ref in sorted(components))


def _make_vulnerability(row: Row, refs: list[str]) -> Vulnerability:
    return Vulnerability(
        id=row.vulnerability_id,
        source=Source(row.source_name, row.source_url) if row.source_name else None,
        ratings=_make_ratings(row.cvss_vector),
        analysis=Analysis(
            state=row.state,
            detail=row.detail,
            justification=row.justification,
            response=[row.response] if row.response else None,
            first_issued=row.first_issued_at,
            last_updated=row.last_updated_at,
        ),
        affects=[Affects(ref) for ref in refs],
    )


def _make_ratings(vector: str | None) -> list[Rating] | None:
    score = cvss.parse_vector(vector) if vector else None
    if score is None:
        return None
    severity = msgspec.convert(score.severity.lower(), Severity)
    return [Rating(score.score, severity, METHODS[score.version], score.vector)]

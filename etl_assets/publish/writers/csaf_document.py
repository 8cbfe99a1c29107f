"""The structures of a CSAF 2.0 document in the VEX profile, as far as we write them.

What is written into them is decided by `csaf`; the structures of a provider are in `csaf_provider`.
https://docs.oasis-open.org/csaf/csaf/v2.0/

The members of each structure are in alphabetical order, as the optional test 6.2.13 asks; to sort
them while encoding costs a third of the time of the writer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from etl_assets.publish.writers import csaf_provider, cvss
from etl_assets.publish.writers.csaf_provider import Publisher
from etl_assets.publish.writers.output import ConformanceError, DocumentStruct

Status = Literal["fixed", "known_affected", "known_not_affected", "under_investigation"]
RemediationCategory = Literal[
    "mitigation", "no_fix_planned", "none_available", "vendor_fix", "workaround"
]
FlagLabel = Literal[
    "component_not_present",
    "inline_mitigations_already_exist",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_not_present",
]


class Tlp(DocumentStruct):
    """The Traffic Light Protocol: who may receive the document."""

    label: csaf_provider.Tlp


class Distribution(DocumentStruct):
    """How the document may be distributed."""

    tlp: Tlp


class Note(DocumentStruct):
    """A text and its purpose."""

    category: Literal["details", "legal_disclaimer"]
    text: str
    title: str


class Revision(DocumentStruct):
    """One entry of the document's history."""

    date: datetime
    number: str
    summary: str


class Tracking(DocumentStruct, kw_only=True):
    """Id, version and history of the document."""

    current_release_date: datetime
    id: str
    initial_release_date: datetime
    revision_history: list[Revision]
    status: Literal["final"]
    version: str


class Reference(DocumentStruct):
    """A web page, or the document itself."""

    category: Literal["external", "self"]
    summary: str
    url: str


class Metadata(DocumentStruct, kw_only=True):
    """The member `document`: metadata of the whole document."""

    category: Literal["csaf_vex"]
    csaf_version: Literal["2.0"]
    distribution: Distribution
    lang: Literal["en"]
    notes: list[Note] = []
    publisher: Publisher
    references: list[Reference]
    title: str
    tracking: Tracking


class IdentificationHelper(DocumentStruct):
    """How a scanner identifies the product."""

    purl: str


class Product(DocumentStruct):
    """The package, in one version or in all versions."""

    name: str
    product_id: str
    product_identification_helper: IdentificationHelper


class RangeProduct(DocumentStruct):
    """All versions in a range; a helper would identify the package in every version."""

    name: str
    product_id: str


class RangeBranch(DocumentStruct):
    """A range of versions (https://github.com/package-url/vers-spec)."""

    category: Literal["product_version_range"]
    name: str
    product: RangeProduct


class NameBranch(DocumentStruct):
    """The package whose versions are below."""

    branches: list[RangeBranch]
    category: Literal["product_name"]
    name: str


class VendorBranch(DocumentStruct):
    """The vendor whose package is below."""

    branches: list[NameBranch]
    category: Literal["vendor"]
    name: str


class ProductTree(DocumentStruct, kw_only=True):
    """All products that the document refers to; ranges of versions are branches."""

    branches: list[VendorBranch] = []
    full_product_names: list[Product]

    @property
    def product_ids(self) -> set[str]:
        """The ids of all products."""
        names = (name for vendor in self.branches for name in vendor.branches)
        ranges = {branch.product.product_id for name in names for branch in name.branches}
        return {product.product_id for product in self.full_product_names} | ranges


class ProductStatus(DocumentStruct):
    """Ids of products by status; in our documents exactly one status has products."""

    first_fixed: list[str] = []
    fixed: list[str] = []
    known_affected: list[str] = []
    known_not_affected: list[str] = []
    under_investigation: list[str] = []

    @property
    def products(self) -> list[str]:
        """The ids of all statuses but `first_fixed`, whose products are fixed ones too."""
        return self.fixed + self.known_affected + self.known_not_affected + self.under_investigation

    @property
    def statuses_count(self) -> int:
        """How many statuses but `first_fixed` have products."""
        statuses = (
            self.fixed, self.known_affected, self.known_not_affected, self.under_investigation,
        )  # fmt: skip
        return sum(1 for products in statuses if products)


class Flag(DocumentStruct):
    """The standard's label for the reason why a product is not affected."""

    date: datetime
    label: FlagLabel
    product_ids: list[str]


class Threat(DocumentStruct):
    """The reason why a product is not affected, as text."""

    category: Literal["impact"]
    date: datetime
    details: str
    product_ids: list[str]


class Remediation(DocumentStruct):
    """What a user of the product can do."""

    category: RemediationCategory
    date: datetime
    details: str
    product_ids: list[str]


class OtherId(DocumentStruct):
    """An id that is not a CVE."""

    system_name: str
    text: str


class CvssV2(DocumentStruct, rename="camel"):
    """A base score of CVSS 2."""

    base_score: float
    vector_string: str
    version: Literal["2.0"]


class CvssV3(DocumentStruct, rename="camel"):
    """A base score of CVSS 3."""

    base_score: float
    base_severity: cvss.Severity
    vector_string: str
    version: Literal["3.0", "3.1"]


class Score(DocumentStruct, kw_only=True):
    """The scores of products."""

    cvss_v2: CvssV2 | None = None
    cvss_v3: CvssV3 | None = None
    products: list[str]


class Vulnerability(DocumentStruct, kw_only=True):
    """One vulnerability; the profile requires a reason or an action for some statuses.

    Sections 4.5 and 6.1.27.8 to 6.1.27.10 of the standard.
    """

    cve: str | None = None
    flags: list[Flag] = []
    ids: list[OtherId] = []
    notes: list[Note]
    product_status: ProductStatus
    references: list[Reference] = []
    remediations: list[Remediation] = []
    scores: list[Score] = []
    threats: list[Threat] = []

    def __post_init__(self) -> None:
        name = self.cve or (self.ids[0].text if self.ids else "")
        if not name:
            raise ConformanceError("a vulnerability without an id")
        if self.product_status.statuses_count != 1:
            raise ConformanceError(f"{name}: expected products with one status")
        if self.product_status.known_not_affected and not (self.flags or self.threats):
            raise ConformanceError(f"{name}: known_not_affected without a reason")
        if self.product_status.known_affected and not self.remediations:
            raise ConformanceError(f"{name}: known_affected without a remediation")


class Body(DocumentStruct):
    """The document without its metadata."""

    product_tree: ProductTree
    vulnerabilities: list[Vulnerability]


class CsafDocument(Body, kw_only=True):
    """A whole document."""

    document: Metadata

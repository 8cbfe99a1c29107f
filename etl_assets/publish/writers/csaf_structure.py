"""What a CSAF 2.0 document of the profile VEX is made of, as far as we write it.

How rows become documents is `etl_assets.publish.writers.csaf`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from etl_assets.publish.writers.registry import NotOfTheStandard

ProductStatus = Literal["fixed", "known_affected", "known_not_affected", "under_investigation"]
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
PublisherCategory = Literal["coordinator", "discoverer", "other", "translator", "user", "vendor"]


class Strict(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What is null or empty is left out; what we do not write is refused."""


class Tlp(Strict):
    """Who may pass the document on."""

    label: Literal["WHITE"]


class Distribution(Strict):
    """How the document may be passed on."""

    tlp: Tlp


class Note(Strict):
    """A text and what it is for."""

    category: Literal["details", "legal_disclaimer"]
    text: str
    title: str


class Publisher(Strict):
    """Who publishes the document."""

    category: PublisherCategory
    name: str
    namespace: str


class Revision(Strict):
    """One entry of the document's history."""

    date: datetime
    number: str
    summary: str


class Tracking(Strict):
    """Which document this is, in which version."""

    id: str
    status: Literal["final"]
    version: str
    initial_release_date: datetime
    current_release_date: datetime
    revision_history: list[Revision]


class About(Strict):
    """The document's own data."""

    category: Literal["csaf_vex"]
    csaf_version: Literal["2.0"]
    title: str
    publisher: Publisher
    tracking: Tracking
    lang: Literal["en"]
    distribution: Distribution
    notes: list[Note] = []


class Helper(Strict):
    """How a scanner finds the product."""

    purl: str


class Product(Strict):
    """The package, in one version or in every version."""

    name: str
    product_id: str
    product_identification_helper: Helper


class Tree(Strict):
    """The products that the document speaks of."""

    full_product_names: list[Product]


class Status(Strict):
    """The products by their status; exactly one status has one."""

    fixed: list[str] = []
    first_fixed: list[str] = []
    known_affected: list[str] = []
    known_not_affected: list[str] = []
    under_investigation: list[str] = []

    @property
    def products(self) -> list[str]:
        return [
            *(*self.fixed, *self.known_affected),
            *(*self.known_not_affected, *self.under_investigation),
        ]


class Flag(Strict):
    """The label that says why a product is not affected."""

    label: FlagLabel
    product_ids: list[str]
    date: datetime


class Threat(Strict):
    """Why a product is not affected, in words."""

    category: Literal["impact"]
    details: str
    product_ids: list[str]
    date: datetime


class Remediation(Strict):
    """What a customer can do."""

    category: RemediationCategory
    details: str
    product_ids: list[str]
    date: datetime


class OtherId(Strict):
    """An id that is no CVE."""

    system_name: str
    text: str


class Reference(Strict):
    """A page on the vulnerability."""

    category: Literal["external"]
    summary: str
    url: str


class Vulnerability(Strict, kw_only=True):
    """One vulnerability; the profile asks some statuses for a reason or an action."""

    cve: str | None = None
    ids: list[OtherId] = []
    notes: list[Note]
    product_status: Status
    flags: list[Flag] = []
    threats: list[Threat] = []
    remediations: list[Remediation] = []
    references: list[Reference] = []

    def __post_init__(self) -> None:
        name = self.cve or (self.ids[0].text if self.ids else "")
        if not name:
            raise NotOfTheStandard("a vulnerability without an id")
        if len(self.product_status.products) != 1:
            raise NotOfTheStandard(f"{name}: expected one product with a status")
        if self.product_status.known_not_affected and not (self.flags or self.threats):
            raise NotOfTheStandard(f"{name}: known_not_affected without a reason")
        if self.product_status.known_affected and not self.remediations:
            raise NotOfTheStandard(f"{name}: known_affected without a remediation")


class Body(Strict):
    """What the document says."""

    product_tree: Tree
    vulnerabilities: list[Vulnerability]


class Csaf(Body, kw_only=True):
    """A whole document."""

    document: About

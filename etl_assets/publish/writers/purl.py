"""Package URLs, as https://github.com/package-url/purl-spec defines them.

Which type and namespace a package has is declared by the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from pydantic import Field, StringConstraints, model_validator

from etl_assets.declarations.declaration import Declaration

# Types whose definition says that names are case-insensitive and written in lower case.
LOWER_CASE_TYPES = frozenset({"alpm", "apk", "bitbucket", "composer", "deb", "github", "pypi"})

# A document repeats the same packages and versions many times, mostly in consecutive rows.
CACHE_SIZE = 1 << 14


QualifierKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9._-]*$")]
QualifierValue = Annotated[str, StringConstraints(min_length=1)]


class PackageVersion(msgspec.Struct, forbid_unknown_fields=True):
    """Input of a writer: a package that a statement is about, in one version or in all versions."""

    name: str
    version: str | None = None
    arch: str | None = None
    """Only the package of this architecture; `source` is a source package."""


class PackageOptions(Declaration):
    """What the package URLs of one document have in common; base of the options of VEX formats."""

    purl_type: str = Field(min_length=1)
    purl_namespace: str = ""
    purl_qualifiers: dict[QualifierKey, QualifierValue] = Field(
        default={},
        description="a scanner that compares qualifiers matches only packages with all of these",
    )

    purl_epoch: Literal["version", "qualifier", "both"] = Field(
        default="version",
        description="where the epoch of a version is written: the specification has it in the "
        "version, some scanners write a qualifier, and each matches its own form alone",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_the_old_name(cls, options: Any) -> Any:  # noqa: ANN401 - not validated yet
        # Remove with `DEPRECATED_OPTIONS` of the declarations, which warns of the name.
        if not isinstance(options, Mapping) or "purl_distro" not in options:
            return options
        if "purl_qualifiers" in options:
            raise ValueError("expected purl_qualifiers alone, found purl_distro too")
        renamed = {key: value for key, value in options.items() if key != "purl_distro"}
        distro = options["purl_distro"]
        return renamed | {"purl_qualifiers": {"distro": distro} if distro else {}}

    @cached_property
    def _query(self) -> str:
        return encode_qualifiers(self.purl_qualifiers)

    def package_url(self, name: str, version: str | None = None) -> str:
        """The URL of one version of the package, or without a version of all of them."""
        return package_url(self.purl_type, self.purl_namespace, name, version, self._query)

    def product_urls(self, product: PackageVersion) -> list[str]:
        """The URLs of a product: one, or two if both ways to write an epoch are declared."""
        epoch, colon, rest = (product.version or "").partition(":")
        forms: list[tuple[str | None, str]] = [(product.version, "")]
        if colon:
            with_qualifier: tuple[str | None, str] = (rest, epoch.lstrip("0"))
            forms = {
                "version": forms,
                "qualifier": [with_qualifier],
                "both": [*forms, with_qualifier],
            }[self.purl_epoch]
        return [
            package_url(
                self.purl_type,
                self.purl_namespace,
                product.name,
                version,
                self._query_with(product.arch, epoch_qualifier),
            )
            for version, epoch_qualifier in forms
        ]

    def _query_with(self, arch: str | None, epoch: str) -> str:
        if not arch and not epoch:
            return self._query
        qualifiers = {**self.purl_qualifiers, "epoch": epoch}
        return encode_qualifiers(qualifiers | {"arch": arch} if arch else qualifiers)


def encode_qualifiers(qualifiers: Mapping[str, str]) -> str:
    """The query of a package URL: sorted by key; qualifiers without a value are left out."""
    return "&".join(
        f"{key}={quote(value, safe=':/')}" for key, value in sorted(qualifiers.items()) if value
    )


@lru_cache(CACHE_SIZE)
def package_url(
    purl_type: str, namespace: str, name: str, version: str | None = None, query: str = ""
) -> str:
    """`pkg:<type>/<namespace>/<name>@<version>?<query>`; empty parts are left out."""
    path = [part for part in (*namespace.split("/"), name) if part]
    if purl_type in LOWER_CASE_TYPES:
        path = [part.lower() for part in path]
    url = f"pkg:{purl_type}/" + "/".join(map(_percent_encode, path))
    if version:
        url += f"@{_percent_encode(version)}"
    return f"{url}?{query}" if query else url


@lru_cache(CACHE_SIZE)
def _percent_encode(text: str) -> str:
    """Everything but letters, digits and `.-_~:` as percent-encoded UTF-8."""
    # Unlike elsewhere in a URL, the specification leaves the colon of an epoch (`1:2.0`) as it is.
    return quote(text, safe=":")

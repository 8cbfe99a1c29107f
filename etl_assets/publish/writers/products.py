"""The options of every writer that names packages by their package URLs.

How such a URL is spelled is `etl_assets.publish.writers.package_url`.
"""

from __future__ import annotations

from pydantic import Field

from etl_assets.declarations.declaration import Declaration
from etl_assets.publish.writers.package_url import package_url


class Products(Declaration):
    """What all packages of a document have in common."""

    purl_type: str = Field(min_length=1)
    purl_namespace: str = ""
    purl_distro: str = Field(default="", description="the qualifier of that name, as scanners say")

    def url(self, name: str, version: str | None = None) -> str:
        """The package in one version, or in every version."""
        return package_url(
            self.purl_type, self.purl_namespace, name, version, distro=self.purl_distro
        )

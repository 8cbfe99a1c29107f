"""Package URLs, as https://github.com/package-url/purl-spec defines them.

Which type and namespace a package has is declared by the document.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from pydantic import Field

from etl_assets.declarations.declaration import Declaration

# Types whose definition says that names are case-insensitive and written in lower case.
LOWER_CASE_TYPES = frozenset({"alpm", "apk", "bitbucket", "composer", "deb", "github", "pypi"})

# A document repeats the same packages and versions many times, mostly in consecutive rows.
CACHE_SIZE = 1 << 14


class PackageOptions(Declaration):
    """What the package URLs of one document have in common; base of the options of VEX formats."""

    purl_type: str = Field(min_length=1)
    purl_namespace: str = ""
    purl_distro: str = Field(
        default="", description="value of the qualifier `distro`, as scanners expect it"
    )

    def package_url(self, name: str, version: str | None = None) -> str:
        """The URL of one version of the package, or without a version of all of them."""
        return package_url(
            self.purl_type, self.purl_namespace, name, version, distro=self.purl_distro
        )


@lru_cache(CACHE_SIZE)
def package_url(
    purl_type: str, namespace: str, name: str, version: str | None = None, **qualifiers: str
) -> str:
    """`pkg:<type>/<namespace>/<name>@<version>?<qualifiers>`; empty parts are left out."""
    path = [part for part in (*namespace.split("/"), name) if part]
    if purl_type in LOWER_CASE_TYPES:
        path = [part.lower() for part in path]
    url = f"pkg:{purl_type}/" + "/".join(map(_percent_encode, path))
    if version:
        url += f"@{_percent_encode(version)}"
    query = "&".join(
        f"{key}={_percent_encode(value)}" for key, value in sorted(qualifiers.items()) if value
    )
    return f"{url}?{query}" if query else url


@lru_cache(CACHE_SIZE)
def _percent_encode(text: str) -> str:
    """Everything but letters, digits and `.-_~:` as percent-encoded UTF-8."""
    # Unlike elsewhere in a URL, the specification leaves the colon of an epoch (`1:2.0`) as it is.
    return quote(text, safe=":")

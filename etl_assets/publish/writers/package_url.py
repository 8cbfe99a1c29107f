"""Package URLs, as https://github.com/package-url/purl-spec has them.

Only the writing belongs here; which type and namespace a package has is declared.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

# Types whose definition says that names are compared, and so written, in lower case.
LOWER_CASE_TYPES = frozenset({"alpm", "apk", "bitbucket", "composer", "deb", "github", "pypi"})

# A document names the same packages and versions many times over, most often one after the other.
REMEMBERED = 1 << 14


@lru_cache(REMEMBERED)
def package_url(
    kind: str, namespace: str, name: str, version: str | None = None, **qualifiers: str
) -> str:
    """`pkg:<kind>/<namespace>/<name>@<version>?<qualifiers>`; what is empty is left out."""
    lower = kind in LOWER_CASE_TYPES
    path = [part for part in (*namespace.split("/"), name) if part]
    spelled = "/".join(_escaped(part.lower() if lower else part) for part in path)
    query = "&".join(
        f"{key}={_escaped(value)}" for key, value in sorted(qualifiers.items()) if value
    )
    return (
        f"pkg:{kind}/{spelled}"
        + (f"@{_escaped(version)}" if version else "")
        + (f"?{query}" if query else "")
    )


@lru_cache(REMEMBERED)
def _escaped(text: str) -> str:
    """Everything but letters, digits and `.-_~:` by its UTF-8 bytes."""
    return quote(text, safe=":")

"""The grammars of version schemes: which texts are versions.

Comparing versions belongs to the models, checking rows to `tables.contract_check`.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.declarations.contract import VersionScheme

VERSION_DESCRIPTIONS: dict[VersionScheme, str] = {"deb": "a Debian version"}

# https://man7.org/linux/man-pages/man7/deb-version.7.html: a colon in the upstream version needs an
# epoch, a hyphen a revision after the last one, and a revision has no colon.
DEB_VERSION = re.compile(
    r"[0-9]+:[0-9]([A-Za-z0-9.+~:]*|[A-Za-z0-9.+~:-]*-[A-Za-z0-9.+~]+)"
    r"|[0-9]([A-Za-z0-9.+~]*|[A-Za-z0-9.+~-]*-[A-Za-z0-9.+~]+)"
)
# Feeds give these a meaning of their own, such as "never affected", which needs the plain text.
SENTINEL = re.compile(r"([0-9]+:)?0*[01]")
MAX_LENGTH = 1_000  # of any version; the longest known ones have some 60 characters
MAX_EPOCH = 2**31 - 1  # dpkg reads the epoch into an int
# Nearly every value matches this one, which Arrow tries on all of them at once.
PLAIN_VERSION = r"^([0-9]{1,9}:)?[0-9][A-Za-z0-9.+~]*(-[A-Za-z0-9.+~]+)*$"


def read_version(text: str, scheme: VersionScheme) -> str | None:
    """Returns the version that the text stands for, or None if it is no version of the scheme.

    An empty revision (`1.0-`) is read as none; dpkg refuses it, but feeds have it. `0-` and `1-`
    are refused.
    """
    if scheme == "deb":
        if len(text) > MAX_LENGTH:
            return None
        version = text.removesuffix("-")
        if version != text and SENTINEL.fullmatch(version):
            return None
        if DEB_VERSION.fullmatch(version) and _epoch(version) <= MAX_EPOCH:
            return version
    return None


def unlike_versions(texts: pa.Array) -> list[int]:
    """The positions of the texts that `read_version` may refuse or change. Null is none of them."""
    is_plain = pc.and_(
        pc.match_substring_regex(texts, PLAIN_VERSION),
        pc.less_equal(pc.binary_length(texts), MAX_LENGTH),
    )
    positions: list[int] = pc.indices_nonzero(pc.invert(is_plain)).to_pylist()
    return positions


def _epoch(version: str) -> int:
    epoch, colon, _ = version.partition(":")
    return int(epoch) if colon else 0

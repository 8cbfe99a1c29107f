"""Names of a site's files, of anchors, and links between them.

A name in the data may have any characters and any length.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, urlsplit

from etl_assets.model.file_names import DIGEST_MARK, safe_file_name

SUFFIX = ".html"
# The stem leaves space for a number, so that all pages of one name have the same stem.
MAX_NUMBER_BYTES = len(f"{DIGEST_MARK}0000000")
PLAIN = re.compile(r"[A-Za-z0-9_.~-]+")
WEB_URL = re.compile(r"https?://[^\s\x00-\x20\x7f]+", re.IGNORECASE)


@lru_cache(1 << 14)
def file_stem(name: str) -> str:
    """The start of the names of all files about `name`, safe on every file system."""
    return safe_file_name(name, "0" * (MAX_NUMBER_BYTES + len(SUFFIX)))[
        : -(MAX_NUMBER_BYTES + len(SUFFIX))
    ]


def group_name(group: str) -> str:
    """The name that the files of a group of ids have.

    Ids are mostly in capitals, which a file's name cannot be; no two groups get one name.
    """
    return group.swapcase() if group.isascii() else group


def file_name(name: str, number: int = 1) -> str:
    """The file of the page with this number, of those about `name`."""
    # No other name has the mark in its stem, but before a digest of sixteen characters.
    mark = f"{DIGEST_MARK}{number}" if number > 1 else ""
    return f"{file_stem(name)}{mark}{SUFFIX}"


def link(file: str) -> str:
    """A file's name as part of a URL."""
    return file if "%" not in file else file.replace("%", "%25")


def anchor(name: str) -> str:
    """The id of the element about `name`, without a colon, which ids of the templates have."""
    return name if PLAIN.fullmatch(name) else quote(name, safe="")


def fragment(name: str) -> str:
    """The link to an anchor on the same page. A browser decodes it once to find the id."""
    return "#" + link(anchor(name))


@lru_cache(1 << 14)
def web_url(url: str | None) -> str | None:
    """The URL if it leads to a web page, else None: a link with another scheme may be a script."""
    if url is None or not WEB_URL.fullmatch(url):
        return None
    try:
        return url if urlsplit(url).hostname else None
    except ValueError:
        return None

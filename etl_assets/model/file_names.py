"""Names of files that are made from names in the data, which may have any length and characters."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

MAX_NAME_BYTES = 200  # file systems allow 255, and temporary files add to a name
DIGEST_CHARACTERS = 16
# `quote` escapes it, so that no other name has it.
DIGEST_MARK = "="
PARTIAL_ESCAPE = re.compile(r"%[0-9A-F]?$")


def limit_name(escaped: str, suffix: str, *, folds_case: bool = False) -> str:
    """Returns a file name of at most 200 bytes from an escaped name and its suffix.

    A longer name is cut off and followed by a digest of the whole. With `folds_case`, so is a name
    with capital letters: two names that differ in case alone are one file on some file systems.
    """
    encoded = escaped.encode()
    is_short = len(encoded) + len(suffix) <= MAX_NAME_BYTES
    # The escapes themselves, as %C3, have capital letters.
    has_capitals = folds_case and re.search(r"[A-Z]", re.sub(r"%[0-9A-F]{2}", "", escaped))
    if is_short and not has_capitals:
        return escaped + suffix
    digest = hashlib.sha256(encoded).hexdigest()[:DIGEST_CHARACTERS]
    kept = MAX_NAME_BYTES - len(DIGEST_MARK) - len(digest) - len(suffix)
    start = PARTIAL_ESCAPE.sub("", encoded[:kept].decode(errors="ignore"))
    return f"{start}{DIGEST_MARK}{digest}{suffix}"


def safe_file_name(name: str, suffix: str) -> str:
    """A file name of at most 200 bytes with every character escaped that is unsafe in one.

    No two names have one file, also on file systems that fold case.
    """
    escaped = quote(name, safe="+")
    if escaped.startswith("."):
        # `quote` leaves dots, but a leading one hides the file, and `..` is a folder.
        escaped = "%2E" + escaped[1:]
    return limit_name(escaped, suffix, folds_case=True)

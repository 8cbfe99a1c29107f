"""The address of a file in another answer: read here, and nowhere believed.

Asking for that answer, and whether one may go where it points, is `etl_assets.fetch.http`.
"""

from __future__ import annotations

import msgspec

from etl_assets.model.errors import Unreachable

TOLD_BYTES = 1 << 16


def address_in(data: bytes, member: str, where: str) -> str:
    """The text of a member such as `data.url`.

    Raises Unreachable where there is none: who has the file made first tells its address later.
    The answer is not repeated, as an address in it may be a secret.
    """
    expected = f"{where}: expected an address in {member}"
    if len(data) > TOLD_BYTES:
        raise Unreachable(f"{expected}, found more than {TOLD_BYTES:,} bytes")
    try:
        found = _member(msgspec.json.decode(data), member)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unreachable(f"{expected}, found no JSON") from error
    if not isinstance(found, str) or not found:
        raise Unreachable(f"{expected}, found none")
    return found


def _member(document: object, path: str) -> object:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document

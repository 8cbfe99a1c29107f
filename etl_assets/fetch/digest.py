"""Digests that a publisher states in a small file next to the data.

Only reading them; comparing one with a download is `etl_assets.fetch.download`.
"""

from __future__ import annotations

import re

from etl_assets.declarations.source import Limits, PublishedDigest
from etl_assets.fetch.http import Client
from etl_assets.fetch.local import translate_read_errors
from etl_assets.fetch.locations import Target
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.fetch.transfer import run_with_retries
from etl_assets.model.errors import ContentError

MAX_BYTES = 1 << 16
HEX_DIGEST = re.compile(r"[0-9a-f]{64}")


def read_digest(
    client: Client,
    target: Target,
    digest: PublishedDigest,
    limits: Limits,
    *,
    attempts: int | None = None,
) -> str:
    """Returns the published SHA-256 in lower case.

    Raises NotPublishedError, UnreachableError or TransferRefusedError as for any file, and
    ContentError if the file has no digest.
    """
    if target.path is not None:
        with translate_read_errors(target), target.path.open("rb") as file:
            data = file.read(MAX_BYTES)
    else:
        stats = TransferStats()
        data = run_with_retries(
            client,
            target,
            limits,
            stats,
            lambda: _download(client, target, limits, stats),
            attempts=attempts,
        )
    return parse_digest(data.decode("utf-8", "replace"), digest.field, str(target))


def parse_digest(text: str, field: str, where: str) -> str:
    """Returns the digest of `field` in lines of the form `name:value`."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        digest = value.strip().lower()
        if name.strip() == field and HEX_DIGEST.fullmatch(digest):
            return digest
    first = text.strip().partition("\n")[0][:80]
    raise ContentError.of(where, f"a line {field}:<64 hexadecimal digits>", repr(first))


def _download(client: Client, target: Target, limits: Limits, stats: TransferStats) -> bytes:
    data = b""
    with client.request(target, limits, stats) as response:
        for chunk in response.chunks():
            data += chunk
            if len(data) > MAX_BYTES:
                raise ContentError.of(str(target), f"at most {MAX_BYTES:,} bytes", "more")
    return data

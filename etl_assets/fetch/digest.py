"""Digests that a publisher states in a small file beside the data.

Reading such a file belongs here; comparing it with what was downloaded is the download stage's.
"""

from __future__ import annotations

import re
from pathlib import Path

from etl_assets.declarations.source import Limits, PublishedDigest
from etl_assets.fetch.http import Client
from etl_assets.fetch.locations import Target
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.fetch.transfer import run_with_retries
from etl_assets.model.errors import ContentError, NotPublishedError, UnreachableError

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
    """The SHA-256 that the file states, in lower case.

    Raises NotPublishedError, UnreachableError or TransferRefusedError as any request does, and
    ContentError if the file states no digest.
    """
    if target.path is not None:
        text = _read_local(target, target.path)
    else:
        effort = TransferStats()
        text = run_with_retries(
            client,
            target,
            limits,
            effort,
            lambda: _read_remote(client, target, limits, effort),
            attempts=attempts,
        )
    return parse_digest(text, digest.field, str(target))


def parse_digest(text: str, field: str, where: str) -> str:
    """The digest in lines of `name:value`."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field and HEX_DIGEST.fullmatch(value.strip().lower()):
            return value.strip().lower()
    first = text.strip().partition("\n")[0][:80]
    raise ContentError.of(where, f"a line {field}:<64 hexadecimal digits>", repr(first))


def _read_local(target: Target, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace")
    except FileNotFoundError as error:
        raise NotPublishedError(f"{target}: no such file") from error
    except OSError as error:
        raise UnreachableError(f"{target}: {error.strerror}", is_final=True) from error


def _read_remote(client: Client, target: Target, limits: Limits, effort: TransferStats) -> str:
    found = b""
    with client.ask(target, limits, effort) as answer:
        for chunk in answer.chunks():
            found += chunk
            if len(found) > MAX_BYTES:
                raise ContentError.of(str(target), f"at most {MAX_BYTES:,} bytes", "more")
    return found.decode("utf-8", "replace")

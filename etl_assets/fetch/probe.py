"""Probes: the validators of a remote file, read without downloading it.

What follows from a probe is decided by `etl_assets.fetch.decide`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from etl_assets.declarations.source import Limits, Source
from etl_assets.fetch.digest import read_digest
from etl_assets.fetch.http import Client
from etl_assets.fetch.local import local_validators
from etl_assets.fetch.locations import LocationResolver, ResolvedLocation, Target
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.fetch.transfer import run_with_retries
from etl_assets.model.errors import (
    NotPublishedError,
    SecretError,
    SourceError,
    UnreachableError,
)
from etl_assets.model.records import Part, Probe, Validators

ATTEMPTS = 2  # a failed probe leads to a fetch, which makes the declared number of attempts
WORKERS = 64  # most of them wait for the limits of one host, and must not delay other hosts
# 403 too: a signed URL of an object store is valid for one method, mostly GET. 404 too: some
# servers route only GET to a file. 410 is a statement about the file itself.
HEAD_NOT_SUPPORTED = frozenset({400, 403, 404, 405, 501})


def probe_all(
    parts: Sequence[tuple[Source, Part]],
    *,
    client: Client,
    resolver: LocationResolver,
    now: datetime,
) -> dict[Part, Probe]:
    """Returns a probe of each part, made concurrently within the limits of each host."""

    def probe_one(source: Source, part: Part) -> Probe:
        return probe(source, part, client=client, resolver=resolver, now=now)

    with ThreadPoolExecutor(max_workers=min(WORKERS, len(parts) or 1)) as pool:
        pending = {part: pool.submit(probe_one, source, part) for source, part in parts}
        with client.stop_on_error(pool):
            return {part: future.result() for part, future in pending.items()}


def probe(
    source: Source, part: Part, *, client: Client, resolver: LocationResolver, now: datetime
) -> Probe:
    """Returns the probe of one part; a fault of the remote is recorded in it and not raised.

    If a digest is published, only its small file is requested: it is all that a decision needs.
    """
    try:
        location = resolver.resolve(source.location, part.partition)
    except SecretError as error:
        address = resolver.resolve_target(
            source.location.url or source.location.path or "", part.partition
        )
        return Probe(part=part, url=address.label, probed_at=now, fault=str(error))
    sha256, fault = _published_digest(source, location, client)
    validators, is_published = None, True
    try:
        if sha256:
            validators = Validators(published_sha256=sha256)
        else:
            validators = _read_validators(source, location.file, client, now)
    except NotPublishedError as error:
        fault, is_published = str(error), False
    except SourceError as error:
        fault = str(error)
    return Probe(
        part=part,
        url=location.file.label,
        probed_at=now,
        validators=validators,
        published=is_published,
        fault=fault,
    )


def _published_digest(
    source: Source, location: ResolvedLocation, client: Client
) -> tuple[str | None, str | None]:
    """Returns the published digest, or the fault for which there is none.

    Without a digest the probe falls back to the validators of the file itself.
    """
    declared = source.location.digest
    if declared is None or location.digest is None:
        return None, None
    try:
        sha256 = read_digest(client, location.digest, declared, source.limits, attempts=ATTEMPTS)
    except NotPublishedError:
        return None, None
    except SourceError as error:
        return None, str(error)
    return sha256, None


def _read_validators(source: Source, target: Target, client: Client, now: datetime) -> Validators:
    if target.path is not None:
        return local_validators(target, target.path, now)
    stats = TransferStats()
    return run_with_retries(
        client,
        target,
        source.limits,
        stats,
        lambda: _request_validators(client, target, source.limits, stats),
        attempts=ATTEMPTS,
    )


def _request_validators(
    client: Client, target: Target, limits: Limits, stats: TransferStats
) -> Validators:
    """Returns the validators from a HEAD, or from a GET of one byte if HEAD is refused."""
    try:
        with client.request(target, limits, stats, method="HEAD") as response:
            return response.validators
    except (UnreachableError, NotPublishedError) as error:
        if error.status not in HEAD_NOT_SUPPORTED:
            raise
    with client.request(target, limits, stats, headers={"Range": "bytes=0-0"}) as response:
        return response.validators

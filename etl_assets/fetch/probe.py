"""Ask what the remotes say of their files, without downloading them.

Questions and their answers belong here. What an answer means for a run, `fetch.decide` says.
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
from etl_assets.model.errors import NotPublishedError, SourceError, UnreachableError
from etl_assets.model.records import Part, Probe, Validators

ATTEMPTS = 2  # a failed probe leads to a fetch, which tries as often as is declared
WORKERS = 64  # most wait for their turn at a host and must not keep other hosts waiting
HEAD_NOT_SERVED = frozenset({400, 403, 405, 501})


def probe_all(
    wanted: Sequence[tuple[Source, Part]],
    *,
    client: Client,
    resolver: LocationResolver,
    now: datetime,
) -> dict[Part, Probe]:
    """A probe of each part, asked at once within the limits of each host."""

    def ask(source: Source, part: Part) -> Probe:
        return probe(source, part, client=client, resolver=resolver, now=now)

    with ThreadPoolExecutor(max_workers=min(WORKERS, len(wanted) or 1)) as pool:
        pending = {part: pool.submit(ask, source, part) for source, part in wanted}
        with client.stopped_by_errors(pool):
            return {part: answer.result() for part, answer in pending.items()}


def probe(
    source: Source, part: Part, *, client: Client, resolver: LocationResolver, now: datetime
) -> Probe:
    """What the remote says of one part; an outage is an answer too and raises nothing.

    A published digest says all that a decision needs, so that only one small file is asked for.
    """
    place = resolver.resolve(source.location, part.partition)
    digest, digest_fault = _digest(source, place, client)
    validators = None
    try:
        validators = Validators() if digest else _validators(source, place.file, client)
    except NotPublishedError as error:
        return _answer(part, place, now, published=False, fault=str(error))
    except SourceError as error:
        return _answer(part, place, now, fault=str(error))
    found = validators.model_copy(update={"published_sha256": digest})
    return _answer(part, place, now, validators=found, fault=digest_fault)


def _answer(
    part: Part,
    place: ResolvedLocation,
    now: datetime,
    *,
    validators: Validators | None = None,
    published: bool = True,
    fault: str | None = None,
) -> Probe:
    return Probe(
        part=part,
        url=place.file.label,
        probed_at=now,
        validators=validators,
        published=published,
        fault=fault,
    )


def _digest(
    source: Source, place: ResolvedLocation, client: Client
) -> tuple[str | None, str | None]:
    """The published digest, or why there is none; validators of the file itself then decide."""
    declared = source.location.digest
    if declared is None or place.digest is None:
        return None, None
    try:
        return read_digest(client, place.digest, declared, source.limits, attempts=ATTEMPTS), None
    except NotPublishedError:
        return None, None
    except SourceError as error:
        return None, str(error)


def _validators(source: Source, target: Target, client: Client) -> Validators:
    if target.path is not None:
        return local_validators(target, target.path)
    effort = TransferStats()
    return run_with_retries(
        client,
        target,
        source.limits,
        effort,
        lambda: _remote_validators(client, target, source.limits, effort),
        attempts=ATTEMPTS,
    )


def _remote_validators(
    client: Client, target: Target, limits: Limits, effort: TransferStats
) -> Validators:
    """From a HEAD, or from a GET of the first byte where HEAD is not served."""
    try:
        with client.ask(target, limits, effort, method="HEAD") as answer:
            return answer.validators
    except UnreachableError as error:
        if error.status not in HEAD_NOT_SERVED:
            raise
    with client.ask(target, limits, effort, headers={"Range": "bytes=0-0"}) as answer:
        return answer.validators

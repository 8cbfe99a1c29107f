"""Requests made from the rows of a table, each with the hash of what it asks.

Only `{column}` is filled in: percent-encoded in a URL, as it is in a prompt. Whether a request is
made at all, says `etl_assets.fetch.request_rows`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import duckdb

from etl_assets.declarations.for_each import PLACEHOLDER, ForEach
from etl_assets.declarations.source import Limits, Source
from etl_assets.fetch import llm
from etl_assets.fetch.http import Client
from etl_assets.fetch.locations import LocationResolver, Target
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.fetch.transfer import download_with_retries
from etl_assets.fetch.url_policy import MASK
from etl_assets.model.errors import NotPublished, Refused, Unreachable

SHORTEST_SECRET = 8  # the word before it, such as Bearer, is none


@dataclass(frozen=True, slots=True)
class RowRequest:
    """One request: who asks, where it goes, and what it says."""

    key: dict[str, str]
    row: dict[str, str]
    target: Target
    sha256: str
    body: bytes | None = None


def requests_of(
    source: Source, table: Path, places: LocationResolver, *, with_credentials: bool = True
) -> list[RowRequest]:
    """One request for each different row of the table that gives all that is asked for."""
    declared, url = source.for_each, source.location.url or ""
    if declared is None or not table.exists():
        return []
    used = declared.used(url)
    names = ", ".join(f'"{name}"::varchar' for name in used)
    with duckdb.connect() as connection:
        found = connection.read_parquet(table.as_posix()).project(names).distinct().fetchall()
    rows = [dict(zip(used, row, strict=True)) for row in sorted(r for r in found if None not in r)]
    secrets = places.credentials(source.location) if with_credentials else ()
    made = [_request(source, declared, row, places) for row in rows]
    return [replace(r, target=replace(r.target, credentials=secrets)) for r in made]


def _request(
    source: Source, declared: ForEach, row: dict[str, str], places: LocationResolver
) -> RowRequest:
    encoded = {name: quote(value, safe="") for name, value in row.items()}
    url = _filled(source.location.url or "", encoded)
    name = declared.mirror_name
    body = llm.body_of(declared.chat, row) if declared.chat else None
    return RowRequest(
        key={column: row[column] for column in declared.columns},
        row=row,
        target=places.resolve(
            url,
            None,
            private=source.location.private,
            mirror_name=name.of(row[name.column]) if name else None,
        ),
        sha256=_digest(url, body),
        body=body,
    )


def _filled(template: str, row: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: row[match[1]], template)


def _digest(url: str, body: bytes | None) -> str:
    method = b"GET" if body is None else b"POST"
    parts = (method, url.encode(), body or b"")
    return hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).hexdigest()


def receive(request: RowRequest, client: Client, limits: Limits, effort: TransferStats) -> bytes:
    """The answer's bytes, after as many tries as are declared; a mirror's file stands for it.

    A secret that went with the request is masked, should the answer repeat it. Raises NotPublished
    where there is no answer to be had, and SourceError.
    """
    path = request.target.path
    if path is None:
        data = download_with_retries(
            client, request.target, limits, effort, lambda: _once(request, client, limits, effort)
        )
        return _masked(data, request.target)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotPublished(f"{request.target}: no such file") from error
    except OSError as error:
        raise Unreachable(f"{request.target}: {error.strerror}", is_final=True) from error


def _masked(data: bytes, target: Target) -> bytes:
    for _, value in target.credentials:
        for secret in value.get_secret_value().split():
            if len(secret) >= SHORTEST_SECRET:
                data = data.replace(secret.encode(), MASK.encode())
    return data


def _once(request: RowRequest, client: Client, limits: Limits, effort: TransferStats) -> bytes:
    kind = {} if request.body is None else {"Content-Type": "application/json"}
    with client.ask(
        request.target,
        limits,
        effort,
        method="GET" if request.body is None else "POST",
        headers=kind,
        body=request.body,
    ) as answer:
        parts, size = [], 0
        for chunk in answer.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > limits.max_bytes:
                found = f"expected at most {limits.max_bytes:,} bytes; see limits.max_bytes"
                raise Refused(f"{request.target}: {found}")
        return b"".join(parts)

"""Requests made from the rows of a table, each with the hash of what it asks.

Only `{column}` is filled in: percent-encoded in a URL, as it is in a prompt. Whether a request is
made at all, says `etl_assets.fetch.collect_answers`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import duckdb
from pydantic import AwareDatetime, Field, ValidationError

from etl_assets.declarations.source import PLACEHOLDER, ForEach, Limits, Source
from etl_assets.fetch import llm
from etl_assets.fetch.http import Client
from etl_assets.fetch.locations import LocationResolver, Target
from etl_assets.fetch.network_guard import MASK
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.fetch.transfer import run_with_retries
from etl_assets.model.errors import (
    HomeError,
    NotPublishedError,
    TransferRefusedError,
    UnreachableError,
)
from etl_assets.model.records import Record, Sha256
from etl_assets.storage.atomic_write import write_text

SHORTEST_SECRET = 8  # the word before it, such as Bearer, is none


@dataclass(frozen=True, slots=True)
class RowRequest:
    """One request: who asks, where it goes, and what it says."""

    key: dict[str, str]
    row: dict[str, str]
    target: Target
    sha256: str
    body: bytes | None = None


def build_requests(
    source: Source, table: Path, resolver: LocationResolver, *, with_credentials: bool = True
) -> list[RowRequest]:
    """One request for each different row of the table that gives all that is asked for."""
    declared, url = source.for_each, source.location.url or ""
    if declared is None or not table.exists():
        return []
    used = declared.required_columns(url)
    names = ", ".join(f'"{name}"::varchar' for name in used)
    with duckdb.connect() as connection:
        found = connection.read_parquet(table.as_posix()).project(names).distinct().fetchall()
    rows = [dict(zip(used, row, strict=True)) for row in sorted(r for r in found if None not in r)]
    secrets = resolver.credentials(source.location) if with_credentials else ()
    made = [_request(source, declared, row, resolver) for row in rows]
    return [replace(r, target=replace(r.target, credentials=secrets)) for r in made]


def _request(
    source: Source, declared: ForEach, row: dict[str, str], resolver: LocationResolver
) -> RowRequest:
    encoded = {name: quote(value, safe="") for name, value in row.items()}
    url = _filled(source.location.url or "", encoded)
    name = declared.mirror_name
    body = llm.build_body(declared.chat, row) if declared.chat else None
    return RowRequest(
        key={column: row[column] for column in declared.columns},
        row=row,
        target=resolver.resolve_target(
            url,
            None,
            private=source.location.private,
            mirror_name=name.file_stem(row[name.column]) if name else None,
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


def send_request(
    request: RowRequest, client: Client, limits: Limits, effort: TransferStats
) -> bytes:
    """The answer's bytes, after as many tries as are declared; a mirror's file stands for it.

    A secret of the request is masked if the answer repeats it. Raises NotPublishedError if there
    is no answer, and SourceError for other faults.
    """
    path = request.target.path
    if path is None:
        data = run_with_retries(
            client, request.target, limits, effort, lambda: _once(request, client, limits, effort)
        )
        return _masked(data, request.target)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotPublishedError(f"{request.target}: no such file") from error
    except OSError as error:
        raise UnreachableError(f"{request.target}: {error.strerror}", is_final=True) from error


def _masked(data: bytes, target: Target) -> bytes:
    for _, value in target.credentials:
        for secret in value.get_secret_value().split():
            if len(secret) >= SHORTEST_SECRET:
                data = data.replace(secret.encode(), MASK.encode())
    return data


def _once(request: RowRequest, client: Client, limits: Limits, effort: TransferStats) -> bytes:
    kind = {} if request.body is None else {"Content-Type": "application/json"}
    with client.request(
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
                raise TransferRefusedError(f"{request.target}: {found}")
        return b"".join(parts)


class RequestResult(Record):
    """One answer that came, good or bad; a bad one has been paid for too."""

    at: AwareDatetime
    cost_usd: float = Field(default=0, ge=0)
    fault: str | None = None


class Answer(Record):
    """A request by its content, and what is known of it for good."""

    request_sha256: Sha256
    key: dict[str, str]
    status: Literal["answered", "no_result", "refused"]
    asked: list[RequestResult] = Field(min_length=1)
    body: Any = Field(default=None, description="the JSON of the answer, where there is a good one")

    @property
    def at(self) -> AwareDatetime:
        return self.asked[-1].at

    @property
    def why(self) -> str:
        return self.asked[-1].fault or "no result"


class DailyUsage(Record):
    """What was asked and paid within a day."""

    requests: int = 0
    cost_usd: float = 0


@dataclass(frozen=True, slots=True)
class AnswerStore:
    """The answers of one source, below a folder of its own."""

    folder: Path

    def find(self, request_sha256: str) -> Answer | None:
        """The request's answer; raises HomeError where its file cannot be read."""
        path = self._path(request_sha256)
        return _read(path) if path.exists() else None

    def keep(self, answer: Answer) -> None:
        write_text(self._path(answer.request_sha256), answer.model_dump_json(indent=1) + "\n")

    def spent_on(self, day: date) -> DailyUsage:
        """What was asked on a day, UTC, over all answers that are kept."""
        asked = [
            asked
            for answer in self._all()
            for asked in answer.asked
            if asked.at.astimezone(UTC).date() == day
        ]
        return DailyUsage(requests=len(asked), cost_usd=sum(one.cost_usd for one in asked))

    def _all(self) -> Iterator[Answer]:
        yield from map(_read, sorted(self.folder.glob("*/*.json")))

    def _path(self, request_sha256: str) -> Path:
        return self.folder / request_sha256[:2] / f"{request_sha256}.json"


def _read(path: Path) -> Answer:
    try:
        return Answer.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise HomeError(
            f"{path}: expected a kept answer, found what cannot be read ({error}); "
            "take the file away, and its request is made again"
        ) from error

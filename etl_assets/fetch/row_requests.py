"""Requests built from the rows of a table, the sending of one of them, and the store of answers.

Which requests are sent and what becomes of their answers is `etl_assets.fetch.collect_answers`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, date
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import AwareDatetime, ConfigDict, Field, SecretStr, ValidationError

from etl_assets.declarations.source import ForEach, Limits, Source
from etl_assets.fetch import llm
from etl_assets.fetch.http import Client
from etl_assets.fetch.local import translate_read_errors
from etl_assets.fetch.locations import LocationResolver, Target
from etl_assets.fetch.network_guard import MASK
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.fetch.transfer import run_with_retries
from etl_assets.model.errors import HomeError, TransferRefusedError
from etl_assets.model.records import Record, Sha256
from etl_assets.storage.atomic_write import write_text
from etl_assets.storage.duckdb_connection import connect
from etl_assets.storage.sql_quoting import quote_name

MIN_SECRET_LENGTH = 8  # of the parts of a header; a shorter one, such as Bearer, is no secret


@dataclass(frozen=True, slots=True)
class RowRequest:
    """The request of one row: its key, the values it is built from, its address and its body."""

    key: dict[str, str]
    row: dict[str, str]
    target: Target
    sha256: str
    body: bytes | None = None


def build_requests(
    source: Source, table: Path, resolver: LocationResolver, *, with_credentials: bool = True
) -> list[RowRequest]:
    """Returns one request for each distinct row of a parquet table, in the order of its values.

    A row with a null in a column that the request needs is left out.
    """
    declared, url = source.for_each, source.location.url or ""
    if declared is None or not table.exists():
        return []
    columns = declared.required_columns(url)
    selection = ", ".join(f"{quote_name(name)}::varchar" for name in columns)
    with connect() as connection:
        records = connection.read_parquet(table.as_posix()).project(selection).distinct().fetchall()
    credentials = resolver.credentials(source.location) if with_credentials else ()
    complete = sorted(record for record in records if None not in record)
    rows = [dict(zip(columns, record, strict=True)) for record in complete]
    return [_build_request(source, declared, row, resolver, credentials) for row in rows]


def _build_request(
    source: Source,
    declared: ForEach,
    row: dict[str, str],
    resolver: LocationResolver,
    credentials: tuple[tuple[str, SecretStr], ...],
) -> RowRequest:
    encoded = {name: quote(value, safe="") for name, value in row.items()}
    url = llm.fill_template(source.location.url or "", encoded)
    body = llm.build_body(declared.chat, row) if declared.chat else None
    mirror_name = None
    if declared.mirror_name:
        mirror_name = declared.mirror_name.file_stem(row[declared.mirror_name.column])
    target = resolver.resolve_target(
        url, None, private=source.location.private, mirror_name=mirror_name
    )
    return RowRequest(
        key={column: row[column] for column in declared.columns},
        row=row,
        target=replace(target, credentials=credentials),
        sha256=_hash_request(url, body),
        body=body,
    )


def _hash_request(url: str, body: bytes | None) -> str:
    """Returns the hash that identifies a request by its content; stored answers are named by it."""
    method = b"GET" if body is None else b"POST"
    digest = hashlib.sha256()
    for part in (method, url.encode(), body or b""):
        # With its length before it, no two lists of parts give the same bytes.
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def send_request(
    request: RowRequest, client: Client, limits: Limits, stats: TransferStats
) -> bytes:
    """Returns the body of the response, or the file of a directory mirror.

    A secret of the request is masked if the response repeats it. Raises NotPublishedError if there
    is no answer, and SourceError for other faults.
    """
    target = request.target
    if target.path is not None:
        with translate_read_errors(target):
            return target.path.read_bytes()
    data = run_with_retries(
        client, target, limits, stats, lambda: _send_once(request, client, limits, stats)
    )
    for _, header in target.credentials:
        for part in header.get_secret_value().split():
            if len(part) >= MIN_SECRET_LENGTH:
                data = data.replace(part.encode(), MASK.encode())
    return data


def _send_once(request: RowRequest, client: Client, limits: Limits, stats: TransferStats) -> bytes:
    method, headers = "GET", {}
    if request.body is not None:
        method, headers = "POST", {"Content-Type": "application/json"}
    with client.request(
        request.target, limits, stats, method=method, headers=headers, body=request.body
    ) as response:
        chunks, size = [], 0
        for chunk in response.chunks():
            chunks.append(chunk)
            size += len(chunk)
            if size > limits.max_bytes:
                raise TransferRefusedError(
                    f"{request.target}: expected at most {limits.max_bytes:,} bytes;"
                    " see limits.max_bytes"
                )
        return b"".join(chunks)


class RequestResult(Record):
    """One response to a request, good or refused; a refused one has a cost too."""

    at: AwareDatetime
    cost_usd: float = Field(default=0, ge=0)
    fault: str | None = None


class Answer(Record):
    """The stored answer to one request, with every attempt to get it."""

    model_config = ConfigDict(populate_by_name=True)

    request_sha256: Sha256
    key: dict[str, str]
    status: Literal["answered", "no_result", "refused"]
    attempts: list[RequestResult] = Field(min_length=1, alias="asked")  # `asked` in stored files
    body: Any = Field(default=None, description="the JSON of a good answer")

    @property
    def at(self) -> AwareDatetime:
        return self.attempts[-1].at

    @property
    def reason(self) -> str:
        """Why there is no good answer."""
        return self.attempts[-1].fault or "no result"


class DailyUsage(Record):
    """The number and the cost of the requests of one day."""

    requests: int = 0
    cost_usd: float = 0


@dataclass(frozen=True, slots=True)
class AnswerStore:
    """The answers of one source, one file per request, named by the hash of the request.

    An answer is saved as soon as it arrives, so that a run that fails later does not pay twice.
    """

    folder: Path

    def find(self, request_sha256: str) -> Answer | None:
        """Returns the answer to a request; raises HomeError if its file is damaged."""
        path = self._path(request_sha256)
        return _read_answer(path) if path.exists() else None

    def save(self, answer: Answer) -> None:
        text = answer.model_dump_json(indent=1, by_alias=True)
        write_text(self._path(answer.request_sha256), text + "\n")

    def usage_on(self, day: date) -> DailyUsage:
        """Returns the usage of a day (UTC), counted over all stored answers."""
        requests, cost_usd = 0, 0.0
        for path in sorted(self.folder.glob("*/*.json")):
            for attempt in _read_answer(path).attempts:
                if attempt.at.astimezone(UTC).date() == day:
                    requests += 1
                    cost_usd += attempt.cost_usd
        return DailyUsage(requests=requests, cost_usd=cost_usd)

    def _path(self, request_sha256: str) -> Path:
        return self.folder / request_sha256[:2] / f"{request_sha256}.json"


def _read_answer(path: Path) -> Answer:
    try:
        return Answer.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise HomeError(
            f"{path}: expected a stored answer, found a file that cannot be read ({error}); "
            "remove the file, and its request is sent again"
        ) from error

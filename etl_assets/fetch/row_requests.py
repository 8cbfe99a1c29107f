"""Requests built from the rows of a table, the sending of one of them, and the store of answers.

Which requests are sent is `etl_assets.fetch.answer_survey`, what becomes of their answers
`etl_assets.fetch.collect_answers`.
"""

from __future__ import annotations

import hashlib
import operator
from dataclasses import dataclass, replace
from datetime import UTC, date
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import AwareDatetime, ConfigDict, Field, SecretStr, ValidationError

from etl_assets.declarations.source import ForEach, Limits, Source
from etl_assets.fetch import llm
from etl_assets.fetch.answer_pages import Page, PagedAnswer, read_pages
from etl_assets.fetch.answer_shape import decode_answer
from etl_assets.fetch.http import Client
from etl_assets.fetch.local import translate_read_errors
from etl_assets.fetch.locations import LocationResolver, Target, is_same_origin
from etl_assets.fetch.network_guard import MASK, is_private_host, redact_message
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.fetch.transfer import run_with_retries
from etl_assets.model.errors import (
    ContentError,
    HomeError,
    NotPublishedError,
    TransferRefusedError,
    UnreachableError,
    UsageError,
)
from etl_assets.model.records import Record, Sha256
from etl_assets.storage.atomic_write import write_text
from etl_assets.storage.duckdb_connection import connect
from etl_assets.storage.sql_quoting import quote_name

MIN_SECRET_LENGTH = 8  # of the parts of a header; a shorter one, such as Bearer, is no secret


@dataclass(frozen=True, slots=True)
class RowRequest:
    """The request of one row: its key, the values it is built from, its address and its body."""

    source: Source
    key: dict[str, str]
    row: dict[str, str]
    url: str
    """The declared address; that of the target may be in a mirror."""
    target: Target
    sha256: str
    resolver: LocationResolver
    body: bytes | None = None

    @property
    def is_private(self) -> bool:
        """True if the declared address may be a private one."""
        return self.source.location.private or is_private_host(urlsplit(self.url).hostname or "")

    def page_target(self, url: str, number: int) -> Target:
        """Returns the target of another page of the answer, whose declared address is `url`.

        The mirror has the pages of `Elm.json` as `Elm.2.json`, `Elm.3.json` and so on. Raises
        TransferRefusedError for an address that cannot be requested.
        """
        mirror_name = _mirror_name(self.source, self.row)
        try:
            target = self.resolver.resolve_target(
                url,
                None,
                private=self.source.location.private,
                mirror_name=f"{mirror_name}.{number}" if mirror_name else None,
            )
        except UsageError as error:  # of an address that the answer states, not the declaration
            raise TransferRefusedError(f"page {number}: {redact_message(str(error))}") from error
        if not is_same_origin(url, self.url):
            return target
        return replace(target, credentials=self.target.credentials)


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
    target = resolver.resolve_target(
        url, None, private=source.location.private, mirror_name=_mirror_name(source, row)
    )
    return RowRequest(
        source=source,
        key={column: row[column] for column in declared.columns},
        row=row,
        url=url,
        target=replace(target, credentials=credentials),
        sha256=_hash_request(url, body),
        resolver=resolver,
        body=body,
    )


def _mirror_name(source: Source, row: dict[str, str]) -> str | None:
    """Returns the declared name of a row's file in a mirror, or None."""
    declared = source.for_each.mirror_name if source.for_each else None
    return declared.file_stem(row[declared.column]) if declared else None


def _hash_request(url: str, body: bytes | None) -> str:
    """Returns the hash that identifies a request by its content; stored answers are named by it."""
    method = b"GET" if body is None else b"POST"
    digest = hashlib.sha256()
    for part in (method, url.encode(), body or b""):
        # With its length before it, no two lists of parts give the same bytes.
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _Received:
    """The body of a response, without the secrets of its request, and what its header states."""

    data: bytes
    next_link: str | None = None
    retry_after: float | None = None


def request_answer(request: RowRequest, client: Client, stats: TransferStats) -> PagedAnswer:
    """Returns the answer to a request, with the items of all its pages.

    A secret of the request is masked if the response repeats it. Raises NotPublishedError if there
    is no answer, and SourceError if the response, or that of a further page, is an error.
    """
    declared = request.source.for_each
    size_bytes = 0

    def send(url: str, number: int) -> Page:
        nonlocal size_bytes
        target = request.target if number == 1 else request.page_target(url, number)
        try:
            page, page_bytes = _request_page(request, target, client, stats)
        except NotPublishedError as error:
            if number == 1:
                raise
            raise UnreachableError(f"page {number}: {error}", is_final=True) from error
        size_bytes += page_bytes
        _check_size(size_bytes, target, request.source.limits)
        return page

    return read_pages(
        declared.pages if declared else None, request.url, send, is_private=request.is_private
    )


def _request_page(
    request: RowRequest, target: Target, client: Client, stats: TransferStats
) -> tuple[Page, int]:
    """Returns one response that is an answer, and its size in bytes."""
    source = request.source
    if target.path is not None:
        with translate_read_errors(target):
            data = target.path.read_bytes()
        return _read_page(request, target, _Received(data)), len(data)

    def attempt() -> tuple[Page, int]:
        received = _send_once(request, target, client, stats)
        try:
            return _read_page(request, target, received), len(received.data)
        except UnreachableError as error:
            if error.retry_after is not None:
                client.rate_limiter(target).postpone(error.retry_after)
            raise

    return run_with_retries(client, target, source.limits, stats, attempt)


def _read_page(request: RowRequest, target: Target, received: _Received) -> Page:
    """Returns the JSON of a response.

    Raises UnreachableError if it is an error of the endpoint, and ContentError if it is no JSON.
    """
    body, fault = decode_answer(request.source, received.data)
    if fault is None:
        return Page(body, received.next_link)
    # The text of a JSON may have escapes, so that a secret is visible only after decoding.
    actual = _mask_secrets(fault.actual.encode(), target).decode()
    if body is None:
        raise ContentError.of(str(target), fault.expected, actual)
    retry_after = received.retry_after if fault.is_busy else None
    if retry_after is not None:
        retry_after = min(retry_after, request.source.limits.max_backoff_seconds)
    raise UnreachableError(
        f"{target}: expected {fault.expected}, found {actual}",
        status=fault.status,
        retry_after=retry_after,
        is_final=not fault.is_busy,
    )


def _mask_secrets(data: bytes, target: Target) -> bytes:
    for _, header in target.credentials:
        for part in header.get_secret_value().split():
            if len(part) >= MIN_SECRET_LENGTH:
                data = data.replace(part.encode(), MASK.encode())
    return data


def _check_size(size_bytes: int, target: Target, limits: Limits) -> None:
    if size_bytes > limits.max_bytes:
        raise TransferRefusedError(
            f"{target}: expected at most {limits.max_bytes:,} bytes; see limits.max_bytes"
        )


def _send_once(
    request: RowRequest, target: Target, client: Client, stats: TransferStats
) -> _Received:
    method, headers, limits = "GET", {}, request.source.limits
    if request.body is not None:
        method, headers = "POST", {"Content-Type": "application/json"}
    with client.request(
        target, limits, stats, method=method, headers=headers, body=request.body
    ) as response:
        chunks, size = [], 0
        for chunk in response.chunks():
            chunks.append(chunk)
            size += len(chunk)
            _check_size(size, target, limits)
        data = _mask_secrets(b"".join(chunks), target)
        return _Received(data, response.next_link, response.retry_after)


class RequestResult(Record):
    """One response to a request, good or refused; a refused one has a cost too."""

    at: AwareDatetime
    cost_usd: float = Field(default=0, ge=0)
    fault: str | None = None
    pages: int = Field(default=1, ge=1, exclude_if=lambda pages: pages == 1)
    is_cut_off: bool = Field(
        default=False, description="more pages than declared", exclude_if=operator.not_
    )
    note: str | None = Field(
        default=None, description="why the answer is not complete", exclude_if=operator.not_
    )

    @property
    def is_completion(self) -> bool:
        """False for an error of the endpoint, which earlier versions stored and counted."""
        return not (self.fault or "").startswith(llm.NO_COMPLETION)


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
    def completions(self) -> int:
        """The number of completions, good or refused, that a chat has made."""
        return sum(attempt.is_completion for attempt in self.attempts)

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
                    requests += attempt.pages
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

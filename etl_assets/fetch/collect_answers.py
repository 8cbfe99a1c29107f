"""Collecting the answers to the requests of a source's rows into one file of the raw store.

A request is identified by the hash of its content and is not sent again once it is answered. Which
requests are due is `etl_assets.fetch.answer_survey`; building and sending one request, and storing
its answer, is `etl_assets.fetch.row_requests`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from datetime import UTC

from etl_assets.fetch import llm, raw_store
from etl_assets.fetch.answer_survey import (
    RequestContext,
    RequestSurvey,
    answer_store,
    find_earlier_answers,
    find_stop_reason,
    format_key,
)
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.fetch.row_requests import (
    Answer,
    DailyUsage,
    RequestResult,
    RowRequest,
    request_answer,
)
from etl_assets.model.errors import NotPublishedError, SourceError, UnreachableError
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    Part,
    RawFile,
)

CODE_VERSION = "1"
DENIED = frozenset({401, 402, 403})

log = logging.getLogger(__name__)


def collect(
    part: Part,
    survey: RequestSurvey,
    decision: Decision,
    last: FetchResult | None,
    context: RequestContext,
) -> FetchResult:
    """Send the due requests and store the index; faults are recorded in the result."""
    if last and last.pin:
        return last.model_copy(update={"decision": decision})
    if last and not decision.fetch:
        keeps_status = last.file is None or last.status is FetchStatus.OFF
        status = last.status if keeps_status else FetchStatus.UNCHANGED
        return last.model_copy(update={"decision": decision, "status": status})
    stats = TransferStats()
    _send_due_requests(survey, context, stats)
    survey.earlier = find_earlier_answers(survey, last, context)
    file = _store_index(part, survey, context, stats) if survey.has_index(last) else None
    return FetchResult(
        part=part,
        status=_result_status(survey, file, last),
        decision=decision.model_copy(update={"detail": str(survey)}),
        file=file,
        fault=survey.fault,
        warning=survey.warning,
        attempts=stats.attempts,
        last_status=stats.last_status,
        waited_seconds=round(stats.waited_seconds, 3),
    )


def _send_due_requests(
    survey: RequestSurvey, context: RequestContext, stats: TransferStats
) -> None:
    """Send the due requests one after the other until one is stopped; updates the survey."""
    store, settings = answer_store(survey.source, context), survey.settings
    answered = set[str]()
    failures_in_a_row = 0
    for number, request in enumerate(list(survey.due)):
        if request.sha256 in answered:  # rows with equal requests share one answer
            survey.due.remove(request)
            continue
        survey.stop_reason = find_stop_reason(survey, context, request)
        if survey.stop_reason:
            return
        if number and number % settings.batch_size == 0 and request.target.url:
            context.client.rate_limiter(request.target).wait(settings.delay_seconds, stats)
        try:
            for answer in _request_answers(request, survey, context, stats):
                store.save(answer)
                survey.answers[request.sha256] = answer
        except (SourceError, UnicodeError) as error:  # UnicodeError: of a header that is not ASCII
            key = format_key(request)
            log.warning("%s: %s: %s", survey.source.full_name, key, error)
            survey.failures.append((key, str(error)))
            failures_in_a_row = failures_in_a_row + 1 if _is_of_endpoint(error) else 0
            survey.stop_reason = _stop_reason_after(survey, error, failures_in_a_row)
            if survey.stop_reason:
                return
        else:
            failures_in_a_row = 0
            survey.due.remove(request)
            answered.add(request.sha256)


def _is_of_endpoint(error: Exception) -> bool:
    """True if the endpoint failed, and not only the answer to one request."""
    return isinstance(error, UnreachableError) and not error.is_final


def _stop_reason_after(survey: RequestSurvey, error: Exception, failures_in_a_row: int) -> str:
    """Returns why no request is sent after a failed one; empty if the next one may be."""
    if isinstance(error, UnreachableError) and error.status in DENIED:
        return "the endpoint denies access"
    if failures_in_a_row >= survey.source.limits.failures_before_pause:
        return f"{failures_in_a_row} requests in a row failed"
    return ""


def _request_answers(
    request: RowRequest, survey: RequestSurvey, context: RequestContext, stats: TransferStats
) -> Iterator[Answer]:
    """Yields the answer to one request; of a chat, each one paid for until one is as declared."""
    chat = survey.settings.chat
    if chat is None or request.body is None:
        yield _request_document(request, survey, context, stats)
        return
    last = answer_store(survey.source, context).find(request.sha256)
    attempts = list(last.attempts) if last else []
    is_new = last is None or context.force or last.status == "answered"
    completions = 0 if is_new or last is None else last.completions
    while completions < chat.attempts:
        try:
            received = request_answer(request, context.client, stats)
        except NotPublishedError as error:
            if request.target.path is None:  # an unknown model or a wrong address
                raise UnreachableError(str(error), status=error.status, is_final=True) from error
            yield _no_result(request, context)
            return
        completion = llm.parse_completion(chat, request.body, received.body, request.row)
        cost_usd, fault = completion.cost_usd, completion.fault
        completions += 1
        attempts.append(RequestResult(at=context.now, cost_usd=cost_usd, fault=fault))
        survey.usage = DailyUsage(
            requests=survey.usage.requests + 1, cost_usd=survey.usage.cost_usd + cost_usd
        )
        yield Answer(
            request_sha256=request.sha256,
            key=request.key,
            status="refused" if fault else "answered",
            attempts=list(attempts),
            body=completion.answer,
        )
        if fault is None or find_stop_reason(survey, context, request):
            return


def _request_document(
    request: RowRequest, survey: RequestSurvey, context: RequestContext, stats: TransferStats
) -> Answer:
    """Returns the response as an answer, with the items of all its pages."""
    usage = survey.usage
    try:
        received = request_answer(request, context.client, stats)
    except NotPublishedError:
        survey.usage = usage.model_copy(update={"requests": usage.requests + 1})
        return _no_result(request, context)
    survey.usage = usage.model_copy(update={"requests": usage.requests + received.pages})
    result = RequestResult(
        at=context.now,
        pages=received.pages,
        is_cut_off=received.is_cut_off,
        note=received.note,
    )
    return Answer(
        request_sha256=request.sha256,
        key=request.key,
        status="answered",
        attempts=[result],
        body=received.body,
    )


def _no_result(request: RowRequest, context: RequestContext) -> Answer:
    return Answer(
        request_sha256=request.sha256,
        key=request.key,
        status="no_result",
        attempts=[RequestResult(at=context.now)],
    )


def _store_index(
    part: Part, survey: RequestSurvey, context: RequestContext, stats: TransferStats
) -> RawFile:
    data = survey.index
    sha256 = hashlib.sha256(data).hexdigest()
    with raw_store.partial_file(context.home, part) as (path, file):
        file.write(data)
        stored = raw_store.store_file(context.home, path, sha256)
    return RawFile(
        part=part,
        sha256=sha256,
        size_bytes=len(data),
        path=context.home.relative(stored),
        url=survey.source.location.url or "",
        fetched_at=context.now.astimezone(UTC),
        attempts=max(1, stats.attempts),
        last_status=stats.last_status,
        waited_seconds=round(stats.waited_seconds, 3),
        code_version=CODE_VERSION,
    )


def _result_status(
    survey: RequestSurvey, file: RawFile | None, last: FetchResult | None
) -> FetchStatus:
    if survey.failures:
        return FetchStatus.OUTAGE if file else FetchStatus.MISSING
    if survey.stop_reason and not (survey.answers or survey.earlier):
        return FetchStatus.OFF
    if file is None:
        return FetchStatus.NOT_YET_PUBLISHED
    is_same = last is not None and last.file is not None and last.file.sha256 == file.sha256
    return FetchStatus.UNCHANGED if is_same else FetchStatus.FETCHED

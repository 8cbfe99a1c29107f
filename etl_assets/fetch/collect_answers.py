"""Collecting the answers to the requests of a source's rows into one file of the raw store.

A request is identified by the hash of its content and is not sent again once it is answered.
Building and sending one request, and storing its answer, is `etl_assets.fetch.row_requests`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from etl_assets.declarations.source import ForEach, Source
from etl_assets.fetch import llm, raw_store
from etl_assets.fetch.http import Client
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.fetch.row_requests import (
    Answer,
    AnswerStore,
    DailyUsage,
    RequestResult,
    RowRequest,
    send_request,
)
from etl_assets.model.errors import ContentError, NotPublishedError, SourceError, UnreachableError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    Part,
    RawFile,
    Reason,
    StoredState,
)
from etl_assets.tables.readers.batch import DECODE_ERRORS, row_text

CODE_VERSION = "1"
DENIED = frozenset({401, 402, 403})
NAMED_REFUSALS = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What the requests of one source share."""

    client: Client
    home: Home
    now: datetime
    missing_settings: str = ""
    """The variables of credentials that are not set; while there are any, nothing is requested."""
    settings_fault: str = ""
    """Why a credential cannot be used although it is set; the due requests are then an outage."""
    force: bool = False


@dataclass(slots=True)
class RequestSurvey:
    """The requests of a source: those that are answered, those that are due, and the usage."""

    source: Source
    requests: Sequence[RowRequest]
    answers: dict[str, Answer]
    """By the hash of the request."""
    due: list[RowRequest]
    usage: DailyUsage
    stop_reason: str = ""
    """Why no further request is sent; empty if the next one may be."""
    failures: list[str] = field(default_factory=list)

    @property
    def settings(self) -> ForEach:
        return require_for_each(self.source)

    @property
    def answered_requests(self) -> Iterator[tuple[RowRequest, Answer]]:
        """The requests with a stored answer, good or not, in the order of the rows."""
        for request in self.requests:
            answer = self.answers.get(request.sha256)
            if answer:
                yield request, answer

    @property
    def index(self) -> bytes:
        """The content of the raw file: the good answers, and the requests that have none."""
        good: list[dict[str, object]] = []
        without: list[dict[str, object]] = []
        for request, answer in self.answered_requests:
            entry = {"key": request.key, "request_sha256": request.sha256}
            if answer.status == "answered":
                good.append({**entry, "answered_at": answer.at, "answer": answer.body})
            else:
                without.append({**entry, "status": answer.status, "why": answer.reason})
        return msgspec.json.encode({"answers": good, "without": without})

    @property
    def index_sha256(self) -> str | None:
        """The hash of the index; None while there is no answer at all."""
        return hashlib.sha256(self.index).hexdigest() if self.answers else None

    @property
    def fault(self) -> str | None:
        """The number of failed requests and the first failure; None if none failed."""
        if not self.failures:
            return None
        text = f"{len(self.failures)} of {len(self.requests)} requests failed"
        text += f", first: {self.failures[0]}"
        if self.stop_reason and self.stop_reason not in text:
            text += f"; {self.stop_reason}"
        return text

    @property
    def warning(self) -> str | None:
        """The refused answers; None if none was refused."""
        refusals = []
        for request, answer in self.answered_requests:
            if answer.status == "refused":
                refusals.append(f"{_format_key(request)}: {answer.reason}")
        if not refusals:
            return None
        return f"{len(refusals)} answers refused: " + "; ".join(refusals[:NAMED_REFUSALS])

    def __str__(self) -> str:
        statuses = [answer.status for _, answer in self.answered_requests]
        counts = {
            "answered": statuses.count("answered"),
            "no result": statuses.count("no_result"),
            "refused": statuses.count("refused"),
            "not sent": len(self.due),
        }
        shown = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        text = f"{len(self.requests)} requests: {shown or 'none'}"
        if self.stop_reason:
            text += f"; {self.stop_reason}"
        return text


def require_for_each(source: Source) -> ForEach:
    """Returns the declared requests of a source; raises ValueError if it has none."""
    if source.for_each is None:
        raise ValueError(f"{source.full_name}: expected requests from a table")
    return source.for_each


def survey_requests(
    source: Source, requests: Sequence[RowRequest], context: RequestContext
) -> RequestSurvey:
    """Returns which requests are answered and which are due; sends none."""
    store, settings = _answer_store(source, context), require_for_each(source)
    answers = {}
    due = []
    for request in requests:
        answer = store.find(request.sha256)
        if answer:
            answers[request.sha256] = answer
        if _is_due(request, answer, settings, context):
            due.append(request)
    usage = DailyUsage()
    # Counting reads every stored answer, so it is left out where nothing depends on it.
    if settings.daily_limit is not None or settings.max_cost_usd_per_day is not None:
        usage = store.usage_on(context.now.astimezone(UTC).date())
    survey = RequestSurvey(source, requests, answers, due, usage)
    survey.stop_reason = _find_stop_reason(survey, context, next(iter(due), None))
    if fault := context.settings_fault:
        survey.failures = [f"{_format_key(request)}: {fault}" for request in due]
    return survey


def decide(
    part: Part, survey: RequestSurvey, last: FetchResult | None, context: RequestContext
) -> Decision:
    """Returns whether there are requests to send, or another file to make of the answers."""
    if last and last.pin:
        return Decision(part=part, fetch=False, reason=Reason.PINNED, detail=str(last.pin))
    reason = next(_causes(survey, last, context), None)
    if reason:
        return Decision(part=part, fetch=True, reason=reason, detail=str(survey))
    reason = Reason.OFF if survey.stop_reason else Reason.UP_TO_DATE
    return Decision(part=part, fetch=False, reason=reason, detail=str(survey))


def _causes(
    survey: RequestSurvey, last: FetchResult | None, context: RequestContext
) -> Iterator[Reason]:
    if survey.due and (survey.failures or not survey.stop_reason):
        yield Reason.FORCED if context.force else Reason.REQUESTS_DUE
    if last is None:
        yield Reason.NO_RECORD
        return
    if last.file and raw_store.stored_state(context.home, last.file) is not StoredState.PRESENT:
        yield Reason.FILE_MISSING
    last_sha256 = last.file.sha256 if last.file else None
    if last_sha256 != survey.index_sha256:
        yield Reason.REQUESTS_CHANGED
    if last.status is FetchStatus.OUTAGE:
        yield Reason.LAST_WAS_OUTAGE


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
        status = FetchStatus.UNCHANGED if last.file else last.status
        return last.model_copy(update={"decision": decision, "status": status})
    stats = TransferStats()
    _send_due_requests(survey, context, stats)
    file = _store_index(part, survey, context, stats) if survey.answers else None
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


def _answer_store(source: Source, context: RequestContext) -> AnswerStore:
    return AnswerStore(context.home.answers(source.domain, source.name))


def _is_due(
    request: RowRequest, answer: Answer | None, settings: ForEach, context: RequestContext
) -> bool:
    if answer is None:
        return True
    if settings.chat is not None:
        # A good completion is kept for ever, as it was paid for; only a refused one is repeated.
        may_repeat = len(answer.attempts) < settings.chat.attempts or context.force
        return answer.status == "refused" and may_repeat
    path = request.target.path
    if path is not None:
        # A file of a directory mirror costs nothing to read again when it is newer.
        return path.exists() and path.stat().st_mtime > answer.at.timestamp()
    if context.force:
        return True
    max_age = settings.keep_days
    return max_age is not None and context.now - answer.at >= timedelta(days=max_age)


def _find_stop_reason(
    survey: RequestSurvey, context: RequestContext, request: RowRequest | None
) -> str:
    """Returns why the request may not be sent now; empty if it may."""
    settings, usage = survey.settings, survey.usage
    if context.settings_fault:
        return context.settings_fault
    if context.missing_settings:
        return f"off, as {context.missing_settings} is not set"
    if settings.daily_limit is not None and usage.requests >= settings.daily_limit:
        return f"the daily limit of {settings.daily_limit:,} requests is reached"
    cap = settings.max_cost_usd_per_day
    if cap is None or settings.chat is None or request is None or request.body is None:
        return ""
    # The maximum cost is compared: the actual one is only known after it is paid.
    if usage.cost_usd + llm.max_cost_usd(settings.chat, request.body) > cap:
        return f"the cost cap of {cap:g} USD a day leaves {cap - usage.cost_usd:.4f} USD"
    return ""


def _send_due_requests(
    survey: RequestSurvey, context: RequestContext, stats: TransferStats
) -> None:
    """Send the due requests one after the other until one is stopped; updates the survey."""
    store, settings = _answer_store(survey.source, context), survey.settings
    answered = set[str]()
    for number, request in enumerate(list(survey.due)):
        if request.sha256 in answered:  # rows with equal requests share one answer
            survey.due.remove(request)
            continue
        survey.stop_reason = _find_stop_reason(survey, context, request)
        if survey.stop_reason:
            return
        if number and number % settings.batch_size == 0 and request.target.url:
            context.client.rate_limiter(request.target).wait(settings.delay_seconds, stats)
        try:
            for answer in _request_answers(request, survey, context, stats):
                store.save(answer)
                survey.answers[request.sha256] = answer
        except (SourceError, UnicodeError) as error:  # UnicodeError: of a header that is not ASCII
            key = _format_key(request)
            log.warning("%s: %s: %s", survey.source.full_name, key, error)
            survey.failures.append(f"{key}: {error}")
            if isinstance(error, UnreachableError) and error.status in DENIED:
                survey.stop_reason = "the endpoint denies access"
                return
        else:
            survey.due.remove(request)
            answered.add(request.sha256)


def _request_answers(
    request: RowRequest, survey: RequestSurvey, context: RequestContext, stats: TransferStats
) -> Iterator[Answer]:
    """Yields the answer to one request; of a chat, each one paid for until one is as declared."""
    limits, chat = survey.source.limits, survey.settings.chat
    if chat is None or request.body is None:
        yield _request_document(request, survey, context, stats)
        return
    last = survey.answers.get(request.sha256)
    attempts = list(last.attempts) if last and not context.force else []
    while len(attempts) < chat.attempts:
        try:
            data = send_request(request, context.client, limits, stats)
        except NotPublishedError:
            yield _no_result(request, context)
            return
        completion = llm.parse_completion(chat, request.body, data, request.row)
        cost_usd, fault = completion.cost_usd, completion.fault
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
        if fault is None or _find_stop_reason(survey, context, request):
            return


def _request_document(
    request: RowRequest, survey: RequestSurvey, context: RequestContext, stats: TransferStats
) -> Answer:
    """Returns the response as an answer; any JSON is accepted."""
    try:
        data = send_request(request, context.client, survey.source.limits, stats)
        body = msgspec.json.decode(data)
    except NotPublishedError:
        return _no_result(request, context)
    except DECODE_ERRORS as error:
        raise ContentError.of(str(request.target), "JSON", row_text(data)[:80]) from error
    return Answer(
        request_sha256=request.sha256,
        key=request.key,
        status="answered",
        attempts=[RequestResult(at=context.now)],
        body=body,
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
    if file is None:
        return FetchStatus.OFF if survey.stop_reason else FetchStatus.NOT_YET_PUBLISHED
    is_same = last is not None and last.file is not None and last.file.sha256 == file.sha256
    return FetchStatus.UNCHANGED if is_same else FetchStatus.FETCHED


def _format_key(request: RowRequest) -> str:
    return ", ".join(request.key.values())

"""Which requests of a source's rows are answered, and which have to be sent.

Sending them, and storing the file of all answers, is `etl_assets.fetch.collect_answers`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from etl_assets.declarations.source import ForEach, Source
from etl_assets.fetch import llm, raw_store
from etl_assets.fetch.answer_pages import has_unread_pages
from etl_assets.fetch.answer_shape import find_fault, has_rows
from etl_assets.fetch.http import Client
from etl_assets.fetch.row_requests import (
    Answer,
    AnswerStore,
    DailyUsage,
    RowRequest,
)
from etl_assets.model.display_text import list_some
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
from etl_assets.storage.signatures import Signatures

NAMED_REQUESTS = 5
IndexEntry = dict[str, Any]


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
    signatures: Signatures = field(default_factory=Signatures)


@dataclass(slots=True)
class RequestSurvey:
    """The requests of a source: those that are answered, those that are due, and the usage."""

    source: Source
    requests: Sequence[RowRequest]
    answers: dict[str, Answer]
    """By the hash of the request; an answer of another shape than declared is not among them."""
    due: list[RowRequest]
    usage: DailyUsage
    stop_reason: str = ""
    """Why no further request is sent; empty if the next one may be."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """The key of each failed request, and its error."""
    earlier: dict[str, IndexEntry] = field(default_factory=dict)
    """Of requests without an answer, the last good answer to a request with the same key."""

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

    def status_of(self, answer: Answer) -> str:
        """Returns the status of an answer; one without any row of the source is no result."""
        if answer.status == "answered" and not has_rows(self.source, answer.body):
            return "no_result"
        return answer.status

    @property
    def index(self) -> bytes:
        """The content of the raw file: the good answers, and the requests that have none."""
        good: list[IndexEntry] = []
        without: list[IndexEntry] = []
        for request in self.requests:
            answer = self.answers.get(request.sha256)
            if answer is None:
                good += [self.earlier[request.sha256]] if request.sha256 in self.earlier else []
                continue
            entry = {"key": request.key, "request_sha256": request.sha256}
            status = self.status_of(answer)
            if status == "answered":
                good.append({**entry, "answered_at": answer.at, "answer": answer.body})
            else:
                without.append({**entry, "status": status, "why": answer.reason})
        return msgspec.json.encode({"answers": good, "without": without})

    def has_index(self, last: FetchResult | None) -> bool:
        """True if a file is made: of some answers, or in place of one whose answers are no more."""
        was_stored = last is not None and last.file is not None
        return bool(self.answers or self.earlier or (self.requests and was_stored))

    @property
    def fault(self) -> str | None:
        """The failed requests and the first error; None if none failed."""
        if not self.failures:
            return None
        (first_key, error), *others = self.failures
        text = f"{len(self.failures)} of {len(self.requests)} requests failed"
        text += f", first: {first_key}: {error}"
        if others:
            text += f"; also {_list_requests([key for key, _ in others])}"
        if self.stop_reason and self.stop_reason not in text:
            text += f"; {self.stop_reason}"
        if self.earlier:
            text += f"; {len(self.earlier)} earlier answers are used"
        return text

    @property
    def warning(self) -> str | None:
        """The refused and the incomplete answers; None if there are none."""
        refused, incomplete = [], []
        for request, answer in self.answered_requests:
            if answer.status == "refused":
                refused.append(f"{format_key(request)}: {answer.reason}")
            if note := answer.attempts[-1].note:
                incomplete.append(f"{format_key(request)}: {note}")
        texts = []
        if refused:
            texts.append(f"{len(refused)} answers refused: {_list_requests(refused)}")
        if incomplete:
            texts.append(f"{len(incomplete)} answers are incomplete: {_list_requests(incomplete)}")
        return "; ".join(texts) or None

    def __str__(self) -> str:
        statuses = [self.status_of(answer) for _, answer in self.answered_requests]
        counts = {
            "answered": statuses.count("answered"),
            "no result": statuses.count("no_result"),
            "refused": statuses.count("refused"),
            "not sent": len(self.due),
            "with an earlier answer": len(self.earlier),
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
    store, settings = answer_store(source, context), require_for_each(source)
    answers = {}
    due = []
    for request in requests:
        answer = store.find(request.sha256)
        if answer and not _is_usable(request, answer):
            answer = None
        if answer:
            answers[request.sha256] = answer
        if _is_due(request, answer, settings, context):
            due.append(request)
    usage = DailyUsage()
    # Counting reads every stored answer, so it is left out where nothing depends on it.
    if settings.daily_limit is not None or settings.max_cost_usd_per_day is not None:
        usage = store.usage_on(context.now.astimezone(UTC).date())
    survey = RequestSurvey(source, requests, answers, due, usage)
    survey.stop_reason = find_stop_reason(survey, context, next(iter(due), None))
    if fault := context.settings_fault:
        survey.failures = [(format_key(request), fault) for request in due]
    return survey


def decide(
    part: Part, survey: RequestSurvey, last: FetchResult | None, context: RequestContext
) -> Decision:
    """Returns whether there are requests to send, or another file to make of the answers."""
    if last and last.pin:
        return Decision(part=part, fetch=False, reason=Reason.PINNED, detail=str(last.pin))
    survey.earlier = find_earlier_answers(survey, last, context)
    reason = next(_causes(survey, last, context), None)
    if reason:
        return Decision(part=part, fetch=True, reason=reason, detail=str(survey))
    reason = Reason.OFF if survey.stop_reason else Reason.UP_TO_DATE
    return Decision(part=part, fetch=False, reason=reason, detail=str(survey))


def _is_stored(file: RawFile, context: RequestContext) -> bool:
    state = raw_store.stored_state(context.home, file, context.signatures)
    return state is StoredState.PRESENT


def _causes(
    survey: RequestSurvey, last: FetchResult | None, context: RequestContext
) -> Iterator[Reason]:
    if survey.due and (survey.failures or not survey.stop_reason):
        yield Reason.FORCED if context.force else Reason.REQUESTS_DUE
    if last is None:
        yield Reason.NO_RECORD
        return
    if last.file and not _is_stored(last.file, context):
        yield Reason.FILE_MISSING
    last_sha256 = last.file.sha256 if last.file else None
    sha256 = hashlib.sha256(survey.index).hexdigest() if survey.has_index(last) else None
    if last_sha256 != sha256:
        yield Reason.REQUESTS_CHANGED
    if last.status is FetchStatus.OUTAGE:
        yield Reason.LAST_WAS_OUTAGE


def answer_store(source: Source, context: RequestContext) -> AnswerStore:
    return AnswerStore(context.home.answers(source.domain, source.name))


def _is_usable(request: RowRequest, answer: Answer) -> bool:
    """True if a stored answer is as declared today.

    Earlier versions stored errors of an endpoint like answers, and only the first of many pages.
    """
    chat = require_for_each(request.source).chat
    match answer.status:
        case "refused":
            return answer.completions > 0
        case "no_result":
            return chat is None or request.target.path is not None
    return _is_good(request, answer.body) and not _has_unread_pages(request, answer)


def _is_good(request: RowRequest, body: object) -> bool:
    """True if the JSON of an answer has the declared shape."""
    chat = require_for_each(request.source).chat
    if chat is None:
        return find_fault(request.source, body) is None
    return llm.find_contract_fault(chat, body, request.row) is None


def _has_unread_pages(request: RowRequest, answer: Answer) -> bool:
    """True if an answer was stored by a declaration without pages, or with fewer of them."""
    pages, last = require_for_each(request.source).pages, answer.attempts[-1]
    if pages is None:
        return False
    if last.is_cut_off:
        return last.pages < pages.max_pages
    return last.pages == 1 and not last.note and has_unread_pages(pages, answer.body)


def find_earlier_answers(
    survey: RequestSurvey, last: FetchResult | None, context: RequestContext
) -> dict[str, IndexEntry]:
    """Returns answers of the last file for requests that have none, by the hash of the request.

    The request of a row changes with its values; until the new one is answered, the last good
    answer for the row's key is used.
    """
    missing = [request for request in survey.requests if request.sha256 not in survey.answers]
    file = last.file if last else None
    if not missing or file is None:
        return {}
    if not _is_stored(file, context):
        return {}
    data = raw_store.stored_path(context.home, file, context.signatures).read_bytes()
    entries: dict[tuple[str, ...], list[IndexEntry]] = defaultdict(list)
    for entry in msgspec.json.decode(data)["answers"]:
        if entry["request_sha256"] not in survey.answers:
            key = tuple(entry["key"].get(column) for column in survey.settings.columns)
            entries[key].append(entry)
    earlier = {}
    for request in missing:
        same_key = entries[tuple(request.key.values())]
        if same_key and _is_good(request, same_key[0]["answer"]):
            earlier[request.sha256] = same_key.pop(0)
    return earlier


def _is_due(
    request: RowRequest, answer: Answer | None, settings: ForEach, context: RequestContext
) -> bool:
    if answer is None:
        return True
    if settings.chat is not None:
        # A good completion is kept for ever, as it was paid for; only a refused one is repeated.
        may_repeat = answer.completions < settings.chat.attempts or context.force
        return answer.status == "refused" and may_repeat
    path = request.target.path
    if path is not None:
        # A file of a directory mirror costs nothing to read again when it is newer.
        return path.exists() and path.stat().st_mtime > answer.at.timestamp()
    if context.force:
        return True
    max_age = settings.keep_days
    return max_age is not None and context.now - answer.at >= timedelta(days=max_age)


def find_stop_reason(
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


def format_key(request: RowRequest) -> str:
    return ", ".join(request.key.values())


def _list_requests(texts: Sequence[str]) -> str:
    return list_some(texts, most=NAMED_REQUESTS, separator="; ")

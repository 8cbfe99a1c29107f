"""Ask what the rows of a table need to be asked, and make one file of all answers.

A request is known by its content: one that was answered is not made again. Which requests there are
is `etl_assets.fetch.row_requests`, where answers are kept `etl_assets.fetch.row_requests`.
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
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What the questions of one source share; with a credential missing nothing is asked."""

    client: Client
    home: Home
    now: datetime
    missing: str = ""
    force: bool = False


@dataclass(slots=True)
class RequestSurvey:
    """The requests of a source: what is held of each, what is still to be asked, what may be."""

    source: Source
    requests: Sequence[RowRequest]
    held: dict[str, Answer]
    due: list[RowRequest]
    spent: DailyUsage
    obstacle: str = ""
    failed: list[str] = field(default_factory=list)

    @property
    def declared(self) -> ForEach:
        return require_for_each(self.source)

    @property
    def index(self) -> bytes:
        """The file that is made of the answers: the good ones, and why there is none."""
        known = [(r, self.held[r.sha256]) for r in self.requests if r.sha256 in self.held]
        return msgspec.json.encode(
            {
                "answers": [_as_answered(r, a) for r, a in known if a.status == "answered"],
                "without": [_as_without(r, a) for r, a in known if a.status != "answered"],
            }
        )

    @property
    def refused(self) -> list[str]:
        found = ((r, self.held.get(r.sha256)) for r in self.requests)
        return [f"{_named(r)}: {a.why}" for r, a in found if a and a.status == "refused"]

    def __str__(self) -> str:
        kinds = [self.held[r.sha256].status for r in self.requests if r.sha256 in self.held]
        counts = [(kinds.count("answered"), "answered"), (kinds.count("no_result"), "no result")]
        counts += [(kinds.count("refused"), "refused"), (len(self.due), "not asked")]
        told = ", ".join(f"{count} {kind}" for count, kind in counts if count)
        rest = f"; {self.obstacle}" if self.obstacle else ""
        return f"{len(self.requests)} requests: {told or 'none'}{rest}"


def require_for_each(source: Source) -> ForEach:
    if source.for_each is None:
        raise ValueError(f"{source.full_name}: expected requests from a table")
    return source.for_each


def survey(source: Source, requests: Sequence[RowRequest], desk: RequestContext) -> RequestSurvey:
    """What is held and what is due, without asking anything."""
    answers = _answers(source, desk)
    held = {r.sha256: a for r in requests if (a := answers.find(r.sha256))}
    declared = require_for_each(source)
    is_limited = declared.daily_limit is not None or declared.max_cost_usd_per_day is not None
    found = RequestSurvey(
        source=source,
        requests=requests,
        held=held,
        due=[r for r in requests if _is_due(r, held.get(r.sha256), declared, desk)],
        spent=answers.spent_on(desk.now.astimezone(UTC).date()) if is_limited else DailyUsage(),
    )
    found.obstacle = _obstacle(found, desk, found.due[0] if found.due else None)
    return found


def decide(
    part: Part, found: RequestSurvey, last: FetchResult | None, desk: RequestContext
) -> Decision:
    """Whether there is something to ask, or another file to make of the answers."""
    if last and last.pin:
        return Decision(part=part, fetch=False, reason=Reason.PINNED, detail=str(last.pin))
    if cause := next(_causes(found, last, desk), None):
        return Decision(part=part, fetch=True, reason=cause, detail=str(found))
    reason = Reason.OFF if found.obstacle else Reason.UP_TO_DATE
    return Decision(part=part, fetch=False, reason=reason, detail=str(found))


def _causes(
    found: RequestSurvey, last: FetchResult | None, desk: RequestContext
) -> Iterator[Reason]:
    """What speaks for asking, or for making the file of all answers anew."""
    if found.due and not found.obstacle:
        yield Reason.FORCED if desk.force else Reason.REQUESTS_DUE
    if last is None:
        yield Reason.NO_RECORD
        return
    if last.file and raw_store.stored_state(desk.home, last.file) is not StoredState.PRESENT:
        yield Reason.FILE_MISSING
    if (last.file.sha256 if last.file else None) != _digest(found):
        yield Reason.REQUESTS_CHANGED
    if last.status is FetchStatus.OUTAGE:
        yield Reason.LAST_WAS_OUTAGE


def collect(
    part: Part,
    found: RequestSurvey,
    decision: Decision,
    last: FetchResult | None,
    desk: RequestContext,
) -> FetchResult:
    """Ask what is due, and the file of all answers; a fault is told in the record."""
    if last and (last.pin or not decision.fetch):
        status = last.status if last.pin else _unmoved(last)
        return last.model_copy(update={"decision": decision, "status": status})
    effort = TransferStats()
    _ask_due(found, desk, effort)
    file = _stored(part, found, desk, effort) if found.held else None
    settled = decision.model_copy(update={"detail": str(found)})
    return FetchResult(
        part=part,
        status=_status(found, file, last),
        decision=settled,
        file=file,
        fault=_fault(found),
        warning=_warning(found),
        attempts=effort.attempts,
        last_status=effort.last_status,
        waited_seconds=round(effort.waited_seconds, 3),
    )


def _unmoved(last: FetchResult) -> FetchStatus:
    return FetchStatus.UNCHANGED if last.file else last.status


def _answers(source: Source, desk: RequestContext) -> AnswerStore:
    return AnswerStore(desk.home.answers(source.domain, source.name))


def _ask_due(found: RequestSurvey, desk: RequestContext, effort: TransferStats) -> None:
    answers, declared = _answers(found.source, desk), found.declared
    settled = set[str]()
    for number, request in enumerate(list(found.due)):
        if request.sha256 in settled:
            found.due.remove(request)
            continue
        found.obstacle = _obstacle(found, desk, request)
        if found.obstacle:
            return
        if number and number % declared.batch_size == 0 and request.target.url:
            desk.client.rate_limiter(request.target).wait(declared.delay_seconds, effort)
        try:
            for answer in _asked(request, found, desk, effort):
                answers.keep(answer)
                found.held[request.sha256] = answer
        except (SourceError, UnicodeError) as error:
            log.warning("%s: %s: %s", found.source.full_name, _named(request), error)
            found.failed.append(f"{_named(request)}: {error}")
            if isinstance(error, UnreachableError) and error.status in DENIED:
                found.obstacle = "the endpoint does not let us in"
                return
        else:
            found.due.remove(request)
            settled.add(request.sha256)


def _asked(
    request: RowRequest, found: RequestSurvey, desk: RequestContext, effort: TransferStats
) -> Iterator[Answer]:
    """The answer to one request; of a chat each that was paid for, until one is as declared."""
    declared, before = found.declared.chat, found.held.get(request.sha256)
    if declared is None or request.body is None:
        yield _searched(request, found, desk, effort)
        return
    asked = list(before.asked) if before and not desk.force else []
    while len(asked) < declared.attempts:
        try:
            data = send_request(request, desk.client, found.source.limits, effort)
        except NotPublishedError:
            yield _without_result(request, desk)
            return
        answer = llm.parse_completion(declared, request.body, data, request.row)
        asked.append(RequestResult(at=desk.now, cost_usd=answer.cost_usd, fault=answer.fault))
        found.spent = _added(found.spent, answer.cost_usd)
        yield Answer(
            request_sha256=request.sha256,
            key=request.key,
            status="refused" if answer.fault else "answered",
            asked=asked,
            body=answer.answer,
        )
        if answer.fault is None or _obstacle(found, desk, request):
            return


def _searched(
    request: RowRequest, found: RequestSurvey, desk: RequestContext, effort: TransferStats
) -> Answer:
    try:
        data = send_request(request, desk.client, found.source.limits, effort)
        body = msgspec.json.decode(data)
    except NotPublishedError:
        return _without_result(request, desk)
    except DECODE_ERRORS as error:
        raise ContentError.of(str(request.target), "JSON", row_text(data)[:80]) from error
    return Answer(
        request_sha256=request.sha256,
        key=request.key,
        status="answered",
        asked=[RequestResult(at=desk.now)],
        body=body,
    )


def _without_result(request: RowRequest, desk: RequestContext) -> Answer:
    return Answer(
        request_sha256=request.sha256,
        key=request.key,
        status="no_result",
        asked=[RequestResult(at=desk.now)],
    )


def _is_due(
    request: RowRequest, answer: Answer | None, declared: ForEach, desk: RequestContext
) -> bool:
    if answer is None:
        return True
    if declared.chat is not None:
        # What was paid for stands; only a refused answer is asked for again, within its attempts.
        more = len(answer.asked) < declared.chat.attempts or desk.force
        return answer.status == "refused" and more
    path = request.target.path
    if path is not None:
        return path.exists() and path.stat().st_mtime > answer.at.timestamp()
    is_old = declared.keep_days and desk.now - answer.at >= timedelta(days=declared.keep_days)
    return bool(is_old) or desk.force


def _obstacle(found: RequestSurvey, desk: RequestContext, request: RowRequest | None) -> str:
    """Why nothing more is asked now; empty where the next request, if any, may be made."""
    declared, spent = found.declared, found.spent
    if desk.missing:
        return f"off, as {desk.missing} is not set"
    if declared.daily_limit is not None and spent.requests >= declared.daily_limit:
        return f"the daily limit of {declared.daily_limit:,} requests is reached"
    cap = declared.max_cost_usd_per_day
    if cap is None or declared.chat is None or request is None or request.body is None:
        return ""
    if spent.cost_usd + llm.max_cost_usd(declared.chat, request.body) > cap:
        return f"the cost cap of {cap:g} USD a day leaves {cap - spent.cost_usd:.4f} USD"
    return ""


def _added(spent: DailyUsage, cost_usd: float) -> DailyUsage:
    return DailyUsage(requests=spent.requests + 1, cost_usd=spent.cost_usd + cost_usd)


def _digest(found: RequestSurvey) -> str | None:
    return hashlib.sha256(found.index).hexdigest() if found.held else None


def _stored(
    part: Part, found: RequestSurvey, desk: RequestContext, effort: TransferStats
) -> RawFile:
    data = found.index
    sha256 = hashlib.sha256(data).hexdigest()
    with raw_store.partial_file(desk.home, part) as (path, file):
        file.write(data)
        stored = raw_store.store_file(desk.home, path, sha256)
    return RawFile(
        part=part,
        sha256=sha256,
        size_bytes=len(data),
        path=desk.home.relative(stored),
        url=found.source.location.url or "",
        fetched_at=desk.now.astimezone(UTC),
        attempts=max(1, effort.attempts),
        last_status=effort.last_status,
        waited_seconds=round(effort.waited_seconds, 3),
        code_version=CODE_VERSION,
    )


def _status(found: RequestSurvey, file: RawFile | None, last: FetchResult | None) -> FetchStatus:
    if found.failed:
        return FetchStatus.OUTAGE if file else FetchStatus.MISSING
    if file is None:
        return FetchStatus.OFF if found.obstacle else FetchStatus.NOT_YET_PUBLISHED
    is_same = last is not None and last.file is not None and last.file.sha256 == file.sha256
    return FetchStatus.UNCHANGED if is_same else FetchStatus.FETCHED


def _fault(found: RequestSurvey) -> str | None:
    if not found.failed:
        return None
    return (
        f"{len(found.failed)} of {len(found.requests)} requests failed, first: {found.failed[0]}"
        + (f"; {found.obstacle}" if found.obstacle else "")
    )


def _warning(found: RequestSurvey) -> str | None:
    if not (refused := found.refused):
        return None
    return f"{len(refused)} answers refused: " + "; ".join(refused[:20])


def _named(request: RowRequest) -> str:
    return ", ".join(request.key.values())


def _as_answered(request: RowRequest, answer: Answer) -> dict[str, object]:
    said = {"request_sha256": request.sha256, "answered_at": answer.at, "answer": answer.body}
    return {"key": request.key, **said}


def _as_without(request: RowRequest, answer: Answer) -> dict[str, object]:
    said = {"request_sha256": request.sha256, "status": answer.status, "why": answer.why}
    return {"key": request.key, **said}

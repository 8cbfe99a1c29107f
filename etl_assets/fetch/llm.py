"""Completions of an OpenAI-compatible chat endpoint: the body of a request, its answer, its cost.

Sending, repeating and storing is `etl_assets.fetch.collect_answers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema
import msgspec

from etl_assets.declarations.source import PLACEHOLDER, ChatRequest
from etl_assets.fetch.answer_shape import quote_value
from etl_assets.model.errors import ContentError
from etl_assets.tables.readers import json_keys
from etl_assets.tables.readers.batch import DECODE_ERRORS

MILLION = 1_000_000
NO_COMPLETION = "expected a completion"  # also what earlier versions stored of an error
FENCE = re.compile(r"\A\s*```[a-z]*\s*\n(.*)\n\s*```\s*\Z", re.DOTALL)  # some models add one
INCOMPLETE = {"length": "an answer that is cut off", "content_filter": "a refusal by a filter"}


@dataclass(frozen=True, slots=True)
class Completion:
    """A completion and its cost: the JSON of its answer, or the fault for which it is refused."""

    cost_usd: float
    answer: dict[str, Any] | None = None
    fault: str | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Response(msgspec.Struct):
    choices: list[_Choice]


def build_body(chat: ChatRequest, row: Mapping[str, str]) -> bytes:
    """Returns the body of a request; equal rows and declarations give equal bytes.

    Answers are stored by the hash of the body, so a difference in it would be paid for again.
    """
    prompt = fill_template(chat.prompt, row)[: chat.max_prompt_characters]
    body = {
        "model": chat.model,
        "messages": [
            {"role": "system", "content": chat.system},
            {"role": "user", "content": prompt},
        ],
        "temperature": chat.temperature,
        "max_tokens": chat.max_tokens,
        "response_format": {"type": "json_object"},
    }
    return json.dumps(body, ensure_ascii=False, sort_keys=True).encode()


def fill_template(template: str, row: Mapping[str, str]) -> str:
    """Returns the template with the values of a row; braces around no column stay as they are."""
    return PLACEHOLDER.sub(lambda match: row.get(match[1], match[0]), template)


def max_cost_usd(chat: ChatRequest, body: bytes) -> float:
    """Returns an upper limit of the cost of one request, which is known before it is sent."""
    # No tokenizer makes more tokens of a text than it has bytes.
    return _cost_usd(chat, _Usage(len(body), chat.max_tokens))


def parse_completion(
    chat: ChatRequest, body: bytes, document: object, row: Mapping[str, str]
) -> Completion:
    """Returns the completion in the JSON of the response to the request `body`.

    A completion that states no usage is counted with the maximum cost. Raises ContentError if the
    response is no completion and states no usage, as nothing was paid for it then.
    """
    usage = _read_usage(document)
    cost = _cost_usd(chat, usage) if usage else max_cost_usd(chat, body)
    fault, answer = _read_answer(document)
    has_usage = usage is not None and usage.prompt_tokens + usage.completion_tokens > 0
    if fault and fault.startswith(NO_COMPLETION) and not has_usage:
        raise ContentError(fault)
    fault = fault or find_contract_fault(chat, answer, row)
    return Completion(cost, fault=fault) if fault else Completion(cost, answer=answer)


def _read_usage(document: object) -> _Usage | None:
    """Returns the stated usage; None if there is none that can be read."""
    usage = document.get("usage") if isinstance(document, dict) else None
    try:
        return msgspec.convert(usage, type=_Usage)
    except msgspec.ValidationError:
        return None


def _cost_usd(chat: ChatRequest, usage: _Usage) -> float:
    dollars = (
        usage.prompt_tokens * chat.usd_per_million_prompt_tokens
        + usage.completion_tokens * chat.usd_per_million_completion_tokens
    )
    return max(dollars, 0.0) / MILLION


def _read_answer(document: object) -> tuple[str | None, Any]:
    """Returns the fault of a completion, or None and the JSON of its first choice."""
    try:
        choices = msgspec.convert(document, type=_Response).choices
    except msgspec.ValidationError as error:
        return f"{NO_COMPLETION}, found: {error}", None
    if not choices:
        return f"{NO_COMPLETION}, found no choice", None
    choice = choices[0]
    if choice.message.refusal:
        return f"expected an answer, found a refusal: {quote_value(choice.message.refusal)}", None
    if choice.finish_reason in INCOMPLETE:
        return f"expected a whole answer, found {INCOMPLETE[choice.finish_reason]}", None
    text = choice.message.content or ""
    fenced = FENCE.match(text)
    try:
        return None, json_keys.decode_unique((fenced[1] if fenced else text).encode())
    except DECODE_ERRORS as error:
        is_repeated = isinstance(error, msgspec.ValidationError)
        expected = "JSON with each key once" if is_repeated else "JSON"
        return f"expected {expected}, found {quote_value(text)}", None


def find_contract_fault(chat: ChatRequest, answer: object, row: Mapping[str, str]) -> str | None:
    """Returns how an answer breaks the declared contract, or None."""
    validator = jsonschema.Draft202012Validator(chat.answer)
    errors = sorted(validator.iter_errors(answer), key=lambda error: list(map(str, error.path)))
    if errors:
        messages = []
        for error in errors:
            path = ".".join(map(str, error.absolute_path)) or "answer"
            messages.append(f"{path}: {error.message}")
        return f"expected JSON under the declared schema, found {quote_value('; '.join(messages))}"
    if not isinstance(answer, dict):
        return f"expected an object, found {quote_value(answer)}"
    for member, column in chat.repeats.items():
        if _normalize_name(answer.get(member)) != _normalize_name(row[column]):
            return f"expected {member} {row[column]!r}, found {quote_value(answer.get(member))}"
    return None


def _normalize_name(value: object) -> str:
    """Returns a name without case and punctuation, in which a model's answer may differ."""
    return re.sub(r"\W+", " ", str(value)).strip().casefold()

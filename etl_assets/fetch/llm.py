"""Completions of an OpenAI-compatible chat endpoint: the body of a request, and its answer judged.

What an answer must look like is declared. Sending, trying again and paying is
`etl_assets.fetch.collect_answers`.
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
from etl_assets.tables.readers.batch import DECODE_ERRORS, value_json

MILLION = 1_000_000
FENCE = re.compile(r"\A\s*```[a-z]*\s*\n(.*)\n\s*```\s*\Z", re.DOTALL)
CUT_OFF = {"length": "an answer that is cut off", "content_filter": "a refusal by a filter"}


@dataclass(frozen=True, slots=True)
class Completion:
    """A judged answer: its JSON, or what is wrong with it; it has cost something either way."""

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


class _Document(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


def build_body(chat: ChatRequest, row: Mapping[str, str]) -> bytes:
    """The request's body: equal rows under an equal declaration give equal bytes."""
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
    """The template with the row's values; a brace that names no column is text."""
    return PLACEHOLDER.sub(lambda match: row.get(match[1], match[0]), template)


def max_cost_usd(chat: ChatRequest, body: bytes) -> float:
    """What one request can cost at most: no tokenizer makes more tokens than there are bytes."""
    return _cost(chat, _Usage(len(body), chat.max_tokens))


def parse_completion(
    chat: ChatRequest, body: bytes, data: bytes, row: Mapping[str, str]
) -> Completion:
    """What came back for `body`; one without usage counts as the dearest that it could be."""
    try:
        found = msgspec.json.decode(data, type=_Document)
    except DECODE_ERRORS as error:
        return Completion(max_cost_usd(chat, body), fault=f"expected a completion, found: {error}")
    cost = _cost(chat, found.usage) if found.usage else max_cost_usd(chat, body)
    fault, answer = _answer(found)
    fault = fault or _broken_contract(chat, answer, row)
    return Completion(cost, fault=fault) if fault else Completion(cost, answer=answer)


def _cost(chat: ChatRequest, usage: _Usage) -> float:
    dollars = (
        usage.prompt_tokens * chat.usd_per_million_prompt_tokens
        + usage.completion_tokens * chat.usd_per_million_completion_tokens
    )
    return max(dollars, 0.0) / MILLION


def _answer(found: _Document) -> tuple[str | None, Any]:
    if not found.choices:
        return "expected a choice, found none", None
    choice = found.choices[0]
    if choice.message.refusal:
        return f"expected an answer, found a refusal: {value_json(choice.message.refusal)}", None
    if choice.finish_reason in CUT_OFF:
        return f"expected a whole answer, found {CUT_OFF[choice.finish_reason]}", None
    text = choice.message.content or ""
    fenced = FENCE.match(text)
    try:
        return None, msgspec.json.decode(fenced[1] if fenced else text)
    except DECODE_ERRORS:
        return f"expected JSON, found {value_json(text)}", None


def _broken_contract(chat: ChatRequest, answer: object, row: Mapping[str, str]) -> str | None:
    validator = jsonschema.Draft202012Validator(chat.answer)
    errors = sorted(validator.iter_errors(answer), key=lambda error: list(map(str, error.path)))
    if errors:
        told = [f"{'.'.join(map(str, e.absolute_path)) or 'answer'}: {e.message}" for e in errors]
        return f"expected JSON under the declared schema, found {value_json('; '.join(told))}"
    if not isinstance(answer, dict):
        return f"expected an object, found {value_json(answer)}"
    for member, column in chat.repeats.items():
        if _spelt(answer.get(member)) != _spelt(row[column]):
            return f"expected {member} {row[column]!r}, found {value_json(answer.get(member))}"
    return None


def _spelt(value: object) -> str:
    """A name without the accidents of its spelling."""
    return re.sub(r"\W+", " ", str(value)).strip().casefold()

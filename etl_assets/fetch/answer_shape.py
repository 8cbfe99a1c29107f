"""Whether the response to a request is an answer: JSON of the declared shape, and no error in it.

What a good answer has is declared (`etl_assets.declarations.answers`); waiting, repeating and
storing is `etl_assets.fetch.collect_answers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from etl_assets.declarations.answers import AnswerShape
from etl_assets.declarations.formats import JsonFormat
from etl_assets.declarations.json_path import Step, parse_path, row_paths
from etl_assets.declarations.source import Source
from etl_assets.fetch.http import FIRST_SERVER_ERROR, RETRYABLE_CLIENT_ERRORS
from etl_assets.fetch.network_guard import redact_message
from etl_assets.storage.sniff import HEAD_BYTES, describe
from etl_assets.tables.readers import json_keys
from etl_assets.tables.readers.batch import (
    DECODE_ERRORS,
    VALUE_CHARACTERS,
    row_json,
    row_text,
    value_json,
)

# Where endpoints state the code of an error, in the error itself or beside it.
CODE_MEMBERS = (
    *("code", "status", "status_code", "statusCode", "error_code", "errorCode"),
    *("type", "reason"),
)
STATUS_IN_TEXT = re.compile(r"\b[45]\d\d\b")
STATUS_CODE = re.compile(r"[45]\d\d")
LAST_STATUS = 599
TEXT_CHARACTERS = 80
ANSWER_STEPS = [*parse_path("answers[]"), Step("field", "answer")]
"""Where the collected file of a source has each answer."""


@dataclass(frozen=True, slots=True)
class AnswerFault:
    """Why a response is no answer: what was expected and found, and what its code asks for."""

    expected: str
    actual: str
    status: int | None = None
    """The code of the error if it is a status of HTTP."""
    is_busy: bool = False
    """True if the same request may succeed later."""

    def __str__(self) -> str:
        return f"expected {self.expected}, found {self.actual}"


def decode_answer(source: Source, data: bytes) -> tuple[Any, AnswerFault | None]:
    """Returns the JSON of a response and its fault, which is None for a good answer."""
    try:
        body = json_keys.decode_unique(data)
    except DECODE_ERRORS as error:
        return None, AnswerFault("JSON", _describe_other(data, error))
    return body, find_fault(source, body)


def find_fault(source: Source, body: object) -> AnswerFault | None:
    """Returns why the JSON of a response is no answer of the source, or None."""
    shape = source.for_each.answer_shape if source.for_each else AnswerShape()
    faults = (
        *_stated_errors(shape, body),
        *_other_values(shape, body),
        *_missing_members(shape, body),
        *_unreadable_rows(source, shape, body),
    )
    return next(iter(faults), None)


def has_rows(source: Source, body: object) -> bool:
    """True if the answer has at least one record on the paths of the source's rows."""
    paths = list(_paths_in_answer(source))
    return not paths or any(_has_record(body, steps) for steps in paths)


def read_member(body: object, path: str) -> object:
    """Returns the first value at a path of an answer, or None."""
    return next(_find_values(body, parse_path(path)), None)


def quote_value(value: object) -> str:
    """Returns a value of a response as JSON for a message, without secrets that it names."""
    # Redacted before it is cut, as half a secret is not recognized as one.
    return redact_message(row_json(value))[:VALUE_CHARACTERS]


def _describe_other(data: bytes, error: Exception) -> str:
    """Returns what a response is that is no JSON, such as a page with its title."""
    if not data.strip():
        return "an empty body"
    kind = describe(data[:HEAD_BYTES])
    if kind not in {"json", "text", "xml"}:
        return redact_message(kind)
    text = redact_message(row_text(data))[:TEXT_CHARACTERS]
    return f"{value_json(text)} ({redact_message(str(error))})"


def _stated_errors(shape: AnswerShape, body: object) -> Iterator[AnswerFault]:
    for path in shape.errors:
        for error in _find_values(body, parse_path(path)):
            if error not in (None, False, 0, "", [], {}):
                shown = error if isinstance(error, dict | list) else body
                yield _judge_error(shape, f"an answer without {path}", shown, error, body)


def _other_values(shape: AnswerShape, body: object) -> Iterator[AnswerFault]:
    for path, allowed in shape.values.items():
        texts = [str(value) for value in allowed]
        for value in _find_values(body, parse_path(path)):
            if str(value) not in texts:
                yield _judge_error(shape, f"{path} {' or '.join(texts)}", body, value, body)


def _missing_members(shape: AnswerShape, body: object) -> Iterator[AnswerFault]:
    for required in shape.required:
        paths = [required] if isinstance(required, str) else required
        if not any(_has_path(body, parse_path(path)) for path in paths):
            expected = f"an answer with {' or '.join(paths)}"
            yield _judge_error(shape, expected, body, body)


def _unreadable_rows(source: Source, shape: AnswerShape, body: object) -> Iterator[AnswerFault]:
    for steps in _paths_in_answer(source):
        if mismatch := _find_mismatch(body, steps, "the answer"):
            yield _judge_error(shape, mismatch, body, body)


def _judge_error(shape: AnswerShape, expected: str, shown: object, *stated: object) -> AnswerFault:
    """Returns the fault of a response; its code is in the first of `stated` that has one."""
    codes: list[str] = []
    for error in stated:
        codes += _error_codes(error)
    statuses = [int(code) for code in codes if STATUS_CODE.fullmatch(code)]
    is_busy = not {str(code).casefold() for code in shape.busy}.isdisjoint(codes)
    if statuses and not is_busy:
        first = statuses[0]
        is_busy = first in RETRYABLE_CLIENT_ERRORS or FIRST_SERVER_ERROR <= first <= LAST_STATUS
    return AnswerFault(
        expected,
        quote_value(shown),
        status=statuses[0] if statuses else None,
        is_busy=is_busy,
    )


def _error_codes(error: object) -> Iterator[str]:
    """Yields the codes of an error in lower case: of an object, of a list's first item, of text."""
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, dict):
        for name in CODE_MEMBERS:
            value = error.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool):
                yield str(value).strip().casefold()
    elif isinstance(error, str):
        yield error.strip().casefold()
        yield from STATUS_IN_TEXT.findall(error)
    elif isinstance(error, int):
        yield str(error)


def _paths_in_answer(source: Source) -> Iterator[list[Step]]:
    """Yields the part of each path to the rows that lies inside one response.

    The answer of a chat is a text in its response, with a schema of its own.
    """
    is_chat = source.for_each is not None and source.for_each.chat is not None
    if is_chat or not isinstance(source.format, JsonFormat):
        return
    for steps in row_paths(source.format):
        if steps[: len(ANSWER_STEPS)] == ANSWER_STEPS:
            yield steps[len(ANSWER_STEPS) :]


def _find_values(value: object, steps: list[Step]) -> Iterator[Any]:
    """Yields every value at the end of a path."""
    if not steps:
        yield value
    elif steps[0].kind == "items":
        for item in value if isinstance(value, list) else ():
            yield from _find_values(item, steps[1:])
    elif isinstance(value, dict):
        name, rest = _next_member(value, steps)
        if name in value:
            yield from _find_values(value[name], rest)


def _has_path(value: object, steps: list[Step]) -> bool:
    """True if a value is at the end of a path, in every item of the lists on it."""
    if not steps:
        return value is not None
    if steps[0].kind == "items":
        return isinstance(value, list) and all(_has_path(item, steps[1:]) for item in value)
    if not isinstance(value, dict):
        return False
    name, rest = _next_member(value, steps)
    return _has_path(value.get(name), rest)


def _next_member(value: dict[str, Any], steps: list[Step]) -> tuple[str, list[Step]]:
    """Returns the member that a path leads to, and the steps below it."""
    # Some names have dots in them, such as "@odata.nextLink".
    dotted = ".".join(step.name for step in steps)
    return (dotted, []) if dotted in value else (steps[0].name, steps[1:])


def _find_mismatch(value: object, steps: list[Step], place: str) -> str:
    """Returns which kind of value the path needs and does not find; empty if it fits.

    A missing member fits: an answer without the list has no records.
    """
    if not steps:
        return "" if isinstance(value, dict) else f"an object at {place}"
    step, rest = steps[0], steps[1:]
    if step.kind == "items":
        if not isinstance(value, list):
            return f"a list at {place}"
        mismatches = (_find_mismatch(item, rest, f"{place}[]") for item in value)
        return next(filter(None, mismatches), "")
    if not isinstance(value, dict):
        return f"an object at {place}"
    members = value if step.kind == "entries" else {step.name: value.get(step.name)}
    below = (
        _find_mismatch(member, rest, name) for name, member in members.items() if member is not None
    )
    return next(filter(None, below), "")


def _has_record(value: object, steps: list[Step]) -> bool:
    if not steps:
        return value is not None
    if steps[0].kind == "items":
        return isinstance(value, list) and any(_has_record(item, steps[1:]) for item in value)
    if not isinstance(value, dict):
        return False
    if steps[0].kind == "entries":
        return any(_has_record(entry, steps[1:]) for entry in value.values())
    return _has_record(value.get(steps[0].name), steps[1:])

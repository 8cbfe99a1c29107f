"""Keys are counted so that a repeated one is never missed, whatever the text."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_assets.tables.readers import json_keys

# So that the end of a block is anywhere in a text.
PADDING = ["", *(" " * (json_keys.BLOCK_BYTES - size) for size in (5, 20, 40))]
TEXTS = st.text(alphabet='ab":\\! \t\n', max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(TEXTS, inner), max_size=4),
    max_leaves=12,
)
BLANKS = st.sampled_from(["", " ", "\n", "\t ", " " * 100])


def render(value: Any, blanks: str) -> str:
    """JSON in which a list of pairs is an object, so that its keys may repeat."""
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        members = [f"{json.dumps(key)}{blanks}:{render(item, blanks)}" for key, item in value]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(render(item, blanks) for item in value) + "]"
    return json.dumps(value)


def count_pairs(text: str) -> int:
    counts = []
    json.loads(text, object_pairs_hook=lambda pairs: counts.append(len(pairs)))
    return sum(counts)


@pytest.mark.fault("json-twice")
@given(value=VALUES, blanks=BLANKS, padding=st.sampled_from(PADDING))
def test_no_key_of_a_text_is_missed(value: Any, blanks: str, padding: str) -> None:
    text = padding + render(value, blanks)
    count = count_pairs(text)

    assert not json_keys.has_at_most(count - 1, text.encode())


@pytest.mark.parametrize("padding", PADDING, ids=["short", "5 bytes", "20 bytes", "40 bytes"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"a":1,"b":{"c":[{"d":2}]}}', id="plain"),
        pytest.param('{"a" : 1, "b"\t:\n2}', id="blanks"),
        pytest.param('{"a": "one : two ! three: 12:30"}', id="prose"),
        pytest.param('{"a": "\\"one\\": two, \\\\\\"three\\" : four"}', id="quotes in prose"),
        pytest.param('{"a\\\\": 1, "\\"": 2}', id="keys that end with a backslash and a quote"),
    ],
)
def test_common_texts_have_no_more_keys_than_there_are(text: str, padding: str) -> None:
    text = padding + text

    assert json_keys.has_at_most(count_pairs(text), text.encode())


def test_the_keys_of_unread_values_are_not_counted() -> None:
    unread = '{"x":{"y":1},"z":": prose"}'
    text = f'{{"a":1,"b":{unread},"c":"{"x" * 2_000}"}}'

    assert json_keys.has_at_most(3, text.encode(), unread.encode())
    assert not json_keys.has_at_most(2, text.encode(), unread.encode())


@given(value=VALUES)
def test_a_text_is_decoded_as_by_json_unless_it_repeats_a_key(value: Any) -> None:
    text = render(value, "")

    def to_object(pairs: list[tuple[str, Any]]) -> object:
        is_unique = len(dict(pairs)) == len(pairs)
        return dict(pairs) if is_unique else json_keys.RepeatedKeys(pairs)

    assert json_keys.decode(text.encode()) == json.loads(text, object_pairs_hook=to_object)


@pytest.mark.fault("json-twice")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"a": 1, "b": 2, "a": 1}', id="top"),
        pytest.param('[{"b": {"a": 1, "\\u0061": 1}}]', id="below"),
    ],
)
def test_a_value_with_unique_keys_is_required_by_name(text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="found a more than once"):
        json_keys.decode_unique(text.encode())


def test_of_many_repeated_keys_five_are_shown() -> None:
    text = "{" + ", ".join(f'"k{number}": 1, "k{number}": 1' for number in range(7)) + "}"

    assert str(json_keys.decode(text.encode())) == "k0, k1, k2, k3, k4 and 2 others more than once"


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', "9" * 5_000 + "x", "[" * 100_000])
def test_what_is_no_json_is_an_error_of_decoding(text: str) -> None:
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        json_keys.decode(text.encode())
